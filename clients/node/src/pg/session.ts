import { RowgateError } from '../errors/error.js';
import type { Database } from '../database.js';
import type { TransactionModes } from '../options.js';
import { Result } from '../result.js';
import type { Transaction } from '../transaction.js';
import type { Typist } from '../values/typing.js';
import type { Control } from './control.js';
import { mayBeLarge, rememberLarge } from './large.js';
import { controlResult, queryResult } from './result.js';
import { StreamSource, TransactionSource, type RowSource } from './row-source.js';
import type { QueryResult } from './shapes.js';

/** A statement of the program's, with its values. */
export interface PgStatement {
  readonly text: string;
  readonly values: readonly unknown[];
  readonly isArrays: boolean;
  /** Other parsers than those of the client. */
  readonly typist: Typist | undefined;
  /** Milliseconds; those of the client without. */
  readonly timeout: number | undefined;
}

/** Milliseconds; what the server sets without. */
export interface SessionLimits {
  /** Of each statement. */
  readonly statement: number | undefined;
  /** Between two statements of a transaction. */
  readonly idle: number | undefined;
}

/**
 * The transaction of a client, as its texts control it.
 *
 * BEGIN is sent with the first statement behind it: so `SET TRANSACTION` may still change the modes, and nothing waits for it.
 */
export class Session {
  private modes: TransactionModes | undefined;
  private transaction: Transaction | undefined;
  /** True after a statement failed: only ROLLBACK and ROLLBACK TO help. */
  private isFailed = false;

  /** `told` is the error of a stream as the program is to see it. */
  constructor(private readonly database: Database, private readonly limits: SessionLimits, private readonly told: (error: unknown) => unknown) {}

  get isInTransaction(): boolean {
    return this.modes !== undefined;
  }

  /** As the protocol of PostgreSQL has it: idle, in a transaction, in one that failed. */
  get status(): 'I' | 'T' | 'E' {
    return !this.modes ? 'I' : this.isFailed ? 'E' : 'T';
  }

  /** Runs one statement, in the transaction if there is one. */
  async run(statement: PgStatement): Promise<QueryResult> {
    if (!this.modes) return queryResult(await this.alone(statement), statement.isArrays);
    try {
      const { transaction, begun } = this.opened();
      const result = transaction.query(statement.text, statement.values, this.formOf(statement));
      // The failure of the beginning is that of the statement, too, and says more.
      const [, done] = await Promise.all([begun, result]);
      return queryResult(done, statement.isArrays);
    } catch (error) {
      this.noted(error);
      throw error;
    }
  }

  /** The rows of one statement as they come, in the transaction if there is one; without a timeout for as long as they are read. */
  rows(statement: PgStatement): RowSource {
    const { text, values, isArrays } = statement;
    if (!this.modes) {
      return new StreamSource(this.database.stream(text, values, formOf(statement)), isArrays, this.told);
    }
    const { transaction, begun } = this.opened();
    // The failure of the beginning is that of the statement, too.
    begun?.catch(() => {});
    return new TransactionSource(transaction.parts(text, values, formOf(statement)), isArrays, (error) => this.noted(error));
  }

  /** Runs a text that controls the transaction. */
  async control(control: Control): Promise<QueryResult> {
    switch (control.kind) {
      case 'begin':
        this.modes ??= control.modes;
        return controlResult(control.command);
      case 'modes':
        if (this.modes && this.transaction) throw new Error('SET TRANSACTION must be called before any query');
        if (this.modes) Object.assign(this.modes, control.modes);
        return controlResult('SET');
      case 'commit':
        return this.commit(control.isChained);
      case 'rollback':
        await this.rollback(control.isChained);
        return controlResult('ROLLBACK');
      default:
        return this.savepoint(control);
    }
  }

  /** Gives up an open transaction: it is rolled back. */
  reset(): void {
    this.transaction?.abandon();
    this.finish(false);
  }

  // A Query has the server's cap on rows, which programs of node-postgres do not know: a larger result is streamed, and so is what
  // may be larger and writes, as it would be too late when that is known.
  private async alone(statement: PgStatement): Promise<Result<any>> {
    const { text, values } = statement;
    const form = formOf(statement);
    if (!mayBeLarge(text, values)) {
      try {
        return await this.database.query(text, values, form);
      } catch (error) {
        const isLarge = error instanceof RowgateError && error.reason === 'RESULT_TOO_LARGE' && error.outcome === 'NOT_APPLIED';
        if (!isLarge) throw error;
        rememberLarge(text);
      }
    }
    const stream = this.database.stream(text, values, form);
    const rows: any[] = [];
    for await (const batch of stream.batches()) for (const row of batch) rows.push(row);
    const { rowsAffected, command } = stream.summary!;
    return new Result(rows, stream.columns, rowsAffected, command, stream.columns.length > 0);
  }

  private opened(): { transaction: Transaction; begun: Promise<void> | undefined } {
    if (this.transaction) return { transaction: this.transaction, begun: undefined };
    const { transaction, begun } = this.database.open({ ...this.modes, idleTimeout: this.limits.idle });
    this.transaction = transaction;
    return { transaction, begun };
  }

  private async commit(isChained: boolean): Promise<QueryResult> {
    const { transaction } = this;
    // As in PostgreSQL, the COMMIT of a transaction that has failed rolls it back, and says so. One that was lost is an error.
    if (this.isFailed && transaction && !transaction.isOver) {
      await this.rollback(isChained);
      return controlResult('ROLLBACK');
    }
    this.finish(isChained);
    await transaction?.commit({ timeout: this.limits.statement });
    return controlResult('COMMIT');
  }

  private async rollback(isChained: boolean): Promise<void> {
    const { transaction } = this;
    this.finish(isChained);
    // One that has ended is rolled back already.
    if (!transaction || transaction.isOver) return;
    await transaction.rollback({ timeout: this.limits.statement });
  }

  private async savepoint(control: Control): Promise<QueryResult> {
    if (!this.modes) throw new Error(`${control.kind === 'savepoint' ? 'SAVEPOINT' : 'this command'} can only be used in transaction blocks`);
    const { transaction, begun } = this.opened();
    const { name } = control as { name: string };
    const limits = { timeout: this.limits.statement };
    try {
      if (control.kind === 'savepoint') await Promise.all([begun, transaction.setSavepoint(name, limits)]);
      else if (control.kind === 'release') await Promise.all([begun, transaction.release(name, limits)]);
      else await Promise.all([begun, transaction.rollbackTo(name, limits)]);
    } catch (error) {
      this.noted(error);
      throw error;
    }
    if (control.kind === 'rollbackTo') this.isFailed = false;
    return controlResult({ savepoint: 'SAVEPOINT', release: 'RELEASE', rollbackTo: 'ROLLBACK' }[control.kind as 'savepoint']);
  }

  // What is wrong with a value is noticed here, and the transaction does not know of it.
  private noted(error: unknown): void {
    if (error instanceof RowgateError) this.isFailed = true;
  }

  // Outside of a transaction the database of the client has its time.
  private formOf(statement: PgStatement) {
    return { ...formOf(statement), timeout: statement.timeout ?? this.limits.statement };
  }

  private finish(isChained: boolean): void {
    if (!isChained) this.modes = undefined;
    this.transaction = undefined;
    this.isFailed = false;
  }
}

function formOf({ isArrays, typist, timeout }: PgStatement): { rowMode: 'array' | 'object'; typist: Typist | undefined; timeout?: number } {
  const rowMode = isArrays ? 'array' : 'object';
  return timeout === undefined ? { rowMode, typist } : { rowMode, typist, timeout };
}
