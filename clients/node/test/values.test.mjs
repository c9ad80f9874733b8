import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { connect, Instant, json, MultiRange, Range, record, resultOf, SqlRecord, UnreadableResult, withLowerBounds } from 'rowgate';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { QueryRequestSchema, QueryResponseSchema } from '../dist/esm/gen/rowgate/v1/database_pb.js';
import { QUERY_FIELDS, readResults, writeStatement } from '../dist/esm/messages.js';
import { writeValue } from '../dist/esm/values/encode.js';
import { nativeTypist } from '../dist/esm/values/typing.js';
import { address, assert, DATABASES, failureOf } from './harness.mjs';

const connections = Object.fromEntries(DATABASES.map((database) => [database, connect(address, { database })]));
after(() => Object.values(connections).forEach((db) => db.close()));
const { main, postgres, mariadb } = connections;

const INT64S = [0n, 1n, -1n, 127n, 128n, 2n ** 28n - 1n, 2n ** 28n, 2n ** 31n, -(2n ** 31n), 2n ** 32n, 2n ** 35n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)];

test('rows are read as the generated code reads them', () => {
  const kinds = [
    ...INT64S.map((value) => [{ case: 'int64Value', value }, value]),
    ...[0, -0, 1.5, NaN, Infinity, 5e-324, -1.7976931348623157e308].map((value) => [{ case: 'float64Value', value }, value]),
    ...['', 'short', 'ü', 'x'.repeat(24), 'x'.repeat(25), 'é'.repeat(300), '\u0000', '😀'.repeat(7)].map((value) => [{ case: 'textValue', value }, value]),
    [{ case: 'nullValue', value: 0 }, null],
    [{ case: 'boolValue', value: true }, true],
    [{ case: 'boolValue', value: false }, false],
    [{ case: 'bytesValue', value: new Uint8Array([0, 255, 10]) }, new Uint8Array([0, 255, 10])],
    [{ case: 'timestampValue', value: { seconds: -62135596800n, nanos: 1000 } }, new Instant(-62135596800000, 1)],
    [{ case: 'timestampValue', value: { seconds: -1n, nanos: 999_999_000 } }, new Instant(-1, 999)],
    [{ case: 'arrayValue', value: { elements: [1n, 2n, 3n, 4n].map((value) => ({ kind: { case: 'int64Value', value } })), dimensions: [2, 2], lowerBounds: [-1, 300] } },
      withLowerBounds([[1n, 2n], [3n, 4n]], [-1, 300])],
    [{ case: 'arrayValue', value: { elements: [] } }, []],
    [{ case: 'recordValue', value: { fields: [{ kind: { case: 'nullValue', value: 0 } }, { kind: { case: 'textValue', value: 'a' } }] } }, record(null, 'a')],
  ];
  const columns = kinds.map((_, index) => ({ name: `c${index}`, type: 22, typeName: 'other', typeOid: 4_000_000_000 + index, origin: index === 0 ? { schema: 's', table: 't', column: 'c', tableOid: 7 } : undefined }));
  const row = { values: kinds.map(([kind]) => ({ kind })) };
  const bytes = toBinary(QueryResponseSchema, create(QueryResponseSchema, {
    result: { hasColumns: true, columns, rows: [row, row], rowsAffected: 2n ** 40n, command: 'SELECT' }, attempts: 3, replayed: true,
  }));
  for (const input of [bytes, Buffer.from(bytes)]) {
    const [result] = readResults(input, { typist: nativeTypist({}), asArrays: true });
    assert.deepEqual([result.rowsAffected, result.command, result.attempts, result.replayed, result.rows.length], [2 ** 40, 'SELECT', 3, true, 2]);
    result.rows[1].forEach((value, index) => assert.deepEqual(value, kinds[index][1], `column ${index}`));
    assert.deepEqual(result.rows[1].at(-3).lowerBounds, [-1, 300]);
    assert.deepEqual(result.columns[0].origin, { schema: 's', table: 't', column: 'c', tableOid: 7 });
    assert.equal(result.columns[5].typeOid, 4_000_000_005);
  }
});

