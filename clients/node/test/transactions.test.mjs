// Several calls on one transaction at once: their order, who is refused, how long they wait, and what their errors say.

import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cancelled, connect, Deadline, RowgateError, TransactionBusy, UniqueViolation, UnreadableResult } from 'rowgate';
import pg from 'rowgate/pg';
import { address, assert, DATABASES, failureOf, Way } from './harness.mjs';

const connections = DATABASES.map((database) => connect(address, { database }));
after(() => connections.forEach((db) => db.close()));

const IDENTITY = { main: 'integer primary key', postgres: 'serial primary key', mariadb: 'int auto_increment primary key' };

// A test that runs on each database, with a table of its own.
function onEach(name, work) {
  for (const [index, db] of connections.entries()) {
    const database = DATABASES[index];
    test(`${name} (${database})`, async () => {
      await db.query('drop table if exists node_tx');
      await db.query(`create table node_tx (id ${IDENTITY[database]}, x double precision unique)`);
      try {
        await work(db, database);
      } finally {
        await db.query('drop table node_tx');
      }
    });
  }
}

const INSERT = 'insert into node_tx (x) values ($1)';
const BIG = 2n ** 53n + 1n;
const numbers = async (db) => (await db.query('select x from node_tx order by id')).rows.map(({ x }) => Number(x));
const NUMBERS = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 900) select n from numbers';

// A client that has not asked for the dialect yet, as fractions need it.
async function fresh(database, work) {
  const db = connect(address, { database });
  try {
    return await work(db);
  } finally {
    db.close();
  }
}

onEach('statements run in the order of their calls, also when the first one has to ask for the dialect', async (db, database) => {
  await fresh(database, (other) => other.transaction((tx) => Promise.all([1.5, 2, 3.5, 4].map((x) => tx.query(INSERT, [x])))));
  assert.deepEqual(await numbers(db), [1.5, 2, 3.5, 4]);
  // Nothing is waited for: not even the commit overtakes.
  await fresh(database, (other) => other.transaction(async (tx) => {
    const calls = [tx.batch([{ sql: INSERT, values: [5.5] }]), tx.setSavepoint('a'), tx.query(INSERT, [6]), tx.query(INSERT, [7.5]), tx.rollbackTo('a'), tx.release('a'), tx.query(INSERT, [8])];
    calls.forEach((call) => call.catch(() => {}));
  }));
  assert.deepEqual(await numbers(db), [1.5, 2, 3.5, 4, 5.5, 8]);
  const client = new pg.Client({ address, database });
  await Promise.all([client.query('begin'), client.query(INSERT, [9.5]), client.query('insert into node_tx (x) values (10)'), client.query('commit')]);
  await client.end();
  assert.deepEqual((await numbers(db)).slice(6), [9.5, 10]);
});

onEach('savepoints at the same time are refused, and one inside of another is not', async (db) => {
  await db.query(INSERT, [3]);
  const save = (tx, x) => tx.savepoint(async () => {
    await tx.query(INSERT, [x]);
    await sleep(5);
  });
  // As it was, the second one's end undid what the first had reported as done.
  const results = await db.transaction(async (tx) => Promise.allSettled([save(tx, 1), save(tx, 3)]));
  assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected']);
  const { reason } = results[1];
  assert.ok(reason instanceof TransactionBusy && reason instanceof RowgateError && reason.outcome === 'NOT_APPLIED');
  assert.match(reason.message, /savepoint.*\nhint: await one savepoint before the next/);
  assert.deepEqual(await numbers(db), [3, 1]);
  await db.transaction((tx) => tx.savepoint(async () => {
    await tx.query(INSERT, [4]);
    assert.ok(await failureOf(tx.savepoint(() => tx.savepoint(() => save(tx, 3)))) instanceof UniqueViolation);
    await save(tx, 5);
    await Promise.all([tx.query(INSERT, [6]), tx.query(INSERT, [7])]);
  }));
  assert.deepEqual(await numbers(db), [3, 1, 4, 5, 6, 7]);
});

