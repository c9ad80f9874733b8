import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../gen/google/rpc/status_pb.js';
import { DatabaseErrorSchema, type DatabaseError } from '../gen/rowgate/v1/error_pb.js';
import { RowgateError, STATUS_CODES, type ErrorFields, type Outcome } from './error.js';
import * as reasons from './reasons.js';
import { SQLSTATES } from './sqlstates.js';

/** A status as a transport receives or makes it. */
export interface Status {
  /** The number of `google.rpc.Code`. */
  readonly code: number;
  readonly message: string;
  /** The details, by the full names of their messages. */
  readonly details: readonly { readonly type: string; readonly value: Uint8Array }[];
  /** True where the transport knows that the request was never sent. */
  readonly isUnsent?: boolean;
  readonly cause?: unknown;
}

/** Thrown by transports; everything above them sees a `RowgateError`. */
export class StatusError extends Error {
  constructor(readonly status: Status) {
    super(status.message);
  }
}

/** What the connection or the library between this program and Rowgate made of a call: nothing is known of the database. */
export class TransportFailure extends RowgateError {
  static override readonly reason = 'TRANSPORT_FAILURE';
}

/** A call on a transaction that somebody else uses just now: it was not sent. */
export class TransactionBusy extends RowgateError {
  static override readonly reason = 'TRANSACTION_BUSY';
}

/** A result that came and cannot be read: a value that its form cannot hold, a reader that failed, two columns of one name. */
export class UnreadableResult extends RowgateError {
  static override readonly reason = 'UNREADABLE_RESULT';
}

/** What is known of a call without its answer. */
export interface CallNature {
  /** True if it could apply nothing: it is READ_ONLY, or it is a transaction whose commit was not sent. */
  readonly isHarmless: boolean;
}

type ErrorClass = new (fields: ErrorFields) => RowgateError;

const classes = new Map<string, ErrorClass>();
for (const each of Object.values(reasons)) classes.set(each.reason, each);

/** The class of a reason: its own, or the general one for a condition of the database without a class. */
export const classOf = (reason: string): ErrorClass => classes.get(reason) ?? RowgateError;

/** The error for whatever a call was ended by. */
export function failureOf(error: unknown, nature: CallNature): unknown {
  if (!(error instanceof StatusError)) return error;
  return failure(error.status, nature);
}

/** The error for a result that cannot be read; `outcome` is that of the work behind it. */
export function unreadable(error: unknown, outcome: Outcome): RowgateError {
  if (error instanceof RowgateError) return error;
  const hint = outcome === 'APPLIED' ? 'it is applied: do not send it again' : undefined;
  const message = `the result cannot be read: ${(error as Error)?.message ?? String(error)}`;
  return new UnreadableResult(withoutUndefined({
    message: hint ? `${message}\nhint: ${hint}` : message, status: 'INTERNAL' as const, reason: UnreadableResult.reason, outcome, hint, cause: error,
  }));
}

/** The error of a status. */
export function failure(status: Status, nature: CallNature): RowgateError {
  const info = detail(status, 'google.rpc.ErrorInfo', ErrorInfoSchema);
  if (info?.domain !== 'rowgate') return foreign(status, nature);
  const retry = detail(status, 'google.rpc.RetryInfo', RetryInfoSchema)?.retryDelay;
  const invalid = detail(status, 'google.rpc.BadRequest', BadRequestSchema)?.fieldViolations;
  const database = detail(status, 'rowgate.v1.DatabaseError', DatabaseErrorSchema);
  const Class = classOf(info.reason);
  return new Class(withoutUndefined({
    message: status.message,
    status: STATUS_CODES[status.code] ?? 'UNKNOWN',
    reason: info.reason,
    outcome: outcomeOf(info.metadata.outcome),
    retryAfter: retry && durationMs(retry),
    ...reportOf(database),
    code: codeOf(database?.sqlstate, info.reason),
    fields: invalid?.length ? invalid.map(({ field, description }) => ({ field, description })) : undefined,
    cause: status.cause,
  }));
}

/** The error of a status in its binary form, as a Transact sends it and gRPC's trailer holds it. */
export function statusOf(bytes: Uint8Array): Status {
  const { code, message, details } = fromBinary(StatusSchema, bytes);
  return { code, message, details: details.map(({ typeUrl, value }) => ({ type: nameOf(typeUrl), value })) };
}

const nameOf = (typeUrl: string) => typeUrl.slice(typeUrl.lastIndexOf('/') + 1);

const outcomeOf = (text: string | undefined): Outcome => (text === 'NOT_APPLIED' || text === 'APPLIED' ? text : 'UNKNOWN');

function detail<S extends DescMessage>(status: Status, type: string, schema: S): MessageShape<S> | undefined {
  const found = status.details.find((each) => each.type === type);
  return found && fromBinary(schema, found.value);
}

function reportOf(database: DatabaseError | undefined): Partial<ErrorFields> {
  if (!database) return {};
  return {
    sqlstate: database.sqlstate || undefined,
    severity: database.severity || undefined,
    constraint: database.constraint || undefined,
    schema: database.schema || undefined,
    table: database.table || undefined,
    column: database.column || undefined,
    dataType: database.dataType || undefined,
    position: database.position || undefined,
    hint: database.hint || undefined,
    detail: database.detail || undefined,
    failedStatement: database.failedStatement,
    line: database.line ? Number(database.line) : undefined,
    transactionToken: database.transactionToken || undefined,
  };
}

// MySQL's SQLSTATEs are vague, and SQLite has none: there the reason says more.
function codeOf(sqlstate: string | undefined, reason: string): string | undefined {
  const isVague = !sqlstate || /^HY|S\d\d$|000$/.test(sqlstate);
  return (isVague ? SQLSTATES[reason] : undefined) ?? (sqlstate || undefined);
}

/** The same object without the fields that are undefined. */
export function withoutUndefined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

/** What this side itself ends calls for. */
const OWN_REASONS: Partial<Record<string, string>> = { DEADLINE_EXCEEDED: 'DEADLINE', CANCELLED: 'CANCELLED' };

// A status without our ErrorInfo says nothing about the database.
function foreign(status: Status, nature: CallNature): RowgateError {
  const code = STATUS_CODES[status.code] ?? 'UNKNOWN';
  const outcome = nature.isHarmless || status.isUnsent ? 'NOT_APPLIED' : 'UNKNOWN';
  const reason = OWN_REASONS[code] ?? TransportFailure.reason;
  const Class = reason === TransportFailure.reason ? TransportFailure : classOf(reason);
  return new Class(withoutUndefined({
    message: status.message, status: code, reason, outcome, code: SQLSTATES[reason], cause: status.cause,
  }));
}
