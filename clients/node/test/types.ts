// Compiled and never run: what the types promise, and what they refuse.

import { connect, Instant, sql, UniqueViolation, type Column, type Result, type RowgateError } from 'rowgate';
import { connect as connectByFetch } from 'rowgate/web';
import pg, { Client, Pool, type PoolClient, type QueryResult } from 'rowgate/pg';

interface User {
  id: bigint;
  name: string;
  since: Instant;
}

const db = connect('127.0.0.1:50051', { database: 'shop', timeout: 1000, int64: 'number', readers: { NUMERIC: (text) => Number(text) } });

async function native(signal: AbortSignal): Promise<string> {
  const users: Result<User> = await db.sql<User>`select * from users where id = ${5n}`;
  for (const { name, since } of users) console.log(name.length, since.microseconds);
  const typed = await db.query<User>(sql`select * from users ${sql.empty}`, { key: 'k', signal, rowMode: 'object' });
  const text = await db.query<[number]>('select $1', [1], { rowMode: 'array', retries: 2, readOnly: true });
  const [first] = text.rows;
  const columns: readonly Column[] = typed.columns;
  for await (const user of db.stream<User>('select * from users')) console.log(user.name);
  for await (const batch of db.stream<User>(sql`select * from users`).batches()) console.log(batch.length);
  await db.batch(['select 1', sql`select 2`, { sql: 'delete from users where id = $1', values: [1], expect: { atMost: 1 } }], { isolation: 'serializable' });
  const value: number = await db.transaction(async (tx) => (await tx.sql<{ n: number }>`select 1 as n`).one().n, { retries: 3, isolation: 'repeatable read' });
  const counts: number[] = await db.transaction(async (tx) => (await tx.batch(['select 1', { sql: sql`delete from users`, expect: 1 }], { maxRows: 5 })).map((each) => each.rowsAffected));
  console.log(counts.length);
  await db.copyIn({ table: 'users', columns: ['id', 'name'] }, [[1, 'ann']]);
  try {
    await db.query('select 1');
  } catch (error) {
    if (error instanceof UniqueViolation) {
      const failure: RowgateError = error;
      const outcome: 'NOT_APPLIED' | 'APPLIED' | 'UNKNOWN' = failure.outcome;
      return `${outcome} ${failure.constraint?.length} ${failure.retryAfter}`;
    }
  }
  return `${columns.length} ${first?.[0]} ${value}`;
}

async function shaped(): Promise<void> {
  const pool: Pool = new pg.Pool({ max: 5, connectionString: 'postgres://localhost/shop' });
  const client: PoolClient = await pool.connect();
  const result: QueryResult<User> = await client.query<User>({ text: 'select $1', values: [1], rowMode: 'array' });
  console.log(result.rows[0]?.name, result.rowCount, result.fields[0]?.dataTypeID);
  client.release();
  pool.query('select 1', (error, done) => console.log(error?.message, done.rows));
  const other = new Client();
  await other.connect();
  await other.end();
}

async function refused(): Promise<void> {
  // @ts-expect-error a fragment has its values in it
  await db.query(sql`select 1`, [1]);
  // @ts-expect-error there is no such isolation
  await db.transaction(async () => {}, { isolation: 'dirty' });
  // @ts-expect-error an identifier has at least one part
  sql.identifier();
  // @ts-expect-error TLS is of gRPC, and the scheme of a URL says it here
  connectByFetch('https://example.com', { tls: true });
}

export { native, refused, shaped };
