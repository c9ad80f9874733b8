// The shape of node-postgres: beside node-postgres itself, on the same PostgreSQL.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import pg from 'pg';
import rowgate, { sql } from 'rowgate/pg';
import { controlOf } from '../dist/esm/pg/control.js';
import { statementsOf } from '../dist/esm/pg/split.js';
import { address, assert, failureOf, Way } from './harness.mjs';

assert.ok(process.env.PGPORT, 'PGPORT is not set: run scripts/verify node');
const config = { address, database: 'postgres' };
const direct = new pg.Pool();
const pool = new rowgate.Pool(config);
after(() => Promise.all([direct.end(), pool.end()]));

const BOTH = { 'node-postgres': direct, 'rowgate/pg': pool };

// The same of both, whether it is a result or an error.
async function same(work, what) {
  const [expected, got] = await Promise.all(Object.values(BOTH).map((each) => work(each)));
  assert.deepEqual(got, expected, what);
  return got;
}

const shown = ({ rows, fields, rowCount, command }) => ({ rows, rowCount, command, fields: fields.map(({ name, dataTypeID }) => [name, dataTypeID]) });

const VALUES = [
  "true, false, null::bool", "1::int2, 2::int4, 9007199254740993::int8, 4294967295::oid", "1.1::float4, 1.1::float8, 'NaN'::float8, '-Infinity'::float4, 1e-20::float4, 16777217::float4",
  "1.10::numeric, 'NaN'::numeric", "'ü'::text, 'x'::char(3), 'y'::varchar, 'z'::name, 'c'::\"char\"", "'\\x00ff'::bytea", "'123e4567-e89b-12d3-a456-426614174000'::uuid",
  "'{\"a\": [1, 2.5, null]}'::json, '[1]'::jsonb, 'null'::json", "'2026-01-31'::date, 'infinity'::date, '0044-03-15 BC'::date",
  "'12:00:01.5'::time, '12:00:01+02'::timetz", "'2026-01-31 01:02:03.456789'::timestamp, '-infinity'::timestamp", "'2026-01-31 01:02:03.456789+02'::timestamptz, 'infinity'::timestamptz, '0044-03-15 12:00:00+00 BC'::timestamptz, '1960-01-01 00:00:00.9999+00'::timestamptz, '20000-01-01 00:00:00+00'::timestamptz",
  "'1 year 2 mons 3 days 04:05:06.789'::interval, '-1 sec'::interval", "'(1,2)'::point, '<(1,2),3>'::circle, '((1,2),(3,4))'::box, '[(1,2),(3,4)]'::lseg", "'10.0.0.0/8'::inet, '08:00:2b:01:02:03'::macaddr, '12.34'::money",
  "'{1,null,3}'::int4[], '{{1,2},{3,4}}'::int2[], '{}'::int8[], '{9007199254740993}'::int8[], '[0:1]={1,2}'::int4[]", "'{1.10,2}'::numeric[], '{1.1}'::float4[], '{1.1,NaN}'::float8[]",
  "array['a,b', '\"', '', 'NULL', null, '\\', 'ü x']::text[]", "array['t', 'f', null]::bool[], array['\\x00ff'::bytea]", "array['{\"a\":1}'::json, null], array['[1]'::jsonb]",
  "array['2026-01-31'::date, 'infinity'], array['2026-01-31 01:02:03.456'::timestamp], array['2026-01-31 01:02:03.456+00'::timestamptz, null]", "array['1 day'::interval], array['(1,2)'::point], array['123e4567-e89b-12d3-a456-426614174000'::uuid]",
  "array['((1,2),(3,4))'::box, '((5,6),(7,8))'::box]", "row(1, 'a b', null, true, '\"')", "'[1,5)'::int4range, '{[1,3),[7,9)}'::int4multirange, '[2026-01-01,2026-02-01)'::daterange", "array['[1,5)'::int4range]", "to_tsvector('a b'), 'a'::tsquery, B'101', 'a'::xml",
];

