import { fromBinary, fromJson, toBinary, toJson, type DescMessage, type JsonValue } from '@bufbuild/protobuf';
import { checkedText } from '../checks.js';
import { StatusError, type Status } from '../errors/failure.js';
import { STATUS_CODES } from '../errors/error.js';
import { HealthCheckRequestSchema, HealthCheckResponseSchema } from '../gen/grpc/health/v1/health_pb.js';
import * as contract from '../gen/rowgate/v1/database_pb.js';
import { GetServerInfoRequestSchema, GetServerInfoResponseSchema } from '../gen/rowgate/v1/server_pb.js';
import { pathOf, type CallLimits, type MessageSource, type Method, type Transport } from './transport.js';

export interface ConnectOptions {
  /** The encoding of messages: `proto`, which is the smaller one, or `json`, which the tools of a browser show. */
  encoding?: 'proto' | 'json';
  /** The caller's token. It is sent over https only, and to this machine. */
  token?: string;
  /** Further headers of each request. */
  headers?: Record<string, string>;
  /** The function that makes requests; without it the platform's. */
  fetch?: typeof fetch;
}

/** The messages of the methods that can be called without a stream of requests. */
const MESSAGES: Partial<Record<Method, readonly [DescMessage, DescMessage]>> = {
  Query: [contract.QueryRequestSchema, contract.QueryResponseSchema],
  StreamQuery: [contract.StreamQueryRequestSchema, contract.StreamQueryResponseSchema],
  ExecuteBatch: [contract.ExecuteBatchRequestSchema, contract.ExecuteBatchResponseSchema],
  GetTransactionOutcome: [contract.GetTransactionOutcomeRequestSchema, contract.GetTransactionOutcomeResponseSchema],
  DescribeStatement: [contract.DescribeStatementRequestSchema, contract.DescribeStatementResponseSchema],
  Listen: [contract.ListenRequestSchema, contract.ListenResponseSchema],
  CopyOut: [contract.CopyOutRequestSchema, contract.CopyOutResponseSchema],
  GetServerInfo: [GetServerInfoRequestSchema, GetServerInfoResponseSchema],
  Check: [HealthCheckRequestSchema, HealthCheckResponseSchema],
};

const END_OF_STREAM = 0x02;
const COMPRESSED = 0x01;
const PREFIX = 5;

/** The Connect protocol over `fetch`: for browsers and edge runtimes. Requests are never streams. */
export class ConnectTransport implements Transport {
  readonly name = 'fetch';
  private readonly base: string;
  private readonly encoding: 'proto' | 'json';
  private readonly headers: Record<string, string>;
  private readonly fetch: typeof fetch;

  constructor(address: string, options: ConnectOptions = {}) {
    this.base = baseOf(address);
    this.encoding = options.encoding ?? 'proto';
    this.fetch = options.fetch ?? ((...request) => fetch(...request));
    this.headers = { 'connect-protocol-version': '1', ...options.headers };
    if (options.token !== undefined) {
      checkedText('token', options.token);
      const { protocol, hostname } = new URL(this.base);
      if (protocol !== 'https:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)) {
        throw new TypeError('a token is sent over https only\nhint: write https:// before the address');
      }
      this.headers.authorization = `Bearer ${options.token}`;
    }
  }

  async unary(method: Method, request: Uint8Array, limits: CallLimits): Promise<Uint8Array> {
    const type = this.encoding === 'json' ? 'application/json' : 'application/proto';
    const call = new FetchCall(limits);
    try {
      const response = await call.run(this.fetch, this.base + pathOf(method), type, this.headers, this.request(method, request));
      const body = new Uint8Array(await response.arrayBuffer());
      if (!response.ok) throw new StatusError(errorOf(response, body));
      checkType(response, type);
      return this.response(method, body);
    } catch (error) {
      throw call.failure(error);
    } finally {
      call.release();
    }
  }

