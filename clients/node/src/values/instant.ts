import { brand } from '../brand.js';

/**
 * A moment with microseconds, as a database keeps them: a `Date` that loses nothing.
 *
 * It is a `Date` in every other respect; its `toISOString` and `toJSON` have six digits where the last three are not zero. A setter
 * that sets the milliseconds sets the microseconds to zero.
 */
export class Instant extends Date {
  static {
    brand(this, 'Instant');
  }

  /** The microseconds beyond the milliseconds, 0 to 999. */
  declare readonly microseconds: number;

  constructor(milliseconds: number, microseconds = 0) {
    super(milliseconds);
    keep(this, microseconds);
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

  override setTime(time: number): number {
    return settled(this, super.setTime(time));
  }

  override setMilliseconds(ms: number): number {
    return settled(this, super.setMilliseconds(ms));
  }

  override setUTCMilliseconds(ms: number): number {
    return settled(this, super.setUTCMilliseconds(ms));
  }

  override setSeconds(...given: [sec: number, ms?: number]): number {
    return settled(this, super.setSeconds(...given), given.length > 1);
  }

  override setUTCSeconds(...given: [sec: number, ms?: number]): number {
    return settled(this, super.setUTCSeconds(...given), given.length > 1);
  }

  override setMinutes(...given: [min: number, sec?: number, ms?: number]): number {
    return settled(this, super.setMinutes(...given), given.length > 2);
  }

  override setUTCMinutes(...given: [min: number, sec?: number, ms?: number]): number {
    return settled(this, super.setUTCMinutes(...given), given.length > 2);
  }

  override setHours(...given: [hours: number, min?: number, sec?: number, ms?: number]): number {
    return settled(this, super.setHours(...given), given.length > 3);
  }

  override setUTCHours(...given: [hours: number, min?: number, sec?: number, ms?: number]): number {
    return settled(this, super.setUTCHours(...given), given.length > 3);
  }

  // Arithmetic and comparison see milliseconds, as with any Date.
}

const keep = (instant: Instant, microseconds: number): void =>
  void Object.defineProperty(instant, 'microseconds', { value: microseconds, enumerable: true, configurable: true, writable: false });

// What sets the milliseconds means the whole of what is behind the second.
function settled(instant: Instant, time: number, isWhole = true): number {
  if (isWhole) keep(instant, 0);
  return time;
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
