// The values of the conformance list: as parameters, and compared with results.

import assert from 'node:assert/strict';
import { Instant, json, record, SqlRecord, withLowerBounds } from 'rowgate';

// The form of a value and what stands in it.
function formOf(value) {
  if (value === null || typeof value === 'boolean') return ['plain', value];
  if (typeof value === 'number') return ['int', String(value)];
  if (typeof value === 'string') return ['text', value];
  const { lower_bounds: bounds, ...rest } = value;
  const [[form, content], ...more] = Object.entries(rest);
  assert.equal(more.length, 0, `a value has several forms: ${JSON.stringify(value)}`);
  return [form, content, bounds];
}

const repeated = ([text, times]) => text.repeat(times);

const toParameter = {
  plain: (value) => value,
  int: (text) => BigInt(text),
  float: (text) => Number(text),
  text: (text) => text,
  text_repeated: repeated,
  bytes: (hex) => Buffer.from(hex, 'hex'),
  json: (text) => (canonicalJson(text) === canonicalJson(JSON.stringify(JSON.parse(text))) ? json(JSON.parse(text)) : text),
  timestamptz: (text) => (text.endsWith('Z') ? instant(text) : text),
  array: (elements, bounds) => (bounds ? withLowerBounds(nested(elements), bounds) : nested(elements)),
  record: (fields) => record(...fields.map(parameter)),
};

const AS_TEXT = ['numeric', 'uuid', 'date', 'time', 'timetz', 'timestamp', 'interval', 'enum', 'range'];

const nested = (elements) => elements.map((each) => (Array.isArray(each) ? nested(each) : parameter(each)));

/** The value of JavaScript for a parameter. `special` makes those that only some steps have. */
export function parameter(value, special = {}) {
  const [form, content, bounds] = formOf(value);
  if (AS_TEXT.includes(form)) return content;
  const make = toParameter[form] ?? special[form];
  assert.ok(make, `the form ${form} is not known`);
  return make(content, bounds);
}

function instant(text) {
  const [, seconds, fraction = ''] = /^(.*:\d\d)(?:\.(\d+))?Z$/.exec(text);
  const micros = Number(fraction.padEnd(6, '0'));
  return new Instant(Date.parse(`${seconds}Z`) + Math.floor(micros / 1000), micros % 1000);
}

const trimmed = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, '$1').replace(/\.(?=\D|$)/, '');

// A result in the canonical text of the form that is expected; it must be of the class that this client documents.
const written = {
  int(got) {
    assert.ok(typeof got === 'bigint' || Number.isSafeInteger(got) || /^-?\d+$/.test(got), `${typeof got} is no int`);
    return String(got);
  },
  float(got) {
    assert.ok(typeof got === 'number' || typeof got === 'bigint', `${typeof got} is no float`);
    return Object.is(got, -0) ? '-0' : String(Number(got));
  },
  bytes(got) {
    assert.ok(got instanceof Uint8Array, 'no bytes');
    return Buffer.from(got).toString('hex');
  },
  timestamptz: (got) => trimmed(got instanceof Instant ? got.toISOString() : string(got)),
  range: (got) => unquoted(String(got)),
  // A column of SQLite that is declared as JSON keeps a number as a number.
  json: (got) => canonicalJson(typeof got === 'bigint' ? String(got) : string(got)),
};

const expectedText = {
  float: (text) => (Number(text) === 0 ? text : String(Number(text))),
  json: (text) => canonicalJson(text),
  text_repeated: repeated,
  range: unquoted,
};

const TIMES = ['time', 'timetz', 'timestamp', 'timestamptz'];

function string(got) {
  assert.equal(typeof got, 'string', `${got} is no text`);
  return got;
}

/** Fails where a result is not the expected value. */
export function same(got, expected, where) {
  const [form, content, bounds] = formOf(expected);
  if (form === 'plain') {
    assert.equal(got, content, where);
  } else if (form === 'array' || form === 'record') {
    assert.ok(Array.isArray(got) && (form === 'record') === (got instanceof SqlRecord), `${where}: no ${form}`);
    assert.deepEqual([...(got.lowerBounds ?? [])], (bounds ?? []).some((bound) => bound !== 1) ? bounds : [], `${where}: lower bounds`);
    sameAll(got, content, where);
  } else {
    const wanted = (expectedText[form] ?? String)(content);
    const text = (written[form] ?? string)(got);
    if (TIMES.includes(form)) assert.equal(trimmed(text), trimmed(wanted), where);
    else assert.equal(text, wanted, where);
  }
}

function sameAll(got, expected, where) {
  assert.equal(got.length, expected.length, `${where}: the number of values`);
  expected.forEach((each, index) => {
    const place = `${where}[${index}]`;
    if (Array.isArray(each)) sameAll(got[index], each, place);
    else same(got[index], each, place);
  });
}

/** A row, by position. */
export const sameRow = (got, expected, where) => sameAll(got, expected, where);

// The bounds of a range in the form of PostgreSQL, which quotes only where it must.
function unquoted(text) {
  return text.replace(/"((?:[^"\\]|\\.)*)"/g, (_, bound) => {
    const plain = bound.replace(/\\(.)/g, '$1');
    return plain === '' || /[\s,()[\]"\\]/.test(plain) ? `"${bound}"` : plain;
  });
}

// A document whose numbers are texts of their decimal value, and whose members are sorted.
function canonicalJson(text) {
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    (token.startsWith('"') ? token : JSON.stringify({ '#': decimal(token) })));
  const sorted = (value) => {
    if (Array.isArray(value)) return value.map(sorted);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
  };
  return JSON.stringify(sorted(JSON.parse(marked)));
}

// The digits of a number without zeros at either end, and its exponent.
function decimal(text) {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  const digits = (whole + fraction).replace(/^0+/, '');
  const short = digits.replace(/0+$/, '');
  return short === '' ? '0' : `${sign}${short}e${Number(exponent) - fraction.length + digits.length - short.length}`;
}
