/**
 * A moment with microseconds, as a database keeps them: a `Date` that loses nothing.
 *
 * It is a `Date` in every other respect; its `toISOString` and `toJSON` have six digits where the last three are not zero.
 */
export class Instant extends Date {
  /** The microseconds beyond the milliseconds, 0 to 999. */
  readonly microseconds: number;

  constructor(milliseconds: number, microseconds = 0) {
    super(milliseconds);
    this.microseconds = microseconds;
  }

  /** The moment of seconds and nanoseconds since 1970. */
  static of(seconds: number, nanos: number): Instant {
    const micros = Math.floor(nanos / 1000);
    return new Instant(seconds * 1000 + Math.floor(micros / 1000), micros % 1000);
  }

  override toISOString(): string {
    const text = super.toISOString();
    if (this.microseconds === 0) return text;
    return `${text.slice(0, -1)}${String(this.microseconds).padStart(3, '0')}Z`;
  }

  override toJSON(): string {
    return this.toISOString();
  }

  // Arithmetic and comparison see milliseconds, as with any Date.
}

const pad = (number: number, digits: number) => String(number).padStart(digits, '0');

/** The text of a moment, as every database of Rowgate's reads it: `2026-01-31T23:59:59.999999Z`, years before 1 with ` BC`. */
export function dateText(date: Date): string {
  const time = date.getTime();
  if (Number.isNaN(time)) throw new TypeError('a parameter is an invalid Date');
  const year = date.getUTCFullYear();
  if (year >= 1 && year <= 9999) return date.toISOString();
  const micros = date instanceof Instant ? pad(date.microseconds, 3) : '';
  const years = pad(year < 1 ? 1 - year : year, 4);
  const day = `${years}-${pad(date.getUTCMonth() + 1, 2)}-${pad(date.getUTCDate(), 2)}`;
  const clock = `${pad(date.getUTCHours(), 2)}:${pad(date.getUTCMinutes(), 2)}:${pad(date.getUTCSeconds(), 2)}`;
  return `${day} ${clock}.${pad(date.getUTCMilliseconds(), 3)}${micros}+00${year < 1 ? ' BC' : ''}`;
}

/** PostgreSQL's own text of a timestamptz in UTC: `2026-01-31 23:59:59.5+00`. */
export function timestampText(seconds: number, nanos: number): string {
  const date = new Date(seconds * 1000);
  const micros = Math.floor(nanos / 1000);
  const fraction = micros === 0 ? '' : `.${pad(micros, 6).replace(/0+$/, '')}`;
  const text = date.toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 19)}${fraction}+00`;
}
