// Cursors, streams, copies and queries with events in the shape of node-postgres: beside its own packages, on the same PostgreSQL.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { after, test } from 'node:test';
import pg from 'pg';
import RealCursor from 'pg-cursor';
import RealQueryStream from 'pg-query-stream';
import { from as realFrom } from 'pg-copy-streams';
import rowgate from 'rowgate/pg';
import copyStreams, { from, to } from 'rowgate/pg-copy-streams';
import Cursor from 'rowgate/pg-cursor';
import QueryStream from 'rowgate/pg-query-stream';
import { copyStatement } from '../dist/esm/pg/copy-statement.js';
import { address, assert, failureOf, until, Way } from './harness.mjs';

const config = { address, database: 'postgres' };
const pool = new rowgate.Pool(config);
after(() => pool.end());

async function withClient(work, of = pool) {
  const client = await of.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

test('a program with cursors, streams and copies runs after changing its imports', () => {
  const file = new URL('programs/streams.mjs', import.meta.url);
  const source = readFileSync(file, 'utf8');
  const changed = new URL('programs/.streams.mjs', import.meta.url);
  const run = (path, env) => execFileSync(process.execPath, [path.pathname], { env: { ...process.env, ...env }, encoding: 'utf8', timeout: 100_000 });
  try {
    const imports = /from '(pg|pg-cursor|pg-query-stream|pg-copy-streams)'/g;
    assert.equal(source.match(imports).length, 4);
    writeFileSync(changed, source.replace(imports, "from 'rowgate/$1'"));
    const expected = run(file, {});
    assert.ok(expected.endsWith('"ended"\n'), expected);
    assert.equal(run(changed, { ROWGATE_DATABASE: 'postgres' }), expected);
  } finally {
    rmSync(changed, { force: true });
  }
});

test('CommonJS gets the classes themselves, and objects of either module are submitted to clients of both', async () => {
  const require = createRequire(import.meta.url);
  const CommonCursor = require('rowgate/pg-cursor');
  const CommonStream = require('rowgate/pg-query-stream');
  assert.deepEqual(Object.keys(require('rowgate/pg-copy-streams')).sort(), ['default', 'from', 'to']);
  assert.equal(copyStreams.from, from);
  const common = new (require('rowgate/pg').Pool)(config);
  for (const of of [pool, common]) {
    await withClient(async (client) => {
      for (const Class of [Cursor, CommonCursor]) {
        const cursor = client.query(new Class('select 1 as n'));
        assert.deepEqual(await cursor.read(2), [{ n: 1 }]);
      }
      for (const Class of [QueryStream, CommonStream]) {
        for await (const row of client.query(new Class('select 2 as n'))) assert.deepEqual(row, { n: 2 });
      }
    }, of);
  }
  await common.end();
});

test('objects of the packages for node-postgres are refused with the place where they are found', async () => {
  await withClient(async (client) => {
    const cases = [[new RealCursor('select 1'), /a Cursor .*\n.*'rowgate\/pg-cursor'/], [new RealQueryStream('select 1'), /'rowgate\/pg-query-stream'/],
      [realFrom('copy a from stdin'), /'rowgate\/pg-copy-streams'/], [new pg.Query('select 1'), /'rowgate\/pg'/], [{ submit() {} }, /rowgate\/pg has Query/]];
    for (const [object, message] of cases) assert.throws(() => client.query(object), { name: 'TypeError', message });
  });
});

test('a client that is given back with an open cursor, stream or copy is free for the next one', async () => {
  const one = new rowgate.Pool({ ...config, max: 1 });
  await one.query('drop table if exists node_pg_left; create table node_pg_left (id int)');
  const objects = [() => new Cursor('select generate_series(1, 1000000)'), () => new QueryStream('select generate_series(1, 1000000)'), () => to('copy (select generate_series(1, 1000000)) to stdout')];
  for (const made of objects) {
    const client = await one.connect();
    const object = client.query(made());
    if (object.read.length > 0 && object instanceof Cursor) await object.read(1);
    client.release();
    assert.deepEqual((await one.query('select 1 as n')).rows, [{ n: 1 }]);
  }
  const client = await one.connect();
  const copy = client.query(from('copy node_pg_left from stdin'));
  const failed = new Promise((resolve) => copy.once('error', resolve));
  copy.write('1\n');
  client.release();
  assert.match((await failed).message, /nothing was written/);
  assert.deepEqual((await one.query('select count(*)::int as n from node_pg_left')).rows, [{ n: 0 }]);
  await one.query('drop table node_pg_left');
  await one.end();
});

test('a pool runs submitted objects on a client of its own', async () => {
  const rows = [];
  for await (const row of pool.query(new QueryStream('select generate_series(1, 3) as n'))) rows.push(row.n);
  assert.deepEqual(rows, [1, 2, 3]);
  const query = pool.query(new rowgate.Query('select 1 as n'));
  assert.deepEqual((await once(query, 'end'))[0].rows, [{ n: 1 }]);
  await until('the clients are given back', () => pool.idleCount === pool.totalCount);
});

test('a cursor reads no more than is asked for', async () => {
  const way = await Way.to(address);
  let bytes = 0;
  way.lets = (_, data) => {
    bytes += data.length;
    return true;
  };
  const near = new rowgate.Pool({ ...config, address: way.address });
  for (const begin of ['', 'begin']) {
    await withClient(async (client) => {
      if (begin) await client.query(begin);
      const cursor = client.query(new Cursor("select n, repeat('x', 1000) as text from generate_series(1, 100000) as n"));
      for (let turn = 0; turn < 3; turn += 1) assert.equal((await cursor.read(10)).length, 10);
      // The whole result is 100 MB.
      for (let turn = 0; turn < 300; turn += 1) await near.query('select 1');
      assert.ok(bytes < 20e6, `${begin}: ${bytes} bytes`);
      await cursor.close();
      bytes = 0;
    }, near);
  }
  await near.end();
  way.close();
});

test('a cursor that is closed before its turn holds nothing up', async () => {
  await withClient(async (client) => {
    const first = client.query(new Cursor('select generate_series(1, 10)'));
    const second = client.query(new Cursor('select 1 as n'));
    const read = second.read(1);
    await second.close();
    assert.deepEqual(await read, []);
    await first.close();
    assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }]);
  });
});

