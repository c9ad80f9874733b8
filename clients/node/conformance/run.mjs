// Runs the conformance list for clients with this package: see ../../conformance/README.md.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectByGrpc, resultOf, RowgateError } from 'rowgate';
import { connect as connectByFetch } from 'rowgate/web';
import { parameter, same, sameRow } from './values.mjs';

const { ROWGATE_ADDRESS: address = '127.0.0.1:50051', ROWGATE_BACKEND: backend = 'sqlite' } = process.env;
const database = process.env.ROWGATE_DATABASE;
// Over fetch, in `proto` or in `json`; without it over gRPC.
const encoding = process.env.ROWGATE_FETCH;
const NEED_STREAMS = ['begin', 'copy_in'];
const FEATURES = ['abandon', 'cancel', 'copy', 'describe', 'lower_bounds', 'records'];
const run = randomUUID().replaceAll('-', '');
const folder = new URL('../../conformance/cases/', import.meta.url);
const connections = new Map();

// JSON documents as text: JSON.parse would round their numbers.
function databaseOf(name = database) {
  const options = { database: name, json: 'text', timeout: 30_000 };
  if (!connections.has(name)) connections.set(name, encoding ? connectByFetch(address, { ...options, encoding }) : connectByGrpc(address, options));
  return connections.get(name);
}

// ---- the list

function prepared(value) {
  if (typeof value === 'string') return value.replaceAll('${run}', run);
  if (Array.isArray(value)) return value.map(prepared);
  if (value === null || typeof value !== 'object') return value;
  const { per_backend: choices } = value;
  if (choices && Object.keys(value).length === 1) return prepared(choices[backend] ?? choices.default);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, prepared(each)]));
}

function cases(parts) {
  const found = readdirSync(folder).filter((name) => name.endsWith('.json')).sort().flatMap((file) => {
    const { cases: all } = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    return all.map((each) => ({ ...prepared(each), title: `${file.replace('.json', '')}/${each.name}` }));
  });
  return found.filter(({ title }) => parts.length === 0 || parts.some((part) => title.includes(part)));
}

// ---- steps

const given = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

function optionsOf(options = {}) {
  const { deadline_ms: deadline, timeout_ms: timeout, max_rows: maxRows, max_bytes: maxBytes, read_only: readOnly, tag, key, idempotent, settings } = options;
  return given({ timeout: deadline !== undefined && timeout !== undefined ? Math.min(deadline, timeout) : deadline ?? timeout, maxRows, maxBytes, readOnly, tag, key, idempotent, settings, rowMode: 'array' });
}

function modesOf({ isolation, read_only: readOnly, deferrable, idle_timeout_ms: idleTimeout, max_duration_ms: maxDuration } = {}) {
  return given({ isolation: isolation?.replaceAll('_', ' '), readOnly, deferrable, idleTimeout, maxDuration });
}

const parameters = (list = []) => list.map((value) => parameter(value));

function statementsOf(list) {
  const special = { reference: ({ statement, column }) => resultOf(statement, column) };
  return list.flatMap(({ sql, parameters: values = [], expect_rows: expect, times = 1 }) => {
    const wanted = expect && (expect.exactly ?? given({ atLeast: expect.at_least, atMost: expect.at_most }));
    return Array(times).fill({ sql, values: values.map((value) => parameter(value, special)), expect: wanted });
  });
}

async function rowsOf(stream, most) {
  const rows = [];
  if (most !== 0) {
    for await (const row of stream) {
      rows.push(row);
      if (rows.length === most) break;
    }
  }
  return { rows, columns: stream.columns, ...stream.summary, rowCount: stream.summary?.rowCount ?? rows.length };
}

const copyOptions = ({ format = 'rows', header, delimiter, null_text: nullText, columns, options = {} }) =>
  given({ format, header, delimiter, nullText, columns, ...optionsOf(options), rowMode: undefined });

