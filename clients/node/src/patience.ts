import { failure } from './errors/failure.js';

/**
 * The milliseconds after which a call is given up here, for the timeout that the server is told: it ends the statement in time and
 * says what became of it, and that answer needs its way back.
 */
export function patience(timeout: number | undefined): number | undefined {
  return timeout === undefined || timeout === Infinity ? undefined : Math.max(0, timeout) + Math.min(5_000, Math.max(250, timeout * 0.1));
}

/** The time that is left for the replies to one statement. It runs only while one is waited for. */
export class Countdown {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private since = 0;
  private left: number;

  private constructor(left: number) {
    this.left = left;
  }

  /** For the timeout of a statement; none where it has none. */
  static of(timeout: number | undefined): Countdown | undefined {
    const left = patience(timeout);
    return left === undefined ? undefined : new Countdown(left);
  }

  start(onEnd: () => void): void {
    this.since = Date.now();
    this.timer = setTimeout(onEnd, Math.max(0, this.left));
  }

  stop(): void {
    if (this.timer === undefined) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.left -= Date.now() - this.since;
  }
}

/** What a wait before the sending ends by. */
export interface WaitLimits {
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** The result of a question that a statement needs before it is sent, within the limits of that statement. */
export function within<T>(question: Promise<T>, { timeout, signal }: WaitLimits): Promise<T> {
  const left = patience(timeout);
  if (left === undefined && !signal) return question;
  return new Promise<T>((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      act();
    };
    const give = (code: number, message: string, cause?: unknown) =>
      settle(() => reject(failure({ code, message, details: [], isUnsent: true, cause }, { isHarmless: true })));
    const onAbort = () => give(1, 'the signal was aborted before the statement was sent', signal!.reason);
    const timer = left === undefined ? undefined : setTimeout(() => give(4, `the server did not say within ${timeout} ms what its databases are`), left);
    if (signal?.aborted) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    question.then((value) => settle(() => resolve(value)), (error) => settle(() => reject(error)));
  });
}
