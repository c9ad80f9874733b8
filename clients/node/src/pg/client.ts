import { EventEmitter } from 'node:events';
import { Database } from '../database.js';
import { RowgateError } from '../errors/error.js';
import type { Sql } from '../sql.js';
import { within } from '../patience.js';
import { GrpcTransport } from '../transport/grpc.js';
import type { Dialect } from '../values/encode.js';
import { NamedStatements, queryOf, quoted, type PgQuery } from './arguments.js';
import { configOf, targetOf, timeoutOf, type ClientConfig } from './config.js';
import { controlOf, type Control } from './control.js';
import { explained, systemCoded } from './explain.js';
import { mayReturnRows } from './large.js';
import { Listening } from './listening.js';
import { escapeIdentifier, escapeLiteral, writePgValue } from './parameters.js';
import { controlResult, queryResult } from './result.js';
import { Script } from './script.js';
import { Session } from './session.js';
import type {
  Notification, QueryArrayConfig, QueryArrayResult, QueryCallback, QueryConfig, QueryConfigValues, QueryInput, QueryResult, Submittable,
} from './shapes.js';
import { statementsOf } from './split.js';
import { isSubmittable, submittedOf, type Connection, type Submitted } from './submit.js';
import { pgTypist, TypeOverrides, type TypeParser, type TypeParsers } from './types.js';

type Callback = (error?: Error) => void;

/** The database of a configuration, with the values of node-postgres. */
export function databaseOf(config: ClientConfig, parsers: TypeParsers): Database {
  const { address, options } = targetOf(config);
  return new Database(new GrpcTransport(address, options), options, { write: writePgValue, typist: pgTypist(parsers), namesMayRepeat: true });
}

