import { Readable } from 'node:stream';
import { Cursor, type CursorQueryConfig } from './cursor.js';
import { markSubmitted, type Connection, type Submitted } from './submit.js';

export interface QueryStreamConfig extends CursorQueryConfig {
  /** The most rows that are read ahead. */
  batchSize?: number;
  highWaterMark?: number;
}

/** The rows of a statement as a stream of objects, as pg-query-stream has it: `client.query(new QueryStream(text, values))`. */
export class QueryStream extends Readable implements Submitted {
  readonly cursor: Cursor;

  constructor(text: string, values?: readonly unknown[] | null, config: QueryStreamConfig = {}) {
    super({ objectMode: true, emitClose: true, autoDestroy: true, highWaterMark: config.batchSize ?? config.highWaterMark ?? 100 });
    this.cursor = new Cursor(text, values, config);
  }

  /** @internal */
  submit(connection: Connection): Promise<void> {
    return this.cursor.submit(connection);
  }

  /** @internal */
  fail(error: Error): void {
    this.cursor.fail(error);
  }

  /** @internal */
  abandon(): void {
    this.destroy();
  }

  override _read(size: number): void {
    this.cursor.read(size).then((rows) => {
      for (const row of rows) this.push(row);
      if (rows.length < size) this.push(null);
    }, (error: Error) => this.destroy(error));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.cursor.close().then(() => callback(error), (failure: Error) => callback(error ?? failure));
  }
}
markSubmitted(QueryStream);
