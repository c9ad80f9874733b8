import { Sql, type Statement } from '../sql.js';
import { NEEDS_DIALECT, type Dialect } from '../values/encode.js';
import type { QueryCallback, QueryConfig, QueryInput } from './shapes.js';
import type { TypeParsers } from './types.js';

/** A query as the forms of `query(…)` give it. */
export interface PgQuery {
  readonly text: string;
  readonly values: readonly unknown[] | undefined;
  readonly isArrays: boolean;
  readonly types: TypeParsers | undefined;
  /** Milliseconds; those of the client without. */
  readonly timeout: number | undefined;
  /** The name of a prepared statement: the text may then be left out where it was given before. */
  readonly name: string | undefined;
  readonly callback: QueryCallback | undefined;
  /** A piece of SQL whose names are quoted as its database wants it; the text is that of PostgreSQL. */
  readonly source?: Sql;
}

/** Reads query(text, values?, callback?), query(config, callback?) and query(sql`…`). */
export function queryOf(input: QueryInput, second?: unknown, third?: unknown): PgQuery {
  const callback = [third, second, (input as { callback?: unknown } | null)?.callback].find((each) => typeof each === 'function');
  const given = (input instanceof Sql ? compiledOf(input) : typeof input === 'string' ? { text: input } : input) as QueryConfig & { source?: Sql };
  if (given === null || given === undefined) throw new TypeError('Client was passed a null or undefined query');
  if (typeof given.text !== 'string' && typeof given.name !== 'string') {
    throw new TypeError('A query must have either text or a name. Supplying neither is unsupported.');
  }
  const values = second !== undefined && second !== null && typeof second !== 'function' ? second : given.values;
  if (values !== undefined && values !== null && !Array.isArray(values)) throw new TypeError('Query values must be an array');
  return {
    text: given.text,
    values: (values as readonly unknown[] | null) ?? undefined,
    isArrays: given.rowMode === 'array',
    types: given.types as TypeParsers | undefined,
    timeout: given.query_timeout || undefined,
    name: given.name || undefined,
    callback: callback as QueryCallback | undefined,
    ...(input instanceof Sql && given.source && { source: given.source }),
  };
}

function compiledOf(input: Sql): Statement & { source?: Sql } {
  try {
    return input.compile();
  } catch (error) {
    if (error !== NEEDS_DIALECT) throw error;
    return { ...input.compile('postgres'), source: input };
  }
}

/** The query with the text for its database. */
export async function quoted(query: PgQuery, dialect: () => Promise<Dialect>): Promise<PgQuery> {
  return query.source ? { ...query, ...query.source.compile(await dialect()), source: undefined } : query;
}

/** The texts of the named statements of a client. */
export class NamedStatements {
  private readonly texts = new Map<string, string>();

  /** The query with its text; a name stands for one text. */
  named(query: PgQuery): PgQuery {
    const { name, text } = query;
    if (name === undefined) return query;
    const known = this.texts.get(name);
    if (text === undefined) {
      if (known === undefined) throw new Error(`the prepared statement '${name}' has no text yet\nhint: give its text the first time`);
      return { ...query, text: known };
    }
    if (known !== undefined && known !== text) throw new Error(`Prepared statements must be unique - '${name}' was used for a different statement`);
    this.texts.set(name, text);
    return query;
  }
}
