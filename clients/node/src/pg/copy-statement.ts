import type { CopyText } from '../copy.js';

/** A COPY of node-postgres, in the terms of CopyIn and CopyOut. */
export interface CopyStatement {
  readonly direction: 'from' | 'to';
  readonly schema: string | undefined;
  /** The name of the table; undefined for a query. */
  readonly table: string | undefined;
  readonly columns: readonly string[] | undefined;
  readonly query: string | undefined;
  readonly format: 'csv' | 'text';
  readonly text: CopyText;
}

const INSTEAD = "copyIn and copyOut of 'rowgate' say what there is";

/** Reads `COPY table (columns) FROM STDIN WITH (…)` and `COPY … TO STDOUT`, in the forms that PostgreSQL has had. */
export function copyStatement(text: string): CopyStatement {
  return new CopyParser(text).statement();
}

interface Token {
  /** A word in lower case, or a sign; of texts and quoted names undefined. */
  readonly word: string | undefined;
  /** The name that it is as an identifier. */
  readonly name: string | undefined;
  /** The text that it is as a constant. */
  readonly text: string | undefined;
  readonly start: number;
  readonly end: number;
}

// Blanks and comments; texts with and without escapes; quoted names; dollar quotes; words; numbers; signs.
const TOKEN = /(\s+|--[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/)|[eE]'((?:[^'\\]|\\[\s\S]|'')*)'|'((?:[^']|'')*)'|"((?:[^"]|"")+)"|\$((?:[A-Za-z_][\w]*)?)\$[\s\S]*?\$\5\$|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)|(\d+)|([\s\S])/gy;

const ESCAPES: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  for (const match of source.matchAll(TOKEN)) {
    const [whole, blank, escaped, quoted, identifier, , word, number, sign] = match;
    if (blank !== undefined) continue;
    const start = match.index;
    const place = { start, end: start + whole.length };
    if (escaped !== undefined) tokens.push({ ...place, word: undefined, name: undefined, text: unescaped(escaped) });
    else if (quoted !== undefined) tokens.push({ ...place, word: undefined, name: undefined, text: quoted.replaceAll("''", "'") });
    else if (identifier !== undefined) tokens.push({ ...place, word: undefined, name: identifier.replaceAll('""', '"'), text: undefined });
    else if (word !== undefined) tokens.push({ ...place, word: word.toLowerCase(), name: word.toLowerCase(), text: word });
    else tokens.push({ ...place, word: number ?? sign ?? '$', name: undefined, text: number });
  }
  return tokens;
}

const unescaped = (text: string): string =>
  text.replace(/\\x([0-9a-f]{1,2})|\\([\s\S])|''/gi, (whole, hex?: string, char?: string) =>
    (hex !== undefined ? String.fromCharCode(parseInt(hex, 16)) : char !== undefined ? ESCAPES[char] ?? char : whole.slice(1)));

class CopyParser {
  private readonly tokens: readonly Token[];
  private at = 0;
  private format: 'csv' | 'text' = 'text';
  private readonly options: CopyText = {};

  constructor(private readonly source: string) {
    this.tokens = tokensOf(source);
  }

  statement(): CopyStatement {
    if (!this.takes('copy')) throw this.wrong('it does not begin with COPY');
    if (this.takes('binary')) throw this.missing('the format binary');
    const query = this.sees('(') ? this.query() : undefined;
    const { schema, table } = query === undefined ? this.table() : { schema: undefined, table: undefined };
    const columns = query === undefined && this.takes('(') ? this.columns() : undefined;
    const direction = this.direction();
    if (query !== undefined && direction === 'from') throw this.wrong('a query cannot be copied into');
    this.takes('with');
    if (this.takes('(')) this.listed();
    else this.spelled();
    if (this.takes('where')) throw this.missing('WHERE');
    this.takes(';');
    if (this.at < this.tokens.length) throw this.wrong(`it has ${JSON.stringify(this.rest())} behind its end`);
    return { direction, schema, table, columns, query, format: this.format, text: this.options };
  }

