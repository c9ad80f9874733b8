// A typed program for node-postgres, as it is: `npm run types` compiles it with the types of pg, then with those of rowgate in its
// imports. It is never run.

import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import pg, { Client, DatabaseError, Pool, Query, types, type PoolConfig, type QueryResultRow } from 'pg';
import type { ClientConfig, CustomTypesConfig, FieldDef, Notification, PoolClient, QueryArrayConfig, QueryArrayResult, QueryConfig, QueryResult } from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

interface Order {
  id: number;
  customer: string;
  total: string;
}

const config: PoolConfig = {
  host: 'localhost', port: 5432, user: 'shop', password: async () => 'secret', database: 'shop', max: 20, idleTimeoutMillis: 30_000,
  connectionTimeoutMillis: 2000, ssl: { rejectUnauthorized: false, ca: 'pem' }, application_name: 'orders', statement_timeout: 5000, query_timeout: 6000,
};
const pool: pg.Pool = new Pool(config);
pg.types.setTypeParser(20, (text) => parseInt(text, 10));
types.setTypeParser(types.builtins.NUMERIC, parseFloat);
pg.defaults.parseInt8 = true;

const own: CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') => (oid === 1700 ? parseFloat : types.getTypeParser(oid, format!))) as typeof types.getTypeParser,
};

pool.on('error', (error, client) => {
  console.error(error.message, client.listenerCount('error'));
});
pool.on('connect', (client: PoolClient) => {
  client.on('notice', (notice) => console.log(notice.message));
});

export class Orders {
  constructor(private readonly db: pg.Pool | pg.PoolClient = pool) {}

  async find(id: number): Promise<Order | undefined> {
    const result: QueryResult<Order> = await this.db.query<Order>('select * from orders where id = $1', [id]);
    return result.rowCount === 0 ? undefined : result.rows[0];
  }

  async all(): Promise<Order[]> {
    const { rows } = await this.db.query<Order, [string, number]>({ text: 'select * from orders where customer = $1 limit $2', values: ['ann', 10], types: own });
    return rows;
  }

  async pairs(): Promise<Array<[number, string]>> {
    const query: QueryArrayConfig = { text: 'select id, total from orders', rowMode: 'array' };
    const result: QueryArrayResult<[number, string]> = await this.db.query<[number, string]>(query);
    const fields: FieldDef[] = result.fields;
    console.log(fields.map(({ name, dataTypeID }) => `${name} ${dataTypeID}`));
    return result.rows;
  }
}

export async function transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const value = await work(client);
    await client.query('COMMIT');
    return value;
  } catch (error: unknown) {
    await client.query('ROLLBACK');
    if (error instanceof DatabaseError && error.code === '23505') throw new Error(`taken: ${error.constraint} ${error.detail} ${error.table}`);
    throw error;
  } finally {
    client.release();
  }
}

export function generic<R extends QueryResultRow>(text: string, values?: unknown[]): Promise<QueryResult<R>> {
  return pool.query<R>(text, values);
}

export function callbacks(done: (error?: Error) => void): void {
  pool.connect((error, client, release) => {
    if (error || !client) return done(error);
    client.query<Order>('select * from orders where id = $1', [1], (failure: Error, result: QueryResult<Order>) => {
      release(failure);
      console.log(result.rows[0]?.customer);
      done(failure);
    });
  });
  pool.query('select 1', (error, result) => console.log(error?.message, result.rows.length));
  pool.end(() => {});
}

export async function streams(): Promise<number> {
  const settings: ClientConfig = { connectionString: 'postgres://localhost/shop' };
  const client = new Client(settings);
  await client.connect();
  client.on('notification', (message: Notification) => console.log(message.channel, message.payload?.length));
  await client.query('listen orders');
  const cursor = client.query(new Cursor<Order>('select * from orders', []));
  const rows = await cursor.read(100);
  cursor.read(1, (error, more) => console.log(error, more.length));
  await cursor.close();
  const stream = client.query(new QueryStream('select * from orders', [], { batchSize: 10 }));
  for await (const row of stream) console.log((row as Order).id);
  const copy = client.query(copyFrom('copy orders from stdin'));
  await pipeline(createReadStream('orders.tsv'), copy);
  await pipeline(client.query(copyTo('copy orders to stdout')), process.stdout);
  const query = client.query(new Query<Order>('select 1'));
  query.on('row', (row) => console.log(row.id));
  await once(query, 'end');
  const named: QueryConfig = { name: 'one', text: 'select $1', values: [1] };
  const { command, rowCount } = await client.query(named);
  console.log(command, rowCount, client.escapeIdentifier('a') + client.escapeLiteral('b'), pool.totalCount + pool.idleCount + pool.waitingCount);
  await client.end();
  return rows.length;
}