test('values and fields are those of node-postgres', async () => {
  for (const text of VALUES) {
    await same(async (each) => shown(await each.query(`select ${text}`)), text);
    await same(async (each) => shown(await each.query({ text: `select ${text}`, rowMode: 'array' })), text);
  }
});

test('parameters are adapted as node-postgres does it', async () => {
  const date = new Date('2026-01-31T01:02:03.456Z');
  const cases = [
    ['select $1::text', [5]], ['select $1::text', [true]], ['select $1::int', ['5']], ['select $1::numeric', [1.5]], ['select $1::numeric', [-0]], ['select $1::float8', [1e21]], ['select $1::int8', [2n ** 62n]],
    ['select $1::timestamptz', [date]], ['select $1::timestamp', [date]], ['select $1::date', [date]], ['select $1::text', [date]], ['select $1::timestamptz', [new Date(Date.UTC(-43, 2, 15))]],
    ['select $1::int[]', [[1, null, 3]]], ['select $1::int[]', [[[1, 2], [3, 4]]]], ['select $1::text[]', [['a"b\\', '', 'NULL', null, 'x,y']]], ['select $1::bytea[]', [[Buffer.from([0, 255])]]], ['select $1::timestamptz[]', [[date]]],
    ['select $1::jsonb', [{ a: [1, { b: null }] }]], ['select $1::jsonb', [JSON.stringify([1])]], ['select $1::jsonb[]', [[{ a: 1 }, { b: '"' }]]], ['select $1::bytea', [Buffer.from([0, 1, 255])]], ['select $1::bytea', [new Uint16Array([1, 2])]],
    ['select $1::text', [{ toPostgres: (prepare) => prepare(new Date(0)).length }]], ['select $1::text, $2::int', [null, undefined]], ['select $1', ['untyped']], ['select 5 = any($1)', [[4, 5]]],
  ];
  for (const [text, values] of cases) await same(async (each) => shown(await each.query(text, values)), `${text} ${String(values)}`);
});

test('errors have the fields of node-postgres', async () => {
  const cases = [['select nothing', []], ['select 1/0', []], ['select $1::int', ['x']], ['selec 1', []], ['select * from nowhere', []], ["do $$ begin raise 'x' using errcode = 'SH001'; end $$", []], ['select 1; select 2', [1]]];
  for (const [text, values] of cases) {
    await same(async (each) => {
      const { code, severity, position } = await failureOf(each.query(text, values));
      return { code, severity: text.includes('; ') ? undefined : severity, position: position === undefined ? undefined : Number(position) };
    }, text);
  }
});

test('a program for node-postgres runs after changing its import', () => {
  const file = new URL('programs/orders.mjs', import.meta.url);
  const source = readFileSync(file, 'utf8');
  const changed = new URL('programs/.changed.mjs', import.meta.url);
  const run = (path, env) => execFileSync(process.execPath, [path.pathname], { env: { ...process.env, ...env }, encoding: 'utf8', timeout: 60_000 });
  try {
    assert.equal(source.split("from 'pg'").length, 2);
    writeFileSync(changed, source.replace("from 'pg'", "from 'rowgate/pg'"));
    const expected = run(file, {});
    assert.ok(expected.endsWith('"ended"\n'));
    assert.equal(run(changed, { ROWGATE_DATABASE: 'postgres' }), expected);
  } finally {
    rmSync(changed, { force: true });
  }
});

test('a program that is CommonJS finds the same', async () => {
  const common = createRequire(import.meta.url)('rowgate/pg');
  const client = new common.Client(config);
  await client.connect();
  assert.deepEqual((await client.query('select 1 as n')).rows, [{ n: 1 }]);
  await client.end();
  assert.match((await failureOf(client.query('select 1'))).message, /closed/);
});