test('parameters are written as the generated code reads them', () => {
  const values = [
    [null, 'nullValue', 0], ['ü', 'textValue', 'ü'], [true, 'boolValue', true], [5, 'int64Value', 5n], [-(2 ** 53) + 1, 'int64Value', -(2n ** 53n) + 1n],
    ...INT64S.map((value) => [value, 'int64Value', value]), [2n ** 64n, 'textValue', '18446744073709551616'],
    [new Uint8Array([1, 2]), 'bytesValue', new Uint8Array([1, 2])], [new Uint16Array([258]), 'bytesValue', new Uint8Array([2, 1])],
    [{ a: [1] }, 'textValue', '{"a":[1]}'], [json([1]), 'textValue', '[1]'], [new URL('http://x/'), 'textValue', 'http://x/'],
    [new Range(1, 5), 'textValue', '["1","5")'], [2 ** 53, 'float64Value', 2 ** 53], [-0, 'float64Value', -0],
  ];
  const writer = new BinaryWriter();
  writeStatement(writer, { text: 'select', values: values.map(([value]) => value) }, QUERY_FIELDS, writeValue, 'sqlite');
  const { sql, parameters } = fromBinary(QueryRequestSchema, writer.finish());
  assert.equal(sql, 'select');
  values.forEach(([value, kind, content], index) => assert.deepEqual([parameters[index].kind.case, parameters[index].kind.value], [kind, content], `${index}: ${String(value)}`));
  const nested = new BinaryWriter();
  writeStatement(nested, { text: '', values: [withLowerBounds([[1, null], [3, 4]], [0, 5]), record('a', [1]), resultOf(2, 'id')] }, QUERY_FIELDS, writeValue, 'postgres');
  const [array, composite, reference] = fromBinary(QueryRequestSchema, nested.finish()).parameters.map(({ kind }) => kind.value);
  assert.deepEqual([array.elements.map(({ kind }) => kind.value), array.dimensions, array.lowerBounds], [[1n, 0, 3n, 4n], [2, 2], [0, 5]]);
  assert.deepEqual(composite.fields.map(({ kind }) => kind.case), ['textValue', 'arrayValue']);
  assert.deepEqual([reference.statement, reference.column], [2, 'id']);
});

test('what cannot be a parameter is refused, and says which one it is', async () => {
  for (const [value, why] of [[undefined, /undefined/], [() => {}, /function/], [Symbol('x'), /symbol/], [new Map(), /Map/], [[[1], [2, 3]], /ragged/], [[1, [2]], /ragged/], [new Date(NaN), /invalid Date/]]) {
    const error = await failureOf(postgres.query('select $1, $2', ['a', value]));
    assert.ok(error instanceof TypeError);
    assert.match(error.message, why);
    assert.match(error.message, /^parameters\[1\]/);
  }
});

// [type, values]: each comes back equal.
const POSTGRES = [
  ['bool', [true, false, null]], ['int2', [-32768, 32767]], ['int4', [-(2 ** 31), 2 ** 31 - 1]], ['int8', [2n ** 63n - 1n, -(2n ** 63n), 0n]],
  ['float8', [0.1, -0, NaN, Infinity, 5e-324, 1e308, 1]], ['float4', [1.5, NaN]],
  ['numeric', ['0.1', '123456789012345678901234567890.123456789', 'NaN', '1.50', 'Infinity']],
  ['text', ['', 'ü\n"\\', '😀'.repeat(1000)]], ['varchar', ['x']], ['bytea', [new Uint8Array([0, 1, 255]), new Uint8Array()]],
  ['uuid', ['123e4567-e89b-12d3-a456-426614174000']], ['jsonb', [{ a: [1, null, { b: 'ü' }] }, 'text', [1, 2], 3, true]],
  ['date', ['2026-01-31', 'infinity', '-infinity', '0044-03-15 BC', '9999-12-31']], ['time', ['23:59:59.999999', '24:00:00']],
  ['timetz', ['23:59:59.5+02']], ['timestamp', ['2026-01-31 23:59:59.999999', 'infinity', '0044-03-15 12:00:00 BC', '294276-12-31 23:59:59.999999']],
  ['timestamptz', [new Instant(Date.UTC(2026, 0, 31, 1, 2, 3, 4), 567), new Instant(-1, 999), new Instant(-62135596800000), 'infinity', '-infinity', '0044-03-15 12:00:00+00 BC']],
  ['interval', ['1 year 2 mons 3 days 04:05:06.789', '-00:00:00.000001']], ['inet', ['10.0.0.0/8']], ['int4[]', [[1, null, 3], [], [[1, 2], [3, 4]]]],
  ['text[]', [['a,b', '"', '', 'NULL', null, '\\']]], ['numeric[]', [['1.10', null]]], ['timestamptz[]', [[new Instant(0, 1), null]]], ['bytea[]', [[new Uint8Array([1])]]], ['bool[]', [[true, null]]],
  ['int4range', [new Range(1, 5), new Range(null, 5, '()'), Range.empty(), new Range(null, null, '()')]], ['int8range', [new Range(1n, 2n ** 62n)]],
  ['numrange', [new Range('1.10', '2.20', '(]')]], ['daterange', [new Range('2026-01-01', '2026-02-01')]], ['tstzrange', [new Range('2026-01-01 00:00:00+00', null)]],
  ['int4multirange', [new MultiRange([new Range(1, 3), new Range(7, 9)]), new MultiRange([])]],
];

