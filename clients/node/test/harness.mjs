// What the tests need: servers on all databases, which scripts/verify node starts, and servers and ways of their own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export { assert };

/** The server with the databases `main` (SQLite), `postgres` and `mariadb`. */
export const address = process.env.ROWGATE_ADDRESS;
assert.ok(address, 'ROWGATE_ADDRESS is not set: run scripts/verify node');

export const DATABASES = ['main', 'postgres', 'mariadb'];

/** The error that a call fails with. */
export const failureOf = (call) => Promise.resolve(call).then(() => assert.fail('it did not fail'), (error) => error);

/** Waits for a state that comes by itself. */
export async function until(what, check, milliseconds = 10_000) {
  const end = Date.now() + milliseconds;
  while (!(await check())) {
    assert.ok(Date.now() < end, `it did not come to be: ${what}`);
    await sleep(10);
  }
}

/** A way to a server that a test may cut. */
export class Way {
  #sockets = new Set();
  #server;
  /** Called for each connection with its number, from 0: true lets answers of the server pass. */
  lets = () => true;
  /** Called for what clients send: true lets it pass. */
  takes = () => true;
  /** Resets new connections, as if the server were gone. */
  refuses = false;
  connections = 0;

  static async to(target) {
    const way = new Way();
    const [, host, port] = /^(.*):(\d+)$/.exec(target);
    way.#server = net.createServer((near) => {
      const number = way.connections;
      way.connections += 1;
      if (way.refuses) {
        near.resetAndDestroy();
        return;
      }
      const far = net.connect(Number(port), host);
      for (const socket of [near, far]) {
        way.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          way.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (data) => {
        if (way.takes(data)) far.write(data);
      });
      far.on('data', (data) => {
        if (way.lets(number, data)) near.write(data);
      });
    });
    await new Promise((resolve) => way.#server.listen(0, '127.0.0.1', resolve));
    way.address = `127.0.0.1:${way.#server.address().port}`;
    return way;
  }

  /** Cuts all connections. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

/** A port that nobody listens on. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A server of a test's own over SQLite; `prepare` makes files in its folder. */
export async function startServer(configuration = '', prepare = () => {}) {
  assert.ok(process.env.ROWGATE_BIN, 'ROWGATE_BIN is not set: run scripts/verify node');
  const folder = mkdtempSync(path.join(tmpdir(), 'rowgate-node-'));
  const [grpc, ops] = [await freePort(), await freePort()];
  writeFileSync(path.join(folder, 'rowgate.toml'),
    `[grpc]\nlisten = "127.0.0.1:${grpc}"\n[ops]\nlisten = "127.0.0.1:${ops}"\n[databases.main]\nurl = "sqlite:test.db"\n${configuration}`);
  prepare(folder);
  const child = spawn(process.env.ROWGATE_BIN, ['serve'], { cwd: folder, stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await until('the server listens', () => new Promise((resolve) => {
    const socket = net.connect(grpc, '127.0.0.1', () => resolve(true));
    socket.on('connect', () => socket.destroy());
    socket.on('error', () => resolve(false));
  }), 20_000);
  return {
    address: `127.0.0.1:${grpc}`,
    async kill(signal = 'SIGKILL') {
      child.kill(signal);
      await ended;
    },
    async stop() {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
