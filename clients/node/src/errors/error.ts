/** What became of the work of a call that failed. */
export type Outcome = 'NOT_APPLIED' | 'APPLIED' | 'UNKNOWN';

/** The codes of gRPC, by number. */
export const STATUS_CODES = [
  'OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS', 'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export type StatusCode = (typeof STATUS_CODES)[number];

/** A field of the request that is invalid: `parameters[0]` is the value of `$1`. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface ErrorFields {
  message: string;
  /** The code of gRPC. */
  status: StatusCode;
  reason: string;
  outcome: Outcome;
  /** Milliseconds after which the same call may be sent again: nothing was applied. */
  retryAfter?: number;
  /** SQLSTATE of the database; empty where it reports none (SQLite, errors of Rowgate's own). */
  sqlstate?: string;
  /** As `sqlstate`, or the SQLSTATE that PostgreSQL has for this reason. The name is that of node-postgres. */
  code?: string;
  severity?: string;
  constraint?: string;
  schema?: string;
  table?: string;
  column?: string;
  dataType?: string;
  /** In the text of the statement, in characters from 1. */
  position?: number;
  hint?: string;
  detail?: string;
  /** The statement of a batch, from 0. */
  failedStatement?: number;
  /** The line, or the row, of the data of a `copyIn`, from 1. */
  line?: number;
  /** For `db.outcome`, with reason OUTCOME_UNKNOWN. */
  transactionToken?: string;
  fields?: readonly FieldViolation[];
  cause?: unknown;
}

const BRAND = Symbol.for('rowgate.RowgateError');

const nameOf = (reason: string | undefined) =>
  (reason === undefined ? 'RowgateError' : reason.toLowerCase().replace(/(?:^|_)([a-z0-9])/g, (_, char: string) => char.toUpperCase()));

/**
 * A call, or a statement in a transaction, that failed.
 *
 * Each reason has a class of its own, as `UniqueViolation`; `outcome` says what became of the work.
 */
export class RowgateError extends Error implements ErrorFields {
  /** The reason that the class stands for; none for all of them. */
  static readonly reason: string | undefined = undefined;

  declare readonly status: StatusCode;
  declare readonly reason: string;
  declare readonly outcome: Outcome;
  declare readonly retryAfter?: number;
  declare readonly sqlstate?: string;
  declare readonly code?: string;
  declare readonly severity?: string;
  declare readonly constraint?: string;
  declare readonly schema?: string;
  declare readonly table?: string;
  declare readonly column?: string;
  declare readonly dataType?: string;
  declare readonly position?: number;
  declare readonly hint?: string;
  declare readonly detail?: string;
  declare readonly failedStatement?: number;
  declare readonly line?: number;
  declare readonly transactionToken?: string;
  declare readonly fields?: readonly FieldViolation[];

  constructor({ message, cause, ...fields }: ErrorFields) {
    super(message, cause === undefined ? undefined : { cause });
    Object.assign(this, fields);
    // Not the name of the class, which a bundler may shorten.
    Object.defineProperty(this, 'name', { value: nameOf(new.target.reason), enumerable: false });
    Object.defineProperty(this, BRAND, { value: true, enumerable: false });
  }

  // The ES module and the CommonJS module of this package have classes of their own: an error of either is one of both.
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    if (typeof value !== 'object' || value === null || !(BRAND in value)) return false;
    return this.reason === undefined || (value as { reason?: unknown }).reason === this.reason;
  }
}
