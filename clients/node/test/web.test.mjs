// The client over fetch, by the Connect protocol.

import { create, toBinary } from '@bufbuild/protobuf';
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { after, test } from 'node:test';
import { Cancelled, connect, Deadline, FeatureNotSupported, Instant, RowgateError, sql, TransportFailure, UniqueViolation } from 'rowgate/web';
import { UniqueViolation as UniqueViolationByGrpc } from 'rowgate';
import { StreamQueryResponseSchema } from '../dist/esm/gen/rowgate/v1/database_pb.js';
import { address, assert, DATABASES, failureOf, freePort, until, Way } from './harness.mjs';

const NUMBERS = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 900) select n from numbers';
const postgres = connect(address, { database: 'postgres' });
after(() => postgres.close());

for (const encoding of ['proto', 'json']) {
  for (const database of DATABASES) {
    test(`statements, batches and streams run as ${encoding} (${database})`, async () => {
      const db = connect(address, { database, encoding });
      const table = sql.identifier(`node_web_${encoding}`);
      await db.sql`drop table if exists ${table}`;
      await db.sql`create table ${table} (id int primary key, name varchar(20), price decimal(10, 2))`;
      assert.equal((await db.sql`insert into ${table} values (${1}, ${'ü'}, ${1.5})`).rowsAffected, 1);
      assert.deepEqual((await db.sql`select name from ${table} where id = ${1}`).rows, [{ name: 'ü' }]);
      const error = await failureOf(db.sql`insert into ${table} values (${1}, ${null}, ${null})`);
      assert.ok(error instanceof UniqueViolation && error instanceof UniqueViolationByGrpc);
      assert.deepEqual([error.status, error.outcome, error.code], ['ALREADY_EXISTS', 'NOT_APPLIED', '23505']);
      const key = `node-${randomUUID()}`;
      const statements = [sql`insert into ${table} (id) values (${2})`, { sql: sql`delete from ${table} where id = ${2}`, expect: 1 }];
      const [first, again] = [await db.batch(statements, { key }), await db.batch(statements, { key })];
      assert.deepEqual([first[1].rowsAffected, first[0].replayed, again[0].replayed, await db.outcome({ key })], [1, false, true, 'APPLIED']);
      const stream = db.stream(NUMBERS);
      let sum = 0;
      for await (const { n } of stream) sum += Number(n);
      assert.deepEqual([sum, stream.summary.rowCount], [405_450, 900]);
      await assert.rejects(async () => { for await (const _ of db.stream('select * from nowhere')); }, { reason: 'UNDEFINED_TABLE' });
      await db.sql`drop table ${table}`;
    });
  }

  test(`values lose nothing as ${encoding}`, async () => {
    const db = connect(address, { database: 'postgres', encoding });
    const values = [2n ** 63n - 1n, -(2n ** 63n), NaN, -Infinity, 0.1, new Uint8Array([0, 255, 10]), new Instant(-62135596800000, 1), new Instant(Date.UTC(2026, 0, 31), 999), [1n, null], '12345678901234567890.10'];
    const types = ['int8', 'int8', 'float8', 'float8', 'float8', 'bytea', 'timestamptz', 'timestamptz', 'int8[]', 'numeric'];
    const { rows: [row] } = await db.query(`select ${types.map((type, index) => `$${index + 1}::${type}`).join(', ')}`, values, { rowMode: 'array' });
    assert.deepEqual(row, values);
  });
}

test('what needs a stream of requests says what to do instead', async () => {
  const error = await failureOf(postgres.transaction(async () => {}));
  assert.ok(error instanceof FeatureNotSupported && error.outcome === 'NOT_APPLIED');
  assert.match(error.message, /not available over fetch.*db\.batch/s);
  assert.match((await failureOf(postgres.copyIn({ table: 't' }, []))).message, /not available over fetch.*db\.batch/s);
});

