import type { ScopeStore } from '../turns.js';

/** The methods of `rowgate.v1.DatabaseService`, and one each of `ServerService` and of gRPC's health service. */
export type Method =
  | 'Query' | 'StreamQuery' | 'ExecuteBatch' | 'Transact' | 'GetTransactionOutcome' | 'DescribeStatement' | 'Listen' | 'CopyIn'
  | 'CopyOut' | 'GetServerInfo' | 'Check';

const SERVICES: Partial<Record<Method, string>> = { GetServerInfo: 'rowgate.v1.ServerService', Check: 'grpc.health.v1.Health' };

/** The path of a method. */
export const pathOf = (method: Method) => `/${SERVICES[method] ?? 'rowgate.v1.DatabaseService'}/${method}`;

export interface CallLimits {
  /** Milliseconds until the call is given up. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** The messages of a response that is a stream, read one at a time: what is not read stops the sender. */
export interface MessageSource {
  /** The next message; undefined at the end. Fails with a `StatusError`. */
  next(): Promise<Uint8Array | undefined>;
  /** Gives the call up; nothing more comes. */
  cancel(): void;
}

/** A call whose request is a stream, too. */
export interface Duplex extends MessageSource {
  /** Sends a message. The promise is for back-pressure: it is kept when more may be sent. */
  send(message: Uint8Array): Promise<void>;
  /** Says that no more messages come. */
  end(): void;
}

/** Carries encoded messages to a server and back. Failures are `StatusError`s. */
export interface Transport {
  /** The name of the way, for messages. */
  readonly name: string;
  unary(method: Method, request: Uint8Array, limits: CallLimits): Promise<Uint8Array>;
  serverStream(method: Method, request: Uint8Array, limits: CallLimits): MessageSource;
  /** Undefined where requests cannot be streams. */
  duplex?(method: Method, limits: CallLimits): Duplex;
  /** There where `duplex` is. */
  readonly scopes?: ScopeStore;
  close(): void;
}