export interface Client {
  on(event: 'drain' | 'end' | 'connect', listener: () => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'notification', listener: (message: Notification) => void): this;
  on(event: 'notice', listener: (notice: Error & { channel?: string; since?: Date }) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

/** A client as node-postgres has it: one statement after the other, and transactions by BEGIN and COMMIT. */
export class Client extends EventEmitter {
  readonly database: string | undefined;
  readonly user: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly ssl: boolean;
  readonly processID = null;
  /** Without events: there is no connection of this client alone. ORMs listen to it. */
  readonly connection = new EventEmitter();
  readonly connectionParameters: ClientConfig;
  private readonly parsers: TypeOverrides;
  private readonly own: Database;
  private readonly address: string;
  private readonly isShared: boolean;
  private readonly session: Session;
  private readonly listening: Listening;
  private readonly statements = new NamedStatements();
  private readonly submitted = new Set<Submitted>();
  private readonly link: Connection;
  private last: Promise<unknown> = Promise.resolve();
  private running = 0;
  private isConnected = false;
  private isEnded = false;

  /** `shared` is the database of a pool. */
  constructor(given?: string | ClientConfig, shared?: Database) {
    super();
    const config = configOf(given);
    this.connectionParameters = config;
    const { address, options } = targetOf(config);
    this.address = address;
    this.database = options.database;
    this.user = config.user;
    const [, host = address, port = ''] = /^(?:https?:\/\/)?(.*?)(?::(\d+))?$/.exec(address) ?? [];
    this.host = host;
    this.port = Number(port);
    this.ssl = Boolean(options.tls);
    this.parsers = new TypeOverrides(config.types as TypeParsers | undefined);
    this.own = shared ?? databaseOf(config, this.parsers);
    this.isShared = shared !== undefined;
    const timeout = timeoutOf(config);
    const limits = { statement: timeout, idle: config.idle_in_transaction_session_timeout || undefined };
    this.session = new Session(this.own, limits, (error) => systemCoded(error, address));
    this.listening = new Listening(this.own, this);
    this.link = {
      database: this.own,
      timeout,
      isInTransaction: () => this.session.isInTransaction,
      run: (query) => this.run(query),
      rows: (query) => this.session.rows(statementOf(this.statements.named(query))),
    };
  }

  /** Asks the server for its databases: so an address that is wrong fails here. */
  connect(): Promise<void>;
  connect(callback: Callback): void;
  connect(callback?: Callback): Promise<void> | void {
    return promised(this.reach(), callback);
  }

  /**
   * Runs a statement; several of them, separated by semicolons, where there are no values. A submitted object, as a Query or a
   * cursor, is returned itself.
   */
  query<T extends Submittable>(object: T): T;
  query<R extends any[] = any[], I = any[]>(config: QueryArrayConfig<I>, values?: QueryConfigValues<I>): Promise<QueryArrayResult<R>>;
  query<R = any, I = any[]>(input: string | QueryConfig<I> | Sql, values?: QueryConfigValues<I>): Promise<QueryResult<R>>;
  query<R extends any[] = any[], I = any[]>(config: QueryArrayConfig<I>, callback: (error: Error, result: QueryArrayResult<R>) => void): void;
  query<R = any, I = any[]>(input: string | QueryConfig<I> | Sql, callback: QueryCallback<R>): void;
  query<R = any, I = any[]>(input: string | QueryConfig<I> | Sql, values: QueryConfigValues<I> | undefined, callback: QueryCallback<R>): void;
  query(input: unknown, second?: unknown, third?: unknown): any {
    if (isSubmittable(input)) return this.submit(submittedOf(input), second, third);
    const query = queryOf(input as QueryInput, second, third);
    const result = this.queued(() => this.run(query));
    const { callback } = query;
    if (!callback) return result;
    result.then((done) => process.nextTick(callback, undefined, done), (error: Error) => process.nextTick(callback, error));
    return undefined;
  }

  /** The rows of a statement as they come, outside of a transaction: for await (const row of client.stream(text, values)). */
  stream<R = any>(text: string, values: readonly unknown[] = [], options: { rowMode?: 'array'; signal?: AbortSignal } = {}) {
    return this.own.stream<R>(text, values, options);
  }

  end(): Promise<void>;
  end(callback: Callback): void;
  end(callback?: Callback): Promise<void> | void {
    return promised(this.finish(), callback);
  }

  setTypeParser(oid: number, format: string | TypeParser, parser?: TypeParser): void {
    this.parsers.setTypeParser(oid, format, parser);
  }

  getTypeParser(oid: number, format?: string): TypeParser {
    return this.parsers.getTypeParser(oid, format);
  }

  escapeIdentifier(text: string): string {
    return escapeIdentifier(text);
  }

  escapeLiteral(text: string): string {
    return escapeLiteral(text);
  }

  /** `I` without a transaction, `T` in one, `E` in one that failed. */
  getTransactionStatus(): 'I' | 'T' | 'E' {
    return this.session.status;
  }

  /** Nothing to keep alive. */
  ref(): void {}
  unref(): void {}

  /** True if something is to be undone before somebody else uses it. @internal */
  get isDirty(): boolean {
    return this.running > 0 || this.session.isInTransaction || !this.listening.isEmpty;
  }

  /** Leaves nothing behind for the next user of a pool's client: an open transaction is rolled back. @internal */
  async reset(): Promise<void> {
    for (const object of this.submitted) object.abandon();
    await this.last;
    this.session.reset();
    this.listening.unlisten(undefined);
  }

  private async reach(): Promise<void> {
    if (this.isConnected || this.isShared) throw new Error('Client has already been connected. You cannot reuse a client.');
    this.isConnected = true;
    try {
      await this.own.serverInfo({ timeout: Number(this.connectionParameters.connectionTimeoutMillis) || undefined });
    } catch (error) {
      // A caller that may not ask has reached the server all the same.
      if (!(error instanceof RowgateError && error.reason === 'ACCESS_DENIED')) throw systemCoded(error, this.address);
    }
    this.emit('connect');
  }

  // Most often nothing runs, and nothing is waited for.
  private queued<T>(work: () => Promise<T>): Promise<T> {
    const run = this.running === 0 ? work() : this.last.then(work);
    this.running += 1;
    this.last = run.then(this.onDone, this.onDone);
    return run;
  }

  private readonly onDone = (): void => {
    this.running -= 1;
    if (this.running === 0) this.emit('drain');
  };

  private submit(object: Submitted, second: unknown, third: unknown): Submitted {
    const callback = [second, third].find((each) => typeof each === 'function');
    const taker = object as { callback?: unknown };
    if (callback && 'callback' in object) taker.callback ??= callback;
    this.submitted.add(object);
    void this.queued(async () => {
      if (this.isEnded) object.fail(new Error('Client was closed and is not queryable'));
      else await object.submit(this.link);
      this.submitted.delete(object);
    });
    return object;
  }

  private async run(given: PgQuery): Promise<QueryResult | QueryResult[]> {
    if (this.isEnded) throw new Error('Client was closed and is not queryable');
    let query = this.statements.named(given);
    try {
      if (query.source) query = await quoted(query, () => this.dialect(given.timeout));
      const { text, values } = query;
      const control = controlOf(text);
      if (control) return await this.control(control);
      if (!values?.length && text.includes(';')) {
        const statements = statementsOf(text, await this.dialect(query.timeout));
        if (statements.length > 1) return await this.several(statements, query);
      }
      return await this.session.run(statementOf(query));
    } catch (error) {
      throw systemCoded(await explained(error, query.text, () => this.dialect(query.timeout)), this.address);
    }
  }

  // As the simple protocol does it: all of them are one transaction, unless they control it themselves.
  private async several(statements: readonly string[], query: PgQuery): Promise<QueryResult[]> {
    const steps = statements.map((text) => controlOf(text) ?? { ...statementOf(query), text });
    // In one message, where there is no result that could be over the server's bound: that would be known when it is applied.
    if (!this.session.isInTransaction && !steps.some((step) => 'kind' in step || mayReturnRows(step.text))) {
      const results = await this.own.batch(statements, { rowMode: query.isArrays ? 'array' : 'object', ...(query.timeout && { timeout: query.timeout }) });
      return results.map((result) => queryResult(result, query.isArrays));
    }
    return new Script(this.session, (control) => this.control(control)).run(steps);
  }

  private dialect(timeout = this.link.timeout): Promise<Dialect> {
    return within(this.own.dialect(), { timeout });
  }

  private async control(control: Control): Promise<QueryResult> {
    if (control.kind === 'listen') {
      await this.listening.listen(control.channel);
      return controlResult('LISTEN');
    }
    if (control.kind === 'unlisten') {
      this.listening.unlisten(control.channel);
      return controlResult('UNLISTEN');
    }
    return this.session.control(control);
  }

  private async finish(): Promise<void> {
    if (this.isEnded) return;
    await this.reset();
    this.isEnded = true;
    if (!this.isShared) this.own.close();
    this.emit('end');
  }
}

const statementOf = ({ text, values, isArrays, types, timeout }: PgQuery) => (
  { text, values: values ?? [], isArrays, typist: types && pgTypist(types), timeout });

/** A promise, or a call of `callback` where there is one. */
export function promised(work: Promise<void>, callback: Callback | undefined): Promise<void> | void {
  if (!callback) return work;
  work.then(() => process.nextTick(callback), (error: Error) => process.nextTick(callback, error));
}
