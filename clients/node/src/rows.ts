import { failure, failureOf, StatusError, unreadable, type CallNature } from './errors/failure.js';
import type { PartReader, StreamPart } from './messages.js';
import type { MessageSource } from './transport/transport.js';
import type { Column } from './values/types.js';

/** The end of a complete stream. */
export interface Summary {
  readonly rowsAffected: number;
  readonly command: string;
  readonly rowCount: number;
}

const ENDED: IteratorReturnResult<undefined> = { value: undefined, done: true };

/** The parts of a streamed result, in order; it is complete only when its summary has come. */
export class PartSource {
  columns: readonly Column[] = [];
  summary: Summary | undefined;
  private opening: Promise<MessageSource> | undefined;
  private source: MessageSource | undefined;
  private isCancelled = false;

  constructor(
    private readonly open: () => Promise<MessageSource>,
    private readonly reader: PartReader,
    private readonly nature: CallNature,
  ) {}

  /** The next part with rows or data; undefined at the end. */
  async next(): Promise<Extract<StreamPart, { kind: 'rows' | 'data' }> | undefined> {
    try {
      this.opening ??= this.opened();
      const source = await this.opening;
      for (let bytes = await source.next(); bytes; bytes = await source.next()) {
        const part = this.read(bytes);
        if (part.kind === 'rows' || part.kind === 'data') return part;
        if (part.kind === 'header') this.columns = part.columns;
        if (part.kind === 'summary') this.summary = { rowsAffected: part.rowsAffected, command: part.command, rowCount: part.rowCount };
      }
    } catch (error) {
      this.source?.cancel();
      throw failureOf(error, this.nature);
    }
    if (!this.summary) {
      throw failure({ code: 2, message: 'the stream ended without its summary: what has come is not all', details: [] }, this.nature);
    }
    return undefined;
  }

  /** Ends the call, also one that is still to be opened. */
  cancel(): void {
    this.isCancelled = true;
    this.source?.cancel();
  }

  // It may be cancelled before, and while its request is made.
  private async opened(): Promise<MessageSource> {
    if (this.isCancelled) throw cancelled(true);
    this.source = await this.open();
    if (!this.isCancelled) return this.source;
    this.source.cancel();
    throw cancelled(false);
  }

  // The statement is cancelled, and nobody knows how far it is.
  private read(bytes: Uint8Array): StreamPart {
    try {
      return this.reader.read(bytes);
    } catch (error) {
      throw unreadable(error, this.nature.isHarmless ? 'NOT_APPLIED' : 'UNKNOWN');
    }
  }
}

const cancelled = (isUnsent: boolean) =>
  new StatusError({ code: 1, message: 'the stream was cancelled before its first message', details: [], isUnsent });

/**
 * The rows of a streamed result, of any size: `for await (const row of stream)`.
 *
 * Rows are taken from the database as fast as they are read here. Leaving the loop early cancels the statement.
 */
export class RowStream<R> implements AsyncIterable<R> {
  private isTaken = false;

  /** @internal */
  constructor(private readonly parts: PartSource) {}

  /** The columns; known from the first row on. */
  get columns(): readonly Column[] {
    return this.parts.columns;
  }

  /** The counts; known at the end. */
  get summary(): Summary | undefined {
    return this.parts.summary;
  }

  /** The rows, some at a time, as they come: faster than one by one. */
  batches(): AsyncIterableIterator<R[]> {
    this.take();
    const { parts } = this;
    let isOver = false;
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        const part = isOver ? undefined : await parts.next();
        if (part?.kind !== 'rows') {
          isOver = true;
          return ENDED;
        }
        return { value: part.rows as R[], done: false };
      },
      async return() {
        isOver = true;
        parts.cancel();
        return ENDED;
      },
    };
  }

  [Symbol.asyncIterator](): AsyncIterator<R> {
    return new RowIterator(this.batches());
  }

  /** Cancels the statement. */
  cancel(): void {
    this.parts.cancel();
  }

  private take(): void {
    if (this.isTaken) throw new TypeError('a stream can be read once');
    this.isTaken = true;
  }
}

class RowIterator<R> implements AsyncIterator<R> {
  private rows: R[] = [];
  private at = 0;
  private pending: Promise<unknown> | undefined;

  constructor(private readonly batches: AsyncIterableIterator<R[]>) {}

  next(): Promise<IteratorResult<R>> {
    // A row that is here already costs no call of an async function.
    if (this.at < this.rows.length && !this.pending) {
      return Promise.resolve({ value: this.rows[this.at++]!, done: false });
    }
    const before = this.pending ?? Promise.resolve();
    const mine = before.then(() => this.fetch());
    const settled = mine.then(() => {}, () => {}).then(() => {
      if (this.pending === settled) this.pending = undefined;
    });
    this.pending = settled;
    return mine;
  }

  async return(): Promise<IteratorResult<R>> {
    this.rows = [];
    await this.batches.return!();
    return ENDED;
  }

  private async fetch(): Promise<IteratorResult<R>> {
    while (this.at >= this.rows.length) {
      const { value, done } = await this.batches.next();
      if (done) return ENDED;
      this.rows = value;
      this.at = 0;
    }
    return { value: this.rows[this.at++]!, done: false };
  }
}

/** The data of a copy in a text format, or in Arrow's: `for await (const bytes of copy)`. */
export class DataStream implements AsyncIterable<Uint8Array> {
  /** @internal */
  constructor(private readonly parts: PartSource) {}

  get summary(): Summary | undefined {
    return this.parts.summary;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (let part = await this.parts.next(); part; part = await this.parts.next()) {
        if (part.kind === 'data') yield part.data;
      }
    } finally {
      this.parts.cancel();
    }
  }

  cancel(): void {
    this.parts.cancel();
  }
}
