import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { checkedText } from './checks.js';
import { failureOf, StatusError } from './errors/failure.js';
import { FeatureNotSupported } from './errors/reasons.js';
import {
  CopyFormat, CopyInRequestSchema, CopyInResponseSchema, type CopyTextOptionsSchema,
} from './gen/rowgate/v1/database_pb.js';
import type { CallOptions, KeyOptions } from './options.js';
import type { Sql } from './sql.js';
import type { Duplex } from './transport/transport.js';
import { NEEDS_DIALECT, writeValue, type Dialect } from './values/encode.js';

/** The form of CSV and of PostgreSQL's text format. */
export interface CopyText {
  delimiter?: string;
  nullText?: string;
  header?: boolean;
  quote?: string;
  escape?: string;
}

interface CopyTable {
  schema?: string;
  table: string;
  columns?: readonly string[];
}

export interface CopyInOptions extends CallOptions, KeyOptions, CopyTable, CopyText {
  /** `rows` without: each row is an array of values. Else the data is text or bytes; `arrow` where the server takes it. */
  format?: 'rows' | 'csv' | 'text' | 'arrow';
}

export interface CopyInResult {
  readonly rowsAffected: number;
  readonly attempts: number;
  readonly replayed: boolean;
}

export interface CopyOutOptions extends CallOptions, CopyText {
  schema?: string;
  columns?: readonly string[];
  format?: 'csv' | 'text' | 'arrow' | 'rows';
  /** The values of a query that is given as a text. */
  values?: readonly unknown[];
  maxRows?: number;
  maxBytes?: number;
}

/** The name of a table, or a query. */
export type CopySource = string | Sql | { readonly sql: string };

/** Rows, or data in a text format, at once or as they come. */
export type CopyData = Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]> | CopyTextData;
type CopyTextData = string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** The size of a message of rows or data, in bytes. */
const CHUNK = 64 * 1024;

const FORMATS = { rows: CopyFormat.ROWS, csv: CopyFormat.CSV, text: CopyFormat.TEXT, arrow: CopyFormat.ARROW };

export function copyFormat(format: keyof typeof FORMATS | undefined): CopyFormat {
  const number = FORMATS[format ?? 'rows'];
  if (number === undefined) throw new TypeError(`the format of a copy is one of ${Object.keys(FORMATS).join(', ')}, not ${format}`);
  return number;
}

export function copyText({ delimiter, nullText, header, quote, escape }: CopyText): MessageInitShape<typeof CopyTextOptionsSchema> {
  const marks = { delimiter, quote, escape };
  for (const [name, mark] of Object.entries(marks)) if (mark !== undefined) checkedText(name, mark);
  return { ...marks, nullText, header };
}

type Start = Extract<MessageInitShape<typeof CopyInRequestSchema>['part'], { case: 'start' }>['value'];

/** Sends a copy: the start, the data, the end. What fails on the way is rolled back. */
export async function copyIn(call: Duplex, start: Start, data: CopyData, isText: boolean, dialect: () => Promise<Dialect>): Promise<CopyInResult> {
  const part = (value: NonNullable<MessageInitShape<typeof CopyInRequestSchema>['part']>) =>
    toBinary(CopyInRequestSchema, create(CopyInRequestSchema, { part: value }));
  const progress = { isEndSent: false, answer: undefined as Promise<Uint8Array | undefined> | undefined, isAnswered: false, interrupt: () => {} };
  const messages = isText ? dataMessages(data as CopyTextData) : rowMessages(data as Iterable<readonly unknown[]>, dialect);
  try {
    // The answer may come at any time: a row that cannot be taken fails the call at once.
    progress.answer = call.next();
    const settle = () => {
      progress.isAnswered = true;
      progress.interrupt();
    };
    progress.answer.then(settle, settle);
    await call.send(part({ case: 'start', value: start }));
    // An answer ends it also where the data has nothing to send for now.
    const next = () => new Promise<IteratorResult<Uint8Array> | undefined>((resolve, reject) => {
      progress.interrupt = () => resolve(undefined);
      messages.next().then(resolve, reject);
    });
    for (let message = await next(); message && !message.done && !progress.isAnswered; message = await next()) await call.send(message.value);
    if (progress.isAnswered) {
      messages.return(undefined).catch(() => {});
    } else {
      progress.isEndSent = true;
      await call.send(part({ case: 'end', value: {} }));
      call.end();
    }
    const bytes = await progress.answer;
    if (!bytes) throw new StatusError({ code: 2, message: 'the copy ended without an answer', details: [] });
    const { rowsAffected, attempts, replayed } = fromBinary(CopyInResponseSchema, bytes);
    void call.next().catch(() => {});
    return { rowsAffected: Number(rowsAffected), attempts, replayed };
  } catch (error) {
    call.cancel();
    if (error instanceof StatusError) throw failureOf(error, { isHarmless: !progress.isEndSent });
    // The data itself failed: the server has rolled back.
    throw error;
  }
}

async function* dataMessages(data: CopyTextData): AsyncGenerator<Uint8Array> {
  const whole = typeof data === 'string' || data instanceof Uint8Array ? [data] : data;
  const encoder = new TextEncoder();
  for await (const piece of whole) {
    const bytes = typeof piece === 'string' ? encoder.encode(piece) : piece;
    if (!(bytes instanceof Uint8Array)) throw new TypeError('the data of a copy as csv or text is text or bytes');
    for (let at = 0; at < bytes.length; at += CHUNK) {
      yield new BinaryWriter().uint32(0x1a).bytes(bytes.subarray(at, at + CHUNK)).finish();
    }
  }
}

// A message of `rows`: a RowBatch with its rows, each with its values.
async function* rowMessages(rows: Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>, dialect: () => Promise<Dialect>): AsyncGenerator<Uint8Array> {
  let batch: Uint8Array[] = [];
  let size = 0;
  let known: Dialect | undefined;
  for await (const row of rows) {
    if (!Array.isArray(row)) throw new TypeError('a row of a copy is an array of values');
    let bytes: Uint8Array;
    try {
      bytes = rowBytes(row, known);
    } catch (error) {
      if (error !== NEEDS_DIALECT) throw error;
      known = await dialect();
      bytes = rowBytes(row, known);
    }
    batch.push(bytes);
    size += bytes.length;
    if (size >= CHUNK) {
      yield rowsMessage(batch);
      batch = [];
      size = 0;
    }
  }
  if (batch.length > 0) yield rowsMessage(batch);
}

function rowBytes(row: readonly unknown[], dialect: Dialect | undefined): Uint8Array {
  const writer = new BinaryWriter();
  for (const value of row) {
    writer.uint32(0x0a).fork();
    writeValue(writer, value, dialect);
    writer.join();
  }
  return writer.finish();
}

function rowsMessage(rows: readonly Uint8Array[]): Uint8Array {
  const writer = new BinaryWriter().uint32(0x12).fork();
  for (const row of rows) writer.uint32(0x0a).bytes(row);
  return writer.join().finish();
}

/** The error of a transport that has no stream of requests. */
export function needsGrpc(what: string, instead: string): Error {
  return new FeatureNotSupported({
    message: `${what} is not available over fetch: it needs a stream of requests\nhint: ${instead}`,
    status: 'UNIMPLEMENTED', reason: FeatureNotSupported.reason, outcome: 'NOT_APPLIED', code: '0A000',
  });
}
