import type { Database } from '../database.js';
import type { PgQuery } from './arguments.js';
import type { RowSource } from './row-source.js';
import type { QueryResult, Submittable } from './shapes.js';

/** What a submitted object runs on: a client that nobody else uses until the promise of `submit` is kept. */
export interface Connection {
  readonly database: Database;
  /** The milliseconds of each statement, where the client has them. */
  readonly timeout: number | undefined;
  isInTransaction(): boolean;
  /** Runs a text as `query` does. */
  run(query: PgQuery): Promise<QueryResult | QueryResult[]>;
  /** The rows of one statement as they come. */
  rows(query: PgQuery): RowSource;
}

// The ES module and the CommonJS module of this package have classes of their own: an object of either is known to both.
const OURS = Symbol.for('rowgate.pg.submitted');

/** An object of this package that a client runs. */
export interface Submitted extends Submittable {
  /** Runs; the promise is kept when the client is free again, and never broken. */
  submit(connection: Connection): Promise<void>;
  /** Takes the reason why it cannot run. */
  fail(error: Error): void;
  /** Ends what still runs, as the client is wanted for something else. */
  abandon(): void;
}

/** Marks the objects of a class as ones of this package. */
export function markSubmitted(of: { prototype: Submitted }): void {
  Object.defineProperty(of.prototype, OURS, { value: true });
}

export const isSubmittable = (value: unknown): value is Submittable => typeof (value as Submittable | null)?.submit === 'function';

/** The classes of other packages, and where they are found here. */
const ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^(?:Bound)?Query$/, 'rowgate/pg'],
  [/cursor/i, 'rowgate/pg-cursor'],
  [/copy/i, 'rowgate/pg-copy-streams'],
  [/querystream/i, 'rowgate/pg-query-stream'],
];

/** The object as one of this package; those of node-postgres speak its protocol. */
export function submittedOf(object: Submittable): Submitted {
  if ((object as { [OURS]?: unknown })[OURS] === true) return object as Submitted;
  const name = object.constructor?.name || 'object';
  const place = ELSEWHERE.find(([pattern]) => pattern.test(name))?.[1];
  throw new TypeError(`a ${name} that is submitted speaks the protocol of PostgreSQL, which Rowgate does not\n`
    + `hint: ${place ? `import it from '${place}'` : "rowgate/pg has Query, rowgate/pg-cursor Cursor, rowgate/pg-query-stream and rowgate/pg-copy-streams the streams"}`);
}
