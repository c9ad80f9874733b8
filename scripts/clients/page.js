// Looks at the status page of a server with Chromium, while calls are made, fail and wait, and while a database
// and the server itself stop.
//
// Usage: page.js browser=PATH ops=ADDRESS grpc=ADDRESS server=PID postgres=PORT proxy=PORT pictures=DIRECTORY
//
// The server's database `reports` is at the port `proxy`, where this program is what leads to PostgreSQL.

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { chromium } = require('playwright-core');

const given = Object.fromEntries(process.argv.slice(2).map((each) => each.split(/=(.*)/s)));
const origin = `http://${given.ops}`;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 360, height: 740 };
const HOSTILE = `<script>document.body.dataset.ran = 1</script><img src=x onerror="document.body.dataset.ran = 2">`;

// ---- calls

const protos = ['rowgate/v1/database.proto', 'rowgate/v1/pool.proto'];
const { DatabaseService, PoolService } = grpc.loadPackageDefinition(loader.loadSync(protos, {
  includeDirs: [path.resolve('proto')], keepCase: true, longs: String, oneofs: true,
})).rowgate.v1;
const client = new DatabaseService(given.grpc, grpc.credentials.createInsecure());
const pools = new PoolService(given.grpc, grpc.credentials.createInsecure());
const soon = (ms = 20_000) => ({ deadline: Date.now() + ms });

function query(database, sql, options = {}) {
  return new Promise((resolve, reject) => {
    client.Query({ database, sql, options }, soon(), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// Opens a transaction and runs a statement in it; returns how it is ended.
async function transaction(database, sql, tag) {
  const stream = client.Transact(soon(60_000));
  stream.on('error', () => {});
  const replies = stream[Symbol.asyncIterator]();
  const send = async (message) => {
    stream.write(message);
    const { value } = await replies.next();
    assert.notEqual(value.reply, 'error', JSON.stringify(value));
  };
  await send({ sequence: 1, begin: { database, tag } });
  await send({ sequence: 2, query: { sql } });
  return async () => {
    await send({ sequence: 3, rollback: {} });
    stream.end();
  };
}

// The way to PostgreSQL, which can be closed and opened.
class Way {
  sockets = new Set();

  async open() {
    this.server = net.createServer((near) => {
      const far = net.connect(given.postgres, '127.0.0.1');
      for (const [from, to] of [[near, far], [far, near]]) {
        this.sockets.add(from);
        from.pipe(to);
        from.on('error', () => {});
        from.on('close', () => { to.destroy(); this.sockets.delete(from); });
      }
    });
    await new Promise((resolve) => this.server.listen(given.proxy, '127.0.0.1', resolve));
  }

  close() {
    this.server?.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

// ---- the page

// What the browser did that it should not: requests elsewhere, and errors in the console.
function watch(page) {
  const asks = (request) => new URL(request.url()).pathname === '/status';
  const seen = { console: [], elsewhere: [], inFlight: 0, most: 0, asked: 0 };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.console.push(message.text());
  });
  page.on('pageerror', (error) => seen.console.push(String(error)));
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith('data:')) seen.elsewhere.push(url);
    if (!asks(request)) return;
    seen.asked += 1;
    seen.inFlight += 1;
    seen.most = Math.max(seen.most, seen.inFlight);
  });
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => { seen.inFlight -= asks(request); });
  return seen;
}

const text = (page, selector) => page.locator(selector).innerText();
const card = (page, name) => page.locator('.database').filter({ has: page.locator('h2', { hasText: name }) });
const row = (page, table, words) => page.locator(`#${table} tbody tr`).filter({ hasText: words }).first();

