// Connect and gRPC-Web by ConnectRPC's own clients: connect-node over HTTP/1.1 and HTTP/2, and connect-web over fetch,
// each with JSON and with Protocol Buffers. Prints a line for each, and fails at the first difference.
//
//   node connect.js ADDRESS DESCRIPTORS

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');
const { Code, ConnectError, createClient } = require('@connectrpc/connect');
const node = require('@connectrpc/connect-node');
const web = require('@connectrpc/connect-web');

const [address, descriptors] = process.argv.slice(2);
const baseUrl = `http://${address}`;
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const service = (name) => registry.getService(`rowgate.v1.${name}`);

// A header that a browser cannot send by itself, for calls by GET.
const prove = (next) => (request) => {
  request.header.set('Connect-Timeout-Ms', '10000');
  return next(request);
};

const ENDLESS = 'with recursive c(n) as (select 1 union all select n + 1 from c) select max(n) from c';
const ROWS = 'with recursive c(n) as (select 1 union all select n + 1 from c where n < 20000) select n from c';

function transports() {
  const all = [];
  for (const useBinaryFormat of [false, true]) {
    const form = useBinaryFormat ? 'Protocol Buffers' : 'JSON';
    for (const httpVersion of ['1.1', '2']) {
      const options = { baseUrl, httpVersion, useBinaryFormat };
      const over = `HTTP/${httpVersion}, ${form}`;
      all.push([`connect-node, ${over}`, node.createConnectTransport(options)]);
      all.push([`gRPC-Web of connect-node, ${over}`, node.createGrpcWebTransport(options)]);
    }
    all.push([`connect-web, ${form}`, web.createConnectTransport({ baseUrl, useBinaryFormat })]);
    all.push([`gRPC-Web of connect-web, ${form}`, web.createGrpcWebTransport({ baseUrl, useBinaryFormat })]);
  }
  const useHttpGet = { baseUrl, httpVersion: '1.1', useHttpGet: true, interceptors: [prove] };
  all.push(['connect-node, GET', node.createConnectTransport(useHttpGet)]);
  return all;
}

async function failure(promise) {
  const error = ConnectError.from(await promise.then(() => assert.fail('it succeeds'), (error) => error));
  return { code: error.code, message: error.rawMessage, details: error.details };
}

async function unary(client) {
  const parameters = [{ kind: { case: 'int64Value', value: 2n } }, { kind: { case: 'textValue', value: 'é☃' } }];
  const answer = await client.query({ sql: 'select 40 + $1 as n, $2 as t, null as x, 1.5 as f', parameters });
  assert.deepEqual(answer.result.rows[0].values.map((value) => value.kind.value), [42n, 'é☃', 0, 1.5]);
  assert.deepEqual(answer.result.columns.map((column) => column.name), ['n', 't', 'x', 'f']);
}

async function errors(client) {
  const error = await failure(client.query({ sql: 'select missing_column' }));
  assert.equal(error.code, Code.InvalidArgument);
  assert.equal(error.message, 'no such column: missing_column');
  const [info] = error.details;
  assert.equal(info.type, 'google.rpc.ErrorInfo');
  const value = Buffer.from(info.value).toString('latin1');
  assert.match(value, /UNDEFINED_COLUMN[\s\S]*rowgate[\s\S]*outcome[\s\S]*NOT_APPLIED/);
  const refused = await failure(client.query({ sql: '' }));
  assert.equal(refused.code, Code.InvalidArgument);
}

async function streams(client) {
  let rows = 0n;
  let summary;
  for await (const { part } of client.streamQuery({ query: { sql: ROWS } })) {
    if (part.case === 'rows') rows += BigInt(part.value.rows.length);
    if (part.case === 'summary') summary = part.value;
  }
  assert.deepEqual([rows, summary.rowCount], [20000n, 20000n]);
  const read = async () => {
    for await (const part of client.streamQuery({ query: { sql: 'select missing_column' } })) assert.fail(part);
  };
  assert.equal((await failure(read())).code, Code.InvalidArgument);
}

async function idle(pools) {
  for (let tries = 0; tries < 200; tries += 1) {
    const { pools: [pool] } = await pools.listPoolStats({ pool: 'main' });
    if (pool.inUse === 0) return;
    await new Promise((resolve) => { setTimeout(resolve, 25); });
  }
  assert.fail('a statement runs on');
}

async function deadlines(client, pools) {
  const late = await failure(client.query({ sql: ENDLESS }, { timeoutMs: 300 }));
  assert.equal(late.code, Code.DeadlineExceeded);
  const controller = new AbortController();
  const call = failure(client.query({ sql: ENDLESS }, { signal: controller.signal }));
  setTimeout(() => controller.abort(), 100);
  assert.equal((await call).code, Code.Canceled);
  await idle(pools);
}

async function main() {
  for (const [name, transport] of transports()) {
    const client = createClient(service('DatabaseService'), transport);
    const pools = createClient(service('PoolService'), transport);
    await unary(client);
    await errors(client);
    await streams(client);
    await deadlines(client, pools);
    const { columns } = await client.describeStatement({ sql: 'select 1 as n' });
    assert.equal(columns[0].name, 'n');
    console.log(`${name}: unary calls, errors, streams, deadlines and cancellations`);
  }
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
