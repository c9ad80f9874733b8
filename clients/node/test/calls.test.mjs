import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cancelled, connect, Deadline, ExpectationFailed, KeyApplied, KeyNotTransactional, KeyReused, OutcomeUnknown, ReadOnly, ResultTooLarge, resultOf, sql, TransactionAborted, UniqueViolation } from 'rowgate';
import { address, assert, DATABASES, failureOf, until } from './harness.mjs';

const connections = DATABASES.map((database) => connect(address, { database }));
after(() => connections.forEach((db) => db.close()));
const [main, postgres] = connections;

const NUMBERS = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select n from numbers';

// A test that runs on each database, with a table of its own.
function onEach(name, work) {
  for (const [index, db] of connections.entries()) {
    test(`${name} (${DATABASES[index]})`, async () => {
      await db.query('drop table if exists node_calls');
      await db.query('create table node_calls (id int primary key, name varchar(50))');
      try {
        await work(db);
      } finally {
        await db.query('drop table node_calls');
      }
    });
  }
}

const count = async (db, where = '1 = 1') => Number((await db.query(`select count(*) as n from node_calls where ${where}`)).value());

onEach('a result has rows, columns and counts', async (db) => {
  const inserted = await db.sql`insert into node_calls values (${1}, ${'a'}), (${2}, ${null})`;
  assert.deepEqual([inserted.command, inserted.rowsAffected, inserted.hasColumns, inserted.rows], ['INSERT', 2, false, []]);
  const found = await db.sql`select name from node_calls order by id`;
  assert.deepEqual([found.length, [...found], found.first(), found.columns[0].name], [2, [{ name: 'a' }, { name: null }], { name: 'a' }, 'name']);
  assert.throws(() => found.one(), /2 rows/);
  const none = await db.sql`select name from node_calls where id = ${9}`;
  assert.deepEqual([none.first(), none.hasColumns, none.columns.length], [undefined, true, 1]);
});

onEach('a batch is all or nothing, and names what failed', async (db) => {
  const results = await db.batch(['insert into node_calls values (1, null)', sql`insert into node_calls values (${2}, ${'b'})`,
    { sql: 'update node_calls set name = $1', values: ['c'], expect: 2 }, { sql: 'select id from node_calls order by id' }]);
  assert.deepEqual(results.map(({ rowsAffected, rows }) => [rowsAffected, rows.length]), [[1, 0], [1, 0], [2, 0], [0, 2]]);
  const missed = await failureOf(db.batch([{ sql: 'delete from node_calls', expect: { atMost: 1 } }]));
  assert.ok(missed instanceof ExpectationFailed);
  assert.equal(missed.failedStatement, 0);
  assert.equal((await db.batch(['delete from node_calls'], { dryRun: true }))[0].rowsAffected, 2);
  assert.equal(await count(db), 2);
});

onEach('a batch in a transaction has its results, and a savepoint undoes one that fails', async (db) => {
  await db.transaction(async (tx) => {
    const results = await tx.batch(['insert into node_calls values (1, null)', sql`insert into node_calls values (${2}, ${'b'})`,
      { sql: 'update node_calls set name = $1', values: ['c'], expect: 2 }, { sql: 'select id, name from node_calls order by id' },
      "select 'd' as name", { sql: sql`insert into ${sql.identifier('node_calls')} values (3, ${resultOf(4, 'name')})` }], { tag: 'batch' });
    assert.deepEqual(results.map(({ rowsAffected, rows }) => [rowsAffected, rows.length]), [[1, 0], [1, 0], [2, 0], [0, 2], [0, 1], [1, 0]]);
    assert.deepEqual(results[3].rows.map(({ id, name }) => [Number(id), name]), [[1, 'c'], [2, 'c']]);
    assert.deepEqual((await tx.batch(['select 1 as a'], { rowMode: 'array' }))[0].rows.map(([a]) => Number(a)), [1]);
    const failed = await failureOf(tx.savepoint(() => tx.batch(['delete from node_calls', 'select 1', 'insert into node_calls values (4, null), (4, null)'])));
    assert.ok(failed instanceof UniqueViolation && failed.failedStatement === 2 && failed.outcome === 'NOT_APPLIED');
    const missed = await failureOf(tx.savepoint(() => tx.batch([{ sql: 'delete from node_calls', expect: { atMost: 1 } }])));
    assert.ok(missed instanceof ExpectationFailed && missed.failedStatement === 0);
    const large = await failureOf(tx.savepoint(() => tx.batch(['select id from node_calls', 'select id from node_calls'], { maxRows: 5 })));
    assert.ok(large instanceof ResultTooLarge);
    // Sent ahead of their replies, and answered in order.
    const ahead = [tx.batch(['select 1 as n', 'select 2 as n']), tx.query('select 3 as n'), tx.batch(['select 4 as n'])];
    assert.deepEqual((await Promise.all(ahead)).flat().map((result) => Number(result.rows[0].n)), [1, 2, 3, 4]);
    await assert.rejects(tx.batch(['select 1', { sql: 'select $1', values: [undefined] }]), TypeError);
  });
  assert.deepEqual([await count(db), await count(db, "name = 'd'")], [3, 1]);
  const lost = await failureOf(db.transaction(async (tx) => {
    await tx.batch(['delete from node_calls', 'select * from nowhere']).catch(() => {});
  }));
  assert.ok(lost instanceof TransactionAborted && lost.outcome === 'NOT_APPLIED');
  assert.equal(await count(db), 3);
});

