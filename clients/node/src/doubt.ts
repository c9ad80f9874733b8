import { RowgateError, type ErrorFields } from './errors/error.js';
import { withoutUndefined } from './errors/failure.js';

/**
 * What is not known of work that is sent again after an attempt that may have been applied.
 *
 * Such an attempt stays in doubt until the server tells of the work itself: by a success, which may be a replay, by an error with
 * the outcome APPLIED, or by the answered beginning of a transaction that has claimed the same key. Any other error says nothing of
 * it: a later attempt may not have been sent, or was refused before it came to the key, and the two cannot be told apart by the reason.
 */
export class Doubt {
  private latest: RowgateError | undefined;
  private attempts = 0;

  /** True while an attempt may have been applied. */
  get isOpen(): boolean {
    return this.attempts > 0;
  }

  /** Takes the error of an attempt. */
  note(error: unknown): void {
    if (!(error instanceof RowgateError) || error.outcome !== 'UNKNOWN') return;
    this.latest = error;
    this.attempts += 1;
  }

  /** The server has told that no attempt was applied. */
  resolve(): void {
    this.latest = undefined;
    this.attempts = 0;
  }

  /** The error for the caller: the last one, or that of the latest attempt in doubt, of which the last one says nothing. */
  told(last: unknown): unknown {
    const { latest } = this;
    if (!latest) return last;
    if (last instanceof RowgateError && last.outcome !== 'NOT_APPLIED') {
      return last === latest && this.attempts === 1 ? last : withoutToken(last);
    }
    const why = (last as Error | undefined)?.message ?? String(last);
    const message = `${latest.message}; sending it again did not tell what became of it: ${why}`;
    const found = copyOf(latest, { message, cause: last });
    return this.attempts === 1 ? found : withoutToken(found);
  }
}

// It tells of one attempt, and there are others.
function withoutToken(error: RowgateError): RowgateError {
  return error.transactionToken === undefined ? error : copyOf(error, { transactionToken: undefined });
}

function copyOf(error: RowgateError, changes: Partial<ErrorFields>): RowgateError {
  const Class = error.constructor as new (fields: ErrorFields) => RowgateError;
  const { message, cause, ...fields } = error;
  return new Class(withoutUndefined({ message, cause, ...fields, ...changes } as ErrorFields));
}
