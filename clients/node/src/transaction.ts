import type { BatchStatement } from './batch.js';
import { RowgateError } from './errors/error.js';
import { failure } from './errors/failure.js';
import { resultOfPart, type Decoding, type Part } from './messages.js';
import type { CommandOptions, StatementOptions } from './options.js';
import { within, type WaitLimits } from './patience.js';
import type { Result, Row } from './result.js';
import { compiled, Sql, sql, type StatementInput } from './sql.js';
import type { TransactCall } from './transact.js';
import { Turns, type ScopeStore } from './turns.js';
import { NEEDS_DIALECT, type Dialect } from './values/encode.js';
import type { Column } from './values/types.js';

/** What a transaction needs of its database. */
export interface TransactionContext {
  decoding(options: StatementOptions): Decoding;
  dialect(): Promise<Dialect>;
  knownDialect(): Dialect | undefined;
  readonly scopes: ScopeStore;
}

/**
 * An interactive transaction.
 *
 * `db.transaction` commits it when its function returns, and rolls it back when that fails; one of `db.begin` ends by `commit`,
 * `rollback` or `abandon`. A statement that fails leaves it open, for `rollbackTo` and `rollback` alone.
 */
export class Transaction {
  private savepoints = 0;
  private readonly turns: Turns;
  /** What waits for the dialect before it is sent: everything else waits behind it. */
  private line: Promise<void> | undefined;
  private committing: Promise<void> | undefined;
  private isRolledBack = false;
  /** True once a commit was sent, unless it is known to have failed. @internal */
  mayBeApplied = false;

  /** @internal */
  constructor(private readonly call: TransactCall, private readonly context: TransactionContext) {
    this.turns = new Turns(context.scopes);
  }

  /** Runs one statement. A failure leaves the transaction open for `savepoint`s around it alone. */
  query<R = Row>(statement: Sql, options?: StatementOptions): Promise<Result<R>>;
  query<R = Row>(text: string, values?: readonly unknown[], options?: StatementOptions): Promise<Result<R>>;
  async query<R = Row>(input: StatementInput, second?: readonly unknown[] | StatementOptions, third?: StatementOptions): Promise<Result<R>> {
    const { values, options } = statementArguments(input, second, third);
    let whole: Part | undefined;
    await this.send(input, values, options, (part) => {
      if (!whole) {
        whole = part;
        return;
      }
      for (const row of part.rows) whole.rows.push(row);
      whole.rowsAffected = part.rowsAffected;
      whole.command = part.command;
    });
    return resultOfPart(whole!);
  }

  /** A tag: await tx.sql`update …`. */
  readonly sql = <R = Row>(strings: TemplateStringsArray, ...values: unknown[]): Promise<Result<R>> =>
    this.query<R>(sql(strings, ...values));

  /**
   * The rows of a statement as they come. It begins with the first that is read; until the last one was read the transaction does
   * nothing else, and every other call is refused. A loop that is left early reads the rest and drops it.
   */
  async *stream<R = Row>(input: StatementInput, second?: readonly unknown[] | StatementOptions, third?: StatementOptions): AsyncGenerator<R, readonly Column[]> {
    const { values, options } = statementArguments(input, second, third);
    let columns: readonly Column[] = [];
    for await (const part of this.parts(input, values, options)) {
      if (part.columns.length > 0) columns = part.columns;
      yield* part.rows as R[];
    }
    return columns;
  }

  /** The parts of a result as they come. @internal */
  async *parts(input: StatementInput, values: readonly unknown[], options: StatementOptions): AsyncGenerator<Part, void> {
    const parts = new Handover<Part>();
    this.turns.check('a stream');
    const done = this.send(input, values, options, (part) => parts.give(part)).then(() => parts.end(), (error) => parts.fail(error));
    this.turns.streaming();
    try {
      for (let part = await parts.take(); part; part = await parts.take()) yield part;
    } finally {
      parts.drop();
      await done;
      this.turns.streamed();
    }
  }

  /**
   * Runs statements in one message, on PostgreSQL in one round trip, with `expect` and `resultOf` as in a batch of a database; returns
   * the result of each. The first that fails is the error's `failedStatement`, and like any that fails it leaves the transaction open
   * for `rollbackTo` and `rollback` alone.
   */
  async batch(statements: readonly BatchStatement[], options: StatementOptions = {}): Promise<Result[]> {
    const results: Result[] = [];
    const decoding = this.context.decoding(options);
    await this.withDialect((dialect) => this.call.batch(statements, options, decoding, dialect, (part) => void results.push(resultOfPart(part))), options);
    return results;
  }

  /**
   * Runs `work` behind a savepoint: what it did is undone when it fails, and the transaction goes on. Calls from outside of `work` are
   * refused meanwhile, other savepoints, too: what they did would be undone with it. One inside of another is fine.
   */
  async savepoint<T>(work: () => Promise<T>): Promise<T> {
    const name = `savepoint_${(this.savepoints += 1)}`;
    this.turns.check('a savepoint');
    return this.turns.inside(async () => {
      await this.setSavepoint(name);
      let value: T;
      try {
        value = await work();
      } catch (error) {
        if (!this.call.isOver) await this.rollbackTo(name);
        throw error;
      }
      await this.release(name);
      return value;
    });
  }

