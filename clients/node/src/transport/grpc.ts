import { AsyncLocalStorage } from 'node:async_hooks';
import * as grpc from '@grpc/grpc-js';
import { checkedText } from '../checks.js';
import { StatusError, statusOf, type Status } from '../errors/failure.js';
import { pathOf, type CallLimits, type Duplex, type MessageSource, type Method, type Transport } from './transport.js';
import type { Scope } from '../turns.js';

/** Files or texts in PEM for TLS. */
export interface TlsOptions {
  /** The authorities to trust; the system's without. */
  ca?: string | Uint8Array;
  /** The client's certificate and key, where the server asks for them. */
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  /** The name in the server's certificate, where it is another than the address. */
  serverName?: string;
  /** False trusts any certificate: for tests alone. */
  rejectUnauthorized?: boolean;
}

export interface GrpcOptions {
  tls?: boolean | TlsOptions;
  /** The caller's token, or a function that is asked for it before each call. It is sent over TLS only. */
  token?: string | (() => string | Promise<string>);
  /** HTTP/2 connections to the server; calls take turns. 1 without. */
  connections?: number;
  /** Further options of grpc-js for the channel. */
  channelOptions?: grpc.ChannelOptions;
}

/** Turns over all addresses, and repeats calls that only read; that of all examples. */
const SERVICE_CONFIG = `
{
  "loadBalancingConfig": [{ "round_robin": {} }],
  "methodConfig": [
    {
      "name": [
        { "service": "rowgate.v1.DatabaseService", "method": "DescribeStatement" },
        { "service": "rowgate.v1.DatabaseService", "method": "GetTransactionOutcome" },
        { "service": "rowgate.v1.ServerService" }
      ],
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ],
  "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 }
}
`;

// One for all: a transaction may be used inside of another one's function.
const SCOPES = new AsyncLocalStorage<Scope>();

const asIs = (bytes: Uint8Array): Buffer => (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));

/** gRPC over HTTP/2, by grpc-js. */
export class GrpcTransport implements Transport {
  readonly name = 'gRPC';
  readonly scopes = SCOPES;
  private readonly clients: grpc.Client[];
  private turn = 0;
  private isClosed = false;

  constructor(address: string, options: GrpcOptions = {}) {
    const isSecure = address.startsWith('https://') || Boolean(options.tls);
    const target = address.replace(/^https?:\/\//, '').replace(/\/+$/, '');
    const channel: grpc.ChannelOptions = {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.service_config': SERVICE_CONFIG,
      // With a window of 64 KiB a stream waits for the network after each batch of rows.
      'grpc-node.flow_control_window': 1 << 20,
      // grpc-js would give all clients of a process to one address the same connection: what waits in it would delay them all.
      'grpc.use_local_subchannel_pool': 1,
      ...nameOverride(options.tls),
      ...options.channelOptions,
    };
    if (options.token !== undefined && typeof options.token !== 'function') checkedText('token', options.token);
    const credentials = credentialsOf(isSecure, options);
    this.clients = Array.from({ length: Math.max(1, options.connections ?? 1) }, () => new grpc.Client(target, credentials, channel));
  }

  // By a call of the channel itself: the client of grpc-js adds interceptors and the trace of its caller, a quarter of the cost.
  unary(method: Method, request: Uint8Array, limits: CallLimits): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const { deadline = Infinity } = callOptions(limits);
      const call = this.client().getChannel().createCall(pathOf(method), deadline, null, null, null);
      const release = onAbort(limits.signal, cancelling(() => call.cancelWithStatus(grpc.status.CANCELLED, 'the call was cancelled')));
      let response: Buffer | undefined;
      call.start(new grpc.Metadata(), {
        onReceiveMetadata() {},
        onReceiveMessage(message: Buffer) {
          response = message;
        },
        onReceiveStatus(status) {
          release();
          if (status.code === grpc.status.OK && response) resolve(response);
          else reject(new StatusError(withCause(statusFrom(status), limits.signal)));
        },
      });
      call.sendMessageWithContext({}, asIs(request));
      call.startRead();
      call.halfClose();
    });
  }

  serverStream(method: Method, request: Uint8Array, limits: CallLimits): MessageSource {
    const call = this.client().makeServerStreamRequest(pathOf(method), asIs, asRead, request, new grpc.Metadata(), callOptions(limits));
    return new ReadableSource(call, limits.signal);
  }

  duplex(method: Method, limits: CallLimits): Duplex {
    const call = this.client().makeBidiStreamRequest<Uint8Array, Buffer>(
      pathOf(method), asIs, asRead, new grpc.Metadata(), callOptions(limits));
    return new DuplexCall(call, limits.signal);
  }

  close(): void {
    this.isClosed = true;
    for (const client of this.clients) client.close();
  }

  private client(): grpc.Client {
    if (this.isClosed) throw new StatusError({ code: grpc.status.CANCELLED, message: 'the client was closed before the call', details: [], isUnsent: true });
    if (this.clients.length === 1) return this.clients[0]!;
    this.turn = (this.turn + 1) % this.clients.length;
    return this.clients[this.turn]!;
  }
}