onEach('what comes from outside of a savepoint is refused meanwhile', async (db, database) => {
  const outside = {
    query: (tx) => tx.query(INSERT, [1]), batch: (tx) => tx.batch([{ sql: INSERT, values: [1] }]), stream: (tx) => tx.stream(NUMBERS).next(), savepoint: (tx) => tx.savepoint(() => tx.query(INSERT, [1])), setSavepoint: (tx) => tx.setSavepoint('a'),
    rollbackTo: (tx) => tx.rollbackTo('savepoint_1'), release: (tx) => tx.release('savepoint_1'), commit: (tx) => tx.commit(),
  };
  for (const [name, call] of Object.entries(outside)) {
    await db.transaction(async (tx) => {
      const inside = tx.savepoint(() => tx.query(INSERT, [2]));
      assert.ok(await failureOf(call(tx)) instanceof TransactionBusy, name);
      await inside;
    });
    assert.deepEqual(await numbers(db), [2], name);
    await db.query('delete from node_tx');
  }
  // Another transaction is somebody else's, also inside of the function.
  if (database !== 'main') {
    await db.transaction((one) => one.savepoint(() => db.transaction((two) => two.savepoint(async () => {
      await two.query('select 1');
      await one.query('select 2');
    }))));
  }
  // A savepoint that nobody waits for cannot be committed half done.
  const error = await failureOf(db.transaction(async (tx) => { tx.savepoint(() => tx.query(INSERT, [1])).catch(() => {}); }));
  assert.ok(error instanceof TransactionBusy);
  const rolledBack = await db.begin();
  const inside = rolledBack.savepoint(() => rolledBack.query(INSERT, [1])).catch(() => {});
  await rolledBack.rollback();
  await inside;
  assert.deepEqual(await numbers(db), []);
});

onEach('nothing else runs while a stream is being read, and a call says so', async (db) => {
  const inside = {
    query: (tx) => tx.query('select 1'), batch: (tx) => tx.batch(['select 1']), stream: (tx) => tx.stream(NUMBERS).next(), savepoint: (tx) => tx.savepoint(() => tx.query('select 1')), setSavepoint: (tx) => tx.setSavepoint('a'),
    commit: (tx) => tx.commit(), rollback: (tx) => tx.rollback(),
  };
  for (const [name, call] of Object.entries(inside)) {
    let sum = 0;
    await db.transaction(async (tx) => {
      for await (const { n } of tx.stream(NUMBERS)) {
        if ((sum += Number(n)) !== 3) continue;
        const error = await failureOf(call(tx));
        assert.ok(error instanceof TransactionBusy, `${name}: ${error}`);
        assert.match(error.message, /while the rows of a stream .*\nhint: read the stream to its end/);
      }
      await tx.query(INSERT, [1]);
    });
    assert.deepEqual([sum, await numbers(db)], [405_450, [1]], name);
    await db.query('delete from node_tx');
  }
  // A stream behind statements that are not answered yet is in order.
  await db.transaction(async (tx) => {
    const before = tx.query(INSERT, [1]);
    for await (const { n } of tx.stream('select count(*) as n from node_tx')) assert.equal(Number(n), 1);
    await before;
  });
  const given = await failureOf(db.transaction(async (tx) => {
    for await (const _ of tx.stream(NUMBERS)) tx.abandon();
  }));
  assert.deepEqual([given.reason, given.outcome], ['CANCELLED', 'NOT_APPLIED']);
});

onEach('a function may commit its transaction itself, and it is then done once', async (db) => {
  let runs = 0;
  assert.equal(await db.transaction(async (tx) => {
    await tx.query(INSERT, [1]);
    await tx.commit();
    await tx.commit();
    assert.match((await failureOf(tx.query(INSERT, [2]))).message, /over: it was committed/);
    return 'done';
  }), 'done');
  // What fails behind the commit, and might be repeated by itself, does not repeat what is committed.
  const late = new RowgateError({ message: 'late', status: 'ABORTED', reason: 'LATE', outcome: 'NOT_APPLIED', retryAfter: 1 });
  assert.equal(await failureOf(db.transaction(async (tx) => {
    runs += 1;
    await tx.query(INSERT, [3]);
    await tx.commit();
    throw late;
  }, { retries: 5 })), late);
  assert.deepEqual([runs, await numbers(db)], [1, [1, 3]]);
  const undone = await failureOf(db.transaction(async (tx) => {
    await tx.query(INSERT, [4]);
    await tx.rollback();
  }));
  assert.ok(undone instanceof Cancelled && undone.outcome === 'NOT_APPLIED');
  assert.match(undone.message, /not committed: it was rolled back/);
  assert.deepEqual(await numbers(db), [1, 3]);
});