test('PostgreSQL gives back what it gets, of every family', async () => {
  for (const [type, values] of POSTGRES) {
    for (const value of values) {
      const sent = type === 'jsonb' ? json(value) : value;
      const found = (await postgres.query(`select $1::${type} as v`, [sent])).value();
      assert.deepEqual(found, value, type);
      assert.equal(Object.is(found, -0), Object.is(value, -0), type);
      // And what was read can be sent again.
      const again = (await postgres.query(`select $1::${type} as v`, [type === 'jsonb' ? json(found) : found])).value();
      assert.deepEqual(again, value, `${type}, again`);
    }
  }
});

test('PostgreSQL gets records, arrays with other bounds, and Dates of any year', async () => {
  await postgres.query('drop type if exists node_pair');
  await postgres.query('create type node_pair as (a int, b text[])');
  const pair = (await postgres.query('select $1::node_pair as v', [record(1, ['x', null])])).value();
  assert.ok(pair instanceof SqlRecord);
  assert.deepEqual(pair, record(1n, ['x', null]));
  assert.deepEqual((await postgres.query('select $1::node_pair as v', [pair])).value(), pair);
  await postgres.query('drop type node_pair');
  const bounded = (await postgres.query('select $1::int[] as v', [withLowerBounds([1, 2], [0])])).value();
  assert.deepEqual([...bounded, ...bounded.lowerBounds], [1, 2, 0]);
  assert.equal((await postgres.query("select $1::int[] = '[0:1]={1,2}'::int[] as v", [bounded])).value(), true);
  const years = [-43, 0, 1, 99, 1969, 9999, 10000, 200000].map((year) => new Date(Date.UTC(2000, 2, 15, 1, 2, 3, 4)).setUTCFullYear(year));
  for (const year of years) {
    const { rows: [[text, epoch]] } = await postgres.query('select $1::timestamptz::text, extract(epoch from $1::timestamptz) * 1000', [new Date(year)], { rowMode: 'array' });
    assert.equal(Number(epoch), year, text);
  }
});

test('MariaDB gives back what it gets', async () => {
  await mariadb.query('drop table if exists node_values');
  await mariadb.query('create table node_values (i bigint, u bigint unsigned, d decimal(30, 10), f double, s varchar(100), b varbinary(100), day date, t time(6), dt datetime(6), ts timestamp(6) null, j json) character set utf8mb4');
  const row = [2n ** 63n - 1n, '18446744073709551615', '12345678901234567890.0123456789', 0.1, '😀', new Uint8Array([0, 255]), '2026-01-31', '-838:59:58.999999',
    '2026-01-31 23:59:59.999999', new Instant(Date.UTC(2026, 0, 31, 1, 2, 3, 4), 567), { a: 1 }];
  await mariadb.query('insert into node_values values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)', row);
  const { rows: [found] } = await mariadb.query('select * from node_values', [], { rowMode: 'array' });
  assert.deepEqual(found, row);
  await mariadb.query('delete from node_values');
  await mariadb.query('insert into node_values values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)', found);
  assert.deepEqual((await mariadb.query('select * from node_values', [], { rowMode: 'array' })).rows[0], row);
  await mariadb.query('drop table node_values');
});

