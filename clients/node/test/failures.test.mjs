// What a lost connection means: nothing is sent twice that may have been applied, and errors say what is known.

import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { connect, TransportFailure } from 'rowgate';
import rowgatePg from 'rowgate/pg';
import { address, assert, failureOf, freePort, startServer, until, Way } from './harness.mjs';

const direct = connect(address, { database: 'postgres' });
before(async () => {
  await direct.query('drop table if exists node_failures');
  await direct.query('create table node_failures (id serial primary key, mark text not null)');
});
after(async () => {
  await direct.query('drop table node_failures');
  direct.close();
});

const insert = 'insert into node_failures (mark) values ($1)';
const applied = async (mark) => Number((await direct.query('select count(*) from node_failures where mark = $1', [mark])).value());

// A client whose first connection loses everything that the server answers once `isCut` is true.
async function throughWay(work) {
  const way = await Way.to(address);
  const db = connect(way.address, { database: 'postgres', channelOptions: { 'grpc.initial_reconnect_backoff_ms': 100 } });
  try {
    await db.query('select 1');
    await work(db, way);
  } finally {
    db.close();
    way.close();
  }
}

// Cuts the connection when the call was applied, before its answer arrives.
async function cutBehind(way, mark) {
  way.lets = (connection) => connection > 0;
  await until('it is applied', async () => (await applied(mark)) > 0);
  way.cut();
}

test('a write whose answer is lost has an unknown outcome, and is not repeated', () => throughWay(async (db, way) => {
  const mark = randomUUID();
  const call = failureOf(db.query(insert, [mark], { retries: 5 }));
  await cutBehind(way, mark);
  const error = await call;
  assert.ok(error instanceof TransportFailure, String(error));
  assert.deepEqual([error.status, error.outcome, error.retryAfter, error.code], ['UNAVAILABLE', 'UNKNOWN', undefined, '08006']);
  assert.equal(await applied(mark), 1);
}));

test('with a key it is repeated, and applied once', () => throughWay(async (db, way) => {
  const mark = randomUUID();
  const call = db.query(insert, [mark], { retries: 5, key: `node-${mark}` });
  await cutBehind(way, mark);
  const result = await call;
  assert.deepEqual([result.replayed, result.rowsAffected, await applied(mark), way.connections > 1], [true, 1, 1, true]);
}));

test('a read whose answer is lost has applied nothing, and is not repeated without RetryInfo', () => throughWay(async (db, way) => {
  way.lets = () => false;
  const call = failureOf(db.query('select pg_sleep(0.2)', [], { readOnly: true, retries: 5 }));
  setTimeout(() => way.cut(), 100);
  const error = await call;
  assert.deepEqual([error.reason, error.outcome], ['TRANSPORT_FAILURE', 'NOT_APPLIED']);
}));

test('a transaction that is lost before its commit has applied nothing', () => throughWay(async (db, way) => {
  const mark = randomUUID();
  let runs = 0;
  const error = await failureOf(db.transaction(async (tx) => {
    runs += 1;
    await tx.query(insert, [mark]);
    way.cut();
    await tx.query('select 1');
  }, { retries: 5 }));
  assert.deepEqual([error.reason, error.outcome, runs, await applied(mark)], ['TRANSPORT_FAILURE', 'NOT_APPLIED', 1, 0]);
}));

test('a transaction that is lost behind its commit has an unknown outcome, and is not repeated', () => throughWay(async (db, way) => {
  const mark = randomUUID();
  let runs = 0;
  const call = failureOf(db.transaction(async (tx) => {
    runs += 1;
    await tx.query(insert, [mark]);
    way.lets = (connection) => connection > 0;
  }, { retries: 5 }));
  await until('it is applied', async () => (await applied(mark)) > 0);
  way.cut();
  const error = await call;
  assert.deepEqual([error.reason, error.outcome, runs, await applied(mark)], ['TRANSPORT_FAILURE', 'UNKNOWN', 1, 1]);
}));

test('under a key it runs again, learns that it was applied, and gives the value of the commit', () => throughWay(async (db, way) => {
  const mark = randomUUID();
  let runs = 0;
  const call = db.transaction(async (tx) => {
    runs += 1;
    await tx.query(insert, [mark]);
    way.lets = (connection) => connection > 0;
    return `run ${runs}`;
  }, { retries: 5, key: `node-${mark}` });
  await until('it is applied', async () => (await applied(mark)) > 0);
  way.cut();
  assert.deepEqual([await call, runs, await applied(mark)], ['run 1', 1, 1]);
}));