onEach('a signal gives the transaction up with its statement', async (db) => {
  const signal = AbortSignal.abort(new Error('early'));
  await db.transaction(async (tx) => {
    const early = await failureOf(tx.query(INSERT, [1], { signal }));
    assert.ok(early instanceof Cancelled && early.outcome === 'NOT_APPLIED' && early.cause === signal.reason);
    assert.ok(await failureOf(tx.batch([{ sql: INSERT, values: [1] }], { signal })) instanceof Cancelled);
    await tx.query(INSERT, [2], { signal: new AbortController().signal });
  });
  const reason = new Error('enough');
  const error = await failureOf(db.transaction(async (tx) => {
    await tx.query(INSERT, [3]);
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 50);
    await tx.query('with recursive n (i) as (select 1 union all select i + 1 from n where i < 300000000) select count(*) from n', [], { signal: controller.signal });
  }));
  assert.ok(error instanceof Cancelled && error.outcome === 'NOT_APPLIED' && error.cause === reason, String(error));
  assert.deepEqual(await numbers(db), [2]);
});

onEach('a result that cannot be read says what became of the work', async (db, database) => {
  await db.query('drop table if exists node_tx_big');
  await db.query('create table node_tx_big (n bigint)');
  const other = connect(address, { database, int64: 'number', readers: { TEXT: () => { throw new Error('my reader fails'); } } });
  const insert = 'insert into node_tx_big values ($1) returning n';
  const held = async () => Number((await db.query('select count(*) as n from node_tx_big')).value());
  try {
    const told = async (call) => {
      const error = await failureOf(call);
      assert.ok(error instanceof UnreadableResult && error instanceof RowgateError, String(error));
      assert.ok(error.cause instanceof RangeError);
      assert.match(error.message, /^the result cannot be read: 9007199254740993 is beyond 2\^53/);
      return [error.outcome, /hint: it is applied/.test(error.message), await held()];
    };
    assert.deepEqual(await told(other.query(insert, [BIG])), ['APPLIED', true, 1]);
    assert.deepEqual(await told(other.batch([{ sql: insert, values: [BIG] }])), ['APPLIED', true, 2]);
    assert.deepEqual(await told(other.query('select n from node_tx_big', [], { readOnly: true })), ['NOT_APPLIED', false, 2]);
    assert.deepEqual(await told(other.stream('select n from node_tx_big', [], { readOnly: true }).batches().next()), ['NOT_APPLIED', false, 2]);
    assert.deepEqual((await told(other.stream('select n from node_tx_big').batches().next()))[0], 'UNKNOWN');
    // The transaction is given up: what the error says is so, whatever its function does then.
    assert.deepEqual(await told(other.transaction(async (tx) => { await tx.query(insert, [BIG]).catch(() => {}); })).catch((error) => error.message), ['NOT_APPLIED', false, 2]);
    const own = await failureOf(other.query("select 'x' as t, cast($1 as char(1)) as u", ['y']));
    assert.deepEqual([own instanceof UnreadableResult, own.cause.message], [true, 'my reader fails']);
  } finally {
    other.close();
    await db.query('drop table node_tx_big');
  }
});

// A way to the server on which nothing is answered any more once it is paused, and no connection ends.
async function withPaused(work) {
  const way = await Way.to(address);
  const server = { address: way.address, pause: () => { way.lets = () => false; } };
  const db = connect(server.address, { database: 'postgres' });
  try {
    await db.query('drop table if exists node_paused');
    await db.query('create table node_paused (id int)');
    await work(server, db);
  } finally {
    db.close();
    way.close();
    await connections[1].query('drop table node_paused');
  }
}

