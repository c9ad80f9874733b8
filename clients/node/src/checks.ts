import { InvalidOption } from './errors/reasons.js';

// What an option may be. A value that is empty, zero or null means "none given" to the server, and so the opposite of what it
// says: such are refused before anything is sent.

/** Timers of JavaScript take no more milliseconds; what is longer is no limit. */
const LONGEST = 2 ** 31 - 1;

/** A time in milliseconds; Infinity is the server's own limit. */
export function checkedTime(name: string, time: number): number {
  if (typeof time !== 'number' || !(time > 0)) throw refused(name, 'a number of milliseconds above 0, or Infinity', time);
  return time > LONGEST ? Infinity : Math.ceil(time);
}

/** A bound, as of rows: 0 would be none. */
export function checkedCount(name: string, count: number | bigint): bigint {
  if (typeof count === 'bigint' ? count >= 1n : Number.isSafeInteger(count) && count >= 1) return BigInt(count);
  throw refused(name, 'a whole number from 1 on', count, 'leave it out for no bound');
}

/** A text that says something. */
export function checkedText(name: string, text: string): string {
  if (typeof text === 'string' && text !== '') return text;
  throw refused(name, 'a text that is not empty', text, 'leave it out where there is none');
}

/** An idempotency key: with an empty one a repetition would be applied again. */
export function checkedKey(key: string | undefined): string | undefined {
  return key === undefined ? undefined : checkedText('key', key);
}

/** Names, at least one: none would be all of them. */
export function checkedNames(name: string, names: readonly string[], hint?: string): string[] {
  if (!Array.isArray(names) || names.length === 0) throw refused(name, 'a list of names, at least one', names, hint);
  return names.map((each, index) => checkedText(`${name}[${index}]`, each));
}

/** Settings by their names; an empty text is a value of its own. */
export function checkedSettings(settings: Record<string, string>): { name: string; value: string }[] {
  return Object.entries(settings).map(([name, value]) => {
    if (value === undefined || value === null) throw refused(`settings.${name}`, 'a text', value, 'leave it out where it is not set');
    return { name, value: String(value) };
  });
}

/** The names that the contract has for options, where they are others. */
const FIELDS: Record<string, string> = { timeout: 'options.timeout', key: 'options.idempotency_key', maxRows: 'options.max_rows', maxBytes: 'options.max_bytes' };

// The error of the server for such, without asking it.
function refused(name: string, wanted: string, given: unknown, hint?: string): InvalidOption {
  const shown = typeof given === 'string' || (typeof given === 'object' && given !== null) ? JSON.stringify(given) : String(given);
  const description = `${name} is ${wanted}, not ${shown}`;
  return new InvalidOption({
    message: hint === undefined ? description : `${description}\nhint: ${hint}`, status: 'INVALID_ARGUMENT', reason: InvalidOption.reason, outcome: 'NOT_APPLIED',
    fields: [{ field: FIELDS[name] ?? name, description }], ...(hint !== undefined && { hint }),
  });
}
