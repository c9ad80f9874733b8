import { toBinary, type MessageInitShape, create } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { writeBatchStatements, type BatchStatement } from './batch.js';
import { failure, failureOf, StatusError, statusOf, unreadable } from './errors/failure.js';
import { TransactRequestSchema, QueryOptionsSchema } from './gen/rowgate/v1/database_pb.js';
import { readResultSet, TRANSACT_QUERY_FIELDS, writeStatement, type Decoding, type Part } from './messages.js';
import type { StatementOptions } from './options.js';
import { statementOptions } from './options.js';
import { Countdown, type WaitLimits } from './patience.js';
import type { Statement } from './sql.js';
import type { Duplex } from './transport/transport.js';
import type { Dialect, ParameterWriter } from './values/encode.js';
import { WireReader } from './values/wire.js';

type Command = Exclude<MessageInitShape<typeof TransactRequestSchema>['command'], undefined | { case?: undefined }>;

/** Takes the parts of a result one by one; the next is read when its promise is kept. */
type Sink = (part: Part) => void | Promise<void>;

interface Pending {
  readonly sequence: number;
  readonly decoding: Decoding | undefined;
  readonly sink: Sink | undefined;
  decoder: Part['decoder'];
  /** How long its replies are waited for; without end where it has none. */
  countdown: Countdown | undefined;
  resolve(): void;
  reject(error: unknown): void;
}

/** Milliseconds for the end of a stream whose last reply has come. */
const LAST_WAIT = 1_000;

// Fields of TransactResponse.
const RESULT = 3;
const ERROR = 7;
const BATCH_RESULT = 8;

/** The stream of one Transact: commands may be sent without waiting, and their replies come in order. */
export class TransactCall {
  private sequence = 0;
  private readonly pending: Pending[] = [];
  private isReading = false;
  private isWaiting = false;
  private isCommitSent = false;
  private end: unknown;
  /** Called once, when the stream has ended, however it did. */
  onEnd: (() => void) | undefined;

  constructor(private readonly duplex: Duplex, private readonly isReadOnly: boolean, private readonly write: ParameterWriter) {}

  /** True when the transaction is over. */
  get isOver(): boolean {
    return this.end !== undefined;
  }

  /** Sends a command that returns nothing. */
  command(command: Command, limits: WaitLimits = {}): Promise<void> {
    const sequence = (this.sequence += 1);
    const isLast = command.case === 'commit' || command.case === 'rollback';
    if (command.case === 'commit') this.isCommitSent = true;
    const reply = this.ask(toBinary(TransactRequestSchema, create(TransactRequestSchema, { sequence, command })), sequence, undefined, undefined, limits);
    // With it in one write: nothing may come behind it.
    if (isLast) this.duplex.end();
    return reply;
  }

  /** Sends a statement; its parts go to `sink`. */
  query(statement: Statement, options: StatementOptions, decoding: Decoding, dialect: Dialect | undefined, sink: Sink): Promise<void> {
    const writer = new BinaryWriter();
    const sequence = this.sequence + 1;
    writer.uint32(0x08).uint32(sequence).uint32(0x1a).fork();
    writeStatement(writer, statement, TRANSACT_QUERY_FIELDS, this.write, dialect);
    const chosen = statementOptions(options);
    if (chosen) writer.uint32(0x1a).bytes(toBinary(QueryOptionsSchema, create(QueryOptionsSchema, chosen)));
    const message = writer.join().finish();
    this.sequence = sequence;
    return this.ask(message, sequence, decoding, sink, options);
  }

  /** Sends statements together; the result of each goes to `sink`. */
  batch(statements: readonly BatchStatement[], options: StatementOptions, decoding: Decoding, dialect: Dialect | undefined, sink: Sink): Promise<void> {
    const writer = new BinaryWriter();
    const sequence = this.sequence + 1;
    writer.uint32(0x08).uint32(sequence).uint32(0x4a).fork();
    writeBatchStatements(writer, 0x0a, statements, this.write, dialect);
    const chosen = statementOptions(options);
    if (chosen) writer.uint32(0x12).bytes(toBinary(QueryOptionsSchema, create(QueryOptionsSchema, chosen)));
    const message = writer.join().finish();
    this.sequence = sequence;
    return this.ask(message, sequence, decoding, sink, options);
  }

  /** Gives the transaction up: it is rolled back, unless its commit was sent. */
  cancel(): void {
    this.giveUp(1, 'the transaction was given up');
  }

