// Texts of the shape of node-postgres beside node-postgres itself: large results of writes, and several statements.

import { after, test } from 'node:test';
import pg from 'pg';
import rowgate from 'rowgate/pg';
import { address, assert } from './harness.mjs';

const direct = new pg.Pool();
const pool = new rowgate.Pool({ address, database: 'postgres' });
after(() => Promise.all([direct.end(), pool.end()]));

// The same of both, whether it is a result or an error.
async function same(work, what) {
  const [expected, got] = await Promise.all([direct, pool].map((each) => work(each)));
  assert.deepEqual(got, expected, what);
}

test('a write may return as many rows as it likes, as with node-postgres', async () => {
  await same(async (each) => {
    const table = `node_pg_large_${each === pool ? 'a' : 'b'}`;
    await each.query(`create table ${table} (id serial primary key, n int, s text)`);
    const counts = [];
    const run = async (text, values) => {
      const { rows, rowCount, command } = await each.query(text, values);
      // The order is the database's own.
      counts.push([command, rowCount, rows.length, rows.reduce((sum, row) => sum + (row.n ?? row.s.length), 0)]);
    };
    await run(`insert into ${table} (n) select generate_series(1, $1::int) returning id, n`, [12_000]);
    await run(`insert into ${table} (n) values ${Array.from({ length: 11_000 }, (_, n) => `(${n})`).join()} returning n`);
    await run(`with gone as (delete from ${table} where n > 500 returning n) select count(*)::int as n from gone`);
    await run(`update ${table} set s = repeat('x', 5000) returning id, s`);
    await run(`insert into ${table} (s) values ($1) returning s`, ['y'.repeat(4_000_000)]);
    await run(`insert into ${table} (s) values ($1) returning length(s) as n`, ['z']);
    await run(`delete from ${table} returning s`);
    await each.query(`drop table ${table}`);
    return counts;
  });
});

// [statements, or those of several texts one after the other]; T is the table.
const SCRIPTS = [
  ['insert into T values (5); begin; insert into T values (6); commit; insert into T values (7); select 1/0'], ['insert into T values (1); begin; insert into T values (2); rollback; insert into T values (3)'],
  ['insert into T values (1); commit; insert into T values (2); select 1/0'], ['insert into T values (1); rollback; insert into T values (2)'], ['begin; insert into T values (1)', 'insert into T values (2); select 1/0', 'commit'],
  ['insert into T values (1); begin; insert into T values (2)', 'insert into T values (3)', 'commit'], ['insert into T values (1); begin; select 1/0', 'rollback'], ['begin; commit; insert into T values (1); savepoint a; insert into T values (2)'],
  ['insert into T values (1); commit and chain'], ['insert into T values (1); begin isolation level serializable; commit'], ['begin; insert into T values (1); savepoint a; insert into T values (2); rollback to a; commit; insert into T values (3)'],
  ['insert into T values (1); select n from generate_series(1, 12000) as n; insert into T values (2)'], ['select n from generate_series(1, 12000) as n; insert into T values (1); select 1/0'],
];

test('a text that controls its transactions itself does what it does with node-postgres', async () => {
  for (const texts of SCRIPTS) {
    await same(async (each) => {
      const table = `node_pg_script_${each === pool ? 'a' : 'b'}`;
      await each.query(`create table ${table} (id int)`);
      const client = await each.connect();
      const told = [];
      for (const text of texts) {
        const result = await client.query(text.replaceAll('T values', `${table} values`)).catch(() => 'error');
        told.push(result === 'error' ? result : [result].flat().map(({ command, rowCount }) => [command, rowCount]));
      }
      client.release();
      const { rows } = await each.query(`select id from ${table} order by id`);
      await each.query(`drop table ${table}`);
      return [told, rows];
    }, texts.join(' | '));
  }
});

test('a query with events tells the rows of all its statements, as with node-postgres', async () => {
  const told = async (module, each, text, callback) => {
    const client = await each.connect();
    const rows = [];
    await new Promise((resolve, reject) => {
      const query = client.query(new module.Query(text, callback));
      query.on('row', (row) => rows.push(row));
      query.on('end', resolve);
      query.on('error', reject);
    });
    client.release();
    return rows;
  };
  for (const text of ['select 1 as a', 'select 1 as a; select 2 as b, 3 as c', "begin; select 4 as d; commit; select n from generate_series(5, 6) as n"]) {
    for (const callback of [undefined, () => {}]) assert.deepEqual(await told(rowgate, pool, text, callback), await told(pg, direct, text, callback), text);
  }
});
