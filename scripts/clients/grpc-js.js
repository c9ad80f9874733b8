// Asks a server with Node's grpc-js, from the proto files alone.
//
// Usage: grpc-js.js ADDRESS PROTO_DIRECTORY

'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const [address, protos] = process.argv.slice(2);
const loaded = loader.loadSync(['rowgate/v1/database.proto', 'rowgate/v1/error.proto'], {
  includeDirs: [path.resolve(protos)],
  keepCase: true,
  longs: String,
  enums: String,
  oneofs: true,
});
const { DatabaseService } = grpc.loadPackageDefinition(loaded).rowgate.v1;
const client = new DatabaseService(address, grpc.credentials.createInsecure());

// google.rpc, as much as is read here; the loader ships only google.protobuf.
const rpc = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`, { keepCase: true }).root.lookup('google.rpc');
const errors = new protobuf.Root();
errors.resolvePath = (_origin, target) => path.join(protos, target);
errors.loadSync('rowgate/v1/error.proto', { keepCase: true });

const deadline = () => ({ deadline: Date.now() + 20_000 });

function query(database, sql, parameters = []) {
  return new Promise((resolve, reject) => {
    client.Query({ database, sql, parameters }, deadline(), (error, answer) =>
      error ? reject(error) : resolve(answer.result));
  });
}

async function stream(database, sql) {
  const parts = [];
  for await (const part of client.StreamQuery({ query: { database, sql } }, deadline())) {
    parts.push(part.part);
  }
  return parts;
}

function batch(database, statements, rest = {}) {
  return new Promise((resolve, reject) => {
    client.ExecuteBatch({ database, statements, ...rest }, deadline(), (error, answer) =>
      error ? reject(error) : resolve(answer));
  });
}

// An interactive transaction: sends commands one by one, waits for each reply.
class Transaction {
  constructor(database) {
    this.stream = client.Transact(deadline());
    this.sequence = 0;
    this.replies = this.stream[Symbol.asyncIterator]();
    this.database = database;
  }

  async send(name, command) {
    this.sequence += 1;
    this.stream.write({ sequence: this.sequence, [name]: command });
    const { value, done } = await this.replies.next();
    assert.ok(!done, `the stream ended at ${name}`);
    assert.equal(value.sequence, this.sequence);
    return value;
  }

  async begin() {
    assert.equal((await this.send('begin', { database: this.database })).reply, 'begun');
    return this;
  }

  // The rows, or the status of an error.
  async query(sql) {
    let reply = await this.send('query', { sql });
    const rows = [];
    while (reply.reply === 'result') {
      const found = reply.result.result_set.rows ?? [];
      rows.push(...found.map((row) => row.values.map(bare)));
      if (!reply.result.more) return { rows };
      reply = (await this.replies.next()).value;
    }
    return { error: reply.error };
  }

  // The end of the stream once our side is closed.
  async end() {
    this.stream.end();
    assert.ok((await this.replies.next()).done, 'a reply after the end');
  }
}

// Code, ErrorInfo and DatabaseError of a call that fails.
async function failure(call, what) {
  const error = await call.then(() => assert.fail(`${what} did not fail`), (rejected) => rejected);
  assert.ok(error.metadata, String(error.stack));
  const [raw] = error.metadata.get('grpc-status-details-bin');
  const status = rpc.lookupType('Status').decode(raw);
  const detail = (name, type) => {
    const any = status.details.find((d) => d.type_url.endsWith(`/${name}`));
    assert.ok(any, `${name} is missing from ${JSON.stringify(status)}`);
    return type.decode(any.value);
  };
  return {
    code: error.code,
    info: detail('google.rpc.ErrorInfo', rpc.lookupType('ErrorInfo')),
    report: detail('rowgate.v1.DatabaseError', errors.lookupType('rowgate.v1.DatabaseError')),
  };
}

function check(what, got, wanted) {
  assert.deepEqual(got, wanted, what);
  console.log(`ok   ${what}`);
}

const plain = [
  { bool_value: true },
  { int64_value: '9223372036854775807' },
  { float64_value: 0.1 },
  { text_value: 'naïve' },
  { bytes_value: Buffer.from([0, 255]) },
  { null_value: 'NULL_VALUE' },
];
const typed = [
  { timestamp_value: { seconds: '1769903999', nanos: 123456000 } },
  { array_value: { elements: [{ int64_value: '1' }, { null_value: 'NULL_VALUE' }] } },
  { record_value: { fields: [{ int64_value: '7' }, { text_value: 'seven' }] } },
];

// What was decoded, without the names of the oneofs and the shape of arrays.
function bare(value) {
  const { [value.kind]: held } = value;
  const inside = {
    array_value: () => ({ elements: held.elements.map(bare) }),
    record_value: () => ({ fields: held.fields.map(bare) }),
    timestamp_value: () => ({ seconds: held.seconds, nanos: held.nanos }),
  }[value.kind];
  return { [value.kind]: inside ? inside() : held };
}

async function main() {
  let { rows: [row] } = await query('main', 'select $1, $2, $3, $4, $5, $6', plain);
  check('sqlite: values of every kind', row.values.map(bare), [{ int64_value: '1' }, ...plain.slice(1)]);

  await query('postgres', 'create type grpc_js_pair as (number int4, name text)');
  ({ rows: [row] } = await query(
    'postgres',
    'select $1::bool, $2::int8, $3::float8, $4::text, $5::bytea, $6::int4, $7::timestamptz,'
      + ' $8::int4[], $9::grpc_js_pair',
    [...plain, ...typed],
  ));
  check('postgres: values of every kind', row.values.map(bare), [...plain, ...typed]);
  await query('postgres', 'drop type grpc_js_pair');

  for (const database of ['main', 'postgres']) {
    check(`${database}: parts of a stream`, await stream(database, 'select 1 as one'), ['header', 'rows', 'summary']);

    await query(database, 'create table if not exists grpc_js_t (id int primary key)');
    await query(database, 'delete from grpc_js_t');
    await query(database, 'insert into grpc_js_t values (1)');
    const again = 'insert into grpc_js_t values (1)';
    const { code, info, report } = await failure(query(database, again), again);
    await query(database, 'drop table grpc_js_t');
    check(`${database}: code of a duplicate`, code, grpc.status.ALREADY_EXISTS);
    check(`${database}: its reason`, info.reason, 'UNIQUE_VIOLATION');
    check(`${database}: its domain and outcome`, [info.domain, info.metadata.outcome], ['rowgate', 'NOT_APPLIED']);
    if (database === 'postgres') {
      check('postgres: its constraint and SQLSTATE', [report.constraint, report.sqlstate], ['grpc_js_t_pkey', '23505']);
    }
    await batches(database);
    await transactions(database);
  }
  client.close();
}

async function batches(database) {
  await query(database, 'create table if not exists grpc_js_b (id int primary key)');
  await query(database, 'delete from grpc_js_b');
  const insert = { sql: 'insert into grpc_js_b values ($1)', parameters: [{ int64_value: '1' }] };
  const count = { sql: 'select count(*) from grpc_js_b' };
  const { results, attempts } = await batch(database, [insert, count]);
  check(`${database}: the results of a batch`, results.map((one) => one.command), ['INSERT', 'SELECT']);
  check(`${database}: the last one`, results[1].rows[0].values.map(bare), [{ int64_value: '1' }]);
  check(`${database}: its attempts`, attempts, 1);
  const { info, report } = await failure(batch(database, [count, insert]), 'a duplicate in a batch');
  check(`${database}: the statement that fails one`, [report.failed_statement, info.reason], [1, 'UNIQUE_VIOLATION']);
  await batch(database, [{ sql: 'delete from grpc_js_b' }], { dry_run: true });
  const { rows: [row] } = await query(database, count.sql);
  check(`${database}: what both leave`, row.values.map(bare), [{ int64_value: '1' }]);
}

async function transactions(database) {
  const count = 'select count(*) from grpc_js_b';
  const transaction = await new Transaction(database).begin();
  await transaction.query('insert into grpc_js_b values (2)');
  assert.equal((await transaction.send('savepoint', { name: 'before' })).reply, 'done');
  const { error } = await transaction.query('insert into grpc_js_b values (2)');
  check(`${database}: an error in a transaction`, error.code, grpc.status.ALREADY_EXISTS);
  assert.equal((await transaction.send('rollback_to', { name: 'before' })).reply, 'done');
  check(`${database}: what it sees`, (await transaction.query(count)).rows, [[{ int64_value: '2' }]]);
  assert.equal((await transaction.send('commit', {})).reply, 'committed');
  await transaction.end();
  const closing = await new Transaction(database).begin();
  await closing.query('delete from grpc_js_b');
  const { code, info } = await failure(closing.end(), 'a stream without a commit');
  check(`${database}: a stream without a commit`, [code, info.reason], [grpc.status.FAILED_PRECONDITION, 'NOT_COMMITTED']);
  const { rows: [row] } = await query(database, count);
  check(`${database}: what they leave`, row.values.map(bare), [{ int64_value: '2' }]);
  await query(database, 'drop table grpc_js_b');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
