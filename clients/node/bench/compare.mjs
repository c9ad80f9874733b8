// Compares this package with node-postgres on the same PostgreSQL: a point select one at a time and many at a time, a short
// transaction, and a million rows.
//
//   ROWGATE_ADDRESS=127.0.0.1:50051 ROWGATE_DATABASE=main PGHOST=… PGPORT=… node bench/compare.mjs [SECONDS]
//
// Each figure is the best of three turns, which the ways take one after the other; the processor time is that of this process, in
// µs for each call or row, and steadier than the rate where others use the machine.

import pg from 'pg';
import { connect } from 'rowgate';
import rowgatePg from 'rowgate/pg';

const seconds = Number(process.argv[2] ?? 2);
const turns = 3;
const manyAtOnce = 32;
const rows = 1_000_000;
const point = 'select id, name, price from node_bench where id = $1';
const stream = `select n as id, 'row ' || n as name, n * 1.5::float8 as price from generate_series(1, ${rows}) as n`;

const db = connect(process.env.ROWGATE_ADDRESS ?? '127.0.0.1:50051', { database: process.env.ROWGATE_DATABASE, timeout: 300_000 });
const direct = new pg.Pool({ max: manyAtOnce });
const shaped = new rowgatePg.Pool({ max: manyAtOnce });

await direct.query('drop table if exists node_bench');
await direct.query(`create table node_bench as select n::int as id, 'name ' || n as name, n * 1.5::float8 as price from generate_series(1, 10000) as n`);
await direct.query('create unique index on node_bench (id)');
await direct.query('analyze node_bench');

const some = () => 1 + Math.floor(Math.random() * 10_000);

async function rate(work, workers) {
  const end = performance.now() + seconds * 1000;
  let calls = 0;
  const start = performance.now();
  const used = process.cpuUsage();
  await Promise.all(Array.from({ length: workers }, async () => {
    while (performance.now() < end) {
      await work();
      calls += 1;
    }
  }));
  return figures(calls, start, used);
}

function figures(count, start, before) {
  const { user, system } = process.cpuUsage(before);
  return { rate: count / ((performance.now() - start) / 1000), processor: (user + system) / count };
}

async function transaction(pool) {
  const client = await pool.connect();
  await client.query('begin');
  await client.query(point, [some()]);
  await client.query(point, [some()]);
  await client.query('commit');
  client.release();
}

async function million(read) {
  const start = performance.now();
  const used = process.cpuUsage();
  const count = await read();
  if (count !== rows) throw new Error(`${count} rows`);
  return figures(rows, start, used);
}

async function counted(iterable) {
  let count = 0;
  for await (const _ of iterable) count += 1;
  return count;
}

async function countedBatches(iterable) {
  let count = 0;
  for await (const batch of iterable) count += batch.length;
  return count;
}

const measures = {
  'point select, one at a time (calls/s)': {
    'node-postgres direct': () => rate(() => direct.query(point, [some()]), 1),
    'rowgate/pg': () => rate(() => shaped.query(point, [some()]), 1),
    rowgate: () => rate(() => db.query(point, [some()]), 1),
  },
  [`point select, ${manyAtOnce} at a time (calls/s)`]: {
    'node-postgres direct': () => rate(() => direct.query(point, [some()]), manyAtOnce),
    'rowgate/pg': () => rate(() => shaped.query(point, [some()]), manyAtOnce),
    rowgate: () => rate(() => db.query(point, [some()]), manyAtOnce),
  },
  'transaction of two selects, one at a time (transactions/s)': {
    'node-postgres direct': () => rate(() => transaction(direct), 1),
    'rowgate/pg': () => rate(() => transaction(shaped), 1),
    rowgate: () => rate(() => db.transaction(async (tx) => { await tx.query(point, [some()]); await tx.query(point, [some()]); }), 1),
  },
  '1,000,000 rows as objects (rows/s)': {
    'node-postgres direct': () => million(async () => (await direct.query(stream)).rows.length),
    'rowgate/pg': () => million(async () => (await shaped.query(stream)).rows.length),
    'rowgate, stream': () => million(() => counted(db.stream(stream))),
    'rowgate, stream.batches()': () => million(() => countedBatches(db.stream(stream).batches())),
    'rowgate, arrays': () => million(() => countedBatches(db.stream(stream, [], { rowMode: 'array' }).batches())),
  },
};

const wanted = process.argv[3];
for (const [title, ways] of Object.entries(measures)) {
  if (wanted && !title.includes(wanted)) continue;
  const best = {};
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [way, measure] of Object.entries(ways)) {
      const { rate: high, processor: low } = await measure();
      const known = (best[way] ??= { rate: 0, processor: Infinity });
      best[way] = { rate: Math.max(known.rate, high), processor: Math.min(known.processor, low) };
    }
  }
  console.log(title);
  const { rate: base } = best['node-postgres direct'];
  for (const [way, { rate: high, processor: low }] of Object.entries(best)) {
    console.log(`  ${way.padEnd(28)} ${Math.round(high).toLocaleString('en').padStart(10)}  × ${(high / base).toFixed(2)}  ${low.toFixed(low < 10 ? 2 : 0)} µs`);
  }
}
await direct.query('drop table node_bench');
await Promise.all([direct.end(), shaped.end()]);
db.close();
