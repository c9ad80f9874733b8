import { SqlRecord } from './composite.js';
import type { Typing } from './typing.js';
import type { WireReader } from './wire.js';

/** The shortest decimal that is the same number in single precision: 1.1 for 1.10000002384185791015625. */
export function shortest(number: number): number {
  if (!Number.isFinite(number)) return number;
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(number.toPrecision(digits));
    if (Math.fround(short) === number) return short;
  }
  return number;
}

/** Reads a `google.protobuf.Timestamp`. */
export function readTimestamp(reader: WireReader): { seconds: number; nanos: number } {
  const end = reader.limit();
  let seconds = 0;
  let nanos = 0;
  while (reader.position < end) {
    const tag = reader.uint32();
    if (tag === 0x08) {
      reader.int64();
      seconds = reader.number();
    } else if (tag === 0x10) {
      nanos = reader.uint32();
    } else {
      reader.skip(tag);
    }
  }
  return { seconds, nanos };
}

type ReadEach<T> = (reader: WireReader, end: number, typing: Typing) => T;

export interface ReadArray<T> {
  elements: T[];
  dimensions: number[];
  lowerBounds: number[];
}

/** Reads an `ArrayValue`, each element by `read`. */
export function readArray<T>(reader: WireReader, typing: Typing, read: ReadEach<T>): ReadArray<T> {
  const end = reader.limit();
  const array: ReadArray<T> = { elements: [], dimensions: [], lowerBounds: [] };
  while (reader.position < end) {
    const tag = reader.uint32();
    switch (tag) {
      case 0x0a: {
        const limit = reader.limit();
        array.elements.push(read(reader, limit, typing));
        break;
      }
      case 0x12:
      case 0x10:
        readIntegers(reader, tag, array.dimensions);
        break;
      case 0x1a:
      case 0x18:
        readIntegers(reader, tag, array.lowerBounds);
        break;
      default:
        reader.skip(tag);
    }
  }
  return array;
}

function readIntegers(reader: WireReader, tag: number, into: number[]): void {
  const end = (tag & 7) === 2 ? reader.limit() : reader.position + 1;
  while (reader.position < end) {
    reader.int64();
    into.push(reader.low);
  }
}

/** Reads a `RecordValue`, each field by `read`. */
export function readRecord<T>(reader: WireReader, typing: Typing, read: ReadEach<T>): SqlRecord {
  const end = reader.limit();
  const fields = new SqlRecord();
  while (reader.position < end) {
    const tag = reader.uint32();
    if (tag === 0x0a) {
      const limit = reader.limit();
      fields.push(read(reader, limit, typing));
    } else {
      reader.skip(tag);
    }
  }
  return fields;
}
