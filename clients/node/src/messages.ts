import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Result } from './result.js';
import { readColumn, RowDecoder } from './values/decode.js';
import { NEEDS_DIALECT, type Dialect, type ParameterWriter } from './values/encode.js';
import type { Column } from './values/types.js';
import type { Typist } from './values/typing.js';
import { MalformedMessage, WireReader } from './values/wire.js';
import type { Statement } from './sql.js';

// The messages that hold rows and parameters are read and written by hand, as no message object is to stand between them and the
// values of the program. A test compares them with the generated ones.

/** How rows are read. */
export interface Decoding {
  readonly typist: Typist;
  readonly asArrays: boolean;
  /** True where of two columns of one name the last one counts, in rows by name. */
  readonly namesMayRepeat?: boolean;
}

export function decoderOf(columns: readonly Column[], { typist, asArrays, namesMayRepeat }: Decoding): RowDecoder {
  if (!asArrays && !namesMayRepeat) {
    const names = new Set<string>();
    for (const { name } of columns) {
      if (names.has(name)) throw new TypeError(`two columns have the name ${JSON.stringify(name)}\nhint: give them names by AS, or read arrays with rowMode: 'array'`);
      names.add(name);
    }
  }
  return new RowDecoder(columns, columns.map(typist));
}

/** Writes the fields of a statement behind those that are written already; `fields` are the numbers of `sql` and `parameters`. */
export function writeStatement(
  writer: BinaryWriter,
  statement: Statement,
  fields: { readonly sql: number; readonly parameters: number },
  write: ParameterWriter,
  dialect: Dialect | undefined,
): void {
  writer.uint32((fields.sql << 3) | 2).string(statement.text);
  const tag = (fields.parameters << 3) | 2;
  statement.values.forEach((value, index) => {
    writer.uint32(tag).fork();
    try {
      write(writer, value, dialect);
    } catch (error) {
      if (error === NEEDS_DIALECT || !(error instanceof Error)) throw error;
      throw Object.assign(error, { message: `parameters[${index}] ($${index + 1}): ${error.message}` });
    }
    writer.join();
  });
}

export const QUERY_FIELDS = { sql: 2, parameters: 3 };
export const TRANSACT_QUERY_FIELDS = { sql: 1, parameters: 2 };
export const BATCH_FIELDS = { sql: 1, parameters: 2 };
export const COPY_OUT_FIELDS = { sql: 5, parameters: 6 };

/** A ResultSet, or a part of one. */
export interface Part {
  hasColumns: boolean;
  columns: Column[];
  rows: any[];
  rowsAffected: number;
  command: string;
  decoder: RowDecoder | undefined;
}

/** Reads a ResultSet that ends at `end`; `known` reads the rows of a part that has no columns of its own. */
export function readResultSet(reader: WireReader, end: number, decoding: Decoding, known?: RowDecoder): Part {
  const part: Part = { hasColumns: false, columns: [], rows: [], rowsAffected: 0, command: '', decoder: known };
  while (reader.position < end) {
    const tag = reader.uint32();
    switch (tag) {
      case 0x08:
        part.hasColumns = reader.uint32() !== 0;
        break;
      case 0x12: {
        const limit = reader.limit();
        part.columns.push(readColumn(reader, limit));
        break;
      }
      case 0x1a: {
        const decoder = (part.decoder ??= decoderOf(part.columns, decoding));
        const limit = reader.limit();
        part.rows.push(decoding.asArrays ? decoder.array(reader, limit) : decoder.object(reader, limit));
        break;
      }
      case 0x28:
        reader.int64();
        part.rowsAffected = reader.number();
        break;
      case 0x32:
        part.command = reader.text(reader.limit());
        break;
      default:
        reader.skip(tag);
    }
  }
  if (part.columns.length > 0) part.decoder ??= decoderOf(part.columns, decoding);
  return part;
}

