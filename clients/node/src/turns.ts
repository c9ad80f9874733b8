import { TransactionBusy } from './errors/failure.js';

/** A savepoint whose function runs. */
export interface Scope {
  readonly of: Turns;
  /** That of the caller. */
  readonly outer: Scope | undefined;
}

/** Tells in which function of a savepoint a caller is, as Node's AsyncLocalStorage does. */
export interface ScopeStore {
  getStore(): Scope | undefined;
  run<T>(scope: Scope, work: () => T): T;
}

/**
 * Who may use a transaction just now.
 *
 * Its session does one thing after the other, and a savepoint undoes all that came behind it: what somebody else does meanwhile
 * would be undone with it, or would wait for a stream that nobody reads on.
 */
export class Turns {
  private readonly open: Scope[] = [];
  private isStreaming = false;

  constructor(private readonly scopes: ScopeStore) {}

  /** Refuses a call that would wait for ever, or be undone by somebody else. */
  check(what: string): void {
    this.checkStream(what);
    if (this.open.at(-1) !== this.own()) {
      throw busy(`${what} cannot run while somebody else is in a savepoint of this transaction, which may undo it`,
        'await one savepoint before the next, and call what belongs to it inside of its function');
    }
  }

  /** Refuses a call whose answer would come behind rows that nobody takes. */
  checkStream(what: string): void {
    if (!this.isStreaming) return;
    throw busy(`${what} cannot run while the rows of a stream of this transaction are being read`,
      'read the stream to its end or leave its loop first, or collect its rows; abandon() gives the transaction up');
  }

  /** Marks a stream, until `streamed`. */
  streaming(): void {
    this.isStreaming = true;
  }

  streamed(): void {
    this.isStreaming = false;
  }

  /** Runs a savepoint, from its setting to its end. */
  async inside<T>(work: () => Promise<T>): Promise<T> {
    const scope: Scope = { of: this, outer: this.scopes.getStore() };
    this.open.push(scope);
    try {
      return await this.scopes.run(scope, work);
    } finally {
      // One that was opened inside and not awaited still runs: nobody may go on then, and nothing is committed.
      if (this.open.at(-1) === scope) this.open.pop();
    }
  }

  private own(): Scope | undefined {
    let scope = this.scopes.getStore();
    while (scope && scope.of !== this) scope = scope.outer;
    return scope;
  }
}

function busy(message: string, hint: string): Error {
  return new TransactionBusy({ message: `${message}\nhint: ${hint}`, status: 'FAILED_PRECONDITION', reason: TransactionBusy.reason, outcome: 'NOT_APPLIED', hint });
}
