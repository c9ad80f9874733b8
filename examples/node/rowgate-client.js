// What a service wants around the contract: a channel, plain values, errors that say what became of the work,
// retries that respect that, and transactions as functions.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

const loaded = loader.loadSync(
  [
    'rowgate/v1/database.proto',
    'rowgate/v1/error.proto',
    'google/rpc/error_details.proto',
    'grpc/health/v1/health.proto',
  ],
  {
    // The proto files beside this file, or where this repository has them.
    includeDirs: [path('proto'), path('../../proto'), path('../proto')],
    defaults: true,
    oneofs: true,
    enums: String,
    longs: String, // a number of JavaScript is exact up to 2^53 only
  },
);
// The same as in service-config.json: turns over all addresses, and a retry policy for calls that only read.
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

const packages = grpc.loadPackageDefinition(loaded);

// TLS with an address of https://, and where `ca` names a PEM file with the authorities that are trusted. The token is
// sent with each call.
function credentialsFor(address, { ca, token }) {
  if (!ca && !address.startsWith('https://')) {
    if (token) throw new Error('a token is sent over TLS only: name the authorities, or write https://');
    return grpc.credentials.createInsecure();
  }
  const tls = grpc.credentials.createSsl(ca ? readFileSync(ca) : null);
  if (!token) return tls;
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const bearer = grpc.credentials.createFromMetadataGenerator((_, callback) => callback(null, metadata));
  return grpc.credentials.combineChannelCredentials(tls, bearer);
}

// The clients of a process: they share a channel, which reconnects by itself.
export function connect(url, security = {}) {
  const credentials = credentialsFor(url, security);
  const address = url.replace(/^https?:\/\//, '');
  const channel = new grpc.Channel(address, credentials, {
    'grpc.service_config': SERVICE_CONFIG,
  });
  const options = { channelOverride: channel };
  return {
    database: new packages.rowgate.v1.DatabaseService(address, credentials, options),
    health: new packages.grpc.health.v1.Health(address, credentials, options),
    close: () => channel.close(),
  };
}

// Calls a unary method; the timeout is in milliseconds.
export function unary(client, method, request, timeout) {
  return new Promise((resolve, reject) => {
    client[method](request, deadline(timeout), (error, answer) =>
      error ? reject(RowgateError.of(error)) : resolve(answer));
  });
}

// The parts of a streamed result. To leave the loop early cancels the call.
export async function* streamQuery(client, query, timeout) {
  const call = client.streamQuery({ query }, deadline(timeout));
  try {
    yield* call;
  } catch (error) {
    throw RowgateError.of(error);
  } finally {
    call.cancel();
  }
}

const deadline = (timeout) => ({ deadline: Date.now() + timeout });

// A parameter.
export function toValue(plain) {
  if (plain === null || plain === undefined) return { nullValue: 'NULL_VALUE' };
  if (typeof plain === 'boolean') return { boolValue: plain };
  if (typeof plain === 'bigint' || Number.isSafeInteger(plain)) return { int64Value: plain.toString() };
  if (typeof plain === 'number') return { float64Value: plain };
  if (plain instanceof Uint8Array) return { bytesValue: plain };
  if (plain instanceof Date) return { textValue: plain.toISOString() };
  if (Array.isArray(plain)) return { arrayValue: { elements: plain.map(toValue) } };
  return { textValue: String(plain) }; // the database parses the text of any type
}

// What a value of a result holds.
export function fromValue(value) {
  const held = value[value.kind];
  switch (value.kind) {
    case 'nullValue': return null;
    case 'int64Value': return Number.isSafeInteger(Number(held)) ? Number(held) : BigInt(held);
    case 'timestampValue': return new Date(Number(held.seconds) * 1000 + held.nanos / 1e6);
    case 'arrayValue': return held.elements.map(fromValue);
    case 'recordValue': return held.fields.map(fromValue);
    default: return held;
  }
}

// The rows of anything that has rows: a result, a batch of a stream.
export const toRows = (found) => found.rows.map((row) => row.values.map(fromValue));

// A call, or a statement in a transaction, that failed.
export class RowgateError extends Error {
  constructor({ code, message, details }) {
    super(message);
    this.name = 'RowgateError';
    this.code = grpc.status[code];
    const detail = (name) => {
      const any = details.find(({ type_url: type }) => type.endsWith(`/${name}`));
      return any && loaded[name].deserialize(any.value);
    };
    const info = detail('google.rpc.ErrorInfo');
    const ours = info?.domain === 'rowgate';
    this.reason = ours ? info.reason : '';
    // NOT_APPLIED, APPLIED or UNKNOWN; what was made on the way, by this library or a proxy, cannot know.
    this.outcome = ours ? info.metadata.outcome : 'UNKNOWN';
    const delay = detail('google.rpc.RetryInfo')?.retryDelay;
    // With it the same call may be sent again, after so many milliseconds.
    this.retryDelay = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    // SQLSTATE, constraint, position …
    this.database = detail('rowgate.v1.DatabaseError');
  }

  static of(error) {
    const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
    const details = bytes ? loaded['google.rpc.Status'].deserialize(bytes).details : [];
    return new RowgateError({ code: error.code, message: error.details ?? error.message, details });
  }
}

// Does it again where nothing was applied and it may succeed later, as RetryInfo says.
export async function retrying(work, attempts = 3) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      const again = error.outcome === 'NOT_APPLIED' && error.retryDelay !== undefined;
      if (!again || attempt >= attempts) throw error;
      await sleep(error.retryDelay * 2 ** (attempt - 1) * (1 + Math.random() / 2));
    }
  }
}

// Runs `work` in an interactive transaction: committed when it returns, rolled back when it throws.
export async function transaction(client, work, { begin = {}, timeout = 30_000 } = {}) {
  const stream = client.transact(deadline(timeout));
  try {
    const opened = new Transaction(stream);
    await opened.ask({ begin });
    const result = await work(opened);
    await opened.ask({ commit: {} });
    await opened.end();
    return result;
  } finally {
    stream.cancel(); // without a commit this rolls back at once
  }
}

class Transaction {
  #stream;
  #replies;
  #sequence = 0;

  constructor(stream) {
    this.#stream = stream;
    this.#replies = stream[Symbol.asyncIterator]();
  }

  async query(sql, ...parameters) {
    const rows = [];
    let { result } = await this.ask({ query: { sql, parameters: parameters.map(toValue) } });
    rows.push(...toRows(result.resultSet));
    while (result.more) { // a large result comes in parts
      ({ result } = await this.#reply());
      rows.push(...toRows(result.resultSet));
    }
    return rows;
  }

  // Undoes what `work` did when it throws; the transaction goes on.
  async savepoint(name, work) {
    await this.ask({ savepoint: { name } });
    let result;
    try {
      result = await work();
    } catch (error) {
      await this.ask({ rollbackTo: { name } });
      throw error;
    }
    await this.ask({ release: { name } });
    return result;
  }

  async ask(command) {
    this.#sequence += 1;
    this.#stream.write({ sequence: this.#sequence, ...command });
    return this.#reply();
  }

  // Waits for the end of the stream, which comes with the last reply.
  async end() {
    const { done } = await this.#replies.next().catch((error) => {
      throw RowgateError.of(error);
    });
    if (!done) throw new Error('a reply after the end');
  }

  async #reply() {
    const { value, done } = await this.#replies.next().catch((error) => {
      throw RowgateError.of(error); // the status of the stream: the transaction is over
    });
    if (done) throw new Error('the transaction is over');
    if (value.reply === 'error') throw new RowgateError(value.error); // a statement failed, the transaction is open
    return value;
  }
}