const steps = {
  query({ sql, parameters: values, options, in: name }, { open }) {
    const target = name ? open.get(name) : databaseOf(options?.database);
    return target.query(sql, parameters(values), optionsOf(options));
  },
  stream: ({ sql, parameters: values, options, read }) =>
    rowsOf(databaseOf(options?.database).stream(sql, parameters(values), optionsOf(options)), read),
  async echo({ sql, values, type }) {
    for (const [index, value] of values.entries()) {
      const { rows, columns } = await databaseOf().query(sql, [parameter(value)], { rowMode: 'array' });
      assert.equal(rows.length, 1, `value ${index}: one row`);
      if (type) assert.equal(columns[0].type, type, `value ${index}: the type of the column`);
      same(rows[0][0], value, `value ${index}`);
    }
  },
  async batch({ statements, transaction, options, dry_run: dryRun, in: name }, { open }) {
    if (name) return { results: await open.get(name).batch(statementsOf(statements), optionsOf(options)) };
    const results = await databaseOf(options?.database).batch(statementsOf(statements), { ...optionsOf(options), ...modesOf(transaction), ...given({ dryRun }) });
    return { results, replayed: results[0]?.replayed };
  },
  async begin({ as, transaction, key, tag, settings, database: name }, { open }) {
    open.set(as, await databaseOf(name).begin({ ...modesOf(transaction), ...given({ key, tag, settings }), timeout: 30_000 }));
  },
  savepoint: ({ in: name, name: savepoint }, { open }) => open.get(name).setSavepoint(savepoint),
  rollback_to: ({ in: name, name: savepoint }, { open }) => open.get(name).rollbackTo(savepoint),
  release: ({ in: name, name: savepoint }, { open }) => open.get(name).release(savepoint),
  commit: ({ in: name }, { open }) => open.get(name).commit(),
  rollback: ({ in: name }, { open }) => open.get(name).rollback(),
  abandon: ({ in: name }, { open }) => open.get(name).abandon(),
  outcome: async ({ key, database: name }) => ({ state: await databaseOf(name).outcome({ key }) }),
  describe: ({ sql }) => databaseOf().describe(sql),
  copy_in: ({ table, rows, data, ...rest }) =>
    databaseOf(rest.options?.database).copyIn({ table, ...copyOptions(rest) }, data ?? rows.map((row) => parameters(row))),
  async copy_out({ table, sql, parameters: values, ...rest }) {
    const options = { ...copyOptions(rest), ...(sql && { values: parameters(values) }) };
    const stream = databaseOf(rest.options?.database).copyOut(sql ? { sql } : table, options);
    if (options.format === 'rows') return rowsOf(stream);
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return { data: Buffer.concat(chunks).toString(), rowCount: stream.summary.rowCount };
  },
  async cancel({ sql, after_ms: after }) {
    const controller = new AbortController();
    const call = databaseOf().query(sql, [], { signal: controller.signal }).catch((error) => error);
    await sleep(after);
    controller.abort(new Error('the caller has no patience'));
    assert.equal((await call)?.reason, 'CANCELLED');
  },
  pause: ({ ms }) => sleep(ms),
};

// ---- expectations

const snake = { rows_affected: 'rowsAffected', command: 'command', replayed: 'replayed', state: 'state', read_only: 'readOnly', data: 'data' };

function compare(got, expect) {
  for (const [member, wanted] of Object.entries(expect)) {
    if (member in snake) assert.equal(got[snake[member]], wanted, member);
    else if (member === 'rows') {
      assert.equal(got.rows.length, wanted.length, 'the number of rows');
      wanted.forEach((row, index) => sameRow(got.rows[index], row, `rows[${index}]`));
    } else if (member === 'row_count') assert.equal(got.rowCount ?? got.rows.length, wanted, member);
    else if (member === 'first_row') sameRow(got.rows[0], wanted, member);
    else if (member === 'last_row') sameRow(got.rows.at(-1), wanted, member);
    else if (member === 'columns') compareTypes(got.columns, wanted, member);
    else if (member === 'parameter_types') compareTypes(got.parameterTypes, wanted, member);
    else if (member === 'results') {
      assert.equal(got.results.length, wanted.length, 'the number of results');
      wanted.forEach((each, index) => compare(got.results[index], each));
    } else throw new Error(`the expectation ${member} is not known`);
  }
}