test('a copy in a transaction is refused with what to do instead, and the client goes on', async () => {
  await withClient(async (client) => {
    await client.query('begin');
    const copy = client.query(from('copy anything from stdin'));
    assert.match((await failureOf(pipeline(Readable.from(['1\n']), copy))).message, /cannot be part of a transaction[^]*unnest/);
    const out = client.query(to('copy anything to stdout'));
    assert.match((await failureOf(out.toArray())).message, /cannot be part of a transaction[^]*QueryStream/);
    assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }]);
    await client.query('rollback');
  });
});

test('a copy that cannot begin fails at once, also where nothing more is written; a row that is refused is named', async () => {
  await withClient(async (client) => {
    const copy = client.query(from('copy node_pg_nowhere from stdin'));
    copy.write('1\n');
    const [error] = await once(copy, 'error');
    assert.equal(error.code, '42P01');
  });
  await pool.query('drop table if exists node_pg_refused; create table node_pg_refused (id int)');
  await withClient(async (client) => {
    const copy = client.query(from('copy node_pg_refused from stdin with (format csv)'));
    copy.end(`${'1\n'.repeat(50_000)}x\n${'1\n'.repeat(50_000)}`);
    const [error] = await once(copy, 'error');
    assert.equal(error.code, '22P02');
    assert.equal(error.line, 50_001);
  });
  assert.deepEqual((await pool.query('select count(*)::int as n from node_pg_refused')).rows, [{ n: 0 }]);
  await pool.query('drop table node_pg_refused');
});

test('the texts of COPY are read as PostgreSQL reads them', () => {
  const base = { schema: undefined, columns: undefined, query: undefined, format: 'text', text: {} };
  const cases = {
    'copy t from stdin': { ...base, direction: 'from', table: 't' },
    'COPY "My" . "T""x" (a, "B") FROM STDIN;': { ...base, direction: 'from', schema: 'My', table: 'T"x', columns: ['a', 'B'] },
    "copy Tab to stdout with (format csv, header, delimiter ';', quote '''', escape E'\\\\', null '', encoding 'utf8')": { ...base, direction: 'to', table: 'tab', format: 'csv', text: { header: true, delimiter: ';', quote: "'", escape: '\\', nullText: '' } },
    "copy t from stdin delimiter as E'\\t' null 'x' csv header quote as '|'": { ...base, direction: 'from', table: 't', format: 'csv', text: { delimiter: '\t', nullText: 'x', header: true, quote: '|' } },
    "copy (select ')' as a, (1) from \"(\" /* ) */ where b = $$)$$) to stdout (header false)": { ...base, direction: 'to', table: undefined, query: "select ')' as a, (1) from \"(\" /* ) */ where b = $$)$$", text: { header: false } },
  };
  for (const [text, expected] of Object.entries(cases)) assert.deepEqual(copyStatement(text), expected, text);
  const refused = {
    'copy t from stdin (format binary)': /the format binary/, 'copy binary t from stdin': /the format binary/, 'copy t from stdin (freeze)': /the option FREEZE/, 'copy t from stdin where a > 1': /WHERE/,
    "copy t from '/tmp/x'": /no file.*\n.*FROM STDIN/, "copy t to program 'x'": /no file.*\n.*TO STDOUT/, 'select 1': /does not begin with COPY/, 'copy t': /neither FROM nor TO/, 'copy (select 1 to stdout': /not closed/,
    "copy t from stdin (encoding 'latin1')": /the encoding latin1/, 'copy t from stdin (format csv) nonsense (': /behind its end/, 'copy (select 1) from stdin': /cannot be copied into/,
  };
  for (const [text, message] of Object.entries(refused)) assert.throws(() => copyStatement(text), { message }, text);
});

test('a Query that nobody waits for fails by its event, and the client goes on', async () => {
  await withClient(async (client) => {
    const ended = new rowgate.Query('select 1');
    const other = new rowgate.Client(config);
    await other.end();
    other.query(ended);
    assert.match((await new Promise((resolve) => ended.once('error', resolve))).message, /Client was closed/);
    const results = await once(client.query(new rowgate.Query('select 1 as a; select 2 as b')), 'end');
    assert.deepEqual(results[0].map(({ rows }) => rows), [[{ a: 1 }], [{ b: 2 }]]);
  });
});
