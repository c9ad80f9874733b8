import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { writeBatchStatements, type BatchStatement } from './batch.js';
import { checkedCount, checkedKey, checkedNames, checkedSettings, checkedText, checkedTime } from './checks.js';
import { copyFormat, copyIn, copyText, needsGrpc, type CopyData, type CopyInOptions, type CopyInResult, type CopyOutOptions, type CopySource } from './copy.js';
import { RowgateError } from './errors/error.js';
import { failureOf, unreadable, type CallNature } from './errors/failure.js';
import * as contract from './gen/rowgate/v1/database_pb.js';
import type { GetServerInfoResponse } from './gen/rowgate/v1/server_pb.js';
import { listenEvents, type ListenEvent } from './listen.js';
import {
  COPY_OUT_FIELDS, COPY_OUT_PARTS, PartReader, QUERY_FIELDS, readResults, STREAM_PARTS, writeStatement, type Decoding,
} from './messages.js';
import {
  DEFAULT_TIMEOUT, isPlain, queryOptions, transactionOptions, type BatchOptions, type CallOptions, type DatabaseOptions,
  type QueryOptions, type RowOptions, type StreamOptions, type TransactionOptions,
} from './options.js';
import { patience, within, type WaitLimits } from './patience.js';
import * as questions from './questions.js';
import type { Description, TransactionState } from './questions.js';
import type { Result, Row } from './result.js';
import { repeated, type Repetition } from './retry.js';
import { DataStream, PartSource, RowStream } from './rows.js';
import { compiled, Sql, sql, type StatementInput } from './sql.js';
import { TransactCall } from './transact.js';
import { statementArguments, Transaction, type TransactionContext } from './transaction.js';
import type { CallLimits, Method, Transport } from './transport/transport.js';
import { NEEDS_DIALECT, writeValue, type Dialect, type ParameterWriter } from './values/encode.js';
import { nativeTypist, type Typist } from './values/typing.js';

/** Other forms for parameters and values than the native ones. @internal */
export interface Adaptation {
  readonly write: ParameterWriter;
  readonly typist: Typist;
  readonly namesMayRepeat?: boolean;
}

/** A database behind Rowgate. It is safe for any number of concurrent calls, and needs no pool here. */
export class Database {
  private readonly prefix: Uint8Array;
  private readonly adaptation: Adaptation;
  private dialectAsked: Promise<Dialect> | undefined;
  private dialectKnown: Dialect | undefined;
  private defaults: Uint8Array | undefined;

  /** @internal */
  constructor(private readonly transport: Transport, private readonly options: DatabaseOptions = {}, adaptation?: Adaptation) {
    this.adaptation = adaptation ?? { write: writeValue, typist: nativeTypist(options) };
    if (options.database !== undefined) checkedText('database', options.database);
    if (options.timeout !== undefined) checkedTime('timeout', options.timeout);
    this.dialectKnown = checkedDialect(options.dialect);
    this.prefix = this.named(1);
  }

  /** Runs one statement and returns its whole result: query(sql`…`, options) or query('… $1 …', [values], options). */
  query<R = Row>(statement: Sql, options?: QueryOptions): Promise<Result<R>>;
  query<R = Row>(text: string, values?: readonly unknown[], options?: QueryOptions): Promise<Result<R>>;
  async query<R = Row>(input: StatementInput, second?: readonly unknown[] | QueryOptions, third?: QueryOptions): Promise<Result<R>> {
    const { values, options } = statementArguments(input, second, third);
    const decoding = this.decoding(options);
    const request = await this.built(options, (dialect) => this.queryRequest(input, values, options, dialect));
    const bytes = await this.unary('Query', request, options, { isHarmless: options.readOnly === true });
    return readAnswer(bytes, decoding, options.readOnly === true)[0]!;
  }

  /** A tag: await db.sql`select name from users where id = ${id}`. */
  readonly sql = <R = Row>(strings: TemplateStringsArray, ...values: unknown[]): Promise<Result<R>> =>
    this.query<R>(sql(strings, ...values));

  /** The rows of a statement as they come, of any number: for await (const row of db.stream(sql`…`)). */
  stream<R = Row>(statement: Sql, options?: StreamOptions): RowStream<R>;
  stream<R = Row>(text: string, values?: readonly unknown[], options?: StreamOptions): RowStream<R>;
  stream<R = Row>(input: StatementInput, second?: readonly unknown[] | StreamOptions, third?: StreamOptions): RowStream<R> {
    const { values, options } = statementArguments(input, second, third);
    const open = async () => {
      const query = await this.built(options, (dialect) => this.streamQuery(input, values, options, dialect));
      const request = new BinaryWriter().uint32(0x0a).bytes(query).finish();
      return this.transport.serverStream('StreamQuery', request, limitsOf(options));
    };
    const reader = new PartReader(STREAM_PARTS, this.decoding(options));
    return new RowStream<R>(new PartSource(open, reader, { isHarmless: options.readOnly === true }));
  }

