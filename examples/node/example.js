// A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.
//
// Usage: node example.js [ADDRESS]

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, sql } from 'rowgate';

const table = sql.raw('example_node');
const address = process.argv[2] ?? process.env.ROWGATE_ADDRESS ?? '127.0.0.1:50051';
const { ROWGATE_CA: ca, ROWGATE_TOKEN: token } = process.env;
const db = connect(address, { tls: ca && { ca: readFileSync(ca) }, token, timeout: 5_000 });

async function balances() {
  const rows = await db.sql`select owner, cents from ${table} order by id`;
  return [...rows].map(({ owner, cents }) => `${owner} ${cents}`).join(', ');
}

// The error that a call fails with.
const failure = (call) => call.then(() => assert.fail('it did not fail'), (error) => error);

function show(step, got, wanted) {
  assert.equal(got, wanted, step);
  console.log(`${step}: ${got}`);
}

// A table is created outside of batches and transactions: MySQL and MariaDB would commit them.
async function makeTable() {
  await db.sql`drop table if exists ${table}`;
  await db.sql`create table ${table} (id bigint primary key, owner text not null, cents bigint not null)`;
  await db.batch([sql`insert into ${table} values (${1}, ${'ann'}, ${1000})`, sql`insert into ${table} values (${2}, ${'bob'}, ${500})`]);
}

async function showQuery() {
  const { owner, cents } = (await db.sql`select owner, cents from ${table} where owner = ${'ann'} and cents >= ${1000}`).one();
  show('query', `${owner} has ${cents}`, 'ann has 1000');
}

// A result of any size, in constant memory; one that is not complete is an error.
async function showStream() {
  const numbers = db.stream(sql`with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < ${10_000})
    select n from numbers`);
  let sum = 0;
  for await (const { n } of numbers) sum += Number(n);
  show('stream', `${numbers.summary.rowCount} rows, sum ${sum}`, '10000 rows, sum 50005000');
}

// All or nothing, and once: with the key it may be sent again whatever became of the first call.
async function showBatch() {
  const transfer = [
    { sql: sql`update ${table} set cents = cents - ${300} where id = ${1} and cents >= ${300}`, expect: 1 },
    { sql: sql`update ${table} set cents = cents + ${300} where id = ${2}`, expect: 1 },
  ];
  const key = `transfer-${randomUUID()}`;
  const [[first], [again]] = [await db.batch(transfer, { key }), await db.batch(transfer, { key })];
  show('batch', `replayed ${first.replayed}, then ${again.replayed}, ${await balances()}`,
    'replayed false, then true, ann 700, bob 800');
}

async function showTransaction() {
  const undone = await db.transaction(async (tx) => {
    const cents = (await tx.sql`select cents from ${table} where id = ${1}`).value();
    await tx.sql`update ${table} set cents = ${cents / 2n} where id = ${1}`;
    return failure(tx.savepoint(() => tx.sql`insert into ${table} values (${2}, ${'bob'}, ${0})`));
  });
  show('transaction', `${undone.reason} undone, ${await balances()}`, 'UNIQUE_VIOLATION undone, ann 350, bob 800');
}

async function showError() {
  const error = await failure(db.sql`insert into ${table} values (${1}, ${'ann'}, ${0})`);
  show('error', `${error.status} ${error.reason} ${error.outcome}`, 'ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED');
}

// The server rolls back a transaction that is silent for too long, and says when to begin again: it runs twice.
async function showRetry() {
  const failures = [];
  await db.transaction(async (tx) => {
    if (failures.length === 0) await sleep(500);
    await tx.sql`update ${table} set cents = cents + 1 where id = ${1}`.catch((error) => {
      failures.push(`${error.reason} ${error.outcome}`);
      throw error;
    });
  }, { retries: 3, idleTimeout: 100 });
  show('retry', `${failures.join(', ')}, ${await balances()}`, 'IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800');
}

// The statement ends in the database, too, and the answer says what became of it.
async function showDeadline() {
  const error = await failure(db.query(
    `with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000) select count(*) from numbers`,
    [], { timeout: 500 }));
  show('deadline', error.status, 'DEADLINE_EXCEEDED');
}

try {
  show('health', await db.health(), 'SERVING');
  await makeTable();
  await showQuery();
  await showStream();
  await showBatch();
  await showTransaction();
  await showError();
  await showRetry();
  await showDeadline();
  await db.sql`drop table ${table}`;
  console.log('ok');
} finally {
  db.close();
}