  serverStream(method: Method, request: Uint8Array, limits: CallLimits): MessageSource {
    const type = this.encoding === 'json' ? 'application/connect+json' : 'application/connect+proto';
    const call = new FetchCall(limits);
    const started = call.run(this.fetch, this.base + pathOf(method), type, this.headers, enveloped(this.request(method, request)));
    started.catch(() => {});
    return new EnvelopeSource(started, call, type, (body) => this.response(method, body));
  }

  close(): void {}

  private request(method: Method, bytes: Uint8Array): Uint8Array {
    if (this.encoding === 'proto') return bytes;
    const [schema] = messagesOf(method);
    return new TextEncoder().encode(JSON.stringify(toJson(schema, fromBinary(schema, bytes)), signed));
  }

  private response(method: Method, body: Uint8Array): Uint8Array {
    if (this.encoding === 'proto') return body;
    const [, schema] = messagesOf(method);
    return toBinary(schema, fromJson(schema, JSON.parse(new TextDecoder().decode(body)) as JsonValue, { ignoreUnknownFields: true }));
  }
}

// JSON.stringify loses the sign of a zero, which is a text then.
const signed = (_: string, value: unknown) => (Object.is(value, -0) ? '-0' : value);

function messagesOf(method: Method): readonly [DescMessage, DescMessage] {
  const messages = MESSAGES[method];
  if (!messages) throw new TypeError(`${method} needs a stream of requests, which fetch has not`);
  return messages;
}

