import { EventEmitter } from 'node:events';
import type { RowSource } from './row-source.js';
import type { CustomTypesConfig, QueryResult } from './shapes.js';
import { markSubmitted, type Connection, type Submitted } from './submit.js';
import type { TypeParsers } from './types.js';

export interface CursorQueryConfig {
  rowMode?: 'array';
  types?: CustomTypesConfig;
}

type ReadCallback<R> = (error: Error | undefined, rows: R[], result: QueryResult<R>) => void;

interface Read<R> {
  readonly count: number;
  resolve(rows: R[]): void;
  reject(error: unknown): void;
}

/**
 * A cursor as pg-cursor has it: `client.query(new Cursor(text, values))`, then `read(count)` until it gives fewer rows, or `close()`.
 *
 * The rows are read from the database no faster than they are read here. The client does nothing else meanwhile.
 */
export class Cursor<R = any> extends EventEmitter implements Submitted {
  readonly text: string;
  readonly values: readonly unknown[] | undefined;
  state: 'initialized' | 'idle' | 'busy' | 'done' | 'error' = 'initialized';
  private readonly reads: Read<R>[] = [];
  private rows: R[] = [];
  private at = 0;
  private source: RowSource | undefined;
  private error: unknown;
  private free: (() => void) | undefined;

  constructor(text: string, values?: readonly unknown[] | null, private readonly config: CursorQueryConfig = {}) {
    super();
    this.text = text;
    this.values = values ?? undefined;
  }

  /** At most so many rows; fewer at the end. */
  read(count: number): Promise<R[]>;
  read(count: number, callback: ReadCallback<R>): void;
  read(count: number, callback?: ReadCallback<R>): Promise<R[]> | void {
    const rows = new Promise<R[]>((resolve, reject) => {
      this.reads.push({ count, resolve, reject });
      this.serve();
    });
    if (!callback) return rows;
    const empty = { command: '', rowCount: null, oid: 0, rows: [], fields: [], rowAsArray: false };
    rows.then(
      (found) => setImmediate(callback, undefined, found, this.source?.result(found) ?? empty),
      (error: Error) => setImmediate(callback, error, [], empty),
    );
  }

  /** Ends it early, and frees the client. */
  close(): Promise<void>;
  close(callback: (error?: Error) => void): void;
  close(callback?: (error?: Error) => void): Promise<void> | void {
    const closed = this.finish();
    if (!callback) return closed;
    closed.then(() => setImmediate(callback), (error: Error) => setImmediate(callback, error));
  }

  /** @internal */
  submit(connection: Connection): Promise<void> {
    if (this.state !== 'initialized') return Promise.resolve();
    const { text, values, config } = this;
    this.source = connection.rows({
      text, values, isArrays: config.rowMode === 'array', types: config.types as TypeParsers | undefined, timeout: undefined, name: undefined, callback: undefined,
    });
    this.state = 'idle';
    return new Promise((resolve) => {
      this.free = resolve;
      this.serve();
    });
  }

  /** @internal */
  fail(error: unknown): void {
    if (this.state === 'done') return;
    this.state = 'error';
    this.error = error;
    for (const read of this.reads.splice(0)) read.reject(error);
    if (this.listenerCount('error') > 0) this.emit('error', error);
    this.free?.();
  }

  /** @internal */
  abandon(): void {
    void this.finish();
  }

  // Reads are answered one after the other.
  private serve(): void {
    if (this.state === 'initialized' || this.state === 'busy') return;
    const read = this.reads.shift();
    if (!read) return;
    if (this.state === 'error') read.reject(this.error);
    else if (this.state === 'done') read.resolve([]);
    else void this.answer(read);
    this.serve();
  }

  private async answer(read: Read<R>): Promise<void> {
    this.state = 'busy';
    try {
      const isEnd = await this.fill(read.count);
      // It may have been closed meanwhile.
      if ((this.state as string) !== 'busy') return read.resolve([]);
      const rows = this.taken(read.count);
      if (this.listenerCount('row') > 0) this.tell(rows);
      this.state = isEnd ? 'done' : 'idle';
      read.resolve(rows);
      if (isEnd) {
        this.free?.();
        this.emit('end', this.source!.result(rows));
      }
    } catch (error) {
      if ((this.state as string) !== 'busy') return read.resolve([]);
      read.reject(error);
      this.fail(error);
    }
    this.serve();
  }

  // True where there are fewer rows than these.
  private async fill(count: number): Promise<boolean> {
    while (this.rows.length - this.at < count) {
      const more = await this.source!.next();
      if (!more) return true;
      if (this.at === this.rows.length) {
        this.rows = more;
        this.at = 0;
      } else {
        this.rows = this.rows.slice(this.at).concat(more);
        this.at = 0;
      }
    }
    return false;
  }

  private taken(count: number): R[] {
    const rows = this.rows.slice(this.at, this.at + count);
    this.at += rows.length;
    return rows;
  }

  private tell(rows: R[]): void {
    const result = this.source!.result([]);
    for (const row of rows) this.emit('row', row, result);
  }

  private async finish(): Promise<void> {
    if (this.state === 'done' || this.state === 'error') return;
    this.state = 'done';
    for (const read of this.reads.splice(0)) read.resolve([]);
    // What fails after the end concerns nobody; in a transaction the next statement tells.
    await this.source?.close().catch(() => {});
    this.free?.();
  }
}
markSubmitted(Cursor);