onEach('a key applies a call once', async (db) => {
  const options = { key: `node-${randomUUID()}` };
  const first = await db.query('insert into node_calls values (1, null)', [], options);
  const again = await db.query('insert into node_calls values (1, null)', [], options);
  assert.deepEqual([first.replayed, again.replayed, again.rowsAffected, await count(db)], [false, true, 1, 1]);
  assert.ok(await failureOf(db.query('delete from node_calls', [], options)) instanceof KeyReused);
  assert.equal(await db.outcome(options), 'APPLIED');
  assert.equal(await db.outcome({ key: `none-${randomUUID()}` }), 'NOT_APPLIED');
});

onEach('a transaction is committed when its function returns, and rolled back when it fails', async (db) => {
  const value = await db.transaction(async (tx) => {
    await tx.sql`insert into node_calls values (${1}, ${'a'})`;
    await assert.rejects(tx.savepoint(async () => {
      await tx.query('insert into node_calls values (2, null)');
      await tx.query('insert into node_calls values (1, null)');
    }), UniqueViolation);
    await tx.savepoint(() => tx.query('insert into node_calls values ($1, $2)', [3, 'c']));
    return (await tx.query('select count(*) as n from node_calls')).value();
  });
  assert.deepEqual([Number(value), await count(db, 'id in (1, 3)')], [2, 2]);
  const error = new Error('no');
  assert.equal(await failureOf(db.transaction(async (tx) => {
    await tx.query('delete from node_calls');
    throw error;
  })), error);
  assert.equal(await count(db), 2);
});

onEach('a failed statement that is caught does not let a transaction commit', async (db) => {
  const error = await failureOf(db.transaction(async (tx) => {
    await tx.query('insert into node_calls values (1, null)');
    await tx.query('select * from nowhere').catch(() => {});
    await assert.rejects(tx.query('select 1'), TransactionAborted);
  }));
  assert.ok(error instanceof TransactionAborted && error.outcome === 'NOT_APPLIED');
  assert.equal(await count(db), 0);
});

onEach('what was not applied and may succeed later is repeated, and nothing else', async (db) => {
  let attempts = 0;
  await db.transaction(async (tx) => {
    attempts += 1;
    await tx.sql`insert into node_calls values (${attempts}, null)`;
    // The server rolls back a transaction that is silent for too long, with RetryInfo.
    if (attempts < 3) await sleep(400);
    await tx.query('select 1');
  }, { retries: 3, idleTimeout: 100 });
  assert.deepEqual([attempts, await count(db), await count(db, 'id = 3')], [3, 1, 1]);
  attempts = 0;
  await assert.rejects(db.transaction(async (tx) => {
    attempts += 1;
    await tx.query('insert into node_calls values (3, null)');
  }, { retries: 3 }), UniqueViolation);
  assert.equal(attempts, 1);
});

onEach('what a key does not protect is not repeated when its outcome is unknown', async (db) => {
  for (const [Reason, expected] of [[OutcomeUnknown, 2], [KeyNotTransactional, 1]]) {
    let attempts = 0;
    const failing = db.transaction(async () => {
      attempts += 1;
      throw new Reason({ message: 'lost', status: 'UNKNOWN', reason: Reason.reason, outcome: 'UNKNOWN' });
    }, { retries: 1, key: `node-${randomUUID()}` });
    assert.ok(await failureOf(failing) instanceof Reason);
    assert.equal(attempts, expected, Reason.reason);
  }
});

