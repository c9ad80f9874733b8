import { Doubt } from './doubt.js';
import { RowgateError } from './errors/error.js';
import { TransportFailure } from './errors/failure.js';

export interface Repetition {
  readonly retries: number;
  /** True for what has an idempotency key: it may be sent again whatever became of it. */
  readonly isKeyed: boolean;
  readonly signal?: AbortSignal;
  /** Milliseconds for all attempts together. */
  readonly timeout?: number;
  /** True once an attempt has done what must not be done again, whatever it fails with. */
  isFinal?: boolean;
}

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/** Reasons with an unknown outcome that a key is no help against: the caller's own wish, and tables without transactions. */
const NEVER_REPEATED = new Set(['CANCELLED', 'KEY_NOT_TRANSACTIONAL']);

/**
 * Runs `attempt` until it succeeds, at most `retries` times more. Each attempt gets the milliseconds that are left.
 *
 * Repeated is what was not applied and may succeed later, as its RetryInfo says, and what has a key and may have been applied,
 * unless the key does not protect it; of the latter also an attempt that was not sent, as only another one can tell. An attempt that
 * may have been applied decides what the caller is told, until the server resolves it.
 */
export async function repeated<T>(repetition: Repetition, attempt: (timeout: number | undefined, doubt: Doubt) => Promise<T>): Promise<T> {
  const { retries, timeout } = repetition;
  const doubt = new Doubt();
  const start = Date.now();
  for (let number = 0; ; number += 1) {
    const left = timeout === undefined ? undefined : Math.max(1, timeout - (Date.now() - start));
    try {
      return await attempt(left, doubt);
    } catch (error) {
      const isInDoubt = doubt.isOpen;
      doubt.note(error);
      const pause = number < retries && !repetition.isFinal ? pauseAfter(error, repetition.isKeyed, isInDoubt, number) : undefined;
      if (pause === undefined || (left !== undefined && Date.now() - start + pause >= timeout!)) throw doubt.told(error);
      await rest(pause, repetition.signal, doubt.told(error));
    }
  }
}

/** The pause before the next attempt; undefined where there must be none. */
function pauseAfter(error: unknown, isKeyed: boolean, isInDoubt: boolean, number: number): number | undefined {
  if (!(error instanceof RowgateError)) return undefined;
  let pause: number;
  if (error.outcome === 'NOT_APPLIED' && error.retryAfter !== undefined) pause = error.retryAfter;
  else if (isKeyed && error.outcome === 'UNKNOWN' && !NEVER_REPEATED.has(error.reason)) pause = FIRST_PAUSE;
  else if (isKeyed && isInDoubt && error instanceof TransportFailure) pause = FIRST_PAUSE;
  else return undefined;
  return Math.min(pause * 2 ** number, Math.max(pause, LONGEST_PAUSE)) * (1 + Math.random() / 2);
}

function rest(milliseconds: number, signal: AbortSignal | undefined, error: unknown): Promise<void> {
  if (signal?.aborted) return Promise.reject(error);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    const stop = () => {
      clearTimeout(timer);
      reject(error);
    };
    signal?.addEventListener('abort', stop, { once: true });
  });
}
