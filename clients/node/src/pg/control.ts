import type { Isolation, TransactionModes } from '../options.js';

/** A text that controls a transaction: such a text is a command of the API, and never sent as SQL. */
export type Control =
  | { readonly kind: 'begin'; readonly modes: TransactionModes; readonly command: 'BEGIN' | 'START' }
  | { readonly kind: 'modes'; readonly modes: TransactionModes }
  | { readonly kind: 'commit'; readonly isChained: boolean }
  | { readonly kind: 'rollback'; readonly isChained: boolean }
  | { readonly kind: 'savepoint'; readonly name: string }
  | { readonly kind: 'release'; readonly name: string }
  | { readonly kind: 'rollbackTo'; readonly name: string }
  | { readonly kind: 'listen'; readonly channel: string }
  | { readonly kind: 'unlisten'; readonly channel: string | undefined };

const FIRST_WORD = /^(?:\s|;|--[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*([a-z]+)/i;
const WORDS = new Set(['begin', 'start', 'commit', 'end', 'rollback', 'abort', 'savepoint', 'release', 'set', 'listen', 'unlisten']);
const TOKEN = /\s+|--[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*)|"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|([,;*])/giy;

/** Reads a text that is transaction control as a whole; undefined for everything else. */
export function controlOf(text: string): Control | undefined {
  const first = FIRST_WORD.exec(text)?.[1]?.toLowerCase();
  if (!first || !WORDS.has(first)) return undefined;
  const tokens = tokensOf(text);
  return tokens && new ControlParser(tokens).control();
}

interface Token {
  /** In lower case; of a quoted name undefined. */
  readonly word: string | undefined;
  readonly name: string;
}

// Undefined where something stands in the text that no such command has.
function tokensOf(text: string): Token[] | undefined {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) return undefined;
    const [, word, quoted, backquoted, sign] = match;
    if (word !== undefined) tokens.push({ word: word.toLowerCase(), name: word.toLowerCase() });
    else if (quoted !== undefined) tokens.push({ word: undefined, name: quoted.replaceAll('""', '"') });
    else if (backquoted !== undefined) tokens.push({ word: undefined, name: backquoted.replaceAll('``', '`') });
    else if (sign !== undefined) tokens.push({ word: sign, name: sign });
  }
  while (tokens.at(-1)?.word === ';') tokens.pop();
  while (tokens[0]?.word === ';') tokens.shift();
  return tokens;
}

class ControlParser {
  private at = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  control(): Control | undefined {
    const found = this.command();
    return found && this.at === this.tokens.length ? found : undefined;
  }

  private command(): Control | undefined {
    switch (this.tokens[this.at++]?.word) {
      case 'begin':
        if (!this.takes('work')) this.takes('transaction');
        return this.begin('BEGIN');
      case 'start':
        return this.takes('transaction') ? this.begin('START') : undefined;
      case 'commit':
      case 'end':
        return this.end('commit');
      case 'rollback':
      case 'abort':
        return this.rollback();
      case 'savepoint':
        return this.named('savepoint');
      case 'release':
        this.takes('savepoint');
        return this.named('release');
      case 'set':
        return this.takes('transaction') ? this.modesOnly() : undefined;
      case 'listen': {
        const channel = this.name();
        return channel === undefined ? undefined : { kind: 'listen', channel };
      }
      case 'unlisten': {
        const channel = this.takes('*') ? undefined : this.name();
        return { kind: 'unlisten', channel };
      }
      default:
        return undefined;
    }
  }

  private begin(command: 'BEGIN' | 'START'): Control | undefined {
    const modes = this.modes();
    return modes && { kind: 'begin', modes, command };
  }

  private modesOnly(): Control | undefined {
    const modes = this.modes();
    return modes && { kind: 'modes', modes };
  }

  private rollback(): Control | undefined {
    if (!this.takes('work')) this.takes('transaction');
    if (!this.takes('to')) return this.chained('rollback');
    this.takes('savepoint');
    return this.named('rollbackTo');
  }

  private end(kind: 'commit'): Control | undefined {
    if (!this.takes('work')) this.takes('transaction');
    return this.chained(kind);
  }

  private chained(kind: 'commit' | 'rollback'): Control | undefined {
    if (!this.takes('and')) return { kind, isChained: false };
    const isChained = !this.takes('no');
    return this.takes('chain') ? { kind, isChained } : undefined;
  }

  private named(kind: 'savepoint' | 'release' | 'rollbackTo'): Control | undefined {
    const name = this.name();
    return name === undefined ? undefined : { kind, name };
  }

  private name(): string | undefined {
    const token = this.tokens[this.at];
    if (!token || /^[,;*]$/.test(token.name)) return undefined;
    this.at += 1;
    return token.name;
  }

  private modes(): TransactionModes | undefined {
    const modes: TransactionModes = {};
    while (this.at < this.tokens.length) {
      if (!this.mode(modes)) return undefined;
      this.takes(',');
    }
    return modes;
  }

  private mode(modes: TransactionModes): boolean {
    if (this.takes('isolation')) {
      const isolation = this.takes('level') ? this.isolation() : undefined;
      if (!isolation) return false;
      modes.isolation = isolation;
      return true;
    }
    if (this.takes('read')) {
      const isReadOnly = this.takes('only');
      if (!isReadOnly && !this.takes('write')) return false;
      modes.readOnly = isReadOnly;
      return true;
    }
    const isNot = this.takes('not');
    if (!this.takes('deferrable')) return false;
    modes.deferrable = !isNot;
    return true;
  }

  private isolation(): Isolation | undefined {
    if (this.takes('serializable')) return 'serializable';
    if (this.takes('repeatable')) return this.takes('read') ? 'repeatable read' : undefined;
    // PostgreSQL has no READ UNCOMMITTED of its own: it is READ COMMITTED there.
    return this.takes('read') && (this.takes('committed') || this.takes('uncommitted')) ? 'read committed' : undefined;
  }

  private takes(word: string): boolean {
    if (this.tokens[this.at]?.word !== word) return false;
    this.at += 1;
    return true;
  }
}