function baseOf(address: string): string {
  const url = new URL(/^https?:\/\//.test(address) ? address : `http://${address}`);
  return url.href.replace(/\/+$/, '');
}

/** One request: its time limit, its signal, and what its end means. */
class FetchCall {
  private readonly controller = new AbortController();
  private readonly timer: ReturnType<typeof setTimeout> | undefined;
  private readonly onAbort = () => this.controller.abort();
  private isLate = false;

  constructor(private readonly limits: CallLimits) {
    const { timeout, signal } = limits;
    if (signal?.aborted) {
      throw new StatusError({ code: 1, message: 'the signal was aborted before the call', details: [], isUnsent: true, cause: signal.reason });
    }
    signal?.addEventListener('abort', this.onAbort, { once: true });
    if (timeout !== undefined) {
      this.timer = setTimeout(() => {
        this.isLate = true;
        this.controller.abort();
      }, timeout);
    }
  }

  run(fetcher: typeof fetch, url: string, type: string, headers: Record<string, string>, body: Uint8Array): Promise<Response> {
    const { timeout } = this.limits;
    const limit: Record<string, string> = timeout === undefined ? {} : { 'connect-timeout-ms': String(Math.max(1, Math.ceil(timeout))) };
    return fetcher(url, {
      method: 'POST',
      headers: { 'content-type': type, ...headers, ...limit },
      body: body as Uint8Array<ArrayBuffer>,
      signal: this.controller.signal,
      // A redirect is an answer that is none. Edge runtimes refuse `error` here, and options of caches and cookies.
      redirect: 'manual',
    });
  }

  cancel(): void {
    this.controller.abort();
    this.release();
  }

  release(): void {
    clearTimeout(this.timer);
    this.limits.signal?.removeEventListener('abort', this.onAbort);
  }

  failure(error: unknown): StatusError {
    if (error instanceof StatusError) return error;
    if (this.isLate) return new StatusError({ code: 4, message: `no answer came within ${this.limits.timeout} ms`, details: [], cause: error });
    if (this.controller.signal.aborted) {
      return new StatusError({ code: 1, message: 'the call was cancelled', details: [], cause: this.limits.signal?.reason ?? error });
    }
    return new StatusError({ code: 14, message: `the request failed: ${(error as Error)?.message ?? String(error)}`, details: [], cause: error });
  }
}

function checkType(response: Response, wanted: string): void {
  const type = (response.headers.get('content-type') ?? '').split(';')[0]!.trim();
  if (type !== wanted) {
    throw new StatusError({ code: 2, message: `what answers is not Rowgate: content-type ${type || 'none'}, not ${wanted}`, details: [] });
  }
}

function enveloped(message: Uint8Array): Uint8Array {
  const whole = new Uint8Array(PREFIX + message.length);
  new DataView(whole.buffer).setUint32(1, message.length);
  whole.set(message, PREFIX);
  return whole;
}

/** Reads enveloped messages from the body of a response, no faster than they are asked for. */
class EnvelopeSource implements MessageSource {
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  private chunks: Uint8Array[] = [];
  private length = 0;
  private isOver = false;

  constructor(
    private readonly started: Promise<Response>,
    private readonly call: FetchCall,
    private readonly type: string,
    private readonly decode: (body: Uint8Array) => Uint8Array,
  ) {}

  async next(): Promise<Uint8Array | undefined> {
    if (this.isOver) return undefined;
    try {
      if (!this.reader) await this.open();
      const prefix = await this.take(PREFIX);
      const length = new DataView(prefix.buffer, prefix.byteOffset).getUint32(1);
      const body = await this.take(length);
      if (prefix[0]! & COMPRESSED) throw unreadable('a message is compressed, which was not asked for');
      if (!(prefix[0]! & END_OF_STREAM)) return this.decode(body);
      this.over();
      const { error } = JSON.parse(new TextDecoder().decode(body)) as { error?: unknown };
      if (error) throw new StatusError(connectError(error, 2));
      return undefined;
    } catch (error) {
      const failure = this.call.failure(error);
      this.cancel();
      throw failure;
    }
  }

  cancel(): void {
    if (this.isOver) return;
    this.over();
    this.call.cancel();
  }

  private over(): void {
    this.isOver = true;
    this.chunks = [];
    this.call.release();
  }

  private async open(): Promise<void> {
    const response = await this.started;
    if (!response.ok) throw new StatusError(errorOf(response, new Uint8Array(await response.arrayBuffer())));
    checkType(response, this.type);
    if (!response.body) throw unreadable('the response has no body');
    this.reader = response.body.getReader();
  }

  private async take(length: number): Promise<Uint8Array> {
    while (this.length < length) {
      const { value, done } = await this.reader!.read();
      if (done) throw unreadable('the stream ended before its end was told');
      this.chunks.push(value);
      this.length += value.length;
    }
    const whole = this.chunks.length === 1 ? this.chunks[0]! : joined(this.chunks, this.length);
    const rest = whole.subarray(length);
    this.chunks = rest.length > 0 ? [rest] : [];
    this.length = rest.length;
    return whole.subarray(0, length);
  }
}

function unreadable(message: string): StatusError {
  return new StatusError({ code: 14, message, details: [] });
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The codes of gRPC for responses that are no error of the Connect protocol, as its specification maps them. */
const HTTP_CODES: Record<number, number> = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14 };

function errorOf(response: Response, body: Uint8Array): Status {
  const fallback = HTTP_CODES[response.status] ?? 2;
  const text = new TextDecoder().decode(body);
  try {
    return connectError(JSON.parse(text), fallback);
  } catch {
    return { code: fallback, message: `HTTP ${response.status}: ${text.slice(0, 200)}`, details: [] };
  }
}

interface ConnectError {
  code?: string;
  message?: string;
  details?: { type?: string; value?: string }[];
}

function connectError(json: unknown, fallback: number): Status {
  const { code, message, details } = json as ConnectError;
  const number = STATUS_CODES.indexOf(String(code).toUpperCase().replace('CANCELED', 'CANCELLED') as never);
  return {
    code: number > 0 ? number : fallback,
    message: message ?? '',
    details: (details ?? []).map(({ type, value }) => ({ type: type ?? '', value: base64(value ?? '') })),
  };
}

function base64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
