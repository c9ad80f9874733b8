import { brand } from './brand.js';
import { NEEDS_DIALECT, type Dialect } from './values/encode.js';

/** A statement as callers give it. */
export type StatementInput = string | Sql;

/** Text that is taken as it is; the name of a table, a column and so on, quoted when its dialect is known; or a value. */
type Part = { readonly text: string } | { readonly names: readonly string[] } | { readonly value: unknown };

/** A text with its parameters. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/**
 * A piece of SQL with its values, made by the tag `sql`.
 *
 * Values are never part of the text: each becomes a parameter, `$1`, `$2` ….
 */
export class Sql {
  static {
    brand(this, 'Sql');
  }

  /** @internal */
  constructor(private readonly parts: readonly Part[]) {}

  /** The text and the values for a database of this dialect; `undefined` suits all where there is no identifier. */
  compile(dialect?: Dialect): Statement {
    const values: unknown[] = [];
    let text = '';
    for (const part of this.parts) {
      if ('text' in part) text += part.text;
      else if ('names' in part) text += quoted(part.names, dialect);
      else {
        values.push(part.value);
        text += `$${values.length}`;
      }
    }
    return { text, values };
  }

  /** @internal */
  static partsOf(value: unknown): readonly Part[] {
    return value instanceof Sql ? value.parts : [{ value }];
  }
}

function quoted(parts: readonly string[], dialect: Dialect | undefined): string {
  if (dialect === undefined) throw NEEDS_DIALECT;
  const mark = dialect === 'mysql' ? '`' : '"';
  return parts.map((part) => mark + part.replaceAll(mark, mark + mark) + mark).join('.');
}

interface SqlTag {
  /** A statement, or a piece of one: values become parameters, pieces are inserted as they are. */
  (strings: TemplateStringsArray, ...values: unknown[]): Sql;
  /** The pieces and values between separators; at least one. `sql.join([1, 2])` is `$1, $2`. */
  join(pieces: Iterable<unknown>, separator?: Sql): Sql;
  /** A quoted name: `sql.identifier('public', 'orders')` is `"public"."orders"`. */
  identifier(...parts: [string, ...string[]]): Sql;
  /** Text that is not checked and not quoted: never of a stranger. */
  raw(text: string): Sql;
  /** Nothing, for a piece that is sometimes left out. */
  readonly empty: Sql;
}

function tag(strings: TemplateStringsArray, ...values: unknown[]): Sql {
  if (!Array.isArray(strings) || !Array.isArray(strings.raw)) {
    throw new TypeError('sql is a tag for a template: write sql`select …`, and sql.raw(text) for a text of your own');
  }
  const parts: Part[] = [];
  strings.forEach((text, index) => {
    if (text === undefined) throw new TypeError('the template of a statement has an invalid escape');
    if (text !== '') parts.push({ text });
    if (index < values.length) {
      if (values[index] === undefined) throw new TypeError(`value ${index + 1} of a statement is undefined: write null for NULL`);
      parts.push(...Sql.partsOf(values[index]));
    }
  });
  return new Sql(parts);
}

function join(pieces: Iterable<unknown>, separator: Sql = COMMA): Sql {
  if (!(separator instanceof Sql)) throw new TypeError('the separator is a piece of SQL: sql`, `');
  const parts: Part[] = [];
  let count = 0;
  for (const piece of pieces) {
    if (piece === undefined) throw new TypeError('a piece to join is undefined: write null for NULL');
    if (count > 0) parts.push(...Sql.partsOf(separator));
    parts.push(...Sql.partsOf(piece));
    count += 1;
  }
  if (count === 0) throw new TypeError('there is nothing to join: leave the clause out, or write = any(${array})');
  return new Sql(parts);
}

function identifier(...parts: string[]): Sql {
  if (parts.length === 0) throw new TypeError('an identifier has at least one part');
  for (const part of parts) {
    if (typeof part !== 'string' || part === '' || part.includes('\0')) {
      throw new TypeError('each part of an identifier is a text that is not empty and has no NUL');
    }
  }
  return new Sql([{ names: parts }]);
}

const COMMA = new Sql([{ text: ', ' }]);

/** The tag of statements: sql`select name from users where id = ${id}`. */
export const sql: SqlTag = Object.assign(tag, {
  join,
  identifier,
  raw: (text: string) => new Sql([{ text }]),
  empty: new Sql([]),
});

/** The text and the values of a statement. */
export function compiled(input: StatementInput, values: readonly unknown[], dialect: Dialect | undefined): Statement {
  return input instanceof Sql ? input.compile(dialect) : { text: input, values };
}