  private query(): string {
    const { end } = this.tokens[this.at]!;
    for (let depth = 0; this.at < this.tokens.length; this.at += 1) {
      const { word, start } = this.tokens[this.at]!;
      if (word === '(') depth += 1;
      else if (word === ')') depth -= 1;
      if (depth > 0) continue;
      this.at += 1;
      return this.source.slice(end, start).trim();
    }
    throw this.wrong('a bracket is not closed');
  }

  private table(): { schema: string | undefined; table: string } {
    const first = this.name('the name of a table');
    return this.takes('.') ? { schema: first, table: this.name('the name of a table') } : { schema: undefined, table: first };
  }

  private columns(): string[] {
    const columns = [this.name('the name of a column')];
    while (this.takes(',')) columns.push(this.name('the name of a column'));
    if (!this.takes(')')) throw this.wrong('a bracket is not closed');
    return columns;
  }

  private direction(): 'from' | 'to' {
    const direction = this.takes('from') ? 'from' : this.takes('to') ? 'to' : undefined;
    if (!direction) throw this.wrong('it has neither FROM nor TO');
    if (this.takes(direction === 'from' ? 'stdin' : 'stdout')) return direction;
    throw new TypeError(`COPY ${direction.toUpperCase()} reads and writes a stream here, no file and no program of the database's machine\n`
      + `hint: write ${direction === 'from' ? 'FROM STDIN' : 'TO STDOUT'}`);
  }

  // WITH (FORMAT csv, HEADER true, NULL 'x')
  private listed(): void {
    do {
      const option = this.name('the name of an option');
      const value = this.sees(',') || this.sees(')') ? undefined : this.tokens[this.at++];
      this.option(option, value?.text ?? value?.name ?? value?.word);
    } while (this.takes(','));
    if (!this.takes(')')) throw this.wrong('a bracket is not closed');
  }

  // DELIMITER AS 'x' NULL AS 'y' CSV HEADER, as before PostgreSQL 9
  private spelled(): void {
    for (let token = this.tokens[this.at]; token?.word && /^\w+$/.test(token.word) && token.word !== 'where'; token = this.tokens[this.at]) {
      this.at += 1;
      if (token.word === 'csv' || token.word === 'binary') this.option('format', token.word);
      else if (token.word === 'header') this.option('header', undefined);
      else {
        this.takes('as');
        this.option(token.word, this.tokens[this.at++]?.text);
      }
    }
  }

  private option(name: string, value: string | undefined): void {
    switch (name) {
      case 'format':
        if (value !== 'csv' && value !== 'text') throw this.missing(`the format ${value}`);
        this.format = value;
        break;
      case 'header':
        this.options.header = value === undefined || /^(?:true|on|1|match)$/i.test(value);
        break;
      case 'delimiter':
      case 'quote':
      case 'escape':
        this.options[name] = value ?? '';
        break;
      case 'null':
        this.options.nullText = value ?? '';
        break;
      case 'encoding':
        if (!/^utf-?8$/i.test(value ?? '')) throw this.missing(`the encoding ${value}`);
        break;
      default:
        throw this.missing(`the option ${name.toUpperCase()}`);
    }
  }

  private name(what: string): string {
    const name = this.tokens[this.at]?.name;
    if (name === undefined) throw this.wrong(`${what} is missing`);
    this.at += 1;
    return name;
  }

  private sees(word: string): boolean {
    return this.tokens[this.at]?.word === word;
  }

  private takes(word: string): boolean {
    if (!this.sees(word)) return false;
    this.at += 1;
    return true;
  }

  private rest(): string {
    return this.source.slice(this.tokens[this.at]!.start).trim();
  }

  private wrong(why: string): Error {
    return new SyntaxError(`a COPY cannot be read: ${why}: ${this.source.trim().slice(0, 200)}`);
  }

  private missing(what: string): Error {
    return new TypeError(`COPY through Rowgate does not have ${what}\nhint: ${INSTEAD}`);
  }
}
