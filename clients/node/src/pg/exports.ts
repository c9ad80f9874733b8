// What node-postgres offers, by its names.

import { RowgateError } from '../errors/error.js';
import { Client } from './client.js';

export { Client } from './client.js';
export type { ClientConfig, PgTlsOptions, PoolConfig } from './config.js';
export { defaults, type Defaults } from './defaults.js';
export { escapeIdentifier, escapeLiteral } from './parameters.js';
export { Pool, type PoolClient } from './pool.js';
export { Query } from './query.js';
export type { FieldDef } from './result.js';
export type {
  CustomTypesConfig, Notification, QueryArrayConfig, QueryArrayResult, QueryCallback, QueryConfig, QueryConfigValues, QueryResult,
  QueryResultBase, QueryResultRow, ResultBuilder, Submittable,
} from './shapes.js';
export type { Connection } from './submit.js';
export { TypeOverrides, types } from './types.js';

/** The name that errors of the database have in node-postgres. */
export const DatabaseError = RowgateError;
export type DatabaseError = RowgateError;

export type ClientBase = Client;
export type ConnectionConfig = import('./config.js').ClientConfig;

/** There is nothing native to choose. */
export const native = null;
