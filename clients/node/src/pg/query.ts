import { EventEmitter } from 'node:events';
import { queryOf, type PgQuery } from './arguments.js';
import { controlOf } from './control.js';
import type { QueryInput, QueryResult, ResultBuilder } from './shapes.js';
import { markSubmitted, type Connection, type Submitted } from './submit.js';

export interface Query<R = any> {
  on(event: 'row', listener: (row: R, result?: ResultBuilder<R>) => void): this;
  on(event: 'end', listener: (result: ResultBuilder<R>) => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

/**
 * A query with events, as node-postgres has it: `client.query(new Query(text, values))`, then `row`, `end` and `error`.
 *
 * With a listener for `row`, and without a callback, rows are told as they come, and not kept.
 */
export class Query<R = any, I extends any[] = any> extends EventEmitter implements Submitted {
  readonly text: string;
  readonly values: I | undefined;
  readonly name: string | undefined;
  callback: PgQuery['callback'];
  private readonly query: PgQuery;

  constructor(input: QueryInput, values?: unknown, callback?: unknown) {
    super();
    this.query = queryOf(input, values, callback);
    this.text = this.query.text;
    this.values = this.query.values as I | undefined;
    this.name = this.query.name;
    this.callback = this.query.callback;
  }

  /** @internal */
  async submit(connection: Connection): Promise<void> {
    try {
      // Listeners are added behind `client.query(…)`.
      await Promise.resolve();
      const isTold = this.listenerCount('row') > 0;
      const isStreamed = isTold && !this.callback && this.isOneStatement();
      const result = isStreamed ? await this.told(connection) : await connection.run(this.query);
      if (isTold && !isStreamed) for (const each of [result].flat()) for (const row of each.rows) this.emit('row', row, building(each));
      process.nextTick(() => {
        this.callback?.(undefined as never, result as QueryResult);
        this.emit('end', result);
      });
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** @internal */
  fail(error: Error): void {
    process.nextTick(() => {
      if (this.callback) this.callback(error, undefined as never);
      else this.emit('error', error);
    });
  }

  /** Runs to its end. @internal */
  abandon(): void {}

  private isOneStatement(): boolean {
    const { text, values, source } = this.query;
    if (source) return false;
    return Boolean(values?.length) || !(text?.includes(';') || controlOf(text ?? ''));
  }

  private async told(connection: Connection): Promise<QueryResult> {
    const source = connection.rows({ ...this.query, timeout: this.query.timeout ?? connection.timeout });
    let rowCount = 0;
    for (let rows = await source.next(); rows; rows = await source.next()) {
      const result = building(source.result([]));
      for (const row of rows) this.emit('row', row, result);
      rowCount += rows.length;
    }
    const result = source.result([]);
    if (result.command === 'SELECT') result.rowCount = rowCount;
    return building(result);
  }
}
markSubmitted(Query);

const building = (result: QueryResult): ResultBuilder => Object.assign(result, { addRow: (row: unknown) => void result.rows.push(row) });
