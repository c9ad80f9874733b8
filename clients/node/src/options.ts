import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { checkedCount, checkedKey, checkedSettings, checkedTime } from './checks.js';
import {
  AccessMode, IsolationLevel, type QueryOptionsSchema, type TransactionOptionsSchema,
} from './gen/rowgate/v1/database_pb.js';
import type { Dialect } from './values/encode.js';
import type { ValueOptions } from './values/types.js';
import type { Typist } from './values/typing.js';

/** What every call takes. */
export interface CallOptions {
  /** Milliseconds; the server ends the statement a little earlier, so that its answer comes in time. */
  timeout?: number;
  /** Cancels the call, and the statement in the database. */
  signal?: AbortSignal;
  /** A label for the server's logs and metrics. */
  tag?: string;
  /** Settings of PostgreSQL's for this call alone, which the server must allow. */
  settings?: Record<string, string>;
}

export interface RepeatOptions {
  /**
   * How often the call is repeated, 0 without. Repeated is only what was certainly not applied and may succeed later
   * (NOT_APPLIED with RetryInfo), and what has a `key`.
   */
  retries?: number;
}

export interface KeyOptions {
  /** Idempotency key: the call is applied once, however often it is sent. */
  key?: string;
}

export interface RowOptions {
  /** Rows as objects by name, or as arrays by position. */
  rowMode?: 'object' | 'array';
  /** The most rows; more are an error. */
  maxRows?: number;
  /** The most bytes, as encoded; more are an error. */
  maxBytes?: number;
  /** Other forms of values for this result. @internal */
  typist?: Typist;
}

export interface StreamOptions extends CallOptions, RowOptions {
  /** The database refuses writes. */
  readOnly?: boolean;
  /** Running it twice is harmless: the server repeats it, too, when its outcome is unknown. */
  idempotent?: boolean;
  /** Asks for nullability and origin of the columns. */
  describeColumns?: boolean;
}

export interface QueryOptions extends StreamOptions, RepeatOptions, KeyOptions {}

export type Isolation = 'read committed' | 'repeatable read' | 'serializable';

export interface TransactionModes {
  isolation?: Isolation;
  readOnly?: boolean;
  /** PostgreSQL, with `serializable` and `readOnly`: waits for a snapshot that cannot fail. */
  deferrable?: boolean;
}

export interface BatchOptions extends CallOptions, RowOptions, RepeatOptions, KeyOptions, TransactionModes {
  idempotent?: boolean;
  /** The most attempts of the server. */
  maxAttempts?: number;
  /** Runs everything, then rolls back. */
  dryRun?: boolean;
}

export interface TransactionOptions extends CallOptions, RepeatOptions, KeyOptions, TransactionModes {
  /** The longest time between two statements, in milliseconds. */
  idleTimeout?: number;
  /** The longest time from begin to commit, in milliseconds. */
  maxDuration?: number;
}

export interface StatementOptions extends RowOptions {
  /**
   * Milliseconds after which the statement ends; the transaction stays open. When no answer comes, not even that one, the transaction
   * is given up a little later.
   */
  timeout?: number;
  /** Cancels the statement by giving the whole transaction up. */
  signal?: AbortSignal;
  tag?: string;
}

/** For what has no statement: a savepoint, a commit. */
export interface CommandOptions {
  /** Milliseconds for the answer: a little later the transaction is given up. A commit is then of unknown outcome. */
  timeout?: number;
}

/** What a connection is made with, whatever carries it. */
export interface DatabaseOptions extends ValueOptions {
  /** The logical name of the database; the server's default one without. */
  database?: string;
  /** Milliseconds for every call that has no timeout of its own; streams, listeners and transactions have none then. 30 s without; Infinity: what the server sets. */
  timeout?: number;
  /** For every call that has no tag of its own. */
  tag?: string;
  /** As for each call. */
  retries?: number;
  /** The dialect of the database. Without it the server is asked, once, when it matters. */
  dialect?: Dialect;
}

/** The default of `timeout`, in milliseconds. */
export const DEFAULT_TIMEOUT = 30_000;

type QueryOptionsInit = MessageInitShape<typeof QueryOptionsSchema>;

/** What the message does not have. */
const LOCAL = new Set(['rowMode', 'typist', 'signal', 'retries']);

/** True where a call has no options of its own that the server sees. */
export function isPlain(options: object): boolean {
  for (const name in options) if (!LOCAL.has(name)) return false;
  return true;
}

/** The options of a call as the message has them; undefined where all are the defaults. */
export function queryOptions(options: QueryOptions, tag: string | undefined): QueryOptionsInit | undefined {
  const init: QueryOptionsInit = {};
  if (options.timeout !== undefined) init.timeout = duration('timeout', options.timeout);
  if (options.maxRows !== undefined) init.maxRows = checkedCount('maxRows', options.maxRows);
  if (options.maxBytes !== undefined) init.maxBytes = checkedCount('maxBytes', options.maxBytes);
  if (options.readOnly) init.accessMode = AccessMode.READ_ONLY;
  if (options.idempotent) init.idempotent = true;
  if (options.key !== undefined) init.idempotencyKey = checkedKey(options.key);
  if (options.describeColumns) init.describeColumns = true;
  if (options.settings) init.settings = checkedSettings(options.settings);
  const label = options.tag ?? tag;
  if (label) init.tag = label;
  return Object.keys(init).length > 0 ? init : undefined;
}

function duration(name: string, given: number): ReturnType<typeof durationFromMs> | undefined {
  const time = checkedTime(name, given);
  return time === Infinity ? undefined : durationFromMs(time);
}

export function statementOptions(options: StatementOptions): QueryOptionsInit | undefined {
  return queryOptions(options as QueryOptions, undefined);
}

const ISOLATION: Record<Isolation, IsolationLevel> = {
  'read committed': IsolationLevel.READ_COMMITTED,
  'repeatable read': IsolationLevel.REPEATABLE_READ,
  serializable: IsolationLevel.SERIALIZABLE,
};

export function transactionOptions(options: TransactionOptions): MessageInitShape<typeof TransactionOptionsSchema> | undefined {
  const init: MessageInitShape<typeof TransactionOptionsSchema> = {};
  if (options.isolation !== undefined) {
    init.isolationLevel = ISOLATION[options.isolation];
    if (init.isolationLevel === undefined) throw new TypeError(`isolation is one of ${Object.keys(ISOLATION).join(', ')}, not ${options.isolation}`);
  }
  if (options.readOnly) init.accessMode = AccessMode.READ_ONLY;
  if (options.deferrable) init.deferrable = true;
  if (options.idleTimeout !== undefined) init.idleTimeout = duration('idleTimeout', options.idleTimeout);
  if (options.maxDuration !== undefined) init.maxDuration = duration('maxDuration', options.maxDuration);
  return Object.keys(init).length > 0 ? init : undefined;
}
