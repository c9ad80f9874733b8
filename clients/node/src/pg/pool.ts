import { EventEmitter } from 'node:events';
import type { Database } from '../database.js';
import type { Sql } from '../sql.js';
import { Client, databaseOf, promised } from './client.js';
import { configOf, type PoolConfig } from './config.js';
import type {
  QueryArrayConfig, QueryArrayResult, QueryCallback, QueryConfig, QueryConfigValues, QueryInput, QueryResult, Submittable,
} from './shapes.js';
import { isSubmittable, submittedOf, type Submitted } from './submit.js';
import { TypeOverrides, type TypeParsers } from './types.js';

/** A client of a pool. `release` gives it back; with an error, or true, it is not used again. */
export class PoolClient extends Client {
  /** @internal */
  giveBack: ((error?: Error | boolean) => void) | undefined;

  release(error?: Error | boolean): void {
    const { giveBack } = this;
    if (!giveBack) throw new Error('Release called on client which has already been released to the pool.');
    this.giveBack = undefined;
    giveBack(error);
  }
}

type ConnectCallback = (error: Error, client: PoolClient, release: (error?: any) => void) => void;

interface Waiting {
  take(client: PoolClient): void;
  fail(error: Error): void;
}

export interface Pool {
  on(event: 'error', listener: (error: Error, client: PoolClient) => void): this;
  on(event: 'release', listener: (error: Error | boolean | undefined, client: PoolClient) => void): this;
  on(event: 'connect' | 'acquire' | 'remove', listener: (client: PoolClient) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

/**
 * A pool as node-postgres has it. Its clients share one connection to Rowgate, which has the pool of the database's
 * connections: `max` bounds how many statements and transactions of this program run at a time.
 */
export class Pool extends EventEmitter {
  readonly options: PoolConfig & { max: number };
  private readonly shared: Database;
  private readonly idle: PoolClient[] = [];
  private readonly waiting: Waiting[] = [];
  private readonly busy = new Set<PoolClient>();
  private isEnding = false;
  private drained: (() => void) | undefined;

  constructor(given?: string | PoolConfig) {
    super();
    const config = configOf(given) as PoolConfig;
    this.options = { ...config, max: Number(config.max ?? config.poolSize) || 10 };
    this.shared = databaseOf(config, new TypeOverrides(config.types as TypeParsers | undefined));
  }

  get totalCount(): number {
    return this.idle.length + this.busy.size;
  }

  get idleCount(): number {
    return this.idle.length;
  }

  get waitingCount(): number {
    return this.waiting.length;
  }

  /** The clients of this pool do not expire. */
  get expiredCount(): number {
    return 0;
  }

  get ending(): boolean {
    return this.isEnding;
  }

  get ended(): boolean {
    return this.isEnding && this.totalCount === 0;
  }

  /** A client for a transaction; give it back with `release`. */
  connect(): Promise<PoolClient>;
  connect(callback: ConnectCallback): void;
  connect(callback?: ConnectCallback): Promise<PoolClient> | void {
    const client = this.acquire();
    if (!callback) return client;
    client.then(
      (taken) => process.nextTick(callback as (...given: unknown[]) => void, undefined, taken, (error?: Error | boolean) => taken.release(error)),
      (error: Error) => process.nextTick(callback as (...given: unknown[]) => void, error, undefined, () => {}),
    );
  }

  /**
   * Runs a statement on some client; several of them, separated by semicolons, where there are no values. A submitted object, as a Query or a
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
    const callback = [third, second].find((each): each is QueryCallback => typeof each === 'function');
    const result = this.run(input as QueryInput, typeof second === 'function' ? undefined : second);
    if (!callback) return result;
    result.then((done) => process.nextTick(callback, undefined, done), (error: Error) => process.nextTick(callback, error));
    return undefined;
  }

  /** Waits for the clients that are in use, then ends the connection. */
  end(): Promise<void>;
  end(callback: (error?: Error) => void): void;
  end(callback?: (error?: Error) => void): Promise<void> | void {
    return promised(this.finish(), callback);
  }

  private async run(input: QueryInput, values: unknown): Promise<any> {
    const client = await this.acquire();
    try {
      return await client.query(input, values as unknown[]);
    } finally {
      client.release();
    }
  }

  // Its client is given back when the object has ended.
  private submit(object: Submitted, second: unknown, third: unknown): Submitted {
    this.acquire().then((client) => {
      client.once('drain', () => client.release());
      client.query(object as never, second as never, third as never);
    }, (error: Error) => object.fail(error));
    return object;
  }

  private async acquire(): Promise<PoolClient> {
    if (this.isEnding) throw new Error('Cannot use a pool after calling end on the pool');
    const client = this.idle.pop() ?? (this.totalCount < this.options.max ? this.made() : await this.turn());
    this.busy.add(client);
    client.giveBack = (error) => this.giveBack(client, error);
    this.emit('acquire', client);
    return client;
  }

  private made(): PoolClient {
    const client = new PoolClient(this.options, this.shared);
    client.on('error', (error) => {
      if (this.listenerCount('error') > 0) this.emit('error', error, client);
    });
    this.emit('connect', client);
    return client;
  }

  private turn(): Promise<PoolClient> {
    const limit = Number(this.options.connectionTimeoutMillis) || 0;
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const waiting: Waiting = {
        take: (client) => {
          clearTimeout(timer);
          // It is taken from now on: nobody else may count it as idle.
          this.busy.add(client);
          resolve(client);
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.waiting.push(waiting);
      if (limit > 0) {
        timer = setTimeout(() => {
          this.waiting.splice(this.waiting.indexOf(waiting), 1);
          reject(new Error('timeout exceeded when trying to connect'));
        }, limit);
      }
    });
  }

  private giveBack(client: PoolClient, error: Error | boolean | undefined): void {
    if (client.isDirty) void client.reset().then(() => this.returned(client, error));
    else this.returned(client, error);
  }

  private returned(client: PoolClient, error: Error | boolean | undefined): void {
    this.busy.delete(client);
    this.emit('release', error, client);
    const isDropped = Boolean(error) || this.isEnding;
    if (isDropped) this.emit('remove', client);
    const next = this.isEnding ? undefined : this.waiting.shift();
    if (next) next.take(isDropped ? this.made() : client);
    else if (!isDropped) this.idle.push(client);
    if (this.isEnding && this.busy.size === 0) this.drained?.();
  }

  private async finish(): Promise<void> {
    if (this.isEnding) throw new Error('Called end on pool more than once');
    this.isEnding = true;
    for (const waiting of this.waiting.splice(0)) waiting.fail(new Error('the pool has ended'));
    if (this.busy.size > 0) {
      await new Promise<void>((resolve) => {
        this.drained = resolve;
      });
    }
    for (const client of this.idle.splice(0)) this.emit('remove', client);
    this.shared.close();
  }
}
