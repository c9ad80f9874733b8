import { timestampText } from './instant.js';
import { readArray, readRecord, readTimestamp, shortest, type ReadArray } from './kinds.js';
import type { Typing } from './typing.js';
import { MalformedMessage, type WireReader } from './wire.js';

/** The text of a `Value` as PostgreSQL prints it, which parsers of node-postgres read. It is not NULL. */
export function printed(reader: WireReader, end: number, typing: Typing): string {
  const text = printedOrNull(reader, end, typing);
  if (text === null) throw new MalformedMessage('a value is NULL where it may not be');
  return text;
}

function printedOrNull(reader: WireReader, end: number, typing: Typing): string | null {
  const tag = reader.uint32();
  switch (tag >>> 3) {
    case 1:
      reader.position = end;
      return null;
    case 2:
      return reader.uint32() === 0 ? 'f' : 't';
    case 3:
      reader.int64();
      return String(reader.bigint());
    case 4:
      return float(typing.isShortFloat ? shortest(reader.double()) : reader.double());
    case 5:
      return reader.text(reader.limit());
    case 6:
      return hex(reader.copy(reader.limit()));
    case 7: {
      const { seconds, nanos } = readTimestamp(reader);
      return timestampText(seconds, nanos);
    }
    case 8:
      return arrayText(readArray(reader, typing.element ?? typing, printedOrNull), typing.delimiter ?? ',');
    case 9: {
      const fields = readRecord(reader, typing.element ?? typing, printedOrNull) as (string | null)[];
      return `(${fields.map((field) => (field === null ? '' : quotedField(field))).join(',')})`;
    }
    default:
      throw new MalformedMessage('a value is of a kind that this client does not know: update it');
  }
}

function float(number: number): string {
  return Object.is(number, -0) ? '-0' : String(number);
}

function hex(bytes: Uint8Array): string {
  let text = '\\x';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

function arrayText(array: ReadArray<string | null>, delimiter: string): string {
  const lengths = array.dimensions.length > 0 ? array.dimensions : [array.elements.length];
  if (array.elements.length === 0) return '{}';
  let at = 0;
  const level = (depth: number): string => {
    const parts: string[] = [];
    for (let index = 0; index < lengths[depth]!; index += 1) {
      if (depth + 1 < lengths.length) {
        parts.push(level(depth + 1));
      } else {
        const element = array.elements[at]!;
        at += 1;
        parts.push(element === null ? 'NULL' : quotedElement(element, delimiter));
      }
    }
    return `{${parts.join(delimiter)}}`;
  };
  const bounds = array.lowerBounds.some((bound) => bound !== 1)
    ? `${array.lowerBounds.map((bound, index) => `[${bound}:${bound + lengths[index]! - 1}]`).join('')}=`
    : '';
  return bounds + level(0);
}

function quotedElement(text: string, delimiter: string): string {
  const isPlain = text !== '' && !/[\s{}"\\]/.test(text) && !text.includes(delimiter) && text.toUpperCase() !== 'NULL';
  return isPlain ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

function quotedField(text: string): string {
  const isPlain = text !== '' && !/[\s(),"\\]/.test(text);
  return isPlain ? text : `"${text.replace(/["\\]/g, '$&$&')}"`;
}
