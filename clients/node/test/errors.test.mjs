import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import * as rowgate from 'rowgate';
import { address, assert, DATABASES, failureOf } from './harness.mjs';

const { connect, RowgateError, UniqueViolation, UndefinedTable } = rowgate;
const connections = DATABASES.map((database) => connect(address, { database }));
after(() => connections.forEach((db) => db.close()));

// The reasons in the tables of docs/ERRORS.md, and those of kinds, which stand in a sentence.
function documentedReasons() {
  const page = readFileSync(new URL('../../../docs/ERRORS.md', import.meta.url), 'utf8');
  const part = page.slice(page.indexOf("## Reasons of Rowgate's own"), page.indexOf('## When the outcome is unknown'));
  const reasons = new Set();
  for (const line of part.split('\n').filter((each) => each.startsWith('|'))) {
    const cells = line.split('|');
    // A table of SQLSTATEs has its reasons in the third column, all others in the first.
    const isOfStates = /^\s*(?:[0-9]|XX|any other|other|defined by)/.test(cells[1]);
    for (const [, reason] of cells[isOfStates ? 3 : 1].matchAll(/`([A-Z][A-Z0-9_]+)`/g)) reasons.add(reason);
  }
  const [kinds] = /^If a condition has no name[\s\S]*?\n\n/m.exec(part);
  for (const [, reason] of kinds.matchAll(/`([A-Z][A-Z0-9_]+)`/g)) reasons.add(reason);
  reasons.add('SESSION_STATE');
  reasons.delete('SQLSTATE_SH001'); // an example
  return [...reasons].sort();
}

test('there is a class for each reason of docs/ERRORS.md, and for no other', () => {
  const classes = Object.values(rowgate).filter((each) => typeof each === 'function' && each.prototype instanceof RowgateError);
  const own = ['TRANSPORT_FAILURE', 'TRANSACTION_BUSY', 'UNREADABLE_RESULT'];
  assert.deepEqual(classes.map(({ reason }) => reason).filter((reason) => !own.includes(reason)).sort(), documentedReasons());
});

test('the name of a class is that of its reason', () => {
  for (const [name, each] of Object.entries(rowgate)) {
    if (typeof each !== 'function' || !(each.prototype instanceof RowgateError)) continue;
    assert.equal(name, each.reason.toLowerCase().replace(/(?:^|_)([a-z0-9])/g, (_, char) => char.toUpperCase()));
  }
});

test('an error says what happened, where, and what became of the work', async () => {
  for (const [index, db] of connections.entries()) {
    await db.query('drop table if exists node_errors');
    await db.query('create table node_errors (id int primary key)');
    await db.query('insert into node_errors values (1)');
    const error = await failureOf(db.query('insert into node_errors values (1)'));
    assert.ok(error instanceof UniqueViolation && error instanceof RowgateError && error instanceof Error, DATABASES[index]);
    assert.ok(!(error instanceof UndefinedTable));
    assert.deepEqual([error.name, error.status, error.reason, error.outcome, error.code], [
      'UniqueViolation', 'ALREADY_EXISTS', 'UNIQUE_VIOLATION', 'NOT_APPLIED', '23505']);
    assert.equal(error.retryAfter, undefined);
    const batch = await failureOf(db.batch(['insert into node_errors values (2)', 'insert into node_errors values (1)']));
    assert.equal(batch.failedStatement, 1);
    assert.equal((await db.query('select count(*) from node_errors')).value(), 1n, 'nothing of the batch was applied');
    await db.query('drop table node_errors');
  }
});

test('PostgreSQL names the constraint, the table and the place', async () => {
  const db = connections[1];
  const error = await failureOf(db.query('select nothing from pg_class'));
  assert.deepEqual([error.reason, error.sqlstate, error.position], ['UNDEFINED_COLUMN', '42703', 8]);
  const parameter = await failureOf(db.query('select $1::int', ['x']));
  assert.deepEqual(parameter.fields.map(({ field }) => field), ['parameters[0]']);
});

test('a condition without a class is a RowgateError with its reason', async () => {
  const error = await failureOf(connections[1].query("do $$ begin raise 'no' using errcode = 'SH001'; end $$"));
  assert.equal(error.constructor.name, 'RowgateError');
  assert.deepEqual([error.reason, error.code, error.status], ['SQLSTATE_SH001', 'SH001', 'FAILED_PRECONDITION']);
});

test('an error of the ES module is one of the CommonJS module, too', async () => {
  const common = createRequire(import.meta.url)('rowgate');
  assert.notEqual(common.UniqueViolation, UniqueViolation);
  const error = await failureOf(connections[0].query('select * from nowhere'));
  assert.ok(error instanceof common.UndefinedTable && error instanceof common.RowgateError);
  assert.ok(!(error instanceof common.UniqueViolation));
  assert.ok(!({} instanceof RowgateError) && !(null instanceof RowgateError));
});
