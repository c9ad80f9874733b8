import { EventEmitter } from 'node:events';
import { Database } from '../database.js';
import { RowgateError } from '../errors/error.js';
import { Sql } from '../sql.js';
import { GrpcTransport } from '../transport/grpc.js';
import { configOf, targetOf, type ClientConfig } from './config.js';
import { controlOf, type Control } from './control.js';
import { escapeIdentifier, escapeLiteral, writePgValue } from './parameters.js';
import { controlResult, queryResult, type QueryResult } from './result.js';
import { Session } from './session.js';
import { statementsOf } from './split.js';
import { pgTypist, TypeOverrides, type TypeParser, type TypeParsers } from './types.js';

export interface QueryConfig {
  text: string;
  values?: readonly unknown[];
  rowMode?: 'array' | string;
  types?: TypeParsers;
  /** Taken and not needed: the server prepares statements by their texts. */
  name?: string;
}

export type QueryCallback = (error: Error | undefined, result: QueryResult) => void;
type Callback = (error?: Error) => void;

/** The database of a configuration, with the values of node-postgres. */
export function databaseOf(config: ClientConfig, parsers: TypeParsers): Database {
  const { address, options } = targetOf(config);
  return new Database(new GrpcTransport(address, options), options, { write: writePgValue, typist: pgTypist(parsers) });
}

interface Normal {
  readonly text: string;
  readonly values: readonly unknown[] | undefined;
  readonly isArrays: boolean;
  readonly types: TypeParsers | undefined;
  readonly callback: QueryCallback | undefined;
}

// query(text, values?, callback?), query(config, callback?), query(sql`…`).
function normal(config: string | QueryConfig | Sql, second: unknown, third: unknown): Normal {
  const callback = [third, second, (config as { callback?: unknown } | null)?.callback].find((each) => typeof each === 'function');
  if (config instanceof Sql) config = config.compile('postgres') as QueryConfig;
  const given = typeof config === 'string' ? { text: config } : config;
  if (given === null || given === undefined) throw new TypeError('Client was passed a null or undefined query');
  if (typeof (given as { submit?: unknown }).submit === 'function') {
    throw new TypeError('cursors and query streams of node-postgres need its protocol\nhint: client.stream(text, values) iterates over the rows as they come');
  }
  if (typeof given.text !== 'string') throw new TypeError('a query is a text, or an object with a text');
  const values = Array.isArray(second) ? second : given.values;
  return { text: given.text, values, isArrays: given.rowMode === 'array', types: given.types, callback: callback as QueryCallback | undefined };
}

/** A client as node-postgres has it: one statement after the other, and transactions by BEGIN and COMMIT. */
export class Client extends EventEmitter {
  readonly database: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly processID = null;
  readonly connectionParameters: ClientConfig;
  private readonly parsers: TypeOverrides;
  private readonly own: Database;
  private readonly isShared: boolean;
  private readonly session: Session;
  private readonly listening = new Map<string, AbortController>();
  private last: Promise<unknown> = Promise.resolve();
  private running = 0;
  private isEnded = false;

  /** `shared` is the database of a pool. */
  constructor(given?: string | ClientConfig, shared?: Database) {
    super();
    const config = configOf(given);
    this.connectionParameters = config;
    const { address, options } = targetOf(config);
    this.database = options.database;
    const [, host = address, port = ''] = /^(?:https?:\/\/)?(.*?)(?::(\d+))?$/.exec(address) ?? [];
    this.host = host;
    this.port = Number(port);
    this.parsers = new TypeOverrides(config.types);
    this.own = shared ?? databaseOf(config, this.parsers);
    this.isShared = shared !== undefined;
    this.session = new Session(this.own, config.idle_in_transaction_session_timeout || undefined);
  }

  /** Asks the server for its databases: so an address that is wrong fails here. */
  connect(): Promise<void>;
  connect(callback: Callback): void;
  connect(callback?: Callback): Promise<void> | void {
    return promised(this.reach(), callback);
  }

