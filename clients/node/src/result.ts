import type { Column } from './values/types.js';

/** A row by the names of its columns. */
export type Row = Record<string, any>;

/** The result of one statement: iterate over it, or over `rows`. */
export class Result<R = Row> implements Iterable<R> {
  constructor(
    readonly rows: R[],
    readonly columns: readonly Column[],
    /** Rows inserted, updated or deleted; 0 for a SELECT. */
    readonly rowsAffected: number,
    /** As the database names it: `SELECT`, `INSERT`. */
    readonly command: string,
    /** True for a statement that returns rows, also when there are none. */
    readonly hasColumns: boolean,
    /** The number of the server's attempts. */
    readonly attempts = 1,
    /** True for the stored result of an earlier call with the same key. */
    readonly replayed = false,
  ) {}

  get length(): number {
    return this.rows.length;
  }

  [Symbol.iterator](): Iterator<R> {
    return this.rows[Symbol.iterator]();
  }

  /** The first row, if there is one. */
  first(): R | undefined {
    return this.rows[0];
  }

  /** The only row; an error where there is none, or several. */
  one(): R {
    if (this.rows.length !== 1) throw new RangeError(`the result has ${this.rows.length} rows, not 1`);
    return this.rows[0]!;
  }

  /** The first value of the only row. */
  value<T = unknown>(): T {
    const row = this.one() as Record<string, unknown> | unknown[];
    const name = this.columns[0]?.name ?? '';
    return (Array.isArray(row) ? row[0] : row[name]) as T;
  }
}
