import { nested, withLowerBounds } from './composite.js';
import { Instant } from './instant.js';
import { readArray, readRecord, readTimestamp, shortest } from './kinds.js';
import { printed } from './printed.js';
import { dataType, nullability, type Column, type ColumnOrigin } from './types.js';
import { exactNumber, type Typing } from './typing.js';
import { MalformedMessage, WireReader } from './wire.js';

// Tags of rowgate.v1.Value: a field's number and its wire type.
const NULL = 0x08;
const BOOL = 0x10;
const INT64 = 0x18;
const FLOAT64 = 0x21;
const TEXT = 0x2a;
const BYTES = 0x32;
const TIMESTAMP = 0x3a;
const ARRAY = 0x42;
const RECORD = 0x4a;

/** Reads the rows of one result into values of JavaScript. */
export class RowDecoder {
  private readonly typings: readonly Typing[];
  private readonly template: Record<string, unknown>;
  private readonly names: readonly string[];
  // With this name an assignment would set the prototype of the row.
  private readonly hasProto: boolean;

  constructor(readonly columns: readonly Column[], typings: readonly Typing[]) {
    this.typings = typings;
    this.names = columns.map(({ name }) => name);
    this.hasProto = this.names.includes('__proto__');
    this.template = {};
    for (const name of this.names) if (name !== '__proto__') this.template[name] = null;
  }

  /** A `Row` that ends at `end`, by position. */
  array(reader: WireReader, end: number): unknown[] {
    const { typings } = this;
    const row: unknown[] = new Array(typings.length);
    let index = 0;
    while (reader.position < end) {
      const limit = this.value(reader, index);
      row[index] = readValue(reader, limit, typings[index]!);
      index += 1;
    }
    return this.complete(row, index);
  }

  /** A `Row` that ends at `end`, by name. Of two columns of one name the last one counts, where such are not refused. */
  object(reader: WireReader, end: number): Record<string, unknown> {
    const { names, typings } = this;
    const row: Record<string, unknown> = { ...this.template };
    let index = 0;
    while (reader.position < end) {
      const limit = this.value(reader, index);
      const value = readValue(reader, limit, typings[index]!);
      if (this.hasProto && names[index] === '__proto__') define(row, value);
      else row[names[index]!] = value;
      index += 1;
    }
    return this.complete(row, index);
  }

  private value(reader: WireReader, index: number): number {
    if (reader.uint32() !== 0x0a || index >= this.typings.length) throw new MalformedMessage('a row has other fields than its columns');
    return reader.limit();
  }

  private complete<T>(row: T, count: number): T {
    if (count !== this.typings.length) throw new MalformedMessage('a row has fewer values than columns');
    return row;
  }
}

function define(row: Record<string, unknown>, value: unknown): void {
  Object.defineProperty(row, '__proto__', { value, enumerable: true, writable: true, configurable: true });
}

/** Reads a `Value` that ends at `end`. */
export function readValue(reader: WireReader, end: number, typing: Typing): unknown {
  const tag = reader.uint32();
  if (typing.any && tag !== NULL) {
    reader.position -= 1;
    return typing.any(printed(reader, end, typing));
  }
  switch (tag) {
    case NULL:
      reader.position = end;
      return null;
    case INT64:
      reader.int64();
      return integer(reader, typing);
    case TEXT: {
      const text = reader.text(reader.limit());
      return typing.text ? typing.text(text) : text;
    }
    case BOOL:
      return reader.uint32() !== 0;
    case FLOAT64: {
      const number = reader.double();
      return typing.isShortFloat ? shortest(number) : number;
    }
    case BYTES: {
      const bytes = reader.copy(reader.limit());
      return typing.bytes ? typing.bytes(bytes) : bytes;
    }
    case TIMESTAMP: {
      const { seconds, nanos } = readTimestamp(reader);
      return typing.timestamp ? typing.timestamp(seconds, nanos) : Instant.of(seconds, nanos);
    }
    case ARRAY: {
      const { elements, dimensions, lowerBounds } = readArray(reader, typing.element ?? typing, readValue);
      return withLowerBounds(nested(elements, dimensions), lowerBounds);
    }
    case RECORD:
      return readRecord(reader, typing.element ?? FIELD, readValue);
    default:
      throw new MalformedMessage('a value is of a kind that this client does not know: update it');
  }
}

/** The fields of a record have no column: integers of any width are exact. */
const FIELD: Typing = { integer: 'bigint' };

function integer(reader: WireReader, typing: Typing): unknown {
  if (typing.integer === 'bigint') return reader.bigint();
  const number = reader.number();
  if (typing.integer === 'safe' && Number.isSafeInteger(number)) return number;
  if (typing.integer === 'number') {
    return Number.isSafeInteger(number) ? number : exactNumber(number, reader.bigint());
  }
  return Number.isSafeInteger(number) ? String(number) : String(reader.bigint());
}

/** Reads a `Column`. */
export function readColumn(reader: WireReader, end: number): Column {
  let [name, typeName] = ['', ''];
  let [type, elementType, typeOid, known] = [0, 0, 0, 0];
  let origin: ColumnOrigin | undefined;
  while (reader.position < end) {
    const tag = reader.uint32();
    switch (tag) {
      case 0x0a:
        name = reader.text(reader.limit());
        break;
      case 0x10:
        type = reader.uint32();
        break;
      case 0x18:
        elementType = reader.uint32();
        break;
      case 0x22:
        typeName = reader.text(reader.limit());
        break;
      case 0x28:
        typeOid = reader.uint32();
        break;
      case 0x30:
        known = reader.uint32();
        break;
      case 0x3a:
        origin = readOrigin(reader);
        break;
      default:
        reader.skip(tag);
    }
  }
  return {
    name, type: dataType(type), elementType: dataType(elementType), typeName, typeOid, nullability: nullability(known),
    ...(origin && { origin }),
  };
}

function readOrigin(reader: WireReader): ColumnOrigin {
  const end = reader.limit();
  const texts = ['', '', '', ''];
  let tableOid = 0;
  while (reader.position < end) {
    const tag = reader.uint32();
    const field = tag >>> 3;
    if ((tag & 7) === 2 && field <= 3) texts[field] = reader.text(reader.limit());
    else if (tag === 0x20) tableOid = reader.uint32();
    else reader.skip(tag);
  }
  return { schema: texts[1]!, table: texts[2]!, column: texts[3]!, tableOid };
}
