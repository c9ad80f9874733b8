// What both entries of the package offer.

export type { BatchStatement } from './batch.js';
export { Database } from './database.js';
export type { Description, HealthState, TransactionState } from './questions.js';
export { Transaction } from './transaction.js';
export { Result, type Row } from './result.js';
export { DataStream, RowStream, type Summary } from './rows.js';
export { Sql, sql, type Statement, type StatementInput } from './sql.js';
export type { ListenEvent } from './listen.js';
export type { CopyData, CopyInOptions, CopyInResult, CopyOutOptions } from './copy.js';
export type {
  BatchOptions, CallOptions, CommandOptions, DatabaseOptions, Isolation, QueryOptions, StatementOptions, StreamOptions, TransactionOptions,
} from './options.js';
export { RowgateError, type FieldViolation, type Outcome, type StatusCode } from './errors/error.js';
export { TransactionBusy, TransportFailure, UnreadableResult } from './errors/failure.js';
export * from './errors/reasons.js';
export { json, Json, record, resultOf, SqlRecord, withLowerBounds } from './values/composite.js';
export { Instant } from './values/instant.js';
export { MultiRange, Range } from './values/range.js';
export type { Dialect } from './values/encode.js';
export type { Column, ColumnOrigin, DataType, Int64Form, TextReader, ValueOptions } from './values/types.js';
