// A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.
//
// Usage: node example.js [ADDRESS]

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, retrying, streamQuery, toRows, toValue, transaction, unary } from './rowgate-client.js';

const table = 'example_node';
const address = process.argv[2] ?? process.env.ROWGATE_ADDRESS ?? '127.0.0.1:50051';
const { ROWGATE_CA: ca, ROWGATE_TOKEN: token } = process.env;
const { database, health, close } = connect(address, { ca, token });

async function query(sql, ...parameters) {
  const request = { sql, parameters: parameters.map(toValue) };
  return toRows((await unary(database, 'query', request, 2_000)).result);
}

const statement = (sql, ...parameters) => ({ sql, parameters: parameters.map(toValue) });

async function balances() {
  const rows = await query(`select owner, cents from ${table} order by id`);
  return rows.map(([owner, cents]) => `${owner} ${cents}`).join(', ');
}

// The error that a call fails with.
const failure = (call) => call.then(() => assert.fail('it did not fail'), (error) => error);

function show(step, got, wanted) {
  assert.equal(got, wanted, step);
  console.log(`${step}: ${got}`);
}

async function showHealth() {
  const { status } = await unary(health, 'check', { service: 'rowgate.v1.DatabaseService' }, 5_000);
  show('health', status, 'SERVING');
}

const insert = `insert into ${table} (id, owner, cents) values ($1, $2, $3)`;

// A table is created outside of batches and transactions: MySQL and MariaDB would commit them.
async function makeTable() {
  await query(`drop table if exists ${table}`);
  await query(`create table ${table} (id bigint primary key, owner text not null, cents bigint not null)`);
  const statements = [
    statement(insert, 1, 'ann', 1000),
    statement(insert, 2, 'bob', 500),
  ];
  await unary(database, 'executeBatch', { statements }, 5_000);
}

async function showQuery() {
  const [[owner, cents]] = await query(
    `select owner, cents from ${table} where owner = $1 and cents >= $2`, 'ann', 1000);
  show('query', `${owner} has ${cents}`, 'ann has 1000');
}

// A result of any size, in constant memory; it is complete only with its summary.
async function showStream() {
  const numbers = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1)'
    + ' select n from numbers';
  let sum = 0;
  let summary;
  for await (const part of streamQuery(database, statement(numbers, 10_000), 30_000)) {
    if (part.part === 'rows') sum = toRows(part.rows).reduce((total, [number]) => total + number, sum);
    if (part.part === 'summary') ({ summary } = part);
  }
  assert.ok(summary, 'the stream is incomplete');
  show('stream', `${summary.rowCount} rows, sum ${sum}`, '10000 rows, sum 50005000');
}

// All or nothing, and once: with the key it may be sent again whatever became of the first call.
async function showBatch() {
  const transfer = {
    statements: [
      {
        ...statement(`update ${table} set cents = cents - $1 where id = $2 and cents >= $1`, 300, 1),
        expect: { exactly: 1 },
      },
      {
        ...statement(`update ${table} set cents = cents + $1 where id = $2`, 300, 2),
        expect: { exactly: 1 },
      },
    ],
    options: { idempotencyKey: `transfer-${randomUUID()}` },
  };
  const first = await unary(database, 'executeBatch', transfer, 5_000);
  const again = await unary(database, 'executeBatch', transfer, 5_000);
  show('batch', `replayed ${first.replayed}, then ${again.replayed}, ${await balances()}`,
    'replayed false, then true, ann 700, bob 800');
}

async function showTransaction() {
  const undone = await transaction(database, async (opened) => {
    const [[cents]] = await opened.query(`select cents from ${table} where id = $1`, 1);
    await opened.query(`update ${table} set cents = $1 where id = $2`, cents / 2, 1);
    return failure(opened.savepoint('before_insert', () => opened.query(insert, 2, 'bob', 0)));
  });
  show('transaction', `${undone.reason} undone, ${await balances()}`,
    'UNIQUE_VIOLATION undone, ann 350, bob 800');
}

async function showError() {
  const error = await failure(query(insert, 1, 'ann', 0));
  show('error', `${error.code} ${error.reason} ${error.outcome}`, 'ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED');
}

// The server rolls back a transaction that is silent for too long; RetryInfo says when to begin again.
async function showRetry() {
  const begin = { transaction: { idleTimeout: { nanos: 100e6 } } };
  const failures = [];
  const work = async (opened) => {
    if (failures.length === 0) await sleep(500);
    await opened.query(`update ${table} set cents = cents + 1 where id = $1`, 1);
  };
  await retrying(() => transaction(database, work, { begin }).catch((error) => {
    failures.push(`${error.reason} ${error.outcome}`);
    throw error;
  }));
  show('retry', `${failures.join(', ')}, ${await balances()}`,
    'IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800');
}

// The statement ends in the database, too, and the answer says so just before the deadline.
async function showDeadline() {
  const sql = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000)'
    + ' select count(*) from numbers';
  const error = await failure(unary(database, 'query', { sql }, 500));
  show('deadline', error.code, 'DEADLINE_EXCEEDED');
}

try {
  await showHealth();
  await makeTable();
  await showQuery();
  await showStream();
  await showBatch();
  await showTransaction();
  await showError();
  await showRetry();
  await showDeadline();
  await query(`drop table ${table}`);
  console.log('ok');
} finally {
  close();
}
