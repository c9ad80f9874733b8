import { brand } from '../brand.js';

/** A range of a database. A bound that is null is unbounded. */
export class Range<T = unknown> {
  static {
    brand(this, 'Range');
  }

  constructor(
    readonly lower: T | null,
    readonly upper: T | null,
    readonly bounds: '[)' | '[]' | '(]' | '()' = '[)',
    readonly isEmpty = false,
  ) {}

  /** The range that contains nothing. */
  static empty<T>(): Range<T> {
    return new Range<T>(null, null, '()', true);
  }

  /** The text that PostgreSQL reads. */
  toString(): string {
    if (this.isEmpty) return 'empty';
    return `${this.bounds[0]}${bound(this.lower)},${bound(this.upper)}${this.bounds[1]}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** A multirange of PostgreSQL: ranges in order. */
export class MultiRange<T = unknown> {
  static {
    brand(this, 'MultiRange');
  }

  constructor(readonly ranges: readonly Range<T>[]) {}

  toString(): string {
    return `{${this.ranges.join(',')}}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

function bound(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = value instanceof Date ? value.toISOString() : String(value);
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** Reads the text of a range or a multirange; the bounds by `read`. */
export function parseRange<T>(text: string, read: (text: string) => T): Range<T> | MultiRange<T> {
  const parser = new RangeParser(text, read);
  return text.startsWith('{') ? parser.multirange() : parser.whole();
}

class RangeParser<T> {
  private at = 0;

  constructor(private readonly text: string, private readonly read: (text: string) => T) {}

  multirange(): MultiRange<T> {
    const ranges: Range<T>[] = [];
    this.at = 1;
    while (this.text[this.at] !== '}') {
      ranges.push(this.range());
      if (this.text[this.at] === ',') this.at += 1;
    }
    return new MultiRange(ranges);
  }

  whole(): Range<T> {
    if (this.text === 'empty') return Range.empty();
    const range = this.range();
    if (this.at !== this.text.length) throw this.unreadable();
    return range;
  }

  private range(): Range<T> {
    const open = this.text[this.at];
    if (open !== '[' && open !== '(') throw this.unreadable();
    this.at += 1;
    const lower = this.bound();
    if (this.text[this.at] !== ',') throw this.unreadable();
    this.at += 1;
    const upper = this.bound();
    const close = this.text[this.at];
    if (close !== ']' && close !== ')') throw this.unreadable();
    this.at += 1;
    return new Range(lower, upper, `${open}${close}`);
  }

  // Quotation marks may enclose any part of a bound, as in a record.
  private bound(): T | null {
    let value = '';
    let isQuoted = false;
    let isSet = false;
    for (; this.at < this.text.length; this.at += 1) {
      const char = this.text[this.at]!;
      if (char === '"') {
        if (isQuoted && this.text[this.at + 1] === '"') {
          value += char;
          this.at += 1;
        } else {
          isQuoted = !isQuoted;
        }
        isSet = true;
      } else if (char === '\\') {
        this.at += 1;
        value += this.text[this.at] ?? '';
        isSet = true;
      } else if (!isQuoted && (char === ',' || char === ')' || char === ']')) {
        break;
      } else {
        value += char;
        isSet = true;
      }
    }
    return isSet ? this.read(value) : null;
  }

  private unreadable(): Error {
    return new TypeError(`no range can be read from ${JSON.stringify(this.text.slice(0, 80))}`);
  }
}
