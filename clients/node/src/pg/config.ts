import { readFileSync } from 'node:fs';
import type { ConnectOptions } from '../index.js';
import type { TlsOptions } from '../transport/grpc.js';
import type { Dialect } from '../values/encode.js';
import { configDefaults } from './defaults.js';
import type { CustomTypesConfig } from './shapes.js';

/** What node-postgres takes, and what Rowgate has beyond. */
export interface ClientConfig {
  host?: string;
  port?: number | string;
  database?: string;
  /** Ignored: the role of the database is Rowgate's. */
  user?: string;
  /** The caller's token; it is sent over TLS only. A function is asked before each call. */
  password?: string | (() => string | Promise<string>);
  connectionString?: string;
  /** As TLS of Node has it: `ca`, `cert`, `key`, `servername`, `rejectUnauthorized`. */
  ssl?: boolean | PgTlsOptions;
  /** Milliseconds for a statement. */
  query_timeout?: number;
  statement_timeout?: number | false;
  idle_in_transaction_session_timeout?: number | false;
  connectionTimeoutMillis?: number;
  application_name?: string;
  fallback_application_name?: string;
  types?: CustomTypesConfig;
  /** The address of Rowgate, in the place of `host` and `port`: `127.0.0.1:50051`, `https://rowgate.example.com:50051`. */
  address?: string;
  token?: string | (() => string | Promise<string>);
  dialect?: Dialect;
  [other: string]: unknown;
}

/** TLS as node-postgres takes it. */
export interface PgTlsOptions {
  ca?: string | Uint8Array | readonly (string | Uint8Array)[];
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  servername?: string;
  rejectUnauthorized?: boolean;
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

/**
 * The configuration of a text or an object: what is given goes before `ROWGATE_…`, those before PostgreSQL's variables, and those before
 * `pg.defaults`. As with node-postgres, a connection string goes before what stands beside it.
 */
export function configOf(given: string | ClientConfig | undefined): ClientConfig {
  const { host: _, port: __, database: ___, ...others } = configDefaults();
  const config = { ...others, ...withoutUndefined(typeof given === 'string' ? { connectionString: given } : given ?? {}) };
  if (!config.connectionString) return config;
  const { ssl, ...parts } = fromUrl(config.connectionString);
  return { ...config, ...parts, ssl: typeof config.ssl === 'object' ? config.ssl : ssl ?? config.ssl };
}

function withoutUndefined<T extends object>(config: T): T {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as T;
}

function fromUrl(text: string): ClientConfig {
  // A host without a scheme is an address.
  const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `postgres://${text}`);
  const option = (name: string) => url.searchParams.get(name) ?? undefined;
  const part = (value: string) => (value === '' ? undefined : decodeURIComponent(value));
  return withoutUndefined({
    host: part(url.hostname), port: part(url.port), database: part(url.pathname.slice(1)), user: part(url.username), password: part(url.password),
    ssl: tlsOfUrl(url), application_name: option('application_name'), options: option('options'),
    statement_timeout: Number(option('statement_timeout')) || undefined, connectionTimeoutMillis: (Number(option('connect_timeout')) || 0) * 1000 || undefined,
  });
}

// As node-postgres reads `sslmode`: everything but `disable` checks the certificate, and `no-verify` does not.
function tlsOfUrl({ protocol, searchParams }: URL): boolean | PgTlsOptions | undefined {
  const mode = searchParams.get('sslmode');
  const isOn = ['1', 'true'].includes(searchParams.get('ssl') ?? '');
  if (mode === 'disable' || searchParams.get('ssl') === '0') return false;
  const file = (name: string) => {
    const path = searchParams.get(name);
    return path ? readFileSync(path) : undefined;
  };
  const files = withoutUndefined({ ca: file('sslrootcert'), cert: file('sslcert'), key: file('sslkey') });
  const checks = mode === 'no-verify' ? { rejectUnauthorized: false } : {};
  const isSecure = protocol === 'https:' || mode !== null || isOn || Object.keys(files).length > 0;
  if (!isSecure) return undefined;
  return Object.keys({ ...files, ...checks }).length > 0 ? { ...files, ...checks } : true;
}

/** The milliseconds of each statement, where they are given. */
export function timeoutOf(config: ClientConfig): number | undefined {
  return config.query_timeout || config.statement_timeout || undefined;
}

export function targetOf(config: ClientConfig): Target {
  const { env } = process;
  const address = config.address || addressOf(config, env);
  const tls = tlsOf(config, address, env);
  refuseOptions(config.options ?? env.PGOPTIONS);
  const isSecure = Boolean(tls) || address.startsWith('https://');
  // A password of PostgreSQL's that is still there is no token: it stays here.
  const token = config.token || env.ROWGATE_TOKEN || (isSecure && config.password) || undefined;
  return {
    address,
    options: {
      database: config.database || env.ROWGATE_DATABASE || env.PGDATABASE || configDefaults().database || undefined, tls, token, dialect: config.dialect, tag: tagOf(config, env),
      timeout: timeoutOf(config) ?? Infinity,
    },
  };
}

function addressOf({ host, port }: ClientConfig, env: NodeJS.ProcessEnv): string {
  if (!host && env.ROWGATE_ADDRESS) return env.ROWGATE_ADDRESS;
  const other = configDefaults();
  const name = host || env.PGHOST || other.host || '127.0.0.1';
  const bracketed = name.includes(':') && !name.startsWith('[') ? `[${name}]` : name;
  return `${bracketed}:${port || env.PGPORT || other.port || DEFAULT_PORT}`;
}

function tlsOf({ ssl }: ClientConfig, address: string, env: NodeJS.ProcessEnv): boolean | TlsOptions | undefined {
  const ca = env.ROWGATE_CA ? readFileSync(env.ROWGATE_CA) : undefined;
  if (typeof ssl === 'object') return { ...(ca && { ca }), ...tlsOptions(ssl) };
  if (ca) return { ca };
  return ssl || address.startsWith('https://') || (env.PGSSLMODE !== undefined && env.PGSSLMODE !== 'disable') || undefined;
}

function tlsOptions({ ca, cert, key, servername, serverName, rejectUnauthorized }: PgTlsOptions): TlsOptions {
  const authorities = Array.isArray(ca) ? ca.map((each) => Buffer.from(each as string).toString()).join('\n') : ca as TlsOptions['ca'];
  return withoutUndefined({ ca: authorities, cert, key, serverName: servername ?? serverName as string | undefined, rejectUnauthorized });
}

// A setting that is silently not there would change what statements do.
function refuseOptions(options: unknown): void {
  if (options === undefined || options === '' || options === null) return;
  throw new TypeError(`options=${String(options)} cannot be set for a connection: those to the database are Rowgate's\n`
    + "hint: set it in the URL of the database in Rowgate's configuration, or for a transaction by SET LOCAL behind BEGIN");
}

// A name that is no label is left out: it would fail every call.
function tagOf(config: ClientConfig, env: NodeJS.ProcessEnv): string | undefined {
  const name = config.application_name ?? env.PGAPPNAME ?? config.fallback_application_name;
  return name && /^[\w.:/-]{1,64}$/.test(name) ? name : undefined;
}
