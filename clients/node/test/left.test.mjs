// Streams that are given up before their first message, whose calls must not go on.

import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { Cancelled, connect, sql } from 'rowgate';
import { address, assert, failureOf, until } from './harness.mjs';

const postgres = connect(address, { database: 'postgres' });
after(() => postgres.close());

const running = async (mark) => Number((await postgres.query(
  "select count(*) from pg_stat_activity where state = 'active' and query like $1 and pid <> pg_backend_pid()", [`%${mark}%`])).value());

// Runs `work` with an endless query that only it has; afterwards nothing of it may run.
function onEndless(name, work) {
  test(name, async () => {
    const db = connect(address, { database: 'postgres' });
    const mark = `mark_${randomUUID().replaceAll('-', '')}`;
    // Its quoted name makes a client ask for the dialect first: what is cancelled meanwhile must not be sent behind that.
    await work(db, sql`select generate_series(1, 1000000000) as ${sql.identifier(mark)}`, mark);
    // By the same connection, so that the server has seen what was sent before.
    await db.query('select 1');
    await until('nothing of it runs in the database', async () => (await running(mark)) === 0);
    db.close();
  });
}

function checkCancelled(error, outcome) {
  assert.ok(error instanceof Cancelled, String(error));
  assert.deepEqual([error.message, error.outcome], ['the stream was cancelled before its first message', outcome]);
}

onEndless('a stream that is cancelled while it is opened leaves nothing running', async (db, endless) => {
  const stream = db.stream(endless);
  const read = failureOf(stream.batches().next());
  stream.cancel();
  checkCancelled(await read, 'UNKNOWN');
});

onEndless('an iterator that is returned while its stream is opened leaves nothing running', async (db, endless) => {
  const batches = db.stream(endless).batches();
  const read = failureOf(batches.next());
  await batches.return();
  checkCancelled(await read, 'UNKNOWN');
});

onEndless('a copy that is cancelled while it is opened leaves nothing running', async (db, endless) => {
  const copy = db.copyOut(endless);
  const read = failureOf(copy[Symbol.asyncIterator]().next());
  copy.cancel();
  checkCancelled(await read, 'NOT_APPLIED');
});

onEndless('a stream that was cancelled before it is read is not sent', async (db, endless) => {
  const stream = db.stream(endless);
  stream.cancel();
  checkCancelled(await failureOf(stream[Symbol.asyncIterator]().next()), 'NOT_APPLIED');
});

onEndless('a signal that is aborted while a stream is opened ends it', async (db, endless) => {
  const controller = new AbortController();
  const reads = [db.stream(endless, { signal: controller.signal }), db.copyOut(endless, { signal: controller.signal })]
    .map((stream) => failureOf(stream[Symbol.asyncIterator]().next()));
  controller.abort(new Error('enough'));
  for (const error of await Promise.all(reads)) assert.ok(error instanceof Cancelled && error.cause.message === 'enough', String(error));
});

// grpc-js starts a call in several turns, and forgets a cancellation between them.
onEndless('a call that is cancelled at any moment after it was made leaves nothing running', async (db, endless) => {
  await db.dialect();
  for (let turns = 0; turns < 40; turns += 1) {
    const controller = new AbortController();
    const { signal } = controller;
    const stream = db.stream(endless);
    const ends = [failureOf(stream.batches().next()), failureOf(db.query(endless, { signal })), failureOf(db.stream(endless, { signal }).batches().next())];
    const begun = db.begin({ signal }).then((transaction) => transaction.abandon(), () => {});
    for (let turn = 0; turn < turns; turn += 1) await undefined;
    stream.cancel();
    controller.abort();
    await Promise.all(ends);
    await begun;
  }
});

onEndless('a loop that throws at the first row ends its stream', async (db, endless) => {
  await assert.rejects(async () => {
    for await (const _ of db.stream(endless)) throw new Error('not this one');
  }, /not this one/);
});

onEndless('two reads at the same time open one call', async (db, endless, mark) => {
  const batches = db.stream(endless).batches();
  await Promise.all([batches.next(), batches.next()]);
  assert.equal(await running(mark), 1);
  await batches.return();
});
