import { Readable, Writable, type ReadableOptions, type WritableOptions } from 'node:stream';
import type { DataStream } from '../rows.js';
import { copyStatement } from './copy-statement.js';
import { markSubmitted, type Connection, type Submitted } from './submit.js';

/** Data on its way from a writable stream to a CopyIn. */
class Feed implements AsyncIterable<Uint8Array> {
  private next: { data: Uint8Array; taken: () => void } | undefined;
  private isOver = false;
  private error: Error | undefined;
  private wake: (() => void) | undefined;

  give(data: Uint8Array, taken: () => void): void {
    this.next = { data, taken };
    this.wake?.();
  }

  end(error?: Error): void {
    this.isOver = true;
    this.error = error;
    this.wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    for (;;) {
      if (!this.next && !this.isOver) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        continue;
      }
      if (this.error) throw this.error;
      if (!this.next) return;
      const { data, taken } = this.next;
      this.next = undefined;
      yield data;
      taken();
    }
  }
}

/**
 * Data into a table, as pg-copy-streams has it: `client.query(from('COPY t FROM STDIN'))` is a stream to write to. `finish` says
 * that the rows are committed; a stream that fails or is destroyed has written nothing.
 */
export class CopyFrom extends Writable implements Submitted {
  /** The number of rows, from `finish` on. */
  rowCount = 0;
  private readonly feed = new Feed();
  private done: Promise<number> | undefined;
  private start!: () => void;
  private readonly started = new Promise<void>((resolve) => {
    this.start = resolve;
  });

  constructor(readonly text: string, options: WritableOptions = {}) {
    super({ ...options, decodeStrings: true });
  }

  /** @internal */
  async submit(connection: Connection): Promise<void> {
    this.done = this.copied(connection);
    this.start();
    await this.done.catch((error: Error) => this.destroy(error));
  }

  /** @internal */
  fail(error: Error): void {
    this.destroy(error);
  }

  /** @internal */
  abandon(): void {
    if (!this.writableFinished) this.destroy(new Error('the copy was not ended when its client was released: nothing was written'));
  }

  override _write(data: Buffer, _: string, callback: (error?: Error | null) => void): void {
    this.feed.give(data, callback);
  }

  // Small pieces that have gathered are one message.
  override _writev(pieces: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.feed.give(Buffer.concat(pieces.map(({ chunk }) => chunk)), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.feed.end();
    this.started.then(() => this.done!).then((rows) => {
      this.rowCount = rows;
      callback();
    }, callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.feed.end(error ?? new Error('the stream was destroyed'));
    const told = () => callback(error);
    // The client is free again, and what was sent is rolled back, when the copy has ended.
    if (this.done) this.done.then(told, told);
    else told();
  }

  private async copied(connection: Connection): Promise<number> {
    if (this.destroyed) throw new Error('the stream was destroyed');
    refuseTransaction(connection, 'FROM', "COMMIT before it; or insert in the transaction: insert into … select * from unnest($1::int[], $2::text[])");
    const { direction, query: _, text, table, ...rest } = copyStatement(this.text);
    if (direction !== 'from') throw new TypeError('from(…) takes COPY … FROM STDIN\nhint: COPY … TO STDOUT is for to(…)');
    const { rowsAffected } = await connection.database.copyIn({ ...rest, ...text, table: table! }, this.feed);
    return rowsAffected;
  }
}
markSubmitted(CopyFrom);

/** Data out of a table or a query, as pg-copy-streams has it: `client.query(to('COPY t TO STDOUT'))` is a stream to read. */
export class CopyTo extends Readable implements Submitted {
  /** The number of rows, from `end` on. */
  rowCount = 0;
  private copy: DataStream | undefined;
  private data: AsyncIterator<Uint8Array> | undefined;
  private isWanted = false;
  private free: (() => void) | undefined;

  constructor(readonly text: string, options: ReadableOptions = {}) {
    super(options);
  }

  /** @internal */
  async submit(connection: Connection): Promise<void> {
    if (this.destroyed) return;
    try {
      refuseTransaction(connection, 'TO', 'COMMIT before it; or read the rows in the transaction, by a QueryStream');
      const { direction, query, table, text, ...rest } = copyStatement(this.text);
      if (direction !== 'to') throw new TypeError('to(…) takes COPY … TO STDOUT\nhint: COPY … FROM STDIN is for from(…)');
      this.copy = connection.database.copyOut(query === undefined ? table! : { sql: query }, { ...rest, ...text });
      this.data = this.copy[Symbol.asyncIterator]();
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (this.isWanted) this._read();
    await new Promise<void>((resolve) => {
      this.free = resolve;
    });
  }

  /** @internal */
  fail(error: Error): void {
    this.destroy(error);
  }

  /** @internal */
  abandon(): void {
    this.destroy();
  }

  override _read(): void {
    this.isWanted = true;
    this.data?.next().then(({ value, done }) => {
      if (!done) {
        this.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        return;
      }
      this.rowCount = this.copy!.summary?.rowCount ?? 0;
      this.push(null);
      this.free?.();
    }, (error: Error) => this.destroy(error));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.copy?.cancel();
    this.free?.();
    callback(error);
  }
}
markSubmitted(CopyTo);

function refuseTransaction(connection: Connection, direction: string, instead: string): void {
  if (!connection.isInTransaction()) return;
  throw new TypeError(`COPY ${direction} cannot be part of a transaction: in Rowgate it is one of its own\nhint: ${instead}`);
}

/** A stream to write to: client.query(from('COPY t (a, b) FROM STDIN WITH (FORMAT csv)')). */
export const from = (text: string, options?: WritableOptions): CopyFrom => new CopyFrom(text, options);

/** A stream to read: client.query(to('COPY (select …) TO STDOUT')). */
export const to = (text: string, options?: ReadableOptions): CopyTo => new CopyTo(text, options);