const soon = async (call, milliseconds = 2_500) => {
  const timer = new AbortController();
  try {
    return await Promise.race([failureOf(call), sleep(milliseconds, undefined, timer).then(() => assert.fail('it still waits'))]);
  } finally {
    timer.abort();
  }
};

test('a timeout ends a statement of a transaction when the server answers nothing', () => withPaused(async (server, db) => {
  const tx = await db.begin();
  const committed = await db.begin();
  await tx.query('insert into node_paused values (1)');
  server.pause();
  const first = await soon(tx.query('insert into node_paused values (2)', [], { timeout: 200 }));
  assert.ok(first instanceof Deadline && first.outcome === 'NOT_APPLIED', String(first));
  assert.match(first.message, /no answer came in time, and the transaction was given up/);
  assert.equal(await soon(tx.commit()), first);
  // The beginning has no time of its own: that of the first statement holds for it, too.
  const begun = await soon(db.transaction((each) => each.query('insert into node_paused values (3)', [], { timeout: 200 })));
  assert.ok(begun instanceof Deadline && begun.outcome === 'NOT_APPLIED');
  const together = await soon(db.transaction((each) => each.batch(['select 1'], { timeout: 200 })));
  assert.ok(together instanceof Deadline && together.outcome === 'NOT_APPLIED');
  const streamed = await soon(db.transaction((each) => each.stream('select 1', [], { timeout: 200 }).next()));
  assert.ok(streamed instanceof Deadline);
  const unknown = await soon(committed.commit({ timeout: 200 }));
  assert.ok(unknown instanceof Deadline && unknown.outcome === 'UNKNOWN');
}));

test('a timeout holds for the question that a statement asks before it is sent', () => withPaused(async (server) => {
  const db = connect(server.address);
  await db.query('select 1');
  server.pause();
  const timeout = 200;
  const calls = [
    () => db.query('select $1', [1.5], { timeout }), () => db.batch([{ sql: 'select $1', values: [1.5] }], { timeout }), () => db.stream('select $1', [1.5], { timeout }).batches().next(),
    () => db.transaction((tx) => tx.query('select $1', [1.5], { timeout })), () => db.copyIn({ table: 't', timeout }, [[1.5]]), () => db.copyOut({ sql: 'select $1', values: [1.5] }, { values: [1.5], timeout })[Symbol.asyncIterator]().next(),
  ];
  for (const call of calls) {
    const error = await soon(call());
    assert.ok(error instanceof Deadline && error.outcome === 'NOT_APPLIED', String(error));
  }
  const error = await soon(db.query('select $1', [1.5], { signal: AbortSignal.timeout(50) }));
  assert.deepEqual([error.reason, error.outcome, error.cause.name], ['CANCELLED', 'NOT_APPLIED', 'TimeoutError']);
  db.close();
}));

test('query_timeout holds in a transaction of rowgate/pg when the server answers nothing', () => withPaused(async (server) => {
  const clients = await Promise.all([1, 2, 3].map(async () => {
    const client = new pg.Client({ address: server.address, database: 'postgres', query_timeout: 200 });
    await client.query('begin');
    await client.query('insert into node_paused values (1)');
    return client;
  }));
  const late = new pg.Client({ address: server.address, database: 'postgres', query_timeout: 200 });
  await late.query('begin');
  server.pause();
  const [querying, committing, saving] = clients;
  const told = ({ code, outcome }) => [code, outcome];
  assert.deepEqual(told(await soon(querying.query('insert into node_paused values (2)'))), ['57014', 'NOT_APPLIED']);
  assert.deepEqual(told(await soon(querying.query('commit'))), ['57014', 'NOT_APPLIED']);
  assert.deepEqual(told(await soon(committing.query('commit'))), ['57014', 'UNKNOWN']);
  assert.deepEqual(told(await soon(saving.query('savepoint a'))), ['57014', 'NOT_APPLIED']);
  assert.deepEqual(told(await soon(late.query('insert into node_paused values (3)'))), ['57014', 'NOT_APPLIED']);
  assert.deepEqual(told(await soon(late.query('select 1; select 2'))), ['57014', 'NOT_APPLIED']);
  for (const client of [...clients, late]) await client.end();
}));
