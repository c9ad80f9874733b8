// A program for node-postgres with cursors, query streams and copies, as it is: the tests run it with pg and its packages, then with
// those of rowgate in its imports, and compare what it prints.

import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

const pool = new pg.Pool({ max: 3 });
const print = (...values) => console.log(...values.map((value) => JSON.stringify(value)));
const shown = (error) => [error.code ?? null, error.constraint ?? null];
const numbers = 'select n, n::text as text from generate_series(1, $1::int) as n';

async function cursors(client) {
  const cursor = client.query(new Cursor(numbers, [25]));
  print('first', await cursor.read(10));
  print('second', (await cursor.read(10)).length, (await cursor.read(10)).map(({ n }) => n), await cursor.read(10));
  print('free again', (await client.query('select 1 as one')).rows);
  const early = client.query(new Cursor(numbers, [1_000_000], { rowMode: 'array' }));
  print('arrays', await early.read(2));
  await early.close();
  print('closed', await early.read(5), (await client.query('select 2 as two')).rows);
  const exact = client.query(new Cursor(numbers, [4]));
  print('exact', (await exact.read(4)).length, (await exact.read(4)).length);
  const failing = client.query(new Cursor('select 1 / (3 - n) as q from generate_series(1, 5) as n'));
  print('fails', await failing.read(10).catch(shown), await failing.read(1).catch(shown));
  print('goes on', (await client.query('select 3 as three')).rows);
  const rows = [];
  const told = client.query(new Cursor(numbers, [3]));
  told.on('row', (row) => rows.push(row.n));
  told.on('end', ({ command, rowCount }) => print('end', command, typeof rowCount));
  await new Promise((resolve) => told.read(100, (error, found, result) => {
    print('callback', error ?? null, found.length, result.fields.map(({ name, dataTypeID }) => [name, dataTypeID]));
    resolve();
  }));
  print('rows', rows);
  await told.close();
}

async function inTransaction(client) {
  await client.query('begin');
  await client.query('create temp table pg_streams_mine (id int) on commit drop');
  await client.query('insert into pg_streams_mine select generate_series(1, 1000)');
  const cursor = client.query(new Cursor('select id from pg_streams_mine order by id'));
  print('sees its own', (await cursor.read(3)).map(({ id }) => id));
  await cursor.close();
  print('and more', (await client.query('select count(*)::int as n from pg_streams_mine')).rows);
  const failing = client.query(new Cursor('select nothing'));
  print('fails', await failing.read(1).catch(shown));
  print('aborted', await client.query('select 1').catch(shown));
  print((await client.query('commit')).command);
}

async function streams(client) {
  let sum = 0;
  for await (const { n } of client.query(new QueryStream(numbers, [10_000], { batchSize: 50 }))) sum += n;
  print('sum', sum);
  for await (const row of client.query(new QueryStream(numbers, [10_000_000]))) {
    print('left', row);
    break;
  }
  const piped = [];
  await pipeline(client.query(new QueryStream(numbers, [3], { rowMode: 'array' })),
    new Writable({ objectMode: true, write(row, _, done) { piped.push(row); done(); } }));
  print('piped', piped);
  const failing = client.query(new QueryStream('select 1 / 0'));
  failing.resume();
  const [error] = await once(failing, 'error').catch((each) => [each]);
  print('fails', shown(error));
  print('goes on', (await client.query('select 4 as four')).rows);
}

async function queries(client) {
  const query = client.query(new pg.Query(numbers, [3]));
  const rows = [];
  query.on('row', (row) => rows.push(row));
  const [result] = await once(query, 'end');
  print('query', rows, result.rows, result.command, result.rowCount);
  const kept = client.query(new pg.Query({ text: 'select 5 as five', rowMode: 'array' }));
  print('kept', (await once(kept, 'end'))[0].rows);
  const failing = client.query(new pg.Query('select nothing'));
  print('fails', shown(await new Promise((resolve) => failing.once('error', resolve))));
  await new Promise((resolve) => client.query(new pg.Query('select 6 as six', (error, done) => {
    print('callback', error ?? null, done.rows);
    resolve();
  })));
  const named = { name: 'by name', text: 'select $1::int as n' };
  print('named', (await client.query({ ...named, values: [1] })).rows, (await client.query({ name: 'by name', values: [2] })).rows);
  print('other text', await client.query({ name: 'by name', text: 'select 2' }).catch(({ message }) => message));
}

async function copies(client) {
  await client.query('drop table if exists pg_streams_copies');
  await client.query('create table pg_streams_copies (id int constraint copies_positive check (id > 0), "Name" text)');
  const lines = function* () {
    for (let id = 1; id <= 5000; id += 1) yield `${id}\tname ${id}\n`;
  };
  const into = client.query(copyFrom('COPY pg_streams_copies FROM STDIN'));
  await pipeline(Readable.from(lines()), into);
  print('copied in', into.rowCount, (await client.query('select count(*)::int, max("Name") as "max" from pg_streams_copies')).rows);
  const csv = client.query(copyFrom(`copy public.pg_streams_copies ("Name", id) from stdin with (format csv, delimiter ';', null '-')`));
  csv.write('"a;b";6001\n');
  csv.end('-;6002\n');
  await once(csv, 'finish');
  print('csv', csv.rowCount, (await client.query('select * from pg_streams_copies where id > 6000 order by id')).rows);
  const refused = client.query(copyFrom('COPY pg_streams_copies FROM STDIN (FORMAT csv)'));
  print('refused', await pipeline(Readable.from(['7001,x\n', '-1,y\n']), refused).catch(shown));
  const destroyed = client.query(copyFrom('COPY pg_streams_copies FROM STDIN'));
  destroyed.write('8001\tx\n');
  setTimeout(() => destroyed.destroy(new Error('no more')), 20);
  print('destroyed', await once(destroyed, 'finish').catch(({ message }) => message.includes('no more')));
  print('nothing of them', (await client.query('select count(*)::int as n from pg_streams_copies where id > 7000')).rows);
  const out = client.query(copyTo(`COPY (select id, "Name" from pg_streams_copies where id < 4 or id > 6000 order by id) TO STDOUT WITH CSV HEADER DELIMITER AS E'\\t'`));
  let text = '';
  for await (const chunk of out) text += chunk;
  print('copied out', text, out.rowCount);
  const all = client.query(copyTo('COPY pg_streams_copies TO STDOUT'));
  let bytes = 0;
  for await (const chunk of all) bytes += chunk.length;
  print('all', bytes);
  const failing = client.query(copyTo('COPY pg_streams_nowhere TO STDOUT'));
  failing.resume();
  print('fails', shown((await once(failing, 'error').catch((error) => [error]))[0]));
  print('goes on', (await client.query('select 7 as seven')).rows);
  await client.query('drop table pg_streams_copies');
}

const client = await pool.connect();
for (const part of [cursors, inTransaction, streams, queries, copies]) {
  print(part.name);
  await part(client);
}
client.release();
await pool.end();
print('ended');
