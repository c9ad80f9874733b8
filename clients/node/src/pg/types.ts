import pgTypes from 'pg-types';
import type { Column, DataType } from '../values/types.js';
import type { Typing, Typist } from '../values/typing.js';
import { documentOf, momentOf } from './elsewhere.js';

export type TypeParser = (text: string) => any;

/** What chooses the parser of a type, as `pg.types` does, and the `types` of a query. */
export interface TypeParsers {
  getTypeParser(oid: number, format?: string): TypeParser;
}

/** `pg.types`: the parsers of all clients that have no others. */
export const types = pgTypes;

/** The OIDs of PostgreSQL for the types of the other databases. */
const OIDS: Partial<Record<DataType, number>> = {
  BOOL: 16, INT16: 21, INT32: 23, INT64: 20, FLOAT32: 700, FLOAT64: 701, NUMERIC: 1700, TEXT: 25, BYTES: 17, UUID: 2950, JSON: 114,
  DATE: 1082, TIME: 1083, TIMETZ: 1266, TIMESTAMP: 1114, TIMESTAMPTZ: 1184, INTERVAL: 1186,
};

/** `dataTypeID` of a column. */
export const oidOf = (column: Column): number => column.typeOid || OIDS[column.type] || 25;

/** What the parsers of pg-types make of a text of their type; none other is taken for one of them. */
const SAMPLES: readonly (readonly [number, string, (value: unknown) => boolean])[] = [
  [16, 't', (value) => value === true],
  [17, '\\x00ff', (value) => Buffer.isBuffer(value) && value.toString('hex') === '00ff'],
  [20, '4711', (value) => value === '4711'],
  [21, '4711', (value) => value === 4711],
  [23, '4711', (value) => value === 4711],
  [26, '4711', (value) => value === 4711],
  [700, '1.5', (value) => value === 1.5],
  [701, '1.5', (value) => value === 1.5],
  [1184, '2026-01-31 01:02:03.0049+00', (value) => value instanceof Date && value.getTime() === Date.UTC(2026, 0, 31, 1, 2, 3, 4)],
];

const parserOf = (oid: number) => pgTypes.getTypeParser(oid as never, 'text') as TypeParser;

/** Those of dates that nobody has replaced: they read the clock of this machine, and give null for what is no date. */
const DATES = new Map([1082, 1114, 1184].map((oid) => [oid, parserOf(oid)] as const)
  .filter(([, parser]) => parser('x') === null && (parser('2026-01-31 00:00:00') as unknown) instanceof Date));

/** The parser of types that have none: the text as it is. */
const NO_PARSER = parserOf(0x7fffffff);

const BUILT_IN = new Map(SAMPLES
  .filter(([oid, text, isRight]) => isRight(parserOf(oid)(text)))
  .map(([oid]) => [oid, parserOf(oid)] as const));

/** Gives values exactly as node-postgres does: a parser gets the text that PostgreSQL prints, built-in ones are not called for nothing. */
export function pgTypist(parsers: TypeParsers): Typist {
  return (column) => {
    const oid = oidOf(column);
    const parser = parsers.getTypeParser(oid, 'text');
    if (column.typeOid === 0) {
      if (parser === DATES.get(oid)) return { integer: 'safe', text: momentOf, timestamp: asDate, bytes: asBuffer };
      if (column.type === 'JSON') return { integer: 'safe', text: documentOf(parser), bytes: asBuffer };
    }
    if (parser === BUILT_IN.get(oid)) return builtIn(column, oid, parser);
    if (column.type === 'ARRAY' || column.type === 'RECORD') {
      const delimiter = oid === 1020 ? ';' : ',';
      return { integer: 'string', any: parser, delimiter, element: { integer: 'string', isShortFloat: column.elementType === 'FLOAT32' } };
    }
    if (parser === NO_PARSER) return { integer: 'string', bytes: asBuffer };
    if (column.type in TEXTUAL) return { integer: 'safe', text: parser, bytes: asBuffer };
    return { integer: 'string', any: parser, isShortFloat: column.type === 'FLOAT32' };
  };
}

/** Types whose values are text on the wire. */
const TEXTUAL: Partial<Record<DataType, true>> = { JSON: true, DATE: true, TIME: true, TIMESTAMP: true, INTERVAL: true, UUID: true, TEXT: true, NUMERIC: true };

function builtIn(column: Column, oid: number, parser: TypeParser): Typing {
  switch (oid) {
    case 20:
      // SQLite's integers are all of 64 bits: only those that are declared so are texts.
      return { integer: column.typeOid !== 0 || /big|int8/i.test(column.typeName) ? 'string' : 'safe', bytes: asBuffer };
    case 700:
      return { integer: 'safe', isShortFloat: true };
    case 1184:
      return { integer: 'safe', text: parser, timestamp: asDate };
    default:
      return { integer: 'safe', bytes: asBuffer };
  }
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// A Date has milliseconds; node-postgres cuts the rest off, too.
const asDate = (seconds: number, nanos: number): Date => new Date(seconds * 1000 + Math.floor(nanos / 1e6));

/** Parsers of one client or pool over those of others, as node-postgres has them. */
export class TypeOverrides implements TypeParsers {
  private readonly own = new Map<number, TypeParser>();

  constructor(private readonly base: TypeParsers = pgTypes as unknown as TypeParsers) {}

  setTypeParser(oid: number, format: string | TypeParser, parser?: TypeParser): void {
    const given = typeof format === 'function' ? format : parser;
    if (format !== 'binary' && given) this.own.set(oid, given);
  }

  getTypeParser(oid: number, format = 'text'): TypeParser {
    return this.own.get(oid) ?? this.base.getTypeParser(oid, format);
  }
}
