import { Database } from './database.js';
import type { DatabaseOptions } from './options.js';
import { GrpcTransport, type GrpcOptions } from './transport/grpc.js';

export * from './shared.js';
export type { GrpcOptions, TlsOptions } from './transport/grpc.js';

export interface ConnectOptions extends DatabaseOptions, GrpcOptions {}

/**
 * A database behind the Rowgate at `address`, over gRPC: `connect('127.0.0.1:50051', { database: 'shop' })`.
 *
 * TLS is spoken to an address with `https://`, and where `tls` is given. Nothing is sent before the first call.
 */
export function connect(address: string, options: ConnectOptions = {}): Database {
  return new Database(new GrpcTransport(address, options), options);
}