  /** Runs statements in one transaction and one round trip: all of them are applied, or none is. */
  async batch(statements: readonly BatchStatement[], options: BatchOptions = {}): Promise<Result[]> {
    const decoding = this.decoding(options);
    const request = await this.built(options, (dialect) => this.batchRequest(statements, options, dialect));
    const isReadOnly = options.readOnly === true;
    const isDryRun = options.dryRun === true;
    // MySQL and MariaDB keep what a dry run writes to a table without transactions. An answer tells of it; without one nobody knows.
    const isHarmless = isReadOnly || (isDryRun && (this.dialectKnown === 'postgres' || this.dialectKnown === 'sqlite'));
    return readAnswer(await this.unary('ExecuteBatch', request, options, { isHarmless }), decoding, isReadOnly || isDryRun);
  }

  /**
   * Runs `work` in an interactive transaction: committed when it returns, rolled back when it fails. With `retries` it runs again
   * after what was not applied and may succeed later; with a `key` also after a commit whose outcome is unknown.
   */
  async transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const isKeyed = checkedKey(options.key) !== undefined;
    let last: { value: T } | undefined;
    const repetition: Repetition = { retries: this.retriesOf(options), isKeyed, signal: options.signal, timeout: limitOf(options) };
    return repeated(repetition, async (timeout, doubt) => {
      const { transaction, begun } = this.open({ ...options, timeout });
      try {
        // Without a key nothing waits for the beginning: its failure is that of the first statement, or of the commit.
        if (isKeyed) {
          await begun;
          // It has claimed the key: no attempt before was applied.
          doubt.resolve();
          last = undefined;
        } else {
          begun.catch(() => {});
        }
        let value: T;
        try {
          value = await work(transaction);
        } catch (error) {
          repetition.isFinal = transaction.mayBeApplied;
          throw error;
        }
        // One that the function has committed itself is what it is.
        await transaction.commit().catch((error: unknown) => {
          const isInDoubt = error instanceof RowgateError && error.outcome === 'UNKNOWN';
          last = isInDoubt ? { value } : undefined;
          throw error;
        });
        return value;
      } finally {
        // Whatever failed: without a commit that was sent, giving it up rolls back.
        transaction.abandon();
      }
    }).catch((error: unknown) => {
      // The commit of the attempt before, whose answer was lost, was applied.
      if (last && error instanceof RowgateError && error.reason === 'KEY_APPLIED') return last.value;
      throw error;
    });
  }

  /** Begins an interactive transaction that the caller ends: see `Transaction`. Mostly `transaction` is what you want. */
  async begin(options: TransactionOptions = {}): Promise<Transaction> {
    const { transaction, begun } = this.open(options);
    await begun;
    return transaction;
  }

  /** The same without waiting: what is sent before it has begun fails with it. @internal */
  open(options: TransactionOptions): { transaction: Transaction; begun: Promise<void> } {
    const { transport, options: { database, tag } } = this;
    if (!transport.duplex) {
      throw needsGrpc('an interactive transaction', 'use db.batch([...]), which is one transaction, or connect over gRPC from a server');
    }
    const isReadOnly = options.readOnly === true;
    const value = {
      database,
      transaction: transactionOptions(options),
      idempotencyKey: checkedKey(options.key),
      tag: options.tag ?? tag,
      settings: options.settings && checkedSettings(options.settings),
    };
    let call: TransactCall;
    try {
      call = new TransactCall(transport.duplex('Transact', limitsOf(options)), isReadOnly, this.adaptation.write);
    } catch (error) {
      throw failureOf(error, { isHarmless: true });
    }
    const begun = call.command({ case: 'begin', value });
    return { transaction: new Transaction(call, { ...this.context, scopes: transport.scopes! }), begun };
  }

  /** Copies rows or data into a table: all of them, or none. */
  async copyIn(options: CopyInOptions, data: CopyData): Promise<CopyInResult> {
    const { transport } = this;
    if (!transport.duplex) throw needsGrpc('copyIn', 'use db.batch([...]) with inserts, or connect over gRPC from a server');
    const { schema, table, columns, format } = options;
    const start = {
      database: this.options.database, ...copyTable(schema, checkedText('table', table), columns), format: copyFormat(format), text: copyText(options),
      options: queryOptions(options as QueryOptions, this.options.tag),
    };
    let call;
    try {
      call = transport.duplex('CopyIn', limitsOf(options));
    } catch (error) {
      throw failureOf(error, { isHarmless: true });
    }
    return copyIn(call, start, data, format !== undefined && format !== 'rows', () => within(this.dialect(), options));
  }

  /**
   * Copies a table (by its name) or a query out, in a READ_ONLY transaction: as CSV without a format, as PostgreSQL's text format, as
   * Arrow, or as `rows`.
   */
  copyOut<R = unknown[]>(source: CopySource, options: CopyOutOptions & { format: 'rows' }): RowStream<R>;
  copyOut(source: CopySource, options?: CopyOutOptions): DataStream;
  copyOut(source: CopySource, options: CopyOutOptions = {}): DataStream | RowStream<unknown> {
    const open = async () => this.transport.serverStream('CopyOut', await this.built(options, (dialect) => this.copyOutRequest(source, options, dialect)), limitsOf(options));
    const parts = new PartSource(open, new PartReader(COPY_OUT_PARTS, this.decoding({ rowMode: 'array' })), { isHarmless: true });
    return options.format === 'rows' ? new RowStream(parts) : new DataStream(parts);
  }

  /** The notifications of channels (PostgreSQL), until the loop is left or the signal is aborted. */
  listen(channels: string | readonly string[], options: CallOptions = {}): AsyncGenerator<ListenEvent, void> {
    const request = toBinary(contract.ListenRequestSchema, create(contract.ListenRequestSchema, {
      database: this.options.database, channels: checkedNames('channels', typeof channels === 'string' ? [channels] : channels),
    }));
    return listenEvents(async () => this.transport.serverStream('Listen', request, limitsOf(options)));
  }

  /** What became of a key, or of the commit that an error with reason OUTCOME_UNKNOWN has a token for. */
  outcome(of: { key: string } | { transactionToken: string }, options: CallOptions = {}): Promise<TransactionState> {
    return questions.outcome(this.ask(options), this.options.database, of);
  }

  /** The parameters and columns of a statement. Runs nothing. */
  describe(text: string, options: CallOptions & { plan?: boolean } = {}): Promise<Description> {
    return questions.describe(this.ask(options), this.options.database, text, options.plan ?? false);
  }

  /** The server, its databases and their limits. */
  serverInfo(options: CallOptions = {}): Promise<GetServerInfoResponse> {
    return questions.serverInfo(this.ask(options));
  }

  /** The state of a service, as gRPC's health service tells it: `liveness`, `readiness`, `database.shop`, or that of DatabaseService. */
  health(service = 'rowgate.v1.DatabaseService', options: CallOptions = {}): Promise<questions.HealthState> {
    return questions.health(this.ask(options), service);
  }

  /** The dialect of the database: as it was given, or as the server says. */
  dialect(): Promise<Dialect> {
    if (this.dialectKnown) return Promise.resolve(this.dialectKnown);
    this.dialectAsked ??= this.askDialect().catch((error: unknown) => {
      this.dialectAsked = undefined;
      throw error;
    });
    return this.dialectAsked;
  }

  /** Ends the connection when the calls in progress have ended, streams and transactions, too; others are refused from now on. */
  close(): void {
    this.transport.close();
  }

  private readonly context: Omit<TransactionContext, 'scopes'> = {
    decoding: (options) => this.decoding(options),
    dialect: () => this.dialect(),
    knownDialect: () => this.dialectKnown,
  };

  private async askDialect(): Promise<Dialect> {
    this.dialectKnown = await questions.dialect(this.ask({}), this.options.database);
    return this.dialectKnown;
  }

  private decoding({ rowMode, typist }: RowOptions): Decoding {
    return { typist: typist ?? this.adaptation.typist, asArrays: rowMode === 'array', namesMayRepeat: this.adaptation.namesMayRepeat };
  }

  private async unary(method: Method, request: Uint8Array, options: QueryOptions, nature: CallNature): Promise<Uint8Array> {
    const timeout = checkedTime('timeout', options.timeout ?? this.options.timeout ?? DEFAULT_TIMEOUT);
    const { signal } = options;
    const attempt = (left: number | undefined) => this.transport.unary(method, request, { timeout: patience(left), signal }).catch((error: unknown) => {
      throw failureOf(error, nature);
    });
    const retries = this.retriesOf(options);
    if (retries === 0) return attempt(timeout);
    return repeated({ retries, isKeyed: options.key !== undefined, signal, timeout }, attempt);
  }

  private ask(options: CallOptions): questions.Ask {
    return (method, request) => this.unary(method, request, options, { isHarmless: true });
  }

  private retriesOf(options: { retries?: number }): number {
    return options.retries ?? this.options.retries ?? 0;
  }

  // Builds a request again with the dialect where its form depends on it.
  private async built(limits: WaitLimits, build: (dialect: Dialect | undefined) => Uint8Array): Promise<Uint8Array> {
    try {
      return build(this.dialectKnown);
    } catch (error) {
      if (error !== NEEDS_DIALECT) throw error;
      return build(await within(this.dialect(), limits));
    }
  }

  private queryRequest(input: StatementInput, values: readonly unknown[], options: QueryOptions, dialect: Dialect | undefined): Uint8Array {
    const writer = new BinaryWriter().raw(this.prefix);
    writeStatement(writer, compiled(input, values, dialect), QUERY_FIELDS, this.adaptation.write, dialect);
    return this.withOptions(writer, options);
  }

  // Without a timeout of its own a stream lasts as long as the server lets it.
  private streamQuery(input: StatementInput, values: readonly unknown[], options: StreamOptions, dialect: Dialect | undefined): Uint8Array {
    const writer = new BinaryWriter().raw(this.prefix);
    writeStatement(writer, compiled(input, values, dialect), QUERY_FIELDS, this.adaptation.write, dialect);
    const init = queryOptions(options as QueryOptions, this.options.tag);
    if (init) writer.uint32(0x22).bytes(toBinary(contract.QueryOptionsSchema, create(contract.QueryOptionsSchema, init)));
    return writer.finish();
  }

  private batchRequest(statements: readonly BatchStatement[], options: BatchOptions, dialect: Dialect | undefined): Uint8Array {
    const { maxAttempts, dryRun, readOnly, ...rest } = options;
    const own = toBinary(contract.ExecuteBatchRequestSchema, create(contract.ExecuteBatchRequestSchema, {
      transaction: transactionOptions(options as TransactionOptions), dryRun,
      maxAttempts: maxAttempts === undefined ? undefined : Number(checkedCount('maxAttempts', maxAttempts)),
    }));
    const writer = new BinaryWriter().raw(this.prefix).raw(own);
    writeBatchStatements(writer, 0x12, statements, this.adaptation.write, dialect);
    return this.withOptions(writer, rest as QueryOptions);
  }

  private copyOutRequest(source: CopySource, options: CopyOutOptions, dialect: Dialect | undefined): Uint8Array {
    const { schema, columns, format = 'csv', values = [] } = options;
    const writer = new BinaryWriter().raw(toBinary(contract.CopyOutRequestSchema, create(contract.CopyOutRequestSchema, {
      database: this.options.database, ...copyTable(schema, typeof source === 'string' ? checkedText('table', source) : '', columns),
      format: copyFormat(format), text: copyText(options), options: queryOptions(options as QueryOptions, this.options.tag),
    })));
    if (typeof source !== 'string') {
      const input = source instanceof Sql ? source : source.sql;
      writeStatement(writer, compiled(input, values, dialect), COPY_OUT_FIELDS, this.adaptation.write, dialect);
    }
    return writer.finish();
  }

  // Both a QueryRequest and an ExecuteBatchRequest have their options in field 4.
  private withOptions(writer: BinaryWriter, options: QueryOptions): Uint8Array {
    const bytes = isPlain(options) ? (this.defaults ??= this.optionsBytes({})) : this.optionsBytes(options);
    return writer.uint32(0x22).bytes(bytes).finish();
  }

  private optionsBytes(options: QueryOptions): Uint8Array {
    const timeout = options.timeout ?? this.options.timeout ?? DEFAULT_TIMEOUT;
    return toBinary(contract.QueryOptionsSchema, create(contract.QueryOptionsSchema, queryOptions({ ...options, timeout }, this.options.tag)));
  }

  private named(field: number): Uint8Array {
    const writer = new BinaryWriter();
    if (this.options.database) writer.uint32((field << 3) | 2).string(this.options.database);
    return writer.finish();
  }
}