  /** Runs a statement; several of them, separated by semicolons, where there are no values. */
  query<R = any>(text: string | QueryConfig | Sql, values?: readonly unknown[]): Promise<QueryResult<R>>;
  query(text: string | QueryConfig | Sql, callback: QueryCallback): void;
  query(text: string | QueryConfig | Sql, values: readonly unknown[] | undefined, callback: QueryCallback): void;
  query(config: string | QueryConfig | Sql, second?: unknown, third?: unknown): Promise<any> | void {
    const query = normal(config, second, third);
    // Most often nothing runs, and nothing is waited for.
    const run = this.running === 0 ? this.run(query) : this.last.then(() => this.run(query));
    this.running += 1;
    const done = () => {
      this.running -= 1;
    };
    this.last = run.then(done, done);
    if (!query.callback) return run;
    const { callback } = query;
    run.then((result) => process.nextTick(callback, undefined, result), (error: Error) => process.nextTick(callback, error));
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

  /** Nothing to keep alive. */
  ref(): void {}
  unref(): void {}

  /** True if something is to be undone before somebody else uses it. @internal */
  get isDirty(): boolean {
    return this.running > 0 || this.session.isInTransaction || this.listening.size > 0;
  }

  /** Leaves nothing behind for the next user of a pool's client: an open transaction is rolled back. @internal */
  async reset(): Promise<void> {
    await this.last;
    this.session.reset();
    this.unlisten(undefined);
  }

  private async reach(): Promise<void> {
    try {
      await this.own.serverInfo({ timeout: Number(this.connectionParameters.connectionTimeoutMillis) || undefined });
    } catch (error) {
      // A caller that may not ask has reached the server all the same.
      if (!(error instanceof RowgateError && error.reason === 'ACCESS_DENIED')) throw error;
    }
    this.emit('connect');
  }

  private async run(query: Normal): Promise<QueryResult | QueryResult[]> {
    if (this.isEnded) throw new Error('Client was closed and is not queryable');
    const control = controlOf(query.text);
    if (control) return this.control(control);
    if (!query.values?.length && query.text.includes(';')) {
      const statements = statementsOf(query.text, await this.own.dialect());
      if (statements.length > 1) return this.several(statements, query);
    }
    return this.one(query.text, query);
  }

  private one(text: string, { values, isArrays, types }: Normal): Promise<QueryResult> {
    return this.session.run({ text, values: values ?? [], isArrays, typist: types && pgTypist(types) });
  }

  // As the simple protocol does it: all of them are one transaction, unless they control it themselves.
  private async several(statements: readonly string[], query: Normal): Promise<QueryResult[]> {
    const controls = statements.map((text) => controlOf(text));
    if (!this.session.isInTransaction && !controls.some(Boolean)) {
      const results = await this.own.batch(statements, { rowMode: query.isArrays ? 'array' : 'object' });
      return results.map((result) => queryResult(result, query.isArrays));
    }
    const results: QueryResult[] = [];
    for (const [index, text] of statements.entries()) {
      results.push(await (controls[index] ? this.control(controls[index]) : this.one(text, query)));
    }
    return results;
  }

  private async control(control: Control): Promise<QueryResult> {
    if (control.kind === 'listen') {
      await this.listen(control.channel);
      return controlResult('LISTEN');
    }
    if (control.kind === 'unlisten') {
      this.unlisten(control.channel);
      return controlResult('UNLISTEN');
    }
    return this.session.control(control);
  }

  // LISTEN is done when the database listens. What ends it later is an error of the client, as a lost connection is.
  private listen(channel: string): Promise<void> {
    if (this.listening.has(channel)) return Promise.resolve();
    const controller = new AbortController();
    this.listening.set(channel, controller);
    return new Promise((resolve, reject) => {
      const follow = async () => {
        for await (const event of this.own.listen(channel, { signal: controller.signal })) {
          if (event.type === 'listening') resolve();
          else if (event.type === 'gap') this.emit('notice', Object.assign(new Error('notifications may be missing: the connection was lost'), { channel, since: event.since }));
          else this.emit('notification', { channel: event.channel, payload: event.payload, processId: event.processId, name: 'notification', length: 0 });
        }
      };
      follow().catch((error: Error) => {
        this.listening.delete(channel);
        if (controller.signal.aborted) return;
        reject(error);
        if (this.listenerCount('error') > 0) this.emit('error', error);
      });
    });
  }

  private unlisten(channel: string | undefined): void {
    for (const [name, controller] of this.listening) {
      if (channel !== undefined && channel !== name) continue;
      controller.abort();
      this.listening.delete(name);
    }
  }

  private async finish(): Promise<void> {
    if (this.isEnded) return;
    await this.reset();
    this.isEnded = true;
    if (!this.isShared) this.own.close();
    this.emit('end');
  }
}

/** A promise, or a call of `callback` where there is one. */
export function promised(work: Promise<void>, callback: Callback | undefined): Promise<void> | void {
  if (!callback) return work;
  work.then(() => process.nextTick(callback), (error: Error) => process.nextTick(callback, error));
}