const asRead = (bytes: Buffer): Buffer => bytes;

function nameOverride(tls: boolean | TlsOptions | undefined): grpc.ChannelOptions {
  const name = typeof tls === 'object' ? tls.serverName : undefined;
  return name ? { 'grpc.ssl_target_name_override': name, 'grpc.default_authority': name } : {};
}

function credentialsOf(isSecure: boolean, { tls, token }: GrpcOptions): grpc.ChannelCredentials {
  if (!isSecure) {
    if (token) {
      throw new TypeError('a token is sent over TLS only\nhint: name the authorities in tls.ca, or write https:// before the address');
    }
    return grpc.credentials.createInsecure();
  }
  const files = typeof tls === 'object' ? tls : {};
  const pem = (part: string | Uint8Array | undefined) => (part === undefined ? null : Buffer.from(part as string));
  const channel = grpc.credentials.createSsl(pem(files.ca), pem(files.key), pem(files.cert),
    files.rejectUnauthorized === undefined ? {} : { rejectUnauthorized: files.rejectUnauthorized });
  if (!token) return channel;
  return grpc.credentials.combineChannelCredentials(channel, grpc.credentials.createFromMetadataGenerator(bearer(token)));
}

const NO_TOKEN = 'there is no token for the call';

function bearer(token: string | (() => string | Promise<string>)): Parameters<typeof grpc.credentials.createFromMetadataGenerator>[0] {
  const metadataOf = (text: string) => {
    const metadata = new grpc.Metadata();
    metadata.set('authorization', `Bearer ${checkedText('token', text)}`);
    return metadata;
  };
  if (typeof token === 'string') {
    const known = metadataOf(token);
    return (_, callback) => callback(null, known);
  }
  return (_, callback) => {
    Promise.resolve().then(token).then(metadataOf).then((metadata) => callback(null, metadata),
      (error: Error) => callback(Object.assign(new Error(`${NO_TOKEN}: ${error.message}`), { code: grpc.status.UNAUTHENTICATED })));
  };
}

function callOptions({ timeout, signal }: CallLimits): grpc.CallOptions {
  if (signal?.aborted) throw aborted(signal);
  return timeout === undefined ? {} : { deadline: Date.now() + timeout };
}

// It was never sent: the signal was aborted before.
function aborted(signal: AbortSignal): StatusError {
  return new StatusError({ code: grpc.status.CANCELLED, message: 'the signal was aborted before the call', details: [], isUnsent: true, cause: signal.reason });
}

function onAbort(signal: AbortSignal | undefined, act: () => void): () => void {
  if (!signal) return () => {};
  signal.addEventListener('abort', act, { once: true });
  return () => signal.removeEventListener('abort', act);
}

// grpc-js starts a call in several turns, and starts it all the same where it is cancelled between them: nobody would end it. By then it
// takes the second cancellation; a call that has ended takes none.
const cancelling = (cancel: () => void) => () => {
  cancel();
  setImmediate(cancel);
};

function withCause(status: Status, signal: AbortSignal | undefined): Status {
  return signal?.aborted && status.code === grpc.status.CANCELLED ? { ...status, cause: signal.reason } : status;
}