const running = async (mark) =>
  Number((await postgres.query("select count(*) as n from pg_stat_activity where state = 'active' and query like $1 and pid <> pg_backend_pid()", [`%${mark}%`])).value());

test('timeouts, signals and loops that are left end the statement in the database', async () => {
  const mark = `mark_${randomUUID().replaceAll('-', '')}`;
  const late = await failureOf(postgres.query(`select pg_sleep(60) as ${mark}`, [], { timeout: 200 }));
  assert.ok(late instanceof Deadline && late.outcome === 'NOT_APPLIED', `${late}`);
  const controller = new AbortController();
  const call = failureOf(postgres.query(`select pg_sleep(60) as ${mark}`, [], { signal: controller.signal }));
  await until('it runs', async () => (await running(mark)) === 1);
  controller.abort(new Error('enough'));
  const cancelled = await call;
  assert.ok(cancelled instanceof Cancelled && cancelled.outcome === 'UNKNOWN' && cancelled.cause.message === 'enough');
  for await (const _ of postgres.stream(`select generate_series(1, 100000000) as ${mark}`)) break;
  await until('all of them end in the database', async () => (await running(mark)) === 0);
});

test('a write whose answer is lost has an unknown outcome, and is not repeated', async () => {
  await postgres.query('drop table if exists node_web_lost');
  await postgres.query('create table node_web_lost (id int)');
  const way = await Way.to(address);
  way.lets = () => false;
  const db = connect(way.address, { database: 'postgres' });
  const call = failureOf(db.query('insert into node_web_lost values (1)', [], { retries: 5 }));
  const count = async () => Number((await postgres.query('select count(*) from node_web_lost')).value());
  await until('it is applied', async () => (await count()) > 0);
  way.cut();
  const error = await call;
  assert.ok(error instanceof TransportFailure && error.outcome === 'UNKNOWN', `${error}`);
  assert.equal(await count(), 1);
  way.close();
  await postgres.query('drop table node_web_lost');
});

test('what is no Rowgate is told from an answer', async () => {
  const server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>hello</p>'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const db = connect(`127.0.0.1:${server.address().port}`);
  for (const call of [db.query('select 1'), (async () => { for await (const _ of db.stream('select 1')); })()]) {
    const error = await failureOf(call);
    assert.ok(error instanceof RowgateError && /not Rowgate/.test(error.message) && error.outcome === 'UNKNOWN');
  }
  server.close();
  const refused = await failureOf(connect(`127.0.0.1:${await freePort()}`).query('select 1', [], { readOnly: true }));
  assert.deepEqual([refused.reason, refused.outcome], ['TRANSPORT_FAILURE', 'NOT_APPLIED']);
  assert.throws(() => connect('http://rowgate.example.com', { token: 'secret' }), /https only/);
});

test('a stream without its end is an error, and never a short result', async () => {
  const way = await Way.to(address);
  const db = connect(way.address, { database: 'postgres' });
  let rows = 0;
  const error = await failureOf((async () => {
    for await (const _ of db.stream("select repeat('x', 100) from generate_series(1, 1000000)")) {
      rows += 1;
      if (rows === 1000) way.cut();
    }
  })());
  assert.ok(error instanceof TransportFailure && rows < 1_000_000, `${error} after ${rows} rows`);
  way.close();
});

test('a stream that ends well without its summary is an error, too', async () => {
  const envelope = (flag, body) => Buffer.concat([Buffer.from([flag, 0, 0, 0, body.length]), body]);
  const rows = toBinary(StreamQueryResponseSchema, create(StreamQueryResponseSchema, { part: { case: 'header', value: { hasColumns: true } } }));
  const server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'application/connect+proto' })
    .end(Buffer.concat([envelope(0, Buffer.from(rows)), envelope(2, Buffer.from('{}'))])));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const error = await failureOf((async () => { for await (const _ of connect(`127.0.0.1:${server.address().port}`).stream('select 1')); })());
  server.close();
  assert.match(error.message, /without its summary/);
  assert.equal(error.outcome, 'UNKNOWN');
});