test('texts that control a transaction are told from all others', () => {
  const cases = {
    'BEGIN': { kind: 'begin', modes: {}, command: 'BEGIN' },
    ' /* a */ begin -- b\n work ;': { kind: 'begin', modes: {}, command: 'BEGIN' },
    'START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE': { kind: 'begin', modes: { isolation: 'serializable', readOnly: true, deferrable: true }, command: 'START' },
    'begin isolation level read uncommitted read write not deferrable': { kind: 'begin', modes: { isolation: 'read committed', readOnly: false, deferrable: false }, command: 'BEGIN' },
    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ': { kind: 'modes', modes: { isolation: 'repeatable read' } },
    'commit': { kind: 'commit', isChained: false }, 'END WORK;': { kind: 'commit', isChained: false }, 'commit and chain': { kind: 'commit', isChained: true }, 'commit transaction and no chain': { kind: 'commit', isChained: false },
    'abort': { kind: 'rollback', isChained: false }, 'ROLLBACK TO SAVEPOINT "A b"': { kind: 'rollbackTo', name: 'A b' }, 'rollback work to a': { kind: 'rollbackTo', name: 'a' },
    'savepoint Ab': { kind: 'savepoint', name: 'ab' }, 'release savepoint a': { kind: 'release', name: 'a' }, 'RELEASE a': { kind: 'release', name: 'a' },
    'listen "Orders"': { kind: 'listen', channel: 'Orders' }, 'unlisten *': { kind: 'unlisten', channel: undefined },
  };
  for (const [text, control] of Object.entries(cases)) assert.deepEqual(controlOf(text), control, text);
  const others = ['select 1', 'begin; select 1', 'set search_path = a', 'set transaction_isolation = 1', 'commit prepared \'a\'', 'rollback prepared \'a\'', 'begin nonsense', 'savepoint', 'beginning', "begin 'a'", 'release a b', 'prepare transaction \'a\'', 'set session characteristics as transaction read only', ''];
  for (const text of others) assert.equal(controlOf(text), undefined, text);
});

test('the statements of a text are told apart', () => {
  const cases = [
    ["select ';'; select 2;", ["select ';'", ' select 2']], ["select E'\\';'; select 1", ["select E'\\';'", ' select 1']], ['select $$;$$; select $a$;$$;$a$', ['select $$;$$', ' select $a$;$$;$a$']],
    ['select 1 /* ; /* ; */ ; */; -- ;\nselect 2', ['select 1 /* ; /* ; */ ; */', ' -- ;\nselect 2']], ['select ";"; select 1', ['select ";"', ' select 1']], ['select 1;;  ; -- x', ['select 1']],
    ['select a$1$; select 2; select b$1$', ['select a$1$', ' select 2', ' select b$1$']], ["select 'open; select 2", ["select 'open", ' select 2']], ['create function f() begin atomic select 1; end', ['create function f() begin atomic select 1; end']],
  ];
  for (const [text, statements] of cases) assert.deepEqual(statementsOf(text, 'postgres'), statements, text);
  assert.deepEqual(statementsOf("select '\\';'; # ;\nselect `;`", 'mysql'), ["select '\\';'", ' # ;\nselect `;`']);
  assert.deepEqual(statementsOf('create trigger a after insert on b begin select 1; end', 'sqlite').length, 1);
});

test('several statements are one transaction, as with node-postgres', async () => {
  await same(async (each) => {
    const table = `node_pg_${each === pool ? 'a' : 'b'}`;
    const results = await each.query(`drop table if exists ${table}; create table ${table} (id int primary key); insert into ${table} values (1), (2); select id from ${table}`);
    const failed = await failureOf(each.query(`insert into ${table} values (3); insert into ${table} values (1)`));
    const mixed = await each.query(`begin; insert into ${table} values (4); commit; select count(*) from ${table}`);
    await each.query(`drop table ${table}`);
    return [results.map(({ command, rowCount, rows }) => [command, rowCount, rows]), failed.code, mixed.map(({ command, rows }) => [command, rows])];
  });
});

