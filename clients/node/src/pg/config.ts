import { readFileSync } from 'node:fs';
import type { ConnectOptions } from '../index.js';
import type { TlsOptions } from '../transport/grpc.js';
import type { Dialect } from '../values/encode.js';
import type { TypeParsers } from './types.js';

/** What node-postgres takes, and what Rowgate has beyond. */
export interface ClientConfig {
  host?: string;
  port?: number | string;
  database?: string;
  /** Ignored: the role of the database is Rowgate's. */
  user?: string;
  /** The caller's token; it is sent over TLS only. */
  password?: string | (() => string);
  connectionString?: string;
  ssl?: boolean | TlsOptions;
  /** Milliseconds for a statement. */
  query_timeout?: number;
  statement_timeout?: number | false;
  idle_in_transaction_session_timeout?: number | false;
  connectionTimeoutMillis?: number;
  application_name?: string;
  fallback_application_name?: string;
  types?: TypeParsers;
  /** The address of Rowgate, in the place of `host` and `port`: `127.0.0.1:50051`, `https://rowgate.example.com:50051`. */
  address?: string;
  token?: string;
  dialect?: Dialect;
  [other: string]: unknown;
}

export interface PoolConfig extends ClientConfig {
  max?: number;
  min?: number;
  idleTimeoutMillis?: number;
  allowExitOnIdle?: boolean;
  maxUses?: number;
  maxLifetimeSeconds?: number;
}

/** Where a client connects to, and with what. */
export interface Target {
  readonly address: string;
  readonly options: ConnectOptions;
}

const DEFAULT_PORT = 50051;

/** The configuration of a text or an object: what is given goes before `ROWGATE_…`, and those before PostgreSQL's variables. */
export function configOf(given: string | ClientConfig | undefined): ClientConfig {
  const config = typeof given === 'string' ? { connectionString: given } : { ...given };
  return config.connectionString ? { ...fromUrl(config.connectionString), ...withoutUndefined(config) } : config;
}

function withoutUndefined<T extends object>(config: T): T {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as T;
}

function fromUrl(text: string): ClientConfig {
  // A host without a scheme is an address.
  const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `postgres://${text}`);
  const mode = url.searchParams.get('sslmode');
  const isSecure = url.protocol === 'https:' || (mode !== null && mode !== 'disable') || ['1', 'true'].includes(url.searchParams.get('ssl') ?? '');
  const part = (value: string) => (value === '' ? undefined : decodeURIComponent(value));
  return withoutUndefined({
    host: part(url.hostname), port: part(url.port), database: part(url.pathname.slice(1)), user: part(url.username), password: part(url.password),
    ssl: isSecure || undefined, application_name: url.searchParams.get('application_name') ?? undefined,
  });
}

export function targetOf(config: ClientConfig): Target {
  const { env } = process;
  const address = config.address ?? addressOf(config, env);
  const tls = tlsOf(config, address, env);
  const isSecure = Boolean(tls) || address.startsWith('https://');
  const password = typeof config.password === 'function' ? config.password() : config.password;
  // A password of PostgreSQL's that is still there is no token: it stays here.
  const token = config.token ?? env.ROWGATE_TOKEN ?? (isSecure ? password : undefined);
  return {
    address,
    options: {
      database: config.database ?? env.ROWGATE_DATABASE ?? env.PGDATABASE, tls, token, dialect: config.dialect, tag: tagOf(config, env),
      timeout: config.query_timeout || config.statement_timeout || Infinity,
    },
  };
}

function addressOf({ host, port }: ClientConfig, env: NodeJS.ProcessEnv): string {
  if (host === undefined && env.ROWGATE_ADDRESS) return env.ROWGATE_ADDRESS;
  const name = host ?? env.PGHOST ?? '127.0.0.1';
  const bracketed = name.includes(':') && !name.startsWith('[') ? `[${name}]` : name;
  return `${bracketed}:${port ?? env.PGPORT ?? DEFAULT_PORT}`;
}

function tlsOf({ ssl }: ClientConfig, address: string, env: NodeJS.ProcessEnv): boolean | TlsOptions | undefined {
  const ca = env.ROWGATE_CA ? readFileSync(env.ROWGATE_CA) : undefined;
  if (typeof ssl === 'object') return ca ? { ca, ...ssl } : ssl;
  if (ca) return { ca };
  return ssl || address.startsWith('https://') || (env.PGSSLMODE !== undefined && env.PGSSLMODE !== 'disable') || undefined;
}

// A name that is no label is left out: it would fail every call.
function tagOf(config: ClientConfig, env: NodeJS.ProcessEnv): string | undefined {
  const name = config.application_name ?? env.PGAPPNAME ?? config.fallback_application_name;
  return name && /^[\w.:/-]{1,64}$/.test(name) ? name : undefined;
}