// A stream, a listener and a transaction last as long as they are used, unless the call itself says otherwise.
const limitOf = ({ timeout }: CallOptions): number | undefined => (timeout === undefined ? undefined : checkedTime('timeout', timeout));

function limitsOf(options: CallOptions): CallLimits {
  return { timeout: patience(limitOf(options)), signal: options.signal };
}

// What cannot be read has been done all the same.
function readAnswer(bytes: Uint8Array, decoding: Decoding, isHarmless: boolean): Result<any>[] {
  try {
    return readResults(bytes, decoding);
  } catch (error) {
    throw unreadable(error, isHarmless ? 'NOT_APPLIED' : 'APPLIED');
  }
}

const DIALECTS: readonly (Dialect | undefined)[] = ['postgres', 'sqlite', 'mysql', undefined];

function checkedDialect(dialect: Dialect | undefined): Dialect | undefined {
  if (DIALECTS.includes(dialect)) return dialect;
  throw new TypeError(`dialect is postgres, sqlite or mysql (MariaDB's is mysql), not ${JSON.stringify(dialect)}`);
}

const copyTable = (schema: string | undefined, table: string, columns: readonly string[] | undefined) => ({
  schema: schema === undefined ? undefined : checkedText('schema', schema), table, columns: columns && checkedNames('columns', columns, 'leave it out for all of them'),
});
