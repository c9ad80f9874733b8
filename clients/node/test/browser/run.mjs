// A page in Chromium that queries Rowgate by the Connect protocol, from an origin that is allowed and from one that is not.
//
//   ROWGATE_ADDRESS=… ROWGATE_PAGE_PORT=… CHROMIUM=/usr/bin/chromium node test/browser/run.mjs
//
// The page comes from ROWGATE_PAGE_PORT, whose origin the server allows, and from another port.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { connect } from 'rowgate';

const { ROWGATE_ADDRESS: address, ROWGATE_PAGE_PORT: port, CHROMIUM: executablePath = '/usr/bin/chromium' } = process.env;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const FILES = { '/': ['page.html', 'text/html'], '/rowgate.js': ['../../dist/web.bundle.js', 'text/javascript'] };

function serve(at) {
  const server = http.createServer((request, response) => {
    const [file, type] = FILES[new URL(request.url, 'http://page').pathname] ?? [];
    if (!file) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': type }).end(readFileSync(new URL(file, import.meta.url)));
  });
  return new Promise((resolve) => server.listen(at, '127.0.0.1', () => resolve(server)));
}

// What runs in the page. It gives only what is plain data.
async function inPage({ at, encoding }) {
  const { connect: open, sql, UniqueViolation, Deadline, FeatureNotSupported, RowgateError } = window.rowgate;
  const db = open(at, { database: 'postgres', encoding });
  const failure = (call) => call.then(() => { throw new Error('it did not fail'); }, (error) => error);
  await db.sql`delete from node_browser`;
  const key = `page-${crypto.randomUUID()}`;
  const batch = [sql`insert into node_browser values (${1}, ${'ü'})`, sql`insert into node_browser values (${2n ** 62n}, ${null})`];
  await db.batch(batch, { key });
  const replayed = (await db.batch(batch, { key }))[0].replayed;
  const { rows } = await db.sql`select * from node_browser order by id`;
  const duplicate = await failure(db.sql`insert into node_browser values (${1}, ${'x'})`);
  const late = await failure(db.query('select pg_sleep(20)', [], { timeout: 300 }));
  const transaction = await failure(db.transaction(async () => {}));
  let sum = 0;
  for await (const { n } of db.stream('select generate_series(1, 20000) as n')) sum += n;
  let left = 0;
  for await (const _ of db.stream('select generate_series(1, 100000000) as n')) {
    left += 1;
    if (left === 10) break;
  }
  return {
    rows: rows.map(({ id, name }) => [String(id), name]), replayed, sum, left,
    duplicate: [duplicate instanceof UniqueViolation, duplicate instanceof RowgateError, duplicate.outcome, duplicate.constraint],
    late: [late instanceof Deadline, late.outcome],
    transaction: [transaction instanceof FeatureNotSupported, /db\.batch/.test(transaction.message)],
  };
}

const allowed = await serve(Number(port));
const stranger = await serve(0);
const db = connect(address, { database: 'postgres' });
const profile = mkdtempSync(path.join(tmpdir(), 'rowgate-browser-'));
const browser = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, chromiumSandbox: false });
try {
  await db.query('drop table if exists node_browser');
  await db.query('create table node_browser (id int8 primary key, name text)');
  const page = await browser.newPage();
  const open = async (server) => {
    await page.goto(`http://127.0.0.1:${server.address().port}/?rowgate=${address}`);
    await page.waitForFunction(() => document.querySelector('#answer').textContent !== 'asking');
    return page.locator('#answer').innerText();
  };
  assert.equal(await open(allowed), 'the answer is 42');
  for (const encoding of ['proto', 'json']) {
    assert.deepEqual(await page.evaluate(inPage, { at: address, encoding }), {
      rows: [['1', 'ü'], [String(2n ** 62n), null]], replayed: true, sum: 200_010_000, left: 10,
      duplicate: [true, true, 'NOT_APPLIED', 'node_browser_pkey'], late: [true, 'NOT_APPLIED'], transaction: [true, true],
    });
    console.log(`ok: a page queries as ${encoding}: rows, a batch under a key, an error, a deadline, streams`);
  }
  assert.equal(await open(stranger), 'TransportFailure: UNKNOWN');
  const written = await page.evaluate((at) => window.rowgate.connect(at, { database: 'postgres' }).query('delete from node_browser').then(() => 'done', (error) => error.name), address);
  assert.equal(written, 'TransportFailure');
  assert.equal(Number((await db.query('select count(*) from node_browser')).value()), 2);
  console.log('ok: a page of another origin runs nothing');
  await db.query('drop table node_browser');
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
  allowed.close();
  stranger.close();
  db.close();
}
