// What an option may be: nothing that means the opposite to the server.

import { after, test } from 'node:test';
import { connect, InvalidOption } from 'rowgate';
import { connect as connectWeb } from 'rowgate/web';
import { address, assert, DATABASES, failureOf } from './harness.mjs';

const connections = DATABASES.map((database) => connect(address, { database }));
after(() => connections.forEach((db) => db.close()));

const INSERT = 'insert into node_options values (1)';

// [options, what the message begins with]: to the server each means that nothing was given.
const EMPTY = [
  [{ key: '' }, /^key is a text that is not empty, not ""/], [{ key: null }, /^key is a text that is not empty, not null/],
  [{ maxRows: 0 }, /^maxRows is a whole number from 1 on, not 0/], [{ maxRows: 1.5 }, /^maxRows/], [{ maxBytes: 0 }, /^maxBytes/],
  [{ timeout: 0 }, /^timeout is a number of milliseconds above 0/], [{ timeout: NaN }, /^timeout .*, not NaN/], [{ timeout: -1 }, /^timeout/], [{ timeout: '5' }, /^timeout .*, not "5"/],
  [{ settings: { work_mem: undefined } }, /^settings\.work_mem is a text, not undefined/], [{ settings: { work_mem: null } }, /^settings\.work_mem/],
];

test('an option that is empty is refused, and nothing is applied', async () => {
  for (const db of connections) {
    await db.query('drop table if exists node_options');
    await db.query('create table node_options (id int)');
    const calls = {
      query: (options) => db.query(INSERT, [], { retries: 3, ...options }),
      batch: (options) => db.batch([INSERT], { retries: 3, ...options }),
      stream: (options) => db.stream(INSERT, [], options).batches().next(),
      'tx.query': (options) => db.transaction((tx) => tx.query(INSERT, [], options)),
      copyIn: (options) => db.copyIn({ table: 'node_options', ...options }, [[1]]),
      transaction: (options) => db.transaction((tx) => tx.query(INSERT), { retries: 3, ...options }),
      begin: async (options) => (await db.begin(options)).commit(),
    };
    for (const [name, call] of Object.entries(calls)) {
      for (const [options, message] of EMPTY) {
        const [option] = Object.keys(options);
        if (/^(?:max|rows)/.test(option) && /^(?:transaction|begin)$/.test(name)) continue;
        const error = await Promise.resolve().then(() => call(options)).then(() => assert.fail(`${name} takes ${option}`), (failure) => failure);
        assert.ok(error instanceof InvalidOption && error.outcome === 'NOT_APPLIED', `${name} ${option}: ${error}`);
        assert.match(error.message, message, name);
      }
    }
    for (const options of [{ idleTimeout: 0 }, { maxDuration: 0 }]) {
      assert.match((await failureOf(db.transaction((tx) => tx.query(INSERT), options))).message, /a number of milliseconds above 0/);
    }
    assert.match((await failureOf(db.batch([INSERT], { maxAttempts: 0 }))).message, /^maxAttempts/);
    assert.match((await failureOf(db.copyIn({ table: 'node_options', columns: [] }, [[1]]))).message, /^columns is a list of names, at least one, not \[\]\nhint: leave it out for all/);
    for (const options of [{ schema: '' }, { columns: [''] }, { table: '' }]) {
      assert.match((await failureOf(db.copyIn({ table: 'node_options', ...options }, [[1]]))).message, /that is not empty/);
    }
    for (const options of [{ delimiter: '' }, { quote: '' }, { escape: '' }]) {
      assert.match((await failureOf(db.copyIn({ table: 'node_options', format: 'csv', ...options }, '1\n'))).message, /that is not empty/);
    }
    for (const of of [{ key: '' }, { transactionToken: '' }]) assert.match((await failureOf(Promise.resolve().then(() => db.outcome(of)))).message, /that is not empty/);
    assert.equal(Number((await db.query('select count(*) as n from node_options')).value()), 0);
    await db.query('drop table node_options');
  }
  const [, postgres] = connections;
  for (const channels of [[], '', ['a', '']]) await assert.rejects(async () => { for await (const _ of postgres.listen(channels)); }, InvalidOption);
});

test('a time that no timer of JavaScript can wait for is no limit', async () => {
  for (const open of [connect, connectWeb]) {
    const db = open(address, { timeout: 1e12 });
    assert.equal(Number((await db.query('select 1 as n', [], { timeout: 1e15 })).value()), 1);
    assert.equal(Number((await db.query('select 2 as n')).value()), 2);
    db.close();
  }
});

test('a connection is not made with what is empty', async () => {
  assert.throws(() => connect('127.0.0.1:1', { dialect: 'mariadb' }), TypeError);
  for (const options of [{ database: '' }, { database: null }, { token: '', tls: true }, { timeout: NaN }]) {
    assert.throws(() => connect('127.0.0.1:1', options), InvalidOption, JSON.stringify(options));
  }
  assert.throws(() => connectWeb('https://127.0.0.1:1', { token: '' }), InvalidOption);
  for (const token of [() => '', async () => undefined]) {
    const db = connect('https://127.0.0.1:1', { token });
    const { message, outcome } = await failureOf(db.query('select 1'));
    assert.doesNotMatch(message, /Bearer/);
    assert.equal(outcome, 'NOT_APPLIED');
    db.close();
  }
});
