// Work that was applied, whose answer is lost, and that cannot be sent again: what the caller is told of it is UNKNOWN.

import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { connect, KeyApplied, OutcomeUnknown, PoolExhausted, RowgateError, sql, TransportFailure, UniqueViolation } from 'rowgate';
import rowgatePg from 'rowgate/pg';
import { connect as connectWeb } from 'rowgate/web';
import { Doubt } from '../dist/esm/doubt.js';
import { address, assert, DATABASES, failureOf, until, Way } from './harness.mjs';

const direct = Object.fromEntries(DATABASES.map((database) => [database, connect(address, { database })]));
before(() => Promise.all(DATABASES.map(async (database) => {
  await direct[database].query('drop table if exists node_doubt');
  await direct[database].query('create table node_doubt (mark varchar(40) primary key)');
})));
after(() => Promise.all(DATABASES.map(async (database) => {
  await direct[database].query('drop table node_doubt');
  direct[database].close();
})));

const insert = 'insert into node_doubt values ($1)';
const applied = async (database, mark) => Number((await direct[database].query('select count(*) from node_doubt where mark = $1', [mark])).value());

// Runs `work` over a way to a database that has answered once.
async function throughWay(database, work, open = connect) {
  const way = await Way.to(address);
  const db = open(way.address, { database, channelOptions: { 'grpc.initial_reconnect_backoff_ms': 100 } });
  try {
    await db.query('select 1');
    await work(db, way, randomUUID());
  } finally {
    db.close();
    way.close();
  }
}

// Loses all answers from now on, and cuts the connection when the work was applied; `then` comes before the cut.
async function loseAnswer(database, way, mark, then = () => {}) {
  way.lets = () => false;
  await until('it is applied', async () => (await applied(database, mark)) > 0);
  await then();
  way.lets = () => true;
  way.cut();
}

const refuse = (way) => () => {
  way.refuses = true;
};

function checkUnknown(error, cause) {
  assert.ok(error instanceof TransportFailure, String(error));
  assert.deepEqual([error.outcome, error.status, error.retryAfter, error.transactionToken], ['UNKNOWN', 'UNAVAILABLE', undefined, undefined]);
  assert.ok(error.cause instanceof RowgateError, String(error.cause));
  assert.deepEqual([error.cause.reason, error.cause.outcome], [cause, 'NOT_APPLIED']);
  assert.ok(error.message.endsWith(`; sending it again did not tell what became of it: ${error.cause.message}`), error.message);
}

// Each begins to lose answers by `lose` before that of what applies it.
const calls = {
  query: (db, mark, options, lose) => {
    lose();
    return db.query(insert, [mark], options);
  },
  batch: (db, mark, options, lose) => {
    lose();
    return db.batch([sql`insert into node_doubt values (${mark})`], options);
  },
  transaction: (db, mark, options, lose) => db.transaction(async (tx) => {
    await tx.query(insert, [mark]);
    lose();
  }, options),
};

for (const database of DATABASES) {
  for (const [name, call] of Object.entries(calls)) {
    test(`${database}: a ${name} with a key that cannot be sent again stays unknown`, () => throughWay(database, async (db, way, mark) => {
      let lost;
      const error = await failureOf(call(db, mark, { key: mark, retries: 2 }, () => {
        lost = loseAnswer(database, way, mark, refuse(way));
      }));
      await lost;
      checkUnknown(error, 'TRANSPORT_FAILURE');
      assert.deepEqual([await applied(database, mark), await direct[database].outcome({ key: mark })], [1, 'APPLIED']);
    }));
  }
}

test('an attempt that was not sent is made again while one before it is in doubt', () => throughWay('main', async (db, way, mark) => {
  const lost = loseAnswer('main', way, mark, refuse(way));
  const call = db.query(insert, [mark], { key: mark, retries: 20 });
  await lost;
  const refused = way.connections;
  await until('connections were refused', () => way.connections > refused + 1);
  way.refuses = false;
  assert.deepEqual([(await call).replayed, await applied('main', mark)], [true, 1]);
}));

test('a call that the server does not run again stays unknown', () => throughWay('main', async (db, way, mark) => {
  // The only writer of SQLite, for which the second attempt waits.
  let held;
  const lost = loseAnswer('main', way, mark, async () => {
    held = await direct.main.begin();
  });
  const error = await failureOf(db.query(insert, [mark], { key: mark, retries: 3, timeout: 1_500 }));
  await lost;
  checkUnknown(error, 'DEADLINE');
  await held.rollback();
  assert.equal(await applied('main', mark), 1);
}));

test('a connection that is closed in the pause leaves it unknown', () => throughWay('main', async (db, way, mark) => {
  const lost = loseAnswer('main', way, mark, refuse(way));
  const call = failureOf(db.query(insert, [mark], { key: mark, retries: 3 }));
  await lost;
  db.close();
  checkUnknown(await call, 'CANCELLED');
}));