async function until(what, condition, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const shows = (page, selector, pattern, ms) =>
  until(`${selector} shows ${pattern}`, async () => pattern.test(await text(page, selector)), ms);
const cardShows = (page, name, pattern, ms) =>
  until(`${name} shows ${pattern}`, async () => pattern.test(await card(page, name).innerText()), ms);

const number = async (locator) => Number((await locator.innerText()).replace(/[^0-9.]/g, ''));

// Rules of WCAG 2 and of good practice, among them names of controls, roles and contrast.
async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('; ')}`);
  assert.deepEqual(told, [], where);
}

// Nothing is wider than the window, or than the card that it is in.
async function fits(page) {
  const wide = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll('body *')].filter((element) => {
      const { right, left, width: own } = element.getBoundingClientRect();
      const hidden = getComputedStyle(element.closest('thead') ?? element).position === 'absolute';
      const edge = element.closest('.card')?.getBoundingClientRect().right ?? width;
      return own > 0 && !hidden && (right > Math.min(edge, width) + 0.5 || left < -0.5);
    });
    return { scrolls: document.documentElement.scrollWidth - width, out: out.map(({ outerHTML }) => outerHTML.slice(0, 120)) };
  });
  assert.deepEqual(wide, { scrolls: 0, out: [] });
}

// No word is broken in the middle, unless it is longer than a line may be.
async function whole(page) {
  const broken = await page.evaluate(() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      if (!text.parentElement.checkVisibility()) continue;
      for (const { index, 0: word } of text.data.matchAll(/[\p{L}\p{N}_]+/gu)) {
        if (word.length > 20) continue;
        const range = document.createRange();
        range.setStart(text, index);
        range.setEnd(text, index + word.length);
        const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
        if (lines.size > 1) found.push(word);
      }
    }
    return found;
  });
  assert.deepEqual(broken, []);
}

async function luminance(page) {
  const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [r, g, b] = colour.match(/\d+/g).map(Number);
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

async function picture(page, name) {
  await page.screenshot({ path: path.join(given.pictures, `${name}.png`), fullPage: true });
}

// ---- what is checked, in this order

const way = new Way();
const ends = [];

const checks = {
  async 'a database that is not reached is said to be, and why'({ page }) {
    await cardShows(page, 'reports', /unreachable|not connected/);
    await shows(page, '#verdict', /Not ready|unreachable/);
    await shows(page, '#concerns', /Database reports has been unreachable for .*refused/s);
    await cardShows(page, 'main', /\breachable\b/);
    await way.open();
    await cardShows(page, 'reports', /\breachable\b/);
    await shows(page, '#verdict', /^Ready$/);
    assert.equal(await page.locator('#attention').isVisible(), false);
  },

  async 'figures, charts and statements follow the calls'({ page }) {
    const load = async () => {
      for (let n = 0; n < 200; n += 1) await query('notes', `select ${n} as answer`);
    };
    await query('main', 'create table items (id int primary key, name text)');
    await load();
    const line = row(page, 'statements', 'select ? as answer');
    const runs = async () => ((await line.count()) ? number(line.locator('td').nth(2)) : 0);
    await until('the runs are shown', async () => (await runs()) === 200);
    await load();
    await until('they grow', async () => (await runs()) === 400);
    await until('the chart has moved', async () => /peak/.test(await card(page, 'notes').locator('.rate-peak').innerText()));
    assert.match(await card(page, 'notes').locator('path.rate-line').getAttribute('d'), /^M[\d.]+ [\d.]+L/);
  },

  async 'an error is counted by its reason'({ page }) {
    for (let n = 0; n < 3; n += 1) await assert.rejects(query('main', 'select * from nowhere'));
    const line = row(page, 'errors', 'Query');
    await until('three are shown', async () => (await line.count()) && (await number(line.locator('td').first())) === 3);
    assert.match(await line.innerText(), /[A-Z]+_[A-Z]+.*NOT_APPLIED.*main.*Query/s);
    await until('the chart has moved', async () => /peak/.test(await card(page, 'main').locator('.errors-peak').innerText()));
    assert.match(await card(page, 'main').locator('path.errors-line').getAttribute('d'), /^M[\d.]+ [\d.]+L/);
    await until('and that of the latency', async () => /peak/.test(await card(page, 'main').locator('.p99-peak').innerText()));
  },

  async 'an open transaction is shown with its age, its caller and its first statement'({ page }) {
    ends.push(await transaction('main', `select 1 as "${HOSTILE.slice(0, 60)}"`, 'nightly-report'));
    const line = row(page, 'held', 'nightly-report');
    await until('it is listed', () => line.count());
    assert.match(await line.innerText(), /main \d+.*127\.0\.0\.1 · nightly-report.*idle in transaction/s);
    await until('it grows old', async () => (await number(line.locator('td').first())) >= 2);
    await until('it is called a leak', async () => /leak/.test(await line.locator('td').first().innerText()));
    await shows(page, '#concerns', /1 connection of main leaked/);
  },

  async 'a page that is opened later shows what was before'({ browser, page }) {
    const peak = await card(page, 'main').locator('.errors-peak').innerText();
    const late = await browser.newPage();
    await late.goto(origin);
    const shown = () => card(late, 'main').locator('.errors-peak').innerText();
    await until('the errors are there', async () => /peak/.test(await shown()), 3000);
    assert.match(peak, /peak/);
    const line = await card(late, 'notes').locator('path.rate-line').getAttribute('d');
    assert.ok(line.split('L').length > 5, `only ${line}`);
    await late.close();
  },

  async 'callers that wait are shown, with how long'({ page }) {
    const slow = Array.from({ length: 8 }, (_, n) => query('main', 'select pg_sleep(3)', { tag: `job-${n % 2}` }));
    await until('some wait', async () => (await number(card(page, 'main').locator('.waiting'))) > 0);
    await cardShows(page, 'main', /all connections in use/);
    await shows(page, '#concerns', /callers? of main waiting for a connection/);
    await Promise.all(slow);
    await until('it is remembered', async () => /peak/.test(await card(page, 'main').locator('.wait-peak').innerText()));
  },

  async 'a paused pool is plainly paused, and not the page'({ page }) {
    const operate = (method) => new Promise((resolve, reject) => {
      pools[method]({ pool: 'notes' }, soon(), (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    await operate('PausePool');
    await cardShows(page, 'notes', /paused: all callers wait/);
    await shows(page, '#concerns', /Pool notes is paused.*rowgate pool resume notes/s);
    await shows(page, '#verdict', /1 pool paused/);
    await picture(page, 'pool-paused');
    await operate('ResumePool');
    await cardShows(page, 'notes', /\breachable\b/);
  },

  async 'names from callers are shown as text'({ page }) {
    await query('notes', 'select 1 as [<b>bold</b>]');
    const line = row(page, 'held', '<script>');
    assert.match(await line.innerText(), /<script>document/);
    await until('the other, too', () => row(page, 'statements', '<b>bold</b>').count());
    assert.equal(await page.evaluate(() => document.body.dataset.ran), undefined);
  },

  async 'whatever /status says is shown as text, and nothing of it runs'({ browser }) {
    const page = await browser.newPage();
    const seen = watch(page);
    const poison = (value) => {
      if (typeof value === 'string') return `${value}${HOSTILE}`;
      if (Array.isArray(value)) return value.map(poison);
      if (value && typeof value === 'object') {
        return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, poison(each)]));
      }
      return value;
    };
    await page.route('**/status', async (route) => {
      const status = await (await route.fetch()).json();
      status.databases[0].available = false;
      status.databases[0].why = 'why';
      status.reasons = ['reason'];
      await route.fulfill({ json: poison(status) });
    });
    await page.goto(origin);
    await until('all is shown', async () => (await text(page, 'body')).split('<script>').length > 20);
    assert.deepEqual(await page.evaluate(() => [document.scripts.length, document.images.length, document.body.dataset.ran]),
      [1, 0, undefined]);
    // Nor would it if the page were to make elements of it: the policy is the second lock.
    const allowed = await page.evaluate((html) => {
      const element = document.createElement('p');
      const attempts = {
        html: () => { document.body.innerHTML = html; },
        handler: () => element.setAttribute('onclick', 'document.body.dataset.ran = 3'),
        script: () => { document.createElement('script').text = 'document.body.dataset.ran = 4'; },
      };
      return Object.keys(attempts).filter((name) => {
        try { attempts[name](); return true; } catch { return false; }
      });
    }, HOSTILE);
    assert.deepEqual(allowed, []);
    assert.deepEqual(seen.elsewhere, []);
    await page.close();
  },

  async 'a mouse is not needed'({ page }) {
    const visited = new Set();
    for (let n = 0; n < 12; n += 1) {
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return { name: element.textContent.trim().slice(0, 20), role: element.getAttribute('role') ?? element.tagName, outlineStyle, outlineWidth };
      });
      if (focus.role === 'BODY') break;
      assert.ok(focus.outlineStyle !== 'none' && parseFloat(focus.outlineWidth) >= 2, `no focus is seen on ${JSON.stringify(focus)}`);
      visited.add(focus.role === 'slider' ? 'history' : focus.name);
    }
    assert.deepEqual([...visited], ['5 min', '1 h', '24 h', 'Freeze page', 'history', 'Longest', 'Total']);
    const history = card(page, 'main').locator('.charts');
    await history.focus();
    for (let n = 0; n < 5; n += 1) await page.keyboard.press('ArrowLeft');
    assert.match(await history.getAttribute('aria-valuetext'), /^\d+ s ago: \d+ in use, \d+ idle/);
    await page.keyboard.press('Escape');
    await until('it is now again', async () => /^now/.test(await history.getAttribute('aria-valuetext')));
    await page.locator('th button', { hasText: 'Longest' }).focus();
    await page.keyboard.press('Enter');
    assert.match(await page.locator('#statements tbody tr').first().innerText(), /pg_sleep/);
    assert.equal(await page.locator('th[aria-sort=descending]').innerText(), 'Longest ↓'.replace(' ↓', ''));
    await page.locator('#freeze').focus();
    await page.keyboard.press('Space');
    await shows(page, '#fresh', /^page frozen, the data is [1-9]/);
    assert.doesNotMatch(await text(page, '#bar'), /paused/i, 'a pool is paused, a page is not');
    await page.keyboard.press('Space');
    await until('it goes on', async () => (await text(page, '#fresh')) === '');
  },

  async 'the charts show an hour and a day, too'({ page }) {
    for (const [name, ago] of [['1 h', '1 h ago'], ['24 h', '24 h ago'], ['5 min', '5 min ago']]) {
      await page.locator('.spans button', { hasText: name }).click();
      await until(`${name} is shown`, async () => (await card(page, 'main').locator('.start').innerText()) === ago);
    }
    const line = () => card(page, 'notes').locator('path.rate-line').getAttribute('d');
    await until('the points are back', async () => (await line()).split('L').length > 5);
  },

  async 'it fits any window, light and dark, and is accessible in each'({ page }) {
    for (const [width, size] of [['wide', WIDE], ['narrow', NARROW]]) {
      await page.setViewportSize(size);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await fits(page);
        await whole(page);
        await accessible(page, `${width}, ${colorScheme}`);
        const bright = await luminance(page);
        assert.ok(colorScheme === 'dark' ? bright < 0.1 : bright > 0.9, `${colorScheme}: ${bright}`);
        await picture(page, `${width}-${colorScheme}`);
      }
    }
    await page.setViewportSize(WIDE);
    await page.emulateMedia({ colorScheme: 'light' });
  },

  async 'a database that becomes unreachable is shown as unreachable until it is back'({ page }) {
    await Promise.all(ends.map((end) => end()));
    await until('the transaction is gone', async () => (await row(page, 'held', 'nightly-report').count()) === 0);
    way.close();
    await cardShows(page, 'reports', /unreachable/);
    await shows(page, '#concerns', /Database reports has been unreachable/);
    assert.match(await page.title(), /unreachable|Not ready/);
    await picture(page, 'database-unreachable');
    await way.open();
    await cardShows(page, 'reports', /\breachable\b/);
    await shows(page, '#verdict', /^Ready$/);
  },

  async 'it asks once a second, and nobody else'({ page, seen }) {
    const [asked, start] = [seen.asked, Date.now()];
    await until('five seconds', () => Date.now() - start >= 5000);
    assert.ok(Math.abs(seen.asked - asked - 5) <= 1, `${seen.asked - asked} requests in 5 s`);
    assert.equal(seen.most, 1, 'one at a time');
    assert.deepEqual(seen.elsewhere, []);
    assert.deepEqual(seen.console, []);
  },

  async 'a server that does not answer is said not to, and questions do not pile up'({ page, seen }) {
    const [asked, start] = [seen.asked, Date.now()];
    process.kill(Number(given.server), 'SIGSTOP');
    await shows(page, '#verdict', /No response/, 5000);
    await shows(page, '#fresh', /the data is \d+ s old/);
    assert.match(await page.title(), /No response/);
    await until('it has given up on one', async () => /no response within 5 s/.test(await text(page, '#fresh')));
    assert.ok(seen.asked - asked <= 1 + (Date.now() - start) / 1000, `${seen.asked - asked} requests`);
    assert.equal(seen.most, 1, 'one at a time');
    process.kill(Number(given.server), 'SIGCONT');
    await shows(page, '#verdict', /^Ready/);
    await until('nothing is old', async () => (await text(page, '#fresh')) === '');
  },

  async 'a server that has ended is said not to answer'({ page, seen }) {
    process.kill(Number(given.server), 'SIGTERM');
    await shows(page, '#verdict', /No response/);
    await shows(page, '#fresh', /the server is unreachable; the data is \d+ s old/);
    await accessible(page, 'without a server');
    await picture(page, 'no-answer');
    const other = seen.console.filter((line) => !/^Failed to load resource: net::ERR_/.test(line));
    assert.deepEqual(other, []);
  },
};

(async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'rowgate-page-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: given.browser, args: FLAGS, chromiumSandbox: false, viewport: WIDE, colorScheme: 'light',
  });
  try {
    const page = await browser.newPage();
    const seen = watch(page);
    await page.goto(origin);
    for (const [behaviour, check] of Object.entries(checks)) {
      await check({ browser, page, seen });
      console.log(`ok: ${behaviour}`);
    }
    console.log(`pictures: ${given.pictures}`);
  } finally {
    await browser.close();
    fs.rmSync(profile, { recursive: true, force: true });
    way.close();
    client.close();
    pools.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
