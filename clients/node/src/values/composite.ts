import { brand } from '../brand.js';

/** A value of a composite type, or an anonymous record: its fields in order. Sent as a parameter it is a record again. */
export class SqlRecord extends Array<unknown> {
  static {
    brand(this, 'SqlRecord');
  }

  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/** A record to send: `record(1, 'a')` for a parameter of a composite type. */
export function record(...fields: unknown[]): SqlRecord {
  const made = new SqlRecord();
  made.push(...fields);
  return made;
}

/** A value to send as a JSON document, where it would be an array, a text or a number otherwise. */
export class Json {
  static {
    brand(this, 'Json');
  }

  readonly text: string;

  constructor(readonly value: unknown) {
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError('the value has no JSON form');
    this.text = text;
  }
}

/** A JSON document as a parameter: `json([1, 2])`, `json('text')`. Plain objects are one without it. */
export const json = (value: unknown): Json => new Json(value);

/** A value that an earlier statement of the same batch returns. */
export class StatementReference {
  static {
    brand(this, 'StatementReference');
  }

  constructor(readonly statement: number, readonly column: string) {}
}

/** A parameter of a batch: the column of the single row that statement `statement` (from 0) returns. */
export const resultOf = (statement: number, column: string): StatementReference => new StatementReference(statement, column);

/** An array whose first index is not 1 in some dimension has this property beside its elements. */
export const LOWER_BOUNDS = 'lowerBounds';

/** Gives an array the index of the first element of each dimension, for databases whose arrays do not begin at 1. */
export function withLowerBounds<T extends unknown[]>(array: T, bounds: readonly number[]): T {
  if (bounds.some((bound) => bound !== 1)) {
    Object.defineProperty(array, LOWER_BOUNDS, { value: bounds, enumerable: false });
  }
  return array;
}

export function lowerBoundsOf(array: readonly unknown[]): readonly number[] {
  return (array as { [LOWER_BOUNDS]?: readonly number[] })[LOWER_BOUNDS] ?? [];
}

/** Nests the elements of an array, which are in row-major order, by its dimensions. */
export function nested(elements: unknown[], dimensions: readonly number[]): unknown[] {
  let array = elements;
  for (let depth = dimensions.length - 1; depth > 0; depth -= 1) {
    const length = dimensions[depth]!;
    const rows: unknown[] = [];
    for (let at = 0; at < array.length; at += length) rows.push(array.slice(at, at + length));
    array = rows;
  }
  return array;
}

/** The dimensions of a nested array. An array that is ragged is refused: no database has such. */
export function dimensionsOf(array: readonly unknown[]): number[] {
  const dimensions: number[] = [];
  for (let level: unknown = array; isArray(level); level = level[0]) {
    dimensions.push(level.length);
    if (level.length === 0) break;
  }
  return dimensions;
}

/** True for what is sent as an array, or as a dimension of one. */
export function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && !(value instanceof SqlRecord);
}

/** The elements of a nested array in row-major order. */
export function flattened(array: readonly unknown[], dimensions: readonly number[]): readonly unknown[] {
  let level = array;
  for (let depth = 1; depth < dimensions.length; depth += 1) {
    const next: unknown[] = [];
    for (const part of level) {
      if (!isArray(part) || part.length !== dimensions[depth]) {
        throw new TypeError('an array parameter is ragged: its parts have different lengths');
      }
      for (const element of part) next.push(element);
    }
    level = next;
  }
  for (const element of level) {
    if (isArray(element)) throw new TypeError('an array parameter is ragged: its parts have different depths');
  }
  return level;
}
