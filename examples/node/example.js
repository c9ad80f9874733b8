// A tour of Rowgate: the result of each step is a line.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, sql } from 'rowgate';

const { ROWGATE_CA: ca, ROWGATE_TOKEN: token } = process.env;
const db = connect(process.argv[2], { tls: ca && { ca: readFileSync(ca) }, token, timeout: 5_000 });
const numbers = (last) => sql`with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < ${last})
  select n from numbers`;
const cents = async () => (await db.sql`select cents from example_node where owner = ${'ann'}`).value();

// All or nothing, and once: with its key it may be sent again whatever became of the first call.
async function batch() {
  const change = (owner, cents) => ({
    sql: sql`update example_node set cents = cents + ${cents} where owner = ${owner} and cents + ${cents} >= 0`,
    expect: 1,
  });
  const transfer = [change('ann', -300), change('bob', 300)];
  const key = `transfer-${randomUUID()}`;
  const [first] = await db.batch(transfer, { key });
  const [again] = await db.batch(transfer, { key });
  console.log(`batch: replayed ${first.replayed}, then ${again.replayed}, ann has ${await cents()}`);
}

// The first attempt is silent for so long that the server rolls it back; another one is made.
async function transaction() {
  let attempts = 0;
  await db.transaction(async (tx) => {
    attempts += 1;
    const cents = (await tx.sql`select cents from example_node where owner = ${'ann'}`).value();
    if (attempts === 1) await sleep(500);
    await tx.sql`update example_node set cents = ${cents / 2n} where owner = ${'ann'}`;
  }, { retries: 3, idleTimeout: 100 });
  console.log(`transaction: ${attempts} attempts, ann has ${await cents()}`);
}

// A result of any size, in constant memory; one that is not complete is an error.
async function stream() {
  const rows = db.stream(numbers(10_000));
  let sum = 0;
  for await (const { n } of rows) sum += Number(n);
  console.log(`stream: ${rows.summary.rowCount} rows, sum ${sum}`);
}

try {
  await db.sql`drop table if exists example_node`;
  await db.sql`create table example_node (id bigint primary key, owner text not null, cents bigint not null)`;
  await db.sql`insert into example_node values (1, 'ann', 1000), (2, 'bob', 500)`;
  const row = (await db.sql`select owner, cents from example_node where owner = ${'ann'} and cents >= ${1000}`).one();
  console.log(`query: ${row.owner} has ${row.cents}`);
  await db.sql`insert into example_node values (${1}, ${'ann'}, ${0})`.catch((error) => {
    console.log(`error: ${error.reason}, ${error.outcome}`);
  });
  await batch();
  await transaction();
  await stream();
  await db.query(sql`select count(*) from (${numbers(1_000_000_000)}) as endless`, { timeout: 500 }).catch((error) => {
    console.log(`deadline: ${error.status}`); // the statement has ended in the database, too
  });
  await db.sql`drop table example_node`;
  console.log('ok');
} finally {
  db.close();
}
