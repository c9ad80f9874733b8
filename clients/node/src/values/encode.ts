import type { BinaryWriter } from '@bufbuild/protobuf/wire';
import { dimensionsOf, flattened, isArray, Json, lowerBoundsOf, StatementReference, SqlRecord } from './composite.js';
import { dateText, Instant } from './instant.js';

/** The kind of database behind a name, where values or quotation marks differ. */
export type Dialect = 'postgres' | 'sqlite' | 'mysql';

/** Thrown where the form of a value depends on the database, and its dialect is not known yet. */
export const NEEDS_DIALECT = Symbol.for('rowgate: the dialect is not known');

/** Writes one parameter into a `Value`. */
export type ParameterWriter = (writer: BinaryWriter, value: unknown, dialect: Dialect | undefined) => void;

const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);

/** Writes a value of JavaScript as a `Value`, so that the database gets exactly this value. */
export function writeValue(writer: BinaryWriter, value: unknown, dialect: Dialect | undefined): void {
  switch (typeof value) {
    case 'string':
      writer.uint32(0x2a).string(value);
      return;
    case 'number':
      writeNumber(writer, value, dialect);
      return;
    case 'bigint':
      if (value >= MIN_INT64 && value <= MAX_INT64) writer.uint32(0x18).int64(value);
      else writer.uint32(0x2a).string(String(value));
      return;
    case 'boolean':
      writer.uint32(0x10).bool(value);
      return;
    case 'object':
      writeObject(writer, value, dialect);
      return;
    default:
      throw new TypeError(value === undefined
        ? 'a parameter is undefined: write null for NULL'
        : `a ${typeof value} cannot be a parameter`);
  }
}

function writeNumber(writer: BinaryWriter, value: number, dialect: Dialect | undefined): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writer.uint32(0x18).int64(value);
  } else if (dialect === undefined) {
    throw NEEDS_DIALECT;
  } else if (dialect === 'postgres') {
    // As text it suits numeric, too, and the shortest decimal is the same number in a float8.
    writer.uint32(0x2a).string(Object.is(value, -0) ? '-0' : String(value));
  } else {
    writer.uint32(0x21).double(value);
  }
}

function writeObject(writer: BinaryWriter, value: object | null, dialect: Dialect | undefined): void {
  if (value === null) writer.uint32(0x08).int32(0);
  else if (value instanceof Date) writeDate(writer, value, dialect);
  else if (value instanceof Uint8Array) writer.uint32(0x32).bytes(value);
  else if (value instanceof ArrayBuffer) writer.uint32(0x32).bytes(new Uint8Array(value));
  else if (ArrayBuffer.isView(value)) writer.uint32(0x32).bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  else if (value instanceof SqlRecord) writeRecord(writer, value, dialect);
  else if (isArray(value)) writeArray(writer, value, dialect);
  else if (value instanceof Json) writer.uint32(0x2a).string(value.text);
  else if (value instanceof StatementReference) {
    writer.uint32(0x52).fork().uint32(0x08).uint32(value.statement).uint32(0x12).string(value.column).join();
  } else writer.uint32(0x2a).string(textOf(value));
}

function writeDate(writer: BinaryWriter, value: Date, dialect: Dialect | undefined): void {
  if (dialect === undefined) throw NEEDS_DIALECT;
  const text = dateText(value);
  if (dialect !== 'mysql') {
    writer.uint32(0x2a).string(text);
    return;
  }
  const milliseconds = value.getTime();
  const seconds = Math.floor(milliseconds / 1000);
  const micros = value instanceof Instant ? value.microseconds : 0;
  const nanos = (milliseconds - seconds * 1000) * 1e6 + micros * 1000;
  writer.uint32(0x3a).fork();
  if (seconds !== 0) writer.uint32(0x08).int64(seconds);
  if (nanos !== 0) writer.uint32(0x10).int32(nanos);
  writer.join();
}

function writeRecord(writer: BinaryWriter, value: readonly unknown[], dialect: Dialect | undefined): void {
  writer.uint32(0x4a).fork();
  for (const field of value) writeEach(writer, field, dialect);
  writer.join();
}

function writeArray(writer: BinaryWriter, value: readonly unknown[], dialect: Dialect | undefined): void {
  const dimensions = dimensionsOf(value);
  const isEmpty = dimensions.includes(0);
  writer.uint32(0x42).fork();
  if (!isEmpty) for (const element of flattened(value, dimensions)) writeEach(writer, element, dialect);
  if (!isEmpty && dimensions.length > 1) writeIntegers(writer, 0x12, dimensions);
  const bounds = lowerBoundsOf(value);
  if (!isEmpty && bounds.length > 0) writeIntegers(writer, 0x1a, bounds);
  writer.join();
}

function writeEach(writer: BinaryWriter, value: unknown, dialect: Dialect | undefined): void {
  writer.uint32(0x0a).fork();
  writeValue(writer, value, dialect);
  writer.join();
}

function writeIntegers(writer: BinaryWriter, tag: number, integers: readonly number[]): void {
  writer.uint32(tag).fork();
  for (const integer of integers) writer.int32(integer);
  writer.join();
}

// Plain objects are JSON documents. Of other classes the text is taken that they give for JSON (decimals, dates and times of
// libraries, URLs …), or else a `toString` of their own.
function textOf(value: object): string {
  const { toJSON } = value as { toJSON?: () => unknown };
  const prototype: unknown = Object.getPrototypeOf(value);
  if (typeof toJSON === 'function' && prototype !== Object.prototype) {
    const made: unknown = toJSON.call(value);
    return typeof made === 'string' ? made : JSON.stringify(made);
  }
  if (prototype === Object.prototype || prototype === null) return JSON.stringify(value);
  if (value.toString !== Object.prototype.toString && !(value instanceof Map) && !(value instanceof Set)) return String(value);
  const name = value.constructor?.name ?? 'object';
  throw new TypeError(`a ${name} cannot be a parameter: give its text, or json(value) for a JSON document`);
}