test('a call that was never sent has applied nothing', async () => {
  const db = connect(`127.0.0.1:${await freePort()}`);
  const error = await failureOf(db.query('insert into t values (1)'));
  assert.ok(error instanceof TransportFailure);
  assert.deepEqual([error.outcome, error.retryAfter], ['NOT_APPLIED', undefined]);
  assert.match(error.message, /^no connection to Rowgate: connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
  // Behind a failed attempt the next one waits.
  assert.match((await failureOf(db.query('insert into t values (1)'))).message, /^no connection to Rowgate: (?:connect ECONNREFUSED|the attempt before has failed)/);
  const other = net.createServer((socket) => socket.on('error', () => {}).end('hello'));
  await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
  const wrong = connect(`127.0.0.1:${other.address().port}`);
  const { message, outcome } = await failureOf(wrong.query('insert into t values (1)'));
  assert.match(message, /does not speak HTTP\/2\nhint: give the port of Rowgate/);
  assert.equal(outcome, 'NOT_APPLIED');
  wrong.close();
  other.close();
  const unknown = connect('nowhere.invalid:50051');
  assert.equal((await failureOf(unknown.query('insert into t values (1)'))).outcome, 'NOT_APPLIED');
  unknown.close();
  db.close();
  const closed = await failureOf(db.query('insert into t values (1)'));
  assert.deepEqual([closed.reason, closed.outcome], ['CANCELLED', 'NOT_APPLIED']);
});

test('a stream that breaks in the middle is an error, and never a short result', () => throughWay(async (db, way) => {
  let rows = 0;
  const error = await failureOf((async () => {
    for await (const _ of db.stream('select generate_series(1, 1000000)')) {
      rows += 1;
      if (rows === 1000) way.cut();
    }
  })());
  assert.ok(error instanceof TransportFailure && rows < 1_000_000, `${error} after ${rows} rows`);
}));

test('a server that is killed is reached again when it is back', async () => {
  const server = await startServer();
  const db = connect(server.address, { channelOptions: { 'grpc.initial_reconnect_backoff_ms': 100 } });
  try {
    await db.query('create table t (id int)');
    await server.kill();
    const error = await failureOf(db.query('insert into t values (1)'));
    assert.ok(error instanceof TransportFailure, String(error));
  } finally {
    db.close();
    await server.stop();
  }
});

test('a token is sent over TLS only', async () => {
  assert.throws(() => connect('127.0.0.1:1', { token: 'secret' }), /TLS only/);
  connect('https://127.0.0.1:1', { token: 'secret' }).close();
});

test('a call that waits for a connection until its time is over was never sent', async () => {
  const silent = net.createServer((socket) => socket.on('error', () => {}));
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const db = connect(`127.0.0.1:${silent.address().port}`);
  const timeout = 100;
  for (const call of [() => db.query('insert into t values (1)', [], { timeout }), () => db.stream('insert into t values (1)', [], { timeout }).batches().next(), () => db.copyIn({ table: 't', timeout }, [[1]])]) {
    const { reason, outcome, message } = await failureOf(call());
    assert.deepEqual([reason, outcome], ['DEADLINE', 'NOT_APPLIED']);
    assert.match(message, /^no connection to Rowgate came about in the time of the call/);
  }
  db.close();
  silent.close();
});

test('a client that is closed ends what runs, and begins nothing', async () => {
  const db = connect(address, { database: 'postgres' });
  const tx = await db.begin();
  const call = db.query('select pg_sleep(0.2)::text as done');
  await sleep(50);
  db.close();
  assert.equal((await call).length, 1);
  assert.equal((await tx.query('select 5 as n')).value(), 5);
  await tx.commit();
  assert.equal((await failureOf(db.begin())).outcome, 'NOT_APPLIED');
});

test('rowgate/pg tells a refused connection by the code of the operating system, as node-postgres does', async () => {
  const port = await freePort();
  const expected = await failureOf(new pg.Client({ host: '127.0.0.1', port }).connect());
  const client = new rowgatePg.Client({ host: '127.0.0.1', port });
  const pool = new rowgatePg.Pool({ host: '127.0.0.1', port });
  // Behind the first failure, too, while the next attempt has not been made yet.
  for (const call of [() => client.connect(), () => client.query('select 1'), () => client.query('begin; select 1'), () => pool.query('select 1'), () => pool.query('insert into t values ($1)', [1])]) {
    const error = await failureOf(call());
    assert.deepEqual([error.code, error.outcome], [expected.code, 'NOT_APPLIED'], String(error));
  }
  assert.equal(expected.code, 'ECONNREFUSED');
  await Promise.all([client.end(), pool.end()]);
});

test('a dry run without an answer has applied nothing, unless the database may be one that keeps some of it', async () => {
  for (const [database, isAsked, outcome] of [['main', true, 'NOT_APPLIED'], ['postgres', true, 'NOT_APPLIED'], ['postgres', false, 'UNKNOWN'], ['mariadb', true, 'UNKNOWN']]) {
    const way = await Way.to(address);
    const db = connect(way.address, { database });
    await db.query('select 1');
    if (isAsked) await db.dialect();
    way.takes = () => way.cut();
    const error = await failureOf(db.batch(['delete from nothing'], { dryRun: true }));
    assert.ok(error instanceof TransportFailure, String(error));
    assert.deepEqual([database, error.outcome], [database, outcome]);
    db.close();
    way.close();
  }
});