test('MariaDB computes exactly with a bigint and with a cast, and with a text as the README says', async () => {
  await mariadb.query('drop table if exists node_sums');
  await mariadb.query('create table node_sums (i bigint, d decimal(30, 10))');
  const after = async (set, value) => {
    await mariadb.query('delete from node_sums');
    await mariadb.query("insert into node_sums values (9007199254740993, 12345678901234567890.1234567890)");
    await mariadb.query(`update node_sums set ${set}`, [value]);
    return (await mariadb.query('select * from node_sums', [], { rowMode: 'array' })).rows[0].map(String);
  };
  const [i, d] = ['9007199254740993', '12345678901234567890.1234567890'];
  assert.deepEqual(await after('i = i + $1', 2n), ['9007199254740995', d]);
  assert.deepEqual(await after('d = d + $1', 1), [i, '12345678901234567891.1234567890']);
  assert.deepEqual(await after('d = d + cast($1 as decimal(30, 10))', '0.0000000001'), [i, '12345678901234567890.1234567891']);
  assert.deepEqual(await after('i = i + $1', '0'), ['9007199254740992', d]);
  assert.deepEqual(await after('d = $1', '12345678901234567890.1234567891'), [i, '12345678901234567890.1234567891']);
  await mariadb.query('drop table node_sums');
});

test('SQLite gives back what it gets, whatever a column is declared as', async () => {
  for (const value of [2n ** 63n - 1n, 0.1, -0, Infinity, 'text', '5', new Uint8Array([0, 255]), null]) {
    const found = (await main.query('select $1 as v', [value])).value();
    assert.deepEqual(found, value);
    assert.equal(Object.is(found, -0), Object.is(value, -0));
  }
  assert.deepEqual((await main.query('select length($1) = $2 as v', ['abc', 3])).value(), 1n);
  await main.query('drop table if exists node_any');
  await main.query('create table node_any (v json)');
  await main.query('insert into node_any values ($1), ($2), ($3)', ['no document', json({ a: 1 }), 5]);
  assert.deepEqual((await main.query('select v from node_any')).rows.map(({ v }) => v), ['no document', { a: 1 }, 5n]);
  await main.query('drop table node_any');
});

test('integers, numerics and documents take the form that is chosen, and nothing is rounded', async () => {
  const statement = "select 9007199254740993::int8 as big, 5::int8 as small, 1.10::numeric as price, '[1]'::json as list, '2026-01-31'::date as day, array[1.5::numeric] as prices";
  const run = async (options) => {
    const db = connect(address, { database: 'postgres', ...options });
    try {
      return (await db.query(statement)).one();
    } finally {
      db.close();
    }
  };
  const plain = await run({});
  assert.deepEqual(plain, { big: 9007199254740993n, small: 5n, price: '1.10', list: [1], day: '2026-01-31', prices: ['1.5'] });
  assert.deepEqual(await run({ int64: 'string', json: 'text' }), { ...plain, big: '9007199254740993', small: '5', list: '[1]' });
  assert.match((await failureOf(run({ int64: 'number' }))).message, /9007199254740993 is beyond 2\^53/);
  class Decimal { constructor(text) { this.text = text; } toJSON() { return this.text; } }
  const chosen = await run({ readers: { NUMERIC: (text) => new Decimal(text), date: (text) => ({ day: text }) } });
  assert.deepEqual(chosen, { ...plain, price: new Decimal('1.10'), prices: [new Decimal('1.5')], day: { day: '2026-01-31' } });
  assert.equal((await postgres.query('select $1::numeric * 2 as v', [chosen.price])).value(), '2.20');
});

test('columns may have any name, and the same one where rows are arrays', async () => {
  const { rows: [row], columns } = await main.query('select 2 as a, 3 as "__proto__", 4 as "constructor", 5 as ""');
  assert.deepEqual(columns.map(({ name }) => name), ['a', '__proto__', 'constructor', '']);
  assert.deepEqual(Object.entries(row), [['a', 2n], ['constructor', 4n], ['', 5n], ['__proto__', 3n]]);
  assert.equal(Object.getPrototypeOf(row), Object.prototype);
  await main.query('drop table if exists node_twice');
  await main.query('create table node_twice (id int)');
  const twice = 'select 1 as a, 2 as a';
  for (const [call, outcome] of [
    [() => main.query(twice, [], { readOnly: true }), 'NOT_APPLIED'], [() => main.query(`${twice} where 1 = 0`, [], { readOnly: true }), 'NOT_APPLIED'], [() => main.batch([twice], { readOnly: true }), 'NOT_APPLIED'],
    [() => main.stream(twice, [], { readOnly: true }).batches().next(), 'NOT_APPLIED'], [() => main.transaction((tx) => tx.query(twice)), 'NOT_APPLIED'],
    [() => main.query('insert into node_twice values (1) returning id as a, 2 as a'), 'APPLIED'],
  ]) {
    const error = await failureOf(call());
    assert.ok(error instanceof UnreadableResult && error.outcome === outcome, `${call}: ${error}`);
    assert.match(error.message, /two columns have the name "a"\nhint: give them names by AS, or read arrays with rowMode: 'array'/);
  }
  assert.deepEqual((await main.query(twice, [], { rowMode: 'array' })).rows, [[1n, 2n]]);
  await main.query('drop table node_twice');
});

