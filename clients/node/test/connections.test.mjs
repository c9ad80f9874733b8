// The HTTP/2 connections of a process: each client has its own, and what waits in one delays nobody in another.

import { after, before, test } from 'node:test';
import { connect } from 'rowgate';
import rowgatePg from 'rowgate/pg';
import { address, assert, startServer, Way } from './harness.mjs';

// More than a connection has at a time (grpc.max_concurrent_streams).
const CALLS = 250;

let way;
before(async () => {
  way = await Way.to(address);
});
after(() => way.close());

test('calls that wait in one client delay no other one', async () => {
  const server = await startServer('[databases.other]\nurl = "sqlite:other.db"\n');
  const [busy, other] = [connect(server.address), connect(server.address, { database: 'other' })];
  try {
    await other.query('select 1');
    await busy.query('create table busy (id integer)');
    const writer = await busy.begin();
    await writer.query('insert into busy values (1)');
    let done = 0;
    const waiting = Array.from({ length: CALLS }, () => busy.query('insert into busy values (2)', [], { timeout: 60_000 }).catch(() => {}).then(() => {
      done += 1;
    }));
    assert.equal(Number((await other.query('select 2', [], { timeout: 5_000 })).value()), 2);
    assert.equal(done, 0);
    await writer.rollback();
    await Promise.all(waiting);
  } finally {
    busy.close();
    other.close();
    await server.stop();
  }
});

test('each client has a connection, and one with `connections` so many', async () => {
  const clients = [connect(way.address), connect(way.address), connect(way.address, { connections: 3 })];
  const made = [];
  for (const client of clients) {
    const before = way.connections;
    for (let call = 0; call < 6; call += 1) await client.query('select 1');
    made.push(way.connections - before);
  }
  for (const client of clients) client.close();
  assert.deepEqual(made, [1, 1, 3]);
});

test('the clients of a pool of rowgate/pg share one connection, which no other pool uses', async () => {
  const [host, port] = way.address.split(':');
  const pools = [1, 2].map(() => new rowgatePg.Pool({ host, port: Number(port), database: 'postgres' }));
  const made = [];
  for (const pool of pools) {
    const before = way.connections;
    const clients = await Promise.all([pool.connect(), pool.connect(), pool.connect()]);
    await Promise.all(clients.map((client) => client.query('select 1')));
    made.push(way.connections - before);
    for (const client of clients) client.release();
  }
  await Promise.all(pools.map((pool) => pool.end()));
  assert.deepEqual(made, [1, 1]);
});