function statusFrom(error: unknown): Status {
  const { code, details, metadata, message } = error as Partial<grpc.ServiceError & grpc.StatusObject>;
  const [bytes] = metadata?.get('grpc-status-details-bin') ?? [];
  if (Buffer.isBuffer(bytes)) return { ...statusOf(bytes), message: details ?? message ?? '' };
  if (code === grpc.status.OK) return { code: grpc.status.INTERNAL, message: 'the answer has no message', details: [] };
  if (typeof code !== 'number') return { code: grpc.status.UNKNOWN, message: message ?? String(error), details: [], cause: error };
  const text = details || message || '';
  const [noToken] = new RegExp(`${NO_TOKEN}: .*`, 's').exec(text) ?? [];
  if (code === grpc.status.UNAUTHENTICATED && noToken) return { code, message: noToken, details: [], isUnsent: true };
  // grpc-js says so of a call for which it had no connection. Nothing else that ends a call is known to be before the request.
  const isUnsent = code === grpc.status.UNAVAILABLE && /^(?:\w+: )?(?:No connection established|Name resolution failed)/.test(text);
  if (code === grpc.status.DEADLINE_EXCEEDED && UNSENT_IN_TIME.test(text)) {
    return { code, message: `no connection to Rowgate came about in the time of the call (${text})`, details: [], isUnsent: true };
  }
  return { code, message: isUnsent ? `no connection to Rowgate: ${whyUnsent(text)}` : text, details: [], isUnsent };
}

/** So grpc-js ends the account of a call that it never gave to a connection, in its first attempt. */
const UNSENT_IN_TIME = /^(?!.*previous attempts).*,\s*waiting for (?:LB pick|metadata filters|name resolution)$/i;

// As grpc-js tells it: "round_robin: No connection established. Last error: Error: connect ECONNREFUSED …. Resolution note: ".
function whyUnsent(text: string): string {
  const cause = /Error: (.+?)\. Resolution note/.exec(text)?.[1];
  if (cause) return cause;
  if (/Last error: null/.test(text)) return 'the attempt before has failed, and the next one has not been made yet';
  if (!/Failed to connect|Socket closed/.test(text)) return text;
  return "what answers at this address does not speak HTTP/2\nhint: give the port of Rowgate's gRPC (grpc.listen), not that of PostgreSQL; over TLS write https://";
}

class ReadableSource implements MessageSource {
  private readonly iterator: AsyncIterator<Buffer>;
  private readonly release: () => void;
  private isOver = false;

  constructor(
    private readonly call: grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Uint8Array, Buffer>,
    private readonly signal?: AbortSignal,
  ) {
    // An error after the end of the reading has nobody who waits for it.
    call.on('error', () => {});
    this.iterator = call[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.release = onAbort(signal, cancelling(() => call.cancel()));
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.isOver) return undefined;
    try {
      const { value, done } = await this.iterator.next();
      if (!done) return value as Buffer;
      this.over();
      return undefined;
    } catch (error) {
      this.over();
      throw new StatusError(withCause(statusFrom(error), this.signal));
    }
  }

  cancel(): void {
    if (this.isOver) return;
    this.over();
    cancelling(() => this.call.cancel())();
  }

  private over(): void {
    this.isOver = true;
    this.release();
  }
}

class DuplexCall extends ReadableSource implements Duplex {
  constructor(private readonly both: grpc.ClientDuplexStream<Uint8Array, Buffer>, signal?: AbortSignal) {
    super(both, signal);
  }

  send(message: Uint8Array): Promise<void> {
    const { both } = this;
    if (both.destroyed || both.writableEnded) return Promise.resolve();
    if (both.write(message)) return DONE;
    return new Promise((resolve) => {
      const finish = () => {
        for (const event of ENDS) both.off(event, finish);
        resolve();
      };
      for (const event of ENDS) both.on(event, finish);
    });
  }

  end(): void {
    this.both.end();
  }
}

// A call that has ended takes no more, and its reader learns why.
const ENDS = ['drain', 'error', 'close', 'status', 'end'];
const DONE = Promise.resolve();
