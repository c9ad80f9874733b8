import type { Dialect } from '../values/encode.js';

/** Bodies with semicolons of their own, which are not looked into. */
const BODIES: Record<Dialect, RegExp> = {
  postgres: /\bbegin\s+atomic\b/i,
  mysql: /\b(?:procedure|function|trigger|event|package)\b|\bbegin\s+not\s+atomic\b|\bdelimiter\b/i,
  sqlite: /\btrigger\b/i,
};

/** What hides a semicolon: texts, names, comments, dollar quotes. */
const HIDING: Record<Dialect, RegExp> = {
  postgres: /\b[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*|\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$|;/g,
  mysql: /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`(?:[^`]|``)*`|--[^\n]*|#[^\n]*|\/\*|;/g,
  sqlite: /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*|;/g,
};

/**
 * The statements of a text, for `query(text)` without values, which runs several of them.
 *
 * Where it is not certain, as with a text that is not closed, the whole text is one: the server then says what is wrong with it.
 */
export function statementsOf(text: string, dialect: Dialect): string[] {
  if (!text.includes(';') || BODIES[dialect].test(text)) return [text];
  const pattern = new RegExp(HIDING[dialect]);
  const statements: string[] = [];
  let start = 0;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [token] = match;
    if (token === ';') {
      statements.push(text.slice(start, match.index));
      start = pattern.lastIndex;
    } else if (token === '/*') {
      pattern.lastIndex = commentEnd(text, match.index, dialect);
    } else if (token.startsWith('$')) {
      // `a$1$` is a name; a quote cannot begin inside of one.
      if (/[\w$\u0080-\uffff]/.test(text[match.index - 1] ?? '')) continue;
      const end = text.indexOf(token, pattern.lastIndex);
      if (end < 0) return [text];
      pattern.lastIndex = end + token.length;
    }
  }
  statements.push(text.slice(start));
  const real = statements.filter((each) => !isBlank(each));
  return real.length === 0 ? [text] : real;
}

// PostgreSQL's comments nest.
function commentEnd(text: string, start: number, dialect: Dialect): number {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = start;
  let depth = 0;
  for (let match = marks.exec(text); match; match = marks.exec(text)) {
    if (match[0] === '*/') depth -= 1;
    else if (depth === 0 || dialect === 'postgres') depth += 1;
    if (depth === 0) return marks.lastIndex;
  }
  return text.length;
}

function isBlank(text: string): boolean {
  return /^(?:\s|--[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*$/.test(text);
}
