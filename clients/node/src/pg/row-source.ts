import type { Part } from '../messages.js';
import type { RowStream } from '../rows.js';
import type { Column } from '../values/types.js';
import { Result } from '../result.js';
import { queryResult } from './result.js';
import type { QueryResult } from './shapes.js';

/** The rows of one statement as they come: read to the end, or closed. */
export interface RowSource {
  /** The next rows, at least one; undefined at the end. */
  next(): Promise<any[] | undefined>;
  /** The result with these rows: its fields are known from the first rows on, its command at the end. */
  result(rows: any[]): QueryResult;
  /** Gives up the rest. */
  close(): Promise<void>;
}

/** The rows of a statement outside of a transaction: closing cancels it. */
export class StreamSource implements RowSource {
  private readonly batches: AsyncIterator<any[]>;

  constructor(private readonly stream: RowStream<any>, private readonly isArrays: boolean, private readonly failed: (error: unknown) => unknown) {
    this.batches = stream.batches();
  }

  async next(): Promise<any[] | undefined> {
    try {
      for (;;) {
        const { value, done } = await this.batches.next();
        if (done) return undefined;
        if (value.length > 0) return value;
      }
    } catch (error) {
      throw this.failed(error);
    }
  }

  result(rows: any[]): QueryResult {
    const { columns, summary } = this.stream;
    return resultOf(rows, columns, summary?.rowsAffected ?? 0, summary?.command ?? '', this.isArrays);
  }

  async close(): Promise<void> {
    await this.batches.return!();
  }
}

/** The rows of a statement in a transaction, whose session does one thing after the other: closing reads the rest and drops it. */
export class TransactionSource implements RowSource {
  private columns: readonly Column[] = [];
  private last: Part | undefined;

  constructor(private readonly parts: AsyncGenerator<Part, void>, private readonly isArrays: boolean, private readonly onFailure: (error: unknown) => void) {}

  async next(): Promise<any[] | undefined> {
    try {
      for (;;) {
        const { value: part, done } = await this.parts.next();
        if (done) return undefined;
        this.last = part;
        if (part.columns.length > 0) this.columns = part.columns;
        if (part.rows.length > 0) return part.rows;
      }
    } catch (error) {
      this.onFailure(error);
      throw error;
    }
  }

  result(rows: any[]): QueryResult {
    return resultOf(rows, this.columns, this.last?.rowsAffected ?? 0, this.last?.command ?? '', this.isArrays);
  }

  async close(): Promise<void> {
    await this.parts.return();
  }
}

function resultOf(rows: any[], columns: readonly Column[], rowsAffected: number, command: string, isArrays: boolean): QueryResult {
  return queryResult(new Result(rows, columns, rowsAffected, command, columns.length > 0), isArrays);
}