onEach('a transaction under a key is applied once', async (db) => {
  const options = { key: `node-${randomUUID()}` };
  await db.transaction((tx) => tx.query('insert into node_calls values (1, null)'), options);
  const error = await failureOf(db.transaction((tx) => tx.query('insert into node_calls values (2, null)'), options));
  assert.ok(error instanceof KeyApplied && error.outcome === 'APPLIED');
  assert.equal(await count(db), 1);
});

onEach('a large result of a transaction comes in parts', async (db) => {
  await db.transaction(async (tx) => {
    assert.equal((await tx.query(NUMBERS.replace('$1', '900'))).length, 900);
    let sum = 0;
    for await (const { n } of tx.stream(NUMBERS.replace('$1', '900'))) sum += Number(n);
    assert.equal(sum, 405_450);
    // A loop that is left early reads the rest, and the transaction goes on.
    for await (const { n } of tx.stream(NUMBERS.replace('$1', '900'))) if (Number(n) === 10) break;
    assert.equal(Number((await tx.query('select 5 as n')).value()), 5);
  });
});

onEach('a stream has all rows, in order, by one or in batches', async (db) => {
  const stream = db.stream(NUMBERS, [900]);
  let last = 0;
  for await (const { n } of stream) {
    assert.equal(Number(n), last + 1);
    last = Number(n);
  }
  assert.deepEqual([last, stream.summary.rowCount, stream.columns[0].name], [900, 900, 'n']);
  let total = 0;
  for await (const batch of db.stream(sql`select 1 as a union all select 2`, { rowMode: 'array' }).batches()) total += batch.length;
  assert.equal(total, 2);
  await assert.rejects(async () => { for await (const _ of db.stream('select * from nowhere')); }, { reason: 'UNDEFINED_TABLE' });
  const none = db.stream('select id from node_calls');
  for await (const _ of none) assert.fail('a row');
  assert.deepEqual([none.columns.length, none.summary.rowCount], [1, 0]);
  await assert.rejects(async () => { for await (const _ of none); }, /read once/);
});

const running = async (mark) =>
  Number((await postgres.query("select count(*) as n from pg_stat_activity where state = 'active' and query like $1 and pid <> pg_backend_pid()", [`%${mark}%`])).value());

test('a stream that is not read stops the database, and leaving the loop cancels the statement', async () => {
  const mark = `mark_${randomUUID().replaceAll('-', '')}`;
  let seen = 0;
  for await (const _ of postgres.stream(`select repeat('x', 1000), generate_series(1, 100000000) as ${mark}`)) {
    seen += 1;
    if (seen === 1) {
      // 100 GB: without back-pressure this process would take more and more of it.
      await sleep(300);
      const before = process.memoryUsage().rss;
      await sleep(700);
      assert.ok(process.memoryUsage().rss - before < 50e6, 'the memory of this process grows while nothing is read');
      assert.equal(await running(mark), 1);
    }
    if (seen === 5000) break;
  }
  await until('the statement ends in the database', async () => (await running(mark)) === 0);
});

test('a signal cancels a call and its statement, and a write is then of unknown outcome', async () => {
  const mark = `mark_${randomUUID().replaceAll('-', '')}`;
  const controller = new AbortController();
  const call = postgres.query(`select pg_sleep(60) as ${mark}`, [], { signal: controller.signal });
  await until('it runs', async () => (await running(mark)) === 1);
  const reason = new Error('enough');
  controller.abort(reason);
  const error = await failureOf(call);
  assert.ok(error instanceof Cancelled && error.cause === reason && error.outcome === 'UNKNOWN');
  await until('it ends in the database', async () => (await running(mark)) === 0);
  const read = await failureOf(postgres.query('select 1', [], { signal: controller.signal, readOnly: true }));
  assert.ok(read instanceof Cancelled && read.outcome === 'NOT_APPLIED');
  const streamed = new AbortController();
  const failure = await failureOf((async () => {
    for await (const _ of postgres.stream(`select generate_series(1, 100000000) as ${mark}`, [], { signal: streamed.signal })) streamed.abort(reason);
  })());
  assert.ok(failure instanceof Cancelled);
  await until('the stream ends in the database', async () => (await running(mark)) === 0);
});

