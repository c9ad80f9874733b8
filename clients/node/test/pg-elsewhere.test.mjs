// The shape of node-postgres on SQLite and MariaDB: what is written comes back, and can be written again, in any time zone.

import { after, test } from 'node:test';
import rowgate, { sql } from 'rowgate/pg';
import { address, assert } from './harness.mjs';

const pools = { main: new rowgate.Pool({ address, database: 'main' }), mariadb: new rowgate.Pool({ address, database: 'mariadb' }) };
after(() => Promise.all(Object.values(pools).map((pool) => pool.end())));

const ZONES = ['UTC', 'America/New_York', 'Asia/Tokyo', 'Asia/Kathmandu'];
const moment = new Date('2020-01-02T03:04:05.678Z');
const whole = new Date('2020-01-02T03:04:05Z');
const day = new Date('2020-01-02T00:00:00Z');
const bytes = Buffer.from([0, 255]);

// [type, values]: each comes back equal, or as the second of a pair.
const VALUES = {
  mariadb: [
    ['datetime(3)', [moment, ['2020-01-02 03:04:05.678', moment], ['2020-01-02', day]]], ['datetime(6)', [['2020-01-02 03:04:05.678901', moment]]], ['date', [day, [moment, day], ['2020-01-02', day]]],
    ['timestamp(3) null', [moment]], ['time(3)', ['03:04:05.678', '-838:59:59.000']], ['year', [2020]], ['bigint', ['9007199254740993', [5, '5'], [5n, '5']]],
    ['bigint unsigned', ['18446744073709551615']], ['int', [5]], ['tinyint(1)', [[true, 1]]], ['bit(1)', [true]], ['decimal(30,10)', ['12345678901234567890.1234567890', [1.5, '1.5000000000']]],
    ['double', [0.1, 1e23]], ['float', [1.1]], ['varchar(50)', ['x', '5', '2020-01-02 03:04:05']], ['blob', [bytes]], ['json', [{ a: 1 }, [JSON.stringify([1, 2]), [1, 2]], [[1, { a: 'ü' }], [1, { a: 'ü' }]]]],
    ['uuid', ['123e4567-e89b-12d3-a456-426614174000']],
  ],
  main: [
    ...['datetime', 'timestamp', 'timestamptz', 'date'].map((type) => [type, [
      moment, ['2020-01-02 03:04:05', whole], ['2020-01-02', day], ['2020-01-02T03:04:05Z', whole], ['2020-01-02 08:49:05+05:45', whole], ['2020-01-01 22:04:05-05', whole],
      ['2020-01-02 03:04:05.678901', moment], 'yesterday', '', '03:04', '2020-02-31', '0000-00-00 00:00:00', '2020-01-02 24:00:00', 1577934245, 2458850.5,
    ]]),
    ['json', [{ a: 1 }, 'no document', ['[1]', [1]], [[1, 'x'], [1, 'x']], 5]], ['interval', ['1 day', 'x']], ['time', ['03:04:05', 'x']], ['boolean', [true, false, 'x', 7]],
    ['bigint', ['9007199254740993', [5n, '5'], 'x']], ['integer', [5, ['5', 5], 1.5, 'x', [9007199254740993n, '9007199254740993']]], ['decimal(10,2)', [[1.5, '1.5'], [2, '2'], 'x']],
    ['real', [1.5, 1e23, 'x']], ['text', ['x', '5', '2020-01-02 03:04:05']], ['blob', [bytes, 'x', 5]], ['', ['x', 5, 1.5, bytes]],
  ],
};

for (const [database, types] of Object.entries(VALUES)) {
  for (const zone of ZONES) {
    test(`a value comes back as it went, and again (${database}, ${zone})`, async () => {
      const before = process.env.TZ;
      process.env.TZ = zone;
      const pool = pools[database];
      const client = await pool.connect();
      try {
        for (const [type, values] of types) {
          await client.query('drop table if exists node_pg_values');
          await client.query(`create table node_pg_values (v ${type})`);
          for (const each of values) {
            const [value, expected] = Array.isArray(each) ? each : [each, each];
            let sent = value;
            for (const time of ['once', 'again']) {
              await client.query('delete from node_pg_values');
              // A list that was read is written as one.
              await client.query('insert into node_pg_values values ($1)', [sent]);
              sent = (await client.query('select v from node_pg_values')).rows[0].v;
              assert.deepEqual(sent, expected, `${type} ${String(value)}, ${time}`);
            }
          }
        }
      } finally {
        client.release();
        if (before === undefined) delete process.env.TZ;
        else process.env.TZ = before;
        await pool.query('drop table node_pg_values');
      }
    });
  }
}

test('parsers of the program get the text of what is stored', async () => {
  const types = { getTypeParser: (oid) => (text) => `${oid}: ${text}` };
  for (const [database, pool] of Object.entries(pools)) {
    await pool.query('drop table if exists node_pg_parsed');
    await pool.query('create table node_pg_parsed (at datetime, on_day date, doc json)');
    await pool.query("insert into node_pg_parsed values ('2020-01-02 03:04:05', '2020-01-02', '[1]')");
    const { rows } = await pool.query({ text: 'select * from node_pg_parsed', types });
    assert.deepEqual(rows, [{ at: '1114: 2020-01-02 03:04:05', on_day: '1082: 2020-01-02', doc: '114: [1]' }], database);
    await pool.query('drop table node_pg_parsed');
  }
});

test('names of a tagged statement are quoted as the database wants it', async () => {
  for (const [database, pool] of Object.entries(pools)) {
    await pool.query('drop table if exists node_pg_names');
    await pool.query(sql`create table ${sql.identifier('node_pg_names')} (${sql.identifier('a b')} int)`);
    await pool.query(sql`insert into ${sql.identifier('node_pg_names')} values (${7})`);
    const text = sql`select ${sql.identifier('a b')} as n from ${sql.identifier('node_pg_names')} where ${sql.identifier('a b')} = ${7}`;
    assert.deepEqual((await pool.query(text)).rows, [{ n: 7 }], database);
    const client = await pool.connect();
    const rows = await new Promise((resolve, reject) => {
      const query = client.query(new rowgate.Query(text));
      const told = [];
      query.on('row', (row) => told.push(row)).on('end', () => resolve(told)).on('error', reject);
    });
    assert.deepEqual(rows, [{ n: 7 }], database);
    client.release();
    await pool.query('drop table node_pg_names');
  }
});

test('an object says by toPostgres what it is sent as', async () => {
  for (const [database, pool] of Object.entries(pools)) {
    const { rows } = await pool.query('select $1 as n, $2 as s', [{ toPostgres: () => 5 }, { toPostgres: (prepare) => prepare([1, 2]) }]);
    assert.deepEqual([Number(rows[0].n), rows[0].s], [5, '{"1","2"}'], database);
    const self = { toPostgres() { return this; } };
    await assert.rejects(pool.query('select $1', [self]), /leads back to the value itself/);
  }
});