const typeFields = { name: 'name', type: 'type', element_type: 'elementType', type_name: 'typeName' };

function compareTypes(got, wanted, where) {
  assert.equal(got.length, wanted.length, `${where}: the number`);
  wanted.forEach((type, index) => {
    for (const [member, value] of Object.entries(type)) assert.equal(got[index][typeFields[member]], value, `${where}[${index}].${member}`);
  });
}

const errorFields = {
  code: 'status', reason: 'reason', outcome: 'outcome', sqlstate: 'sqlstate', constraint: 'constraint', schema: 'schema', table: 'table',
  column: 'column', position: 'position', line: 'line', failed_statement: 'failedStatement',
};

function compareError(error, wanted) {
  if (!(error instanceof RowgateError)) throw error;
  for (const [member, value] of Object.entries(wanted)) {
    if (member === 'retryable') assert.equal(error.retryAfter !== undefined, value, `${member} of ${error.message}`);
    else if (member === 'fields') assert.deepEqual(error.fields?.map(({ field }) => field), value, member);
    else if (member === 'without') assert.ok(!JSON.stringify({ ...error, message: error.message }).includes(value), `the error contains ${value}`);
    else {
      assert.ok(member in errorFields, `the expectation ${member} of an error is not known`);
      const found = error[errorFields[member]] ?? (typeof value === 'number' ? 0 : '');
      assert.ok([value].flat().includes(found), `${member} is ${found}, not ${value}: ${error.message}`);
    }
  }
}

async function step({ do: name, expect = {}, within_ms: within, times = 1, ...members }, state) {
  assert.ok(steps[name], `the step ${name} is not known`);
  const start = Date.now();
  for (let time = 0; time < times; time += 1) {
    const { error: wanted, ...rest } = expect;
    if (wanted) {
      const failure = await Promise.resolve(steps[name](members, state)).then(() => undefined, (error) => error);
      assert.ok(failure, 'it did not fail');
      compareError(failure, wanted);
    } else {
      compare((await steps[name](members, state)) ?? {}, rest);
    }
  }
  if (within !== undefined) assert.ok(Date.now() - start <= within, `it took ${Date.now() - start} ms, more than ${within}`);
}

async function runCase({ setup = [], steps: list }) {
  const state = { open: new Map() };
  try {
    for (const sql of setup) await databaseOf().query(sql);
    for (const [index, each] of list.entries()) {
      await step(each, state).catch((error) => {
        throw new Error(`step ${index}: ${error.message}`, { cause: error });
      });
    }
  } finally {
    for (const transaction of state.open.values()) transaction.abandon();
  }
}

const counts = { passed: 0, failed: 0, skipped: 0 };
for (const each of cases(process.argv.slice(2))) {
  const { title, not_on: notOn = {}, requires = [], steps: list } = each;
  const lacking = requires.filter((feature) => !FEATURES.includes(feature));
  if (encoding && list.some((one) => NEED_STREAMS.includes(one.do))) lacking.push('streams of requests over fetch');
  if (notOn[backend] || lacking.length > 0) {
    counts.skipped += 1;
    console.log(`SKIPPED: ${title}: ${notOn[backend] ?? `this client has no ${lacking.join(', ')}`}`);
    continue;
  }
  try {
    await runCase(each);
    counts.passed += 1;
  } catch (error) {
    counts.failed += 1;
    console.log(`FAILED: ${title}: ${error.message}`);
    if (process.env.ROWGATE_TRACE) console.log(error.cause ?? error);
  }
}
for (const connection of connections.values()) connection.close();
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1;
