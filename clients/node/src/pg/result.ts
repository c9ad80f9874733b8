import type { Result } from '../result.js';
import type { QueryResult } from './shapes.js';
import { oidOf } from './types.js';

export interface FieldDef {
  name: string;
  tableID: number;
  columnID: number;
  dataTypeID: number;
  dataTypeSize: number;
  dataTypeModifier: number;
  format: string;
}

/** Commands whose tag has a count in PostgreSQL. */
const COUNTED = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'SELECT', 'MOVE', 'FETCH', 'COPY', 'REPLACE']);

export function queryResult(result: Result<any>, rowAsArray: boolean): QueryResult {
  const command = /^[A-Za-z]*/.exec(result.command)![0];
  const isSelect = result.hasColumns && result.rowsAffected === 0;
  const rowCount = !COUNTED.has(command) ? null : isSelect ? result.rows.length : result.rowsAffected;
  const fields = result.columns.map((column): FieldDef => ({
    name: column.name, tableID: column.origin?.tableOid ?? 0, columnID: 0, dataTypeID: oidOf(column), dataTypeSize: -1, dataTypeModifier: -1,
    format: 'text',
  }));
  return { command, rowCount, oid: 0, rows: result.rows, fields, rowAsArray };
}

/** The result of a text that only controls the transaction. */
export const controlResult = (command: string): QueryResult => ({ command, rowCount: null, oid: 0, rows: [], fields: [], rowAsArray: false });
