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
errors.loadSync('rowgate/v1/error.proto');

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

// Code, ErrorInfo and DatabaseError of a failing query.
async function failure(database, sql) {
  const error = await query(database, sql).then(
    () => assert.fail(`${sql} did not fail`),
    (rejected) => rejected,
  );
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
    const { code, info, report } = await failure(database, 'insert into grpc_js_t values (1)');
    await query(database, 'drop table grpc_js_t');
    check(`${database}: code of a duplicate`, code, grpc.status.ALREADY_EXISTS);
    check(`${database}: its reason`, info.reason, 'UNIQUE_VIOLATION');
    check(`${database}: its domain and outcome`, [info.domain, info.metadata.outcome], ['rowgate', 'NOT_APPLIED']);
    if (database === 'postgres') {
      check('postgres: its constraint and SQLSTATE', [report.constraint, report.sqlstate], ['grpc_js_t_pkey', '23505']);
    }
  }
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