export function resultOfPart(part: Part, attempts = 1, replayed = false): Result<any> {
  return new Result(part.rows, part.columns, part.rowsAffected, part.command, part.hasColumns, attempts, replayed);
}

/** Reads the response of a Query or of an ExecuteBatch: both have their results first. */
export function readResults(bytes: Uint8Array, decoding: Decoding): Result<any>[] {
  const reader = new WireReader(bytes);
  const parts: Part[] = [];
  let attempts = 1;
  let replayed = false;
  while (reader.position < reader.end) {
    const tag = reader.uint32();
    if (tag === 0x0a) {
      const limit = reader.limit();
      parts.push(readResultSet(reader, limit, decoding));
    } else if (tag === 0x10) {
      attempts = reader.uint32();
    } else if (tag === 0x18) {
      replayed = reader.uint32() !== 0;
    } else {
      reader.skip(tag);
    }
  }
  return parts.map((part) => resultOfPart(part, attempts, replayed));
}

export type StreamPart =
  | { readonly kind: 'header'; readonly hasColumns: boolean; readonly columns: Column[] }
  | { readonly kind: 'rows'; readonly rows: any[] }
  | { readonly kind: 'data'; readonly data: Uint8Array }
  | { readonly kind: 'summary'; readonly rowsAffected: number; readonly command: string; readonly rowCount: number }
  | { readonly kind: 'other' };

/** The field numbers of the parts of a StreamQueryResponse and of a CopyOutResponse. */
export const STREAM_PARTS = { header: 1, rows: 2, summary: 3, data: 4 };
export const COPY_OUT_PARTS = { header: 1, rows: 2, data: 3, summary: 4 };

/** Reads the parts of a streamed result, with the columns of its header. */
export class PartReader {
  private decoder: RowDecoder | undefined;

  constructor(private readonly fields: typeof STREAM_PARTS, private readonly decoding: Decoding) {}

  read(bytes: Uint8Array): StreamPart {
    const reader = new WireReader(bytes);
    const tag = reader.uint32();
    const end = reader.limit();
    switch (tag >>> 3) {
      case this.fields.header:
        return this.header(reader, end);
      case this.fields.rows:
        return { kind: 'rows', rows: this.rows(reader, end) };
      case this.fields.data:
        return { kind: 'data', data: reader.copy(end) };
      case this.fields.summary:
        return this.summary(reader, end);
      default:
        return { kind: 'other' };
    }
  }

  private header(reader: WireReader, end: number): StreamPart {
    const { hasColumns, columns, decoder } = readResultSet(reader, end, this.decoding);
    this.decoder = decoder ?? decoderOf(columns, this.decoding);
    return { kind: 'header', hasColumns, columns };
  }

  private rows(reader: WireReader, end: number): any[] {
    const { decoder } = this;
    if (!decoder) throw new MalformedMessage('rows come before the header');
    const rows: any[] = [];
    const { asArrays } = this.decoding;
    while (reader.position < end) {
      const tag = reader.uint32();
      if (tag !== 0x0a) {
        reader.skip(tag);
        continue;
      }
      const limit = reader.limit();
      rows.push(asArrays ? decoder.array(reader, limit) : decoder.object(reader, limit));
    }
    return rows;
  }

  // A ResultSummary has its count of rows in field 3, a CopyOutSummary in field 1.
  private summary(reader: WireReader, end: number): StreamPart {
    const isCopy = this.fields === COPY_OUT_PARTS;
    let [rowsAffected, rowCount, command] = [0, 0, ''];
    while (reader.position < end) {
      const tag = reader.uint32();
      if (tag === 0x08 || tag === 0x18) {
        reader.int64();
        if (tag === 0x18 || isCopy) rowCount = reader.number();
        else rowsAffected = reader.number();
      } else if (tag === 0x12) {
        command = reader.text(reader.limit());
      } else {
        reader.skip(tag);
      }
    }
    return { kind: 'summary', rowsAffected, command, rowCount };
  }
}
