import { RowgateError } from '../errors/error.js';
import { Client } from './client.js';
import { escapeIdentifier, escapeLiteral } from './parameters.js';
import { Pool } from './pool.js';
import { TypeOverrides, types } from './types.js';

export * from '../shared.js';
export { Client, type QueryCallback, type QueryConfig } from './client.js';
export type { ClientConfig, PoolConfig } from './config.js';
export { escapeIdentifier, escapeLiteral } from './parameters.js';
export { Pool, type PoolClient } from './pool.js';
export type { FieldDef, QueryResult } from './result.js';
export { TypeOverrides, types } from './types.js';

/** The name that errors of the database have in node-postgres. */
export const DatabaseError = RowgateError;
export type DatabaseError = RowgateError;

/** `pg.defaults`, as far as it means something here. */
export const defaults = {
  /** True: int8 as numbers, which are rounded beyond 2^53. */
  set parseInt8(isNumber: boolean) {
    types.setTypeParser(20, isNumber ? (text: string) => parseInt(text, 10) : String);
  },
};

// `import pg from 'rowgate/pg'` has what `import pg from 'pg'` has.
export default { Client, Pool, defaults, types, TypeOverrides, DatabaseError, escapeIdentifier, escapeLiteral };