test('an Instant that is set to another time keeps no microseconds of the old one', () => {
  const at = () => new Instant(Date.UTC(2026, 0, 31, 1, 2, 3, 123), 456);
  const whole = [['setTime', 0], ['setMilliseconds', 5], ['setUTCMilliseconds', 5], ['setSeconds', 1, 5], ['setUTCSeconds', 1, 5], ['setMinutes', 1, 2, 5], ['setUTCMinutes', 1, 2, 5], ['setHours', 0, 0, 0, 0], ['setUTCHours', 0, 0, 0, 0]];
  for (const [setter, ...given] of whole) {
    const [instant, date] = [at(), new Date(at().getTime())];
    assert.equal(instant[setter](...given), date[setter](...given), setter);
    assert.deepEqual([instant.microseconds, instant.toISOString(), instant.getTime()], [0, date.toISOString(), date.getTime()], setter);
  }
  // What is behind the second stays where it is not named.
  for (const [setter, ...given] of [['setSeconds', 1], ['setUTCMinutes', 1, 2], ['setUTCHours', 1, 2, 3], ['setUTCDate', 5], ['setFullYear', 2020, 1], ['setUTCMonth', 3]]) {
    const instant = at();
    instant[setter](...given);
    assert.match(instant.toISOString(), /\.123456Z$/, setter);
  }
  assert.equal(JSON.stringify(at()), '"2026-01-31T01:02:03.123456Z"');
});

test('what the CommonJS module makes is known to the ES module, and the other way round', async () => {
  const esm = await import('rowgate');
  const cjs = createRequire(import.meta.url)('rowgate');
  assert.notEqual(esm.sql, cjs.sql);
  const postgresOfCjs = cjs.connect(address, { database: 'postgres' });
  for (const [db, other] of [[postgres, cjs], [postgresOfCjs, esm]]) {
    const where = other.sql`where n = any(${[1, 2]})`;
    const piece = esm.sql`select n, ${'a'}::text as ${other.sql.identifier('t')} from generate_series(1, 5) as n ${where} order by ${other.sql.raw('n')}`;
    assert.deepEqual((await db.query(piece)).rows, [{ n: 1, t: 'a' }, { n: 2, t: 'a' }]);
    assert.deepEqual((await db.query(other.sql`select ${other.json([1])}::jsonb as j`)).value(), [1]);
    assert.equal((await db.query('select $1::text as r', [other.record(1, 'a')]).then((result) => result.value(), (error) => error.reason)), 'INVALID_PARAMETER');
    assert.equal((await db.query('select $1::int4range as r', [new other.Range(1, 5)])).value().upper, 5);
    assert.equal((await db.query('select $1::timestamptz as t', [new other.Instant(0, 123)])).value().toISOString(), '1970-01-01T00:00:00.000123Z');
    assert.equal((await db.batch([other.sql`select 5 as n`, { sql: 'select $1::int as n', values: [other.resultOf(0, 'n')] }]))[1].value(), 5);
  }
  postgresOfCjs.close();
  for (const name of ['Sql', 'Instant', 'Json', 'Range', 'MultiRange', 'SqlRecord']) {
    const made = { Sql: cjs.sql`x`, Instant: new cjs.Instant(0), Json: cjs.json(1), Range: new cjs.Range(1, 2), MultiRange: new cjs.MultiRange([]), SqlRecord: cjs.record(1) }[name];
    assert.ok(made instanceof esm[name] && made instanceof cjs[name], name);
    class Own extends esm[name] {}
    assert.ok(!(made instanceof Own) && !({} instanceof esm[name]) && !(null instanceof esm[name]), name);
  }
});