  setSavepoint(name: string, options: CommandOptions = {}): Promise<void> {
    return this.withDialect(() => this.call.command({ case: 'savepoint', value: { name } }, options));
  }

  /** Undoes what was done since the savepoint, which stays. */
  rollbackTo(name: string, options: CommandOptions = {}): Promise<void> {
    return this.withDialect(() => this.call.command({ case: 'rollbackTo', value: { name } }, options));
  }

  /** Forgets the savepoint, and keeps what was done since. */
  release(name: string, options: CommandOptions = {}): Promise<void> {
    return this.withDialect(() => this.call.command({ case: 'release', value: { name } }, options));
  }

  /** Commits. A failure says by its outcome what became of the transaction. */
  commit(options: CommandOptions = {}): Promise<void> {
    if (this.isRolledBack) return Promise.reject(failure({ code: 1, message: 'the transaction is not committed: it was rolled back', details: [] }, { isHarmless: true }));
    this.committing ??= this.committed(options);
    return this.committing;
  }

  async rollback(options: CommandOptions = {}): Promise<void> {
    // Whoever is in a savepoint: all is undone.
    await this.withDialect(() => {
      this.isRolledBack = !this.committing;
      return this.call.command({ case: 'rollback', value: {} }, options);
    }, options, () => this.turns.checkStream('a rollback'));
    await this.call.close('rolled back');
  }

  /** Gives the transaction up without waiting: it is rolled back. */
  abandon(): void {
    if (!this.call.isOver) this.call.cancel();
  }

  /** True when the transaction has ended, however it did. */
  get isOver(): boolean {
    return this.call.isOver;
  }

  private async committed(options: CommandOptions): Promise<void> {
    try {
      await this.withDialect(() => {
        this.mayBeApplied = true;
        return this.call.command({ case: 'commit', value: {} }, options);
      }, options);
    } catch (error) {
      if (!this.mayBeApplied) this.committing = undefined;
      else if (error instanceof RowgateError && error.outcome === 'NOT_APPLIED') this.mayBeApplied = false;
      throw error;
    }
    await this.call.close('committed');
  }

  private async send(input: StatementInput, values: readonly unknown[], options: StatementOptions, sink: (part: Part) => void | Promise<void>): Promise<void> {
    const decoding = this.context.decoding(options);
    return this.withDialect((dialect) => this.call.query(compiled(input, values, dialect), options, decoding, dialect, sink), options);
  }

  // Sends a command, again with the dialect where its form depends on it: it was not sent then. Whoever calls meanwhile waits
  // behind it, so that commands are sent in the order of the calls.
  private async withDialect(send: (dialect: Dialect | undefined) => Promise<void>, limits: WaitLimits = {}, check = () => this.turns.check('a call')): Promise<void> {
    check();
    if (!this.line) {
      try {
        return await send(this.context.knownDialect());
      } catch (error) {
        if (error !== NEEDS_DIALECT) throw error;
      }
    }
    let reply: Promise<void> | undefined;
    const sent = (this.line ?? Promise.resolve()).then(async () => {
      try {
        reply = send(this.context.knownDialect());
      } catch (error) {
        if (error !== NEEDS_DIALECT) throw error;
        reply = send(await within(this.context.dialect(), limits));
      }
      reply.catch(() => {});
    });
    const line = sent.catch(() => {}).then(() => {
      if (this.line === line) this.line = undefined;
    });
    this.line = line;
    await sent;
    return reply;
  }
}

export interface StatementArguments<O> {
  readonly values: readonly unknown[];
  readonly options: O;
}

/** The values and options of a call with a text or with a piece of SQL. */
export function statementArguments<O extends object>(input: StatementInput, second: readonly unknown[] | O | undefined, third: O | undefined): StatementArguments<O> {
  if (input instanceof Sql) {
    if (Array.isArray(second)) throw new TypeError('the values of sql`…` stand in it: give none beside it');
    return { values: [], options: (second as O | undefined) ?? ({} as O) };
  }
  if (typeof input !== 'string') throw new TypeError('a statement is a text or sql`…`');
  if (second !== undefined && !Array.isArray(second)) throw new TypeError('the values of a text are an array: query(text, [values], options)');
  return { values: (second as readonly unknown[] | undefined) ?? [], options: third ?? ({} as O) };
}

/** Hands items from one task to another, one at a time: `give` waits until the item was taken. */
class Handover<T> {
  private item: T | undefined;
  private isOver = false;
  private isDropped = false;
  private error: unknown;
  private wakeTaker: (() => void) | undefined;
  private wakeGiver: (() => void) | undefined;

  give(item: T): void | Promise<void> {
    if (this.isDropped) return;
    this.item = item;
    this.wakeTaker?.();
    return new Promise((resolve) => {
      this.wakeGiver = resolve;
    });
  }

  end(): void {
    this.isOver = true;
    this.wakeTaker?.();
  }

  fail(error: unknown): void {
    this.error = error;
    this.end();
  }

  async take(): Promise<T | undefined> {
    this.wakeGiver?.();
    if (this.item === undefined && !this.isOver) {
      await new Promise<void>((resolve) => {
        this.wakeTaker = resolve;
      });
    }
    const { item } = this;
    this.item = undefined;
    if (item === undefined && this.error !== undefined) throw this.error;
    return item;
  }

  drop(): void {
    this.isDropped = true;
    this.wakeGiver?.();
  }
}
