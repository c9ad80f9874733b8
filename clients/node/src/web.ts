import { Database } from './database.js';
import type { DatabaseOptions } from './options.js';
import { ConnectTransport, type ConnectOptions as FetchOptions } from './transport/connect.js';

export * from './shared.js';

export interface ConnectOptions extends DatabaseOptions, FetchOptions {}

/**
 * A database behind the Rowgate at `address`, over `fetch`, for browsers and edge runtimes: `connect('https://rowgate.example.com')`.
 *
 * Interactive transactions and `copyIn` need gRPC; `batch` is a transaction in one call.
 */
export function connect(address: string, options: ConnectOptions = {}): Database {
  return new Database(new ConnectTransport(address, options), options);
}