test('a transaction goes through what it can go through, as with node-postgres', async () => {
  await same(async (each) => {
    const log = [];
    const client = await each.connect();
    const run = async (text, values) => {
      const result = await client.query(text, values).catch((error) => error);
      log.push([text.replace(/node_pg_./, 'T'), result instanceof Error ? result.code ?? 'error' : [result.command, result.rowCount, result.rows]]);
    };
    const table = `node_pg_${each === pool ? 'c' : 'd'}`;
    await run(`create table ${table} (id int primary key)`);
    await run('BEGIN');
    await run('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
    await run('select current_setting($1) as v', ['transaction_isolation']);
    await run(`insert into ${table} values (1)`);
    await run('savepoint a');
    await run(`insert into ${table} values (1)`);
    await run('select 1');
    await run('rollback to a');
    await run('release a');
    await run(`select * from ${table}`);
    await run('commit and chain');
    await run(`insert into ${table} values (2)`);
    await run('rollback');
    await run('begin read only');
    await run(`insert into ${table} values (3)`);
    await run('commit');
    await run('start transaction');
    await run('commit');
    await run(`select * from ${table}`);
    await run(`drop table ${table}`);
    client.release();
    return log;
  });
});

test('what is left open by a client is rolled back before another one has it', async () => {
  const one = new rowgate.Pool({ ...config, max: 1 });
  const client = await one.connect();
  await client.query('create table node_pg_open (id int)');
  await client.query('begin');
  await client.query('insert into node_pg_open values (1)');
  const waiting = one.query('select count(*)::int as n from node_pg_open');
  assert.equal(one.waitingCount, 1);
  client.release();
  assert.deepEqual((await waiting).rows, [{ n: 0 }]);
  assert.throws(() => client.release(), /already been released/);
  await one.query('drop table node_pg_open');
  await one.end();
  assert.match((await failureOf(one.query('select 1'))).message, /after calling end/);
});

test('the commit of a transaction that was lost is an error, and what follows is not applied by itself', async () => {
  const way = await Way.to(address);
  const client = new rowgate.Client({ address: way.address, database: 'postgres' });
  await client.query('create table if not exists node_pg_lost (id int)');
  await client.query('begin');
  await client.query('insert into node_pg_lost values (1)');
  way.cut();
  assert.equal((await failureOf(client.query('insert into node_pg_lost values (2)'))).outcome, 'NOT_APPLIED');
  assert.equal((await failureOf(client.query('insert into node_pg_lost values (3)'))).outcome, 'NOT_APPLIED');
  assert.equal((await failureOf(client.query('commit'))).outcome, 'NOT_APPLIED');
  assert.deepEqual((await pool.query('select count(*)::int as n from node_pg_lost')).rows, [{ n: 0 }]);
  await pool.query('drop table node_pg_lost');
  await client.end();
  way.close();
});

test('a pool has as many clients as it may, and says when nobody gives one back', async () => {
  const small = new rowgate.Pool({ ...config, max: 2, connectionTimeoutMillis: 50 });
  const seen = [];
  for (const event of ['connect', 'acquire', 'release', 'remove']) small.on(event, () => seen.push(event));
  const clients = [await small.connect(), await small.connect()];
  assert.match((await failureOf(small.connect())).message, /timeout exceeded/);
  clients[0].release();
  clients[1].release(new Error('broken'));
  assert.deepEqual([small.totalCount, small.idleCount], [1, 1]);
  assert.deepEqual(seen, ['connect', 'acquire', 'connect', 'acquire', 'release', 'release', 'remove']);
  await small.end();
  const patient = new rowgate.Pool({ ...config, max: 2 });
  const many = await Promise.all(Array.from({ length: 20 }, (_, n) => patient.query('select $1::int as n', [n])));
  assert.deepEqual(many.map(({ rows: [{ n }] }) => n), Array.from({ length: 20 }, (_, n) => n));
  assert.equal(patient.totalCount, 2);
  await patient.end();
});

test('a client listens as one of node-postgres does', async () => {
  const client = new rowgate.Client(config);
  await client.connect();
  const heard = new Promise((resolve) => client.once('notification', resolve));
  assert.equal((await client.query('LISTEN node_pg_channel')).command, 'LISTEN');
  await pool.query("NOTIFY node_pg_channel, 'hello'");
  const { channel, payload, processId } = await heard;
  assert.deepEqual([channel, payload, typeof processId], ['node_pg_channel', 'hello', 'number']);
  const ended = new Promise((resolve) => client.once('end', resolve));
  await client.end();
  await ended;
});

test('a tagged statement and a stream work here, too', async () => {
  assert.deepEqual((await pool.query(sql`select ${5}::int as n`)).rows, [{ n: 5 }]);
  const client = await pool.connect();
  let sum = 0;
  for await (const { n } of client.stream('select n from generate_series(1, $1::int) as n', [1000])) sum += n;
  assert.equal(sum, 500_500);
  client.release();
});

test('parsers of a client, of a query, and of all are obeyed', async () => {
  const client = new rowgate.Client(config);
  client.setTypeParser(20, (text) => BigInt(text));
  assert.deepEqual((await client.query('select 5::int8 as a, array[5::int8] as b')).rows, [{ a: 5n, b: ['5'] }]);
  assert.deepEqual((await pool.query('select 5::int8 as a')).rows, [{ a: '5' }]);
  await client.end();
});

test('a statement has the time that it is given, in a transaction, too', async () => {
  const short = new rowgate.Pool({ ...config, statement_timeout: 100 });
  const client = await short.connect();
  const sleep = { text: 'select pg_sleep(20)' };
  assert.equal((await failureOf(client.query(sleep))).code, '57014');
  await client.query('begin');
  assert.equal(client.getTransactionStatus(), 'T');
  assert.equal((await failureOf(client.query(sleep))).code, '57014');
  assert.equal(client.getTransactionStatus(), 'E');
  await client.query('rollback');
  assert.equal(client.getTransactionStatus(), 'I');
  client.release();
  await short.end();
  assert.equal((await failureOf(pool.query({ ...sleep, query_timeout: 100 }))).code, '57014');
});

test('what needs a session of its own is refused outside of a transaction, with what to do instead', async () => {
  const cases = {
    "set search_path = 'a'": /hint: write SET LOCAL between BEGIN and COMMIT/, 'select pg_advisory_lock(1)': /hint: take pg_advisory_xact_lock between/, 'create temp table node_pg_temp (id int)': /hint: create it between/,
    'prepare one as select 1': /hint: send the statement itself/, 'declare one cursor for select 1': /hint: declare it .*pg-cursor/, 'copy pg_class to stdout': /hint: rowgate\/pg-copy-streams/, 'discard all': /hint: send it between/,
  };
  for (const [text, hint] of Object.entries(cases)) {
    const { message, outcome } = await failureOf(pool.query(text));
    assert.equal(outcome, 'NOT_APPLIED', text);
    assert.match(message, hint, text);
  }
  const sqlite = new rowgate.Pool({ ...config, database: 'main' });
  const { reason, message } = await failureOf(sqlite.query('create temp table node_pg_temp (id int)'));
  assert.equal(reason, 'SESSION_STATE');
  assert.doesNotMatch(message, /BEGIN/);
  await sqlite.end();
});

test('a Date is sent in UTC where that is the default', async () => {
  rowgate.defaults.parseInputDatesAsUTC = pg.defaults.parseInputDatesAsUTC = true;
  try {
    for (const date of [new Date('2026-01-31T23:02:03.456Z'), new Date(Date.UTC(-43, 2, 15))]) await same(async (each) => shown(await each.query('select $1::text', [date])));
  } finally {
    rowgate.defaults.parseInputDatesAsUTC = pg.defaults.parseInputDatesAsUTC = false;
  }
});

test('a client is connected once, and tells when it has nothing to do', async () => {
  const client = new rowgate.Client(config);
  await client.connect();
  assert.match((await failureOf(client.connect())).message, /already been connected/);
  let drained = 0;
  client.on('drain', () => { drained += 1; });
  await Promise.all([client.query('select 1'), client.query('select 2')]);
  assert.equal(drained, 1);
  await client.end();
});

test('SQLite and MariaDB work in this shape, too', async () => {
  for (const database of ['main', 'mariadb']) {
    const other = new rowgate.Pool({ address, database });
    await other.query('drop table if exists node_pg_other');
    await other.query('create table node_pg_other (id int primary key, name varchar(20), price decimal(10, 2))');
    const inserted = await other.query('insert into node_pg_other values ($1, $2, $3), ($4, $5, $6)', [1, 'a', 1.5, 2, 'b', null]);
    assert.deepEqual([inserted.rowCount, inserted.command], [2, 'INSERT']);
    assert.deepEqual((await other.query('select id, name from node_pg_other where length(name) = $1 and id > $2', [1, 1])).rows, [{ id: 2, name: 'b' }]);
    assert.equal((await failureOf(other.query('insert into node_pg_other values (1, null, null)'))).code, '23505');
    const client = await other.connect();
    await client.query('begin');
    await client.query('delete from node_pg_other');
    await client.query('rollback');
    client.release();
    assert.equal(Number((await other.query('select count(*) as n from node_pg_other')).rows[0].n), 2);
    await other.query('drop table node_pg_other');
    await other.end();
  }
});

test('an address comes from a text, from a configuration, and from the environment', async () => {
  const { targetOf, configOf } = await import('../dist/esm/pg/config.js');
  const of = (given, env = {}) => {
    const saved = { ...process.env };
    for (const name of Object.keys(process.env)) if (/^(PG|ROWGATE_)/.test(name)) delete process.env[name];
    Object.assign(process.env, env);
    try {
      const { address: at, options } = targetOf(configOf(given));
      return [at, options.database, options.token, options.tls];
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in saved)) delete process.env[name];
      Object.assign(process.env, saved);
    }
  };
  assert.deepEqual(of(), ['127.0.0.1:50051', undefined, undefined, undefined]);
  assert.deepEqual(of('postgres://ann:secret@db.example.com:5000/shop'), ['db.example.com:5000', 'shop', undefined, undefined]);
  assert.deepEqual(of('postgres://ann:secret@db.example.com/shop?sslmode=require'), ['db.example.com:50051', 'shop', 'secret', true]);
  assert.deepEqual(of({ host: '::1', port: 1, database: 'a' }), ['[::1]:1', 'a', undefined, undefined]);
  const environment = { PGHOST: 'db', PGPORT: '1', PGDATABASE: 'shop' };
  assert.deepEqual(of(undefined, environment), ['db:1', 'shop', undefined, undefined]);
  assert.deepEqual(of(undefined, { ...environment, ROWGATE_ADDRESS: 'rowgate:2', ROWGATE_DATABASE: 'other' }), ['rowgate:2', 'other', undefined, undefined]);
  // What is empty is not given, as with node-postgres.
  assert.deepEqual(of({ host: '', port: '', database: '', token: '' }, environment), ['db:1', 'shop', undefined, undefined]);
  // A connection string goes before what stands beside it, as with node-postgres.
  assert.deepEqual(of({ connectionString: 'postgres://a/b', database: 'c', host: 'd', port: 5 }), ['a:5', 'b', undefined, undefined]);
  assert.deepEqual(of('postgres://a/b?sslmode=no-verify'), ['a:50051', 'b', undefined, { rejectUnauthorized: false }]);
  assert.deepEqual(of('postgres://a/b?sslmode=disable'), ['a:50051', 'b', undefined, undefined]);
  assert.deepEqual(of({ host: 'a', ssl: { servername: 'b', ca: ['x', Buffer.from('y')] }, password: 'p' }), ['a:50051', undefined, 'p', { serverName: 'b', ca: 'x\ny' }]);
  for (const refused of ['postgres://a/b?options=-c%20search_path%3Dx', { options: '-c search_path=x' }]) assert.throws(() => of(refused), /search_path=x cannot be set[^]*SET LOCAL/);
  assert.throws(() => of(undefined, { PGOPTIONS: '-c work_mem=1MB' }), /SET LOCAL/);
  rowgate.defaults.host = 'by-default';
  rowgate.defaults.max = 3;
  try {
    assert.deepEqual(of(), ['by-default:50051', undefined, undefined, undefined]);
    assert.deepEqual(of({ host: 'a' }), ['a:50051', undefined, undefined, undefined]);
    assert.equal(new rowgate.Pool().options.max, 3);
  } finally {
    delete rowgate.defaults.host;
    delete rowgate.defaults.max;
  }
});
