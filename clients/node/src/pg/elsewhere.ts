import type { BinaryWriter } from '@bufbuild/protobuf/wire';
import { writeValue, type Dialect } from '../values/encode.js';
import { prepareValue, type ToPostgres } from './prepare.js';
import type { TypeParser } from './types.js';

// Values of SQLite, MySQL and MariaDB in the shape of node-postgres. Those databases type no parameters, and keep dates without
// a zone: a Date goes in as UTC and comes back as UTC, whatever the clock of this machine shows.

/** Writes a parameter. A number that is sent as text would stay a text where it is compared with an expression. */
export function writeElsewhere(writer: BinaryWriter, value: unknown, dialect: Dialect): void {
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' || value instanceof Date) {
    writeValue(writer, value, dialect);
  } else if (typeof (value as ToPostgres | null)?.toPostgres === 'function') {
    const made = (value as ToPostgres).toPostgres((each) => prepareValue(each));
    if (made === value) throw new TypeError('toPostgres of a value leads back to the value itself');
    writeElsewhere(writer, made, dialect);
  } else {
    // There are no arrays: a list is a JSON document, which such is read from.
    writeValue(writer, Array.isArray(value) ? JSON.stringify(value) : prepareValue(value), dialect);
  }
}

const MOMENT = /^(\d{4,6})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?( BC)?$/i;

/**
 * The Date of a date, a time and a zone, UTC where there is none, without the digits behind the milliseconds. A text that is no
 * such moment stays what it is: SQLite's columns hold any, and MySQL's days of zero.
 */
export function momentOf(text: string): Date | string {
  const match = MOMENT.exec(text);
  if (!match) return text;
  const part = (index: number) => Number(match[index] ?? 0);
  const [year, month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5), part(6)];
  const date = new Date(0);
  date.setUTCFullYear(match[11] ? 1 - year : year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) return text;
  const offset = (part(9) * 60 + part(10)) * (match[8] === '-' ? -1 : 1);
  date.setUTCHours(hour, minute - offset, second, Number((match[7] ?? '').padEnd(3, '0').slice(0, 3)));
  return date;
}

/** A parser of JSON that gives the text of what is no document: SQLite does not check what such a column holds. */
export const documentOf = (parser: TypeParser): TypeParser => (text) => {
  try {
    return parser(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
};
