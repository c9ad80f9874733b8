/** The type of a column, as `rowgate.v1.DataType` without its prefix. */
export const DATA_TYPES = [
  'UNSPECIFIED', 'BOOL', 'INT16', 'INT32', 'INT64', 'FLOAT32', 'FLOAT64', 'NUMERIC', 'TEXT', 'BYTES', 'UUID', 'JSON', 'DATE',
  'TIME', 'TIMETZ', 'TIMESTAMP', 'TIMESTAMPTZ', 'INTERVAL', 'ENUM', 'ARRAY', 'RANGE', 'RECORD', 'OTHER',
] as const;

export type DataType = (typeof DATA_TYPES)[number];

/** A column of a result. */
export interface Column {
  readonly name: string;
  readonly type: DataType;
  /** The type of the elements, of an ARRAY. */
  readonly elementType: DataType;
  /** The database's own name of the type, as `numeric` or `int4[]`. */
  readonly typeName: string;
  /** PostgreSQL's OID of the type; 0 elsewhere. */
  readonly typeOid: number;
  /** `NOT_NULL` or `NULLABLE`, where it was asked for and is known. */
  readonly nullability: 'UNSPECIFIED' | 'NOT_NULL' | 'NULLABLE';
  /** The column of a table that its values are taken from unchanged, where it was asked for. */
  readonly origin?: ColumnOrigin;
}

export interface ColumnOrigin {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  readonly tableOid: number;
}

/** The form of a 64-bit integer. `number` refuses what is beyond 2^53, and never rounds. */
export type Int64Form = 'bigint' | 'number' | 'string';

/** Reads the text of a value. */
export type TextReader = (text: string) => unknown;

/** The forms in which values are given to the program. */
export interface ValueOptions {
  /** 64-bit integers: `bigint` (the default), `number` or `string`. */
  int64?: Int64Form;
  /** JSON documents: parsed (the default), or their text. JSON.parse rounds numbers beyond 2^53. */
  json?: 'parse' | 'text';
  /**
   * Readers for values that travel as text, by the type of the column (`NUMERIC`, `DATE`, `INTERVAL` …) or by the database's own
   * name of it (`vector`); the name goes first. `{ NUMERIC: (text) => new Decimal(text) }`.
   */
  readers?: Record<string, TextReader>;
}

const NULLABILITIES = ['UNSPECIFIED', 'NOT_NULL', 'NULLABLE'] as const;

export const dataType = (number: number): DataType => DATA_TYPES[number] ?? 'OTHER';

export const nullability = (number: number): Column['nullability'] => NULLABILITIES[number] ?? 'UNSPECIFIED';
