import { parseRange } from './range.js';
import type { Column, DataType, Int64Form, TextReader, ValueOptions } from './types.js';

/** What becomes of the kinds of value that a column may hold. */
export interface Typing {
  /** `safe` is a number up to 2^53, and its text beyond. */
  readonly integer: Int64Form | 'safe';
  /** For `text_value`; without it the text itself. */
  readonly text?: TextReader;
  /** For every kind: the value is first written as PostgreSQL prints it. */
  readonly any?: TextReader;
  /** True for a single-precision number whose shortest decimal is wanted. */
  readonly isShortFloat?: boolean;
  readonly bytes?: (bytes: Uint8Array) => unknown;
  /** Seconds and nanoseconds since 1970. */
  readonly timestamp?: (seconds: number, nanos: number) => unknown;
  /** For the elements of an array, and the fields of a record. */
  readonly element?: Typing;
  /** The character between the elements of an array's text. */
  readonly delimiter?: string;
}

/** Chooses what becomes of the values of a column. */
export type Typist = (column: Column) => Typing;

/** The readers of the bounds of PostgreSQL's own ranges. */
const BOUNDS: Record<string, (text: string, int64: Int64Form) => unknown> = {
  int4range: (text) => Number(text),
  int4multirange: (text) => Number(text),
  int8range: integer,
  int8multirange: integer,
};

function integer(text: string, form: Int64Form): unknown {
  if (form === 'string') return text;
  const exact = BigInt(text);
  if (form === 'bigint') return exact;
  return exactNumber(Number(text), exact);
}

/** A number that is what it was; otherwise a RangeError. */
export function exactNumber(number: number, exact: bigint | string): number {
  if (Number.isSafeInteger(number)) return number;
  throw new RangeError(`${exact} is beyond 2^53: read it with int64: 'bigint' or 'string'`);
}

/** The typing of the native API: nothing is lost, and nothing is rounded. */
export function nativeTypist(options: ValueOptions): Typist {
  const int64 = options.int64 ?? 'bigint';
  const own = options.readers ?? {};
  const readerOf = (type: DataType, typeName: string, isPostgres: boolean): TextReader | undefined => {
    if (Object.hasOwn(own, typeName)) return own[typeName];
    if (Object.hasOwn(own, type)) return own[type];
    if (type === 'JSON' && options.json !== 'text') return isPostgres ? JSON.parse : parsedWherePossible;
    if (type === 'RANGE') {
      const bound = BOUNDS[typeName];
      return (text) => parseRange(text, bound ? (each) => bound(each, int64) : (each) => each);
    }
    return undefined;
  };
  const typingOf = (type: DataType, typeName: string, isPostgres: boolean): Typing => ({
    integer: type === 'INT16' || type === 'INT32' ? 'number' : int64,
    text: readerOf(type, typeName, isPostgres),
  });
  return (column) => {
    const isPostgres = column.typeOid !== 0;
    const typing = typingOf(column.type, column.typeName, isPostgres);
    if (column.type !== 'ARRAY') return typing;
    const name = column.typeName.replace(/\[\]$/, '');
    return { ...typing, element: typingOf(column.elementType, name, isPostgres) };
  };
}

// SQLite does not check what a column declared as JSON holds.
function parsedWherePossible(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
