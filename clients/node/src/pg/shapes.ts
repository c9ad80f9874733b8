import type pgTypes from 'pg-types';
import type { Sql } from '../sql.js';
import type { FieldDef } from './result.js';

// The types of node-postgres, by the names that they have in @types/pg.

/** What chooses the parser of a type: `pg.types`, and the `types` of a client or a query. */
export interface CustomTypesConfig {
  getTypeParser: typeof pgTypes.getTypeParser;
}

/** The values of a query: an array, `any[]` without a type of its own. */
export type QueryConfigValues<T> = T extends Array<infer U> ? (T extends null ? never : readonly U[]) : never;

export interface QueryConfig<I = any[]> {
  text: string;
  values?: QueryConfigValues<I>;
  /** The server prepares statements by their texts; here the name stands for its text, as with node-postgres. */
  name?: string;
  rowMode?: string;
  types?: CustomTypesConfig;
  /** Milliseconds for this statement. */
  query_timeout?: number;
}

export interface QueryArrayConfig<I = any[]> extends QueryConfig<I> {
  rowMode: 'array';
}

export interface QueryResultRow {
  [column: string]: any;
}

export interface QueryResultBase {
  /** The first word of the command: `SELECT`, `INSERT`, `CREATE`. */
  command: string;
  rowCount: number | null;
  oid: number;
  fields: FieldDef[];
}

/** What `query` gives. */
export interface QueryResult<R = any> extends QueryResultBase {
  rows: R[];
  rowAsArray: boolean;
}

export interface QueryArrayResult<R extends any[] = any[]> extends QueryResultBase {
  rows: R[];
  rowAsArray: boolean;
}

/** The result that a Query hands to its events, as far as it has come. */
export interface ResultBuilder<R = any> extends QueryResult<R> {
  addRow(row: R): void;
}

/** An event of LISTEN. */
export interface Notification {
  processId: number;
  channel: string;
  payload?: string;
}

export type QueryCallback<R = any> = (error: Error, result: QueryResult<R>) => void;

/** Everything that `query` takes besides objects that are submitted. */
export type QueryInput = string | QueryConfig<any> | Sql;

/** An object that `query` runs and returns: a Query, a cursor, a stream of this package. */
export interface Submittable {
  submit(connection: any): unknown;
}
