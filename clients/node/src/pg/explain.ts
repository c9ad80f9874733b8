import { RowgateError } from '../errors/error.js';
import { TransportFailure } from '../errors/failure.js';
import type { Dialect } from '../values/encode.js';

const IN_TRANSACTION = 'between BEGIN and COMMIT on one client';
const FOR_ALL = "what all statements need belongs into the URL of the database in Rowgate's configuration";

/** What to write instead of statements whose effect would last for a session: the client of a pool has none. */
const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/^\s*(?:set|reset)\b/i, `write SET LOCAL ${IN_TRANSACTION}; ${FOR_ALL}`],
  [/set_config/i, `write set_config(name, value, true) ${IN_TRANSACTION}; ${FOR_ALL}`],
  [/advisory/i, `take pg_advisory_xact_lock ${IN_TRANSACTION}: it is held up to the end of the transaction`],
  [/\btemp(?:orary)?\b/i, `create it ${IN_TRANSACTION}: it is gone at the end of the transaction`],
  [/^\s*(?:prepare|execute|deallocate)\b/i, 'send the statement itself, or give a query a name: the server prepares every statement'],
  [/^\s*declare\b/i, `declare it ${IN_TRANSACTION}, or use a Cursor of rowgate/pg-cursor`],
];

/** The hint of an error in the words of a program for node-postgres, where that of the server has other ones. */
function hintOf({ reason }: RowgateError, text: string): string | undefined {
  if (reason === 'SESSION_STATE') return INSTEAD.find(([pattern]) => pattern.test(text))?.[1] ?? `send it ${IN_TRANSACTION}: what it sets up is removed at the end`;
  if (reason === 'TRANSACTION_CONTROL') return 'a transaction is controlled by texts of their own: BEGIN, COMMIT, ROLLBACK, SAVEPOINT …';
  if (reason === 'FEATURE_NOT_SUPPORTED' && /\bcopy\b/i.test(text)) return 'rowgate/pg-copy-streams has from(…) and to(…), which take this text';
  return undefined;
}

/** The codes by which connections to an address failed the last time: in the pause before the next attempt a call is not told. */
const lastCodes = new Map<string, string>();

/** The same error; that of a connection which was not made has the code of the operating system, as programs for node-postgres expect. */
export function systemCoded(error: unknown, address: string): unknown {
  if (!(error instanceof TransportFailure) || error.outcome !== 'NOT_APPLIED') return error;
  const told = /^no connection to Rowgate: (?:connect|getaddrinfo|read|write) (E[A-Z_]+)/.exec(error.message)?.[1];
  if (told) lastCodes.set(address, told);
  const code = told ?? (/^no connection to Rowgate/.test(error.message) ? lastCodes.get(address) : undefined);
  return code === undefined ? error : Object.assign(error, { code, ...(told && { syscall: error.message.split(' ')[4] }) });
}

/** The same error, which says what to do here. The other databases refuse some of it everywhere: there the server's hint stands. */
export async function explained(error: unknown, text: string, dialect: () => Promise<Dialect>): Promise<unknown> {
  const hint = error instanceof RowgateError ? hintOf(error, text) : undefined;
  if (hint !== undefined && (await dialect().catch(() => undefined)) === 'postgres') {
    Object.assign(error as object, { message: `${(error as Error).message}\nhint: ${hint}`, hint });
  }
  return error;
}
