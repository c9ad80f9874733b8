// A program for node-postgres, as it is: the tests run it with pg, then with rowgate/pg in its import, and compare what it prints.

import pg from 'pg';

const { Pool, types } = pg;
const pool = new Pool({ max: 4 });
const print = (...values) => console.log(...values.map((value) => JSON.stringify(value)));

async function inTransaction(work) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

async function migrate() {
  const results = await pool.query(`
    DROP TABLE IF EXISTS pg_program_items, pg_program_orders, pg_program_customers;
    CREATE TABLE pg_program_customers (
      id bigserial PRIMARY KEY,
      email text NOT NULL CONSTRAINT customers_email_key UNIQUE,
      tags text[] NOT NULL DEFAULT '{}',
      profile jsonb
    );
    CREATE TABLE pg_program_orders (
      id serial PRIMARY KEY,
      customer bigint NOT NULL REFERENCES pg_program_customers,
      total numeric(12, 2) NOT NULL CHECK (total >= 0),
      placed timestamptz NOT NULL,
      due date,
      paid boolean NOT NULL DEFAULT false
    );
    CREATE TABLE pg_program_items ("order" integer REFERENCES pg_program_orders, name text, quantity smallint, price double precision);
  `);
  print('migrate', results.map(({ command, rowCount }) => [command, rowCount]));
}

async function customers() {
  const one = await pool.query('INSERT INTO pg_program_customers (email, tags, profile) VALUES ($1, $2, $3) RETURNING *', [
    'ann@example.com', ['new', 'a "quoted", tag', null], { name: 'Ann', age: 41, nested: [1, 2, { x: null }] },
  ]);
  print('inserted', one.rows, one.rowCount, one.command);
  const array = await pool.query({ text: 'SELECT id, email, tags, profile FROM pg_program_customers WHERE id = $1', values: [one.rows[0].id], rowMode: 'array' });
  print('row as array', array.rows, array.fields.map(({ name, dataTypeID }) => [name, dataTypeID]));
  await pool.query('INSERT INTO pg_program_customers (email) VALUES ($1)', ['ann@example.com']).catch((error) =>
    print('refused', error.code, error.constraint, error.table, error.schema, error.severity, error instanceof pg.DatabaseError));
  return one.rows[0].id;
}

async function orders(customer) {
  const placed = new Date('2026-01-31T23:59:59.123Z');
  const id = await inTransaction(async (client) => {
    const { rows: [order] } = await client.query(
      'INSERT INTO pg_program_orders (customer, total, placed, due) VALUES ($1, $2, $3, $4) RETURNING id, customer, total, placed, due, paid',
      [customer, 19.9, placed, '2026-02-28']);
    print('order', order);
    for (const [name, quantity, price] of [['tea', 2, 4.95], ['pot', 1, 10]]) {
      await client.query('INSERT INTO pg_program_items VALUES ($1, $2, $3, $4)', [order.id, name, quantity, price]);
    }
    await client.query('SAVEPOINT before_mistake');
    await client.query('INSERT INTO pg_program_orders (customer, total, placed) VALUES ($1, -1, now())', [customer]).catch((error) =>
      print('undone', error.code, error.constraint));
    await client.query('SELECT 1').catch((error) => print('aborted', error.code));
    await client.query('ROLLBACK TO SAVEPOINT before_mistake');
    const { rows } = await client.query('SELECT count(*), sum(quantity * price) AS sum FROM pg_program_items WHERE "order" = $1', [order.id]);
    print('in the transaction', rows, (await pool.query('SELECT count(*)::int AS seen FROM pg_program_items')).rows);
    return order.id;
  });
  print('committed', (await pool.query('SELECT name, quantity, price FROM pg_program_items WHERE "order" = $1 ORDER BY name', [id])).rows);
  await inTransaction(async (client) => {
    await client.query('DELETE FROM pg_program_items');
    throw new Error('no');
  }).catch((error) => print('rolled back', error.message, error.code ?? null));
  return id;
}

async function failedCommit() {
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('SELECT * FROM nowhere').catch((error) => print('fails', error.code, Number(error.position)));
  print('commit of a failed transaction', (await client.query('COMMIT')).command);
  client.release();
}

async function updates(id) {
  const { rowCount, command } = await pool.query('UPDATE pg_program_orders SET paid = $1 WHERE id = ANY($2)', [true, [id, 4711]]);
  print('updated', rowCount, command);
  types.setTypeParser(1700, (text) => Number(text));
  print('parsed by its own parser', (await pool.query('SELECT total FROM pg_program_orders')).rows);
  types.setTypeParser(1700, (text) => text);
  print('parsed for one query', (await pool.query({
    text: 'SELECT total, paid FROM pg_program_orders',
    types: { getTypeParser: () => (text) => `<${text}>` },
  })).rows);
  const gone = await pool.query('DELETE FROM pg_program_items WHERE price > $1', [100]);
  print('deleted', gone.rowCount, gone.rows, gone.fields);
}

function callbacks() {
  return new Promise((resolve) => {
    pool.connect((error, client, release) => {
      client.query('SELECT $1::text AS who', ['callback'], (failure, result) => {
        print('callback', error ?? null, failure ?? null, result.rows);
        client.query('SELECT nothing', (again) => {
          release();
          print('callback with an error', again.code);
          resolve();
        });
      });
    });
  });
}

await migrate();
const id = await orders(await customers());
await failedCommit();
await updates(id);
await callbacks();
const many = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.query('SELECT $1::int AS n', [n])));
print('many at once', many.reduce((sum, { rows: [{ n }] }) => sum + n, 0), pool.totalCount <= 4, pool.waitingCount);
print('many rows', (await pool.query('SELECT n, n::text AS text FROM generate_series(1, 20000) AS n')).rows.length);
await pool.query('DROP TABLE pg_program_items, pg_program_orders, pg_program_customers');
await pool.end();
print('ended');