test('a timeout ends the statement in the database, which says what became of it', async () => {
  const mark = `mark_${randomUUID().replaceAll('-', '')}`;
  const start = Date.now();
  const error = await failureOf(postgres.query(`select pg_sleep(60) as ${mark}`, [], { timeout: 200 }));
  assert.ok(error instanceof Deadline && error.outcome === 'NOT_APPLIED' && Date.now() - start < 5000);
  // PostgreSQL reports the error before it shows the session as idle.
  await until('it ends in the database', async () => (await running(mark)) === 0);
  await postgres.transaction(async (tx) => {
    await tx.setSavepoint('before');
    assert.ok(await failureOf(tx.query('select pg_sleep(60)', [], { timeout: 100 })) instanceof Deadline);
    await tx.rollbackTo('before');
    assert.equal((await tx.query('select 1')).value(), 1);
  });
});

test('a read-only call cannot write, and a result may be bounded', async () => {
  for (const db of connections) {
    const error = await failureOf(db.query('create table node_never (id int)', [], { readOnly: true }));
    assert.ok(error instanceof ReadOnly, error.reason);
    assert.ok(await failureOf(db.query(NUMBERS, [100], { maxRows: 10 })) instanceof ResultTooLarge);
  }
});

test('a transaction has the isolation that is asked for', async () => {
  for (const isolation of ['read committed', 'repeatable read', 'serializable']) {
    assert.equal(await postgres.transaction(async (tx) => (await tx.query("select current_setting('transaction_isolation')")).value(), { isolation }), isolation);
  }
  assert.match((await failureOf(postgres.transaction(async () => {}, { isolation: 'none' }))).message, /isolation is one of/);
  await assert.rejects(postgres.transaction((tx) => tx.query('create table node_never (id int)'), { readOnly: true }), ReadOnly);
});

test('a statement of a batch takes what an earlier one returned', async () => {
  await postgres.query('drop table if exists node_parents');
  await postgres.query('create table node_parents (id serial primary key, parent int)');
  const results = await postgres.batch(['insert into node_parents default values returning id', sql`insert into node_parents (parent) values (${resultOf(0, 'id')}) returning parent`]);
  assert.equal(results[1].value(), results[0].value());
  await postgres.query('drop table node_parents');
});

onEach('rows go in and come out in bulk', async (db) => {
  async function* rows() {
    for (let id = 1; id <= 5000; id += 1) yield [id, id % 2 ? `name ${id}` : null];
  }
  const copied = await db.copyIn({ table: 'node_calls', columns: ['id', 'name'] }, rows());
  assert.deepEqual([copied.rowsAffected, copied.replayed, await count(db)], [5000, false, 5000]);
  const chunks = [];
  for await (const chunk of db.copyOut(sql`select id, name from node_calls where id <= 2 order by id`)) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), '1,name 1\n2,\n');
  const read = [];
  for await (const row of db.copyOut(sql`select id from node_calls where id <= 2 order by id`, { format: 'rows' })) read.push(row.map(Number));
  assert.deepEqual(read, [[1], [2]]);
  const error = await failureOf(db.copyIn({ table: 'node_calls', format: 'csv' }, ['6000,a\n', '6001,b\n1,c\n']));
  assert.ok(error instanceof UniqueViolation);
  assert.equal(error.line, 3);
  assert.equal((await failureOf(db.copyIn({ table: 'node_calls' }, (function* failing() { yield [7000, 'x']; throw new Error('no more'); })()))).message, 'no more');
  assert.equal(await count(db, 'id >= 6000'), 0);
});

test('notifications are heard until the loop is left', async () => {
  const heard = [];
  for await (const event of postgres.listen(['node_calls'])) {
    if (event.type === 'listening') for (const payload of ['a', 'b']) await postgres.query("select pg_notify('node_calls', $1)", [payload]);
    else heard.push([event.channel, event.payload]);
    if (heard.length === 2) break;
  }
  assert.deepEqual(heard, [['node_calls', 'a'], ['node_calls', 'b']]);
  await assert.rejects(async () => { for await (const _ of main.listen('x')); }, { reason: 'FEATURE_NOT_SUPPORTED' });
});

test('a statement and a server are described', async () => {
  const found = await postgres.describe('select oid, relname from pg_class where relname = $1');
  assert.deepEqual([found.columns.map(({ name, type }) => [name, type]), found.parameterTypes[0].typeName, found.readOnly], [[['oid', 'INT64'], ['relname', 'TEXT']], 'name', true]);
  const info = await main.serverInfo();
  assert.deepEqual(info.databases.map(({ name }) => name), ['main', 'mariadb', 'postgres']);
  assert.deepEqual([await main.health(), await main.health('database.main')], ['SERVING', 'SERVING']);
  assert.deepEqual(await Promise.all(connections.map((db) => db.dialect())), ['sqlite', 'postgres', 'mysql']);
});
