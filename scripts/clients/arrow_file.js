// Reads an Arrow IPC stream with apache-arrow and compares it with what the statement of arrow.sql selects.

const assert = require('node:assert');
const fs = require('node:fs');
const { tableFromIPC } = require('apache-arrow');

const TYPES = {
  bool: 'Bool', i2: 'Int16', i4: 'Int32', i8: 'Int64', f4: 'Float32', f8: 'Float64', decimal: 'Decimal[12e+2]',
  text: 'Utf8', bytes: 'Binary', date: 'Date32<DAY>', time: 'Time64<MICROSECOND>', stamp: 'Timestamp<MICROSECOND>',
  instant: 'Timestamp<MICROSECOND, UTC>', json: 'Utf8', list: 'List<Int32>', nothing: 'Int32', n: 'Int32',
};

const table = tableFromIPC(fs.readFileSync(process.argv[2]));
const found = Object.fromEntries(table.schema.fields.map((field) => [field.name, String(field.type)]));
assert.deepStrictEqual(found, TYPES);
assert.strictEqual(table.numRows, 20000);
for (const at of [0, 19999]) {
  const row = table.get(at);
  assert.strictEqual(row.n, at + 1);
  assert.deepStrictEqual([row.bool, row.i2, row.i4, row.i8], [true, 1, 2, 9007199254740993n]);
  assert.deepStrictEqual([row.f4, row.f8], [0.5, 1e300]);
  assert.deepStrictEqual([row.text, row.json, row.nothing], ['naïve', '{"a": [1]}', null]);
  assert.deepStrictEqual([...row.bytes], [0, 255]);
  assert.strictEqual(Number(row.date), Date.UTC(2026, 0, 31));
  assert.strictEqual(row.time, 86399999999n);
  assert.strictEqual(Math.floor(Number(row.instant)), Date.UTC(2026, 0, 31, 10, 0, 0, 500));
  assert.deepStrictEqual([...row.list], [1, null, 3]);
}
console.log(`apache-arrow: ${table.numRows} rows in ${table.batches.length} batches, ${table.numCols} types`);