test('a signal that is aborted in the pauses leaves it unknown', () => throughWay('main', async (db, way, mark) => {
  const controller = new AbortController();
  const lost = loseAnswer('main', way, mark, refuse(way));
  const call = failureOf(db.query(insert, [mark], { key: mark, retries: 100, signal: controller.signal }));
  await lost;
  await until('connections were refused', () => way.connections > 2);
  controller.abort(new Error('enough'));
  const error = await call;
  assert.deepEqual([error.outcome, await applied('main', mark)], ['UNKNOWN', 1], String(error));
}));

test('a timeout that ends the repetitions leaves it unknown', () => throughWay('main', async (db, way, mark) => {
  const lost = loseAnswer('main', way, mark, refuse(way));
  const error = await failureOf(db.query(insert, [mark], { key: mark, retries: 100, timeout: 1_000 }));
  await lost;
  assert.deepEqual([error.outcome, error.retryAfter, await applied('main', mark)], ['UNKNOWN', undefined, 1], String(error));
}));

test('over fetch it stays unknown, too', () => throughWay('main', async (db, way, mark) => {
  const lost = loseAnswer('main', way, mark, refuse(way));
  const error = await failureOf(db.query(insert, [mark], { key: mark, retries: 1 }));
  await lost;
  assert.deepEqual([error.outcome, error.retryAfter, await applied('main', mark)], ['UNKNOWN', undefined, 1], String(error));
}, (target, options) => connectWeb(`http://${target}`, options)));

test('a beginning under the key tells that the commit before was not applied', () => throughWay('main', async (db, way, mark) => {
  let runs = 0;
  const failed = new RangeError('of the work itself');
  const error = await failureOf(db.transaction(async (tx) => {
    runs += 1;
    if (runs > 1) throw failed;
    await tx.query(insert, [mark]);
    // The commit does not arrive.
    way.takes = () => {
      way.takes = () => true;
      way.cut();
      return false;
    };
  }, { key: mark, retries: 20 }));
  assert.deepEqual([error, runs, await applied('main', mark)], [failed, 2, 0]);
}));

test('rowgate/pg: a COMMIT without an answer stays unknown when the server is gone', async () => {
  const way = await Way.to(address);
  const [host, port] = way.address.split(':');
  const pool = new rowgatePg.Pool({ host, port: Number(port), database: 'postgres' });
  const client = await pool.connect();
  const mark = randomUUID();
  await client.query('begin');
  await client.query(insert, [mark]);
  const lost = loseAnswer('postgres', way, mark, refuse(way));
  const error = await failureOf(client.query('commit'));
  await lost;
  assert.deepEqual([error.outcome, await applied('postgres', mark)], ['UNKNOWN', 1], String(error));
  const next = await failureOf(client.query('select 1'));
  assert.deepEqual([next.outcome, next.status], ['NOT_APPLIED', 'UNAVAILABLE'], String(next));
  client.release(error);
  await pool.end();
  way.close();
});

// The rule

const unknown = (transactionToken) => new OutcomeUnknown({ message: 'lost', status: 'UNKNOWN', reason: 'OUTCOME_UNKNOWN', outcome: 'UNKNOWN', transactionToken });
const refused = new PoolExhausted({ message: 'full', status: 'RESOURCE_EXHAUSTED', reason: 'POOL_EXHAUSTED', outcome: 'NOT_APPLIED', retryAfter: 100 });

function doubtBehind(...errors) {
  const doubt = new Doubt();
  for (const error of errors) doubt.note(error);
  return doubt;
}

test('no error with the outcome NOT_APPLIED, and none without an outcome, resolves an attempt in doubt', () => {
  const exists = new UniqueViolation({ message: 'it is there', status: 'ALREADY_EXISTS', reason: 'UNIQUE_VIOLATION', outcome: 'NOT_APPLIED' });
  for (const last of [refused, exists, new TypeError('no token')]) {
    const error = doubtBehind(unknown('first'), last).told(last);
    assert.ok(error instanceof OutcomeUnknown && !(error instanceof PoolExhausted), String(error));
    assert.deepEqual([error.outcome, error.cause, error.transactionToken, 'retryAfter' in error], ['UNKNOWN', last, 'first', false]);
    assert.equal(error.message, `lost; sending it again did not tell what became of it: ${last.message}`);
  }
});

test('the outcome APPLIED resolves it, and without a doubt errors stay as they are', () => {
  const done = new KeyApplied({ message: 'done', status: 'ALREADY_EXISTS', reason: 'KEY_APPLIED', outcome: 'APPLIED' });
  assert.equal(doubtBehind(unknown()).told(done), done);
  for (const last of [unknown('one'), refused, new TypeError('other')]) assert.equal(doubtBehind(last).told(last), last);
  const doubt = doubtBehind(unknown());
  doubt.resolve();
  assert.deepEqual([doubt.told(refused), doubt.isOpen], [refused, false]);
});

test('the token of one attempt is not given where others are in doubt', () => {
  const [first, last] = [unknown('first'), unknown('last')];
  const doubt = doubtBehind(first, last);
  for (const error of [doubt.told(last), doubt.told(refused)]) {
    assert.deepEqual([error.outcome, error.transactionToken, error.reason], ['UNKNOWN', undefined, 'OUTCOME_UNKNOWN']);
  }
  assert.equal(last.transactionToken, 'last');
});
