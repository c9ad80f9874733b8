import type { BinaryWriter } from '@bufbuild/protobuf/wire';
import { NEEDS_DIALECT, type Dialect } from '../values/encode.js';
import { writeElsewhere } from './elsewhere.js';
import { prepareValue } from './prepare.js';

/** Writes a value as node-postgres sends it: as text that the database parses, bytes as they are. */
export function writePgValue(writer: BinaryWriter, value: unknown, dialect: Dialect | undefined): void {
  if (dialect === undefined) throw NEEDS_DIALECT;
  if (dialect !== 'postgres') {
    writeElsewhere(writer, value, dialect);
    return;
  }
  const prepared = prepareValue(value);
  if (prepared === null) writer.uint32(0x08).int32(0);
  else if (typeof prepared === 'string') writer.uint32(0x2a).string(prepared);
  else writer.uint32(0x32).bytes(prepared);
}

/** A name in double quotes. */
export const escapeIdentifier = (text: string): string => `"${String(text).replaceAll('"', '""')}"`;

/** A text in quotes, for where no parameter may stand. */
export function escapeLiteral(text: string): string {
  const quoted = `'${String(text).replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return quoted.includes('\\') ? ` E${quoted}` : quoted;
}