  private ask(message: Uint8Array, sequence: number, decoding: Decoding | undefined, sink: Sink | undefined, { timeout, signal }: WaitLimits): Promise<void> {
    if (this.end !== undefined) return Promise.reject(this.end);
    if (signal?.aborted) return Promise.reject(failure({ code: 1, message: 'the signal was aborted before the call', details: [], cause: signal.reason }, { isHarmless: true }));
    const countdown = Countdown.of(timeout);
    const onAbort = () => this.giveUp(1, 'the signal was aborted, and the transaction was given up with the statement', signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const reply = new Promise<void>((resolve, reject) => {
      this.pending.push({ sequence, decoding, sink, decoder: undefined, countdown, resolve, reject });
      void this.duplex.send(message);
      if (!this.isReading) void this.readReplies();
    });
    this.hurry(countdown);
    return signal ? reply.finally(() => signal.removeEventListener('abort', onAbort)) : reply;
  }

  // The beginning, which nobody waits for by itself, has the time of the statement behind it.
  private hurry(countdown: Countdown | undefined): void {
    const head = this.pending[0];
    if (!countdown || head?.sequence !== 1 || head.countdown) return;
    head.countdown = countdown;
    if (this.isWaiting) this.start(countdown);
  }

  private start(countdown: Countdown | undefined): void {
    countdown?.start(() => this.giveUp(4, 'no answer came in time, and the transaction was given up'));
  }

  // What it has done is rolled back, unless its commit was sent.
  private giveUp(code: number, message: string, cause?: unknown): void {
    this.duplex.cancel();
    this.finish(failure({ code, message, details: [], cause }, this.nature()));
  }

  // Reads while somebody waits, and after the end of the transaction to the status.
  private async readReplies(): Promise<void> {
    this.isReading = true;
    try {
      while (this.pending.length > 0) {
        const bytes = await this.next();
        if (!bytes) {
          this.finish(failure({ code: 2, message: 'the transaction is over', details: [] }, this.nature()));
          return;
        }
        await this.reply(bytes);
      }
    } catch (error) {
      this.duplex.cancel();
      const nature = this.nature();
      this.finish(error instanceof StatusError ? failureOf(error, nature) : unreadable(error, nature.isHarmless ? 'NOT_APPLIED' : 'UNKNOWN'));
    } finally {
      this.isReading = false;
    }
  }

  // The time that a consumer takes for the parts of a stream does not count.
  private async next(): Promise<Uint8Array | undefined> {
    const head = this.pending[0]!;
    this.isWaiting = true;
    this.start(head.countdown);
    try {
      return await this.duplex.next();
    } finally {
      this.isWaiting = false;
      head.countdown?.stop();
    }
  }

  private async reply(bytes: Uint8Array): Promise<void> {
    const reader = new WireReader(bytes);
    const pending = this.pending[0]!;
    while (reader.position < reader.end) {
      const tag = reader.uint32();
      if ((tag & 7) !== 2) {
        reader.skip(tag);
        continue;
      }
      const limit = reader.limit();
      if (tag >>> 3 === RESULT) {
        if (!(await this.result(reader, limit, pending))) return;
      } else if (tag >>> 3 === BATCH_RESULT) {
        await this.batchResult(reader, limit, pending);
      } else if (tag >>> 3 === ERROR) {
        this.pending.shift();
        pending.reject(failure(statusOf(reader.bytes.subarray(reader.position, limit)), { isHarmless: true }));
        return;
      }
      reader.position = limit;
    }
    this.pending.shift();
    pending.resolve();
  }

  // True after the last part.
  private async result(reader: WireReader, end: number, pending: Pending): Promise<boolean> {
    let isMore = false;
    let part: Part | undefined;
    while (reader.position < end) {
      const tag = reader.uint32();
      if (tag === 0x0a) {
        const limit = reader.limit();
        part = readResultSet(reader, limit, pending.decoding!, pending.decoder);
        pending.decoder = part.decoder;
      } else if (tag === 0x10) {
        isMore = reader.uint32() !== 0;
      } else {
        reader.skip(tag);
      }
    }
    if (part) await pending.sink?.(part);
    return !isMore;
  }

  private async batchResult(reader: WireReader, end: number, pending: Pending): Promise<void> {
    while (reader.position < end) {
      const tag = reader.uint32();
      if (tag === 0x0a) {
        const limit = reader.limit();
        await pending.sink?.(readResultSet(reader, limit, pending.decoding!));
      } else {
        reader.skip(tag);
      }
    }
  }

  /** Ends the call after its last reply, and waits for the end. */
  async close(how: string): Promise<void> {
    this.finish(new TypeError(`the transaction is over: it was ${how}`));
    // The status after the last reply says nothing more: what does not come soon is not waited for.
    const timer = setTimeout(() => this.duplex.cancel(), LAST_WAIT);
    await this.duplex.next().catch(() => {});
    clearTimeout(timer);
    this.duplex.cancel();
  }

  private nature() {
    return { isHarmless: this.isReadOnly || !this.isCommitSent };
  }

  private finish(error: unknown): void {
    if (this.end !== undefined) return;
    this.end = error;
    for (const each of this.pending.splice(0)) each.reject(error);
    this.onEnd?.();
  }
}
