import { defaults } from './defaults.js';

/** A value that says itself what it is sent as. */
export interface ToPostgres {
  toPostgres(prepare: (value: unknown) => string | Uint8Array | null): unknown;
}

/** The text, the bytes or NULL that a value is sent as. */
export function prepareValue(value: unknown, seen: readonly unknown[] = []): string | Uint8Array | null {
  if (value === null || value === undefined) return null;
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof Date) return defaults.parseInputDatesAsUTC ? utcText(value) : localText(value);
  if (Array.isArray(value)) return arrayLiteral(value);
  if (typeof value !== 'object') return String(value);
  if (typeof (value as ToPostgres).toPostgres === 'function') {
    if (seen.includes(value)) throw new TypeError('toPostgres of a value leads back to the value itself');
    return prepareValue((value as ToPostgres).toPostgres((each) => prepareValue(each)), [...seen, value]);
  }
  return JSON.stringify(value);
}

function arrayLiteral(array: readonly unknown[]): string {
  return `{${array.map(element).join(',')}}`;
}

function element(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (Array.isArray(value)) return arrayLiteral(value);
  const prepared = prepareValue(value);
  if (prepared === null) return 'NULL';
  const text = typeof prepared === 'string' ? prepared : `\\x${Buffer.from(prepared).toString('hex')}`;
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

const pad = (number: number, digits: number) => String(number).padStart(digits, '0');

function utcText(date: Date): string {
  if (Number.isNaN(date.getTime())) throw new TypeError('a parameter is an invalid Date');
  const year = date.getUTCFullYear();
  const rest = date.toISOString().slice(-20, -1);
  return `${pad(year < 1 ? 1 - year : year, 4)}${rest}+00:00${year < 1 ? ' BC' : ''}`;
}

// The clock of this machine with its offset: a timestamp without a zone is what the clock shows.
function localText(date: Date): string {
  if (Number.isNaN(date.getTime())) throw new TypeError('a parameter is an invalid Date');
  const year = date.getFullYear();
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${pad(Math.floor(Math.abs(offset) / 60), 2)}:${pad(Math.abs(offset) % 60, 2)}`;
  const day = `${pad(year < 1 ? 1 - year : year, 4)}-${pad(date.getMonth() + 1, 2)}-${pad(date.getDate(), 2)}`;
  const clock = `${pad(date.getHours(), 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}.${pad(date.getMilliseconds(), 3)}`;
  return `${day}T${clock}${zone}${year < 1 ? ' BC' : ''}`;
}
