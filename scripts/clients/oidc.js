// Asks providers for access tokens, and a server with them: one gets in, and four do not.
//
// Usage: oidc.js ADDRESS PROTO_DIRECTORY ISSUER OTHER_ISSUER LOG
//
// The providers' authority is trusted by NODE_EXTRA_CA_CERTS. LOG is the server's, which tells why a token is refused.

'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const { readFileSync } = require('node:fs');
const { setTimeout: pause } = require('node:timers/promises');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, protos, issuer, otherIssuer, log] = process.argv.slice(2);
const AUDIENCE = 'https://rowgate.test';
const loaded = loader.loadSync('rowgate/v1/database.proto', { includeDirs: [path.resolve(protos)] });
const { DatabaseService } = grpc.loadPackageDefinition(loaded).rowgate.v1;
const client = new DatabaseService(address, grpc.credentials.createInsecure());

async function tokenOf(provider, resource) {
  const response = await fetch(`${provider}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from('shop:of-this-test-alone').toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).access_token;
}

// The status code of a call: 0 is OK.
function call(token) {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve) => {
    const deadline = { deadline: Date.now() + 20_000 };
    client.Query({ sql: 'select 1' }, metadata, deadline, (error) => resolve(error ? error.code : 0));
  });
}

async function eventually(what, look) {
  for (let tries = 0; tries < 200; tries += 1) {
    if (await look()) return;
    await pause(50);
  }
  assert.fail(`${what}: not within 10 s`);
}

async function refused(name, token, reason) {
  assert.equal(await call(token), grpc.status.UNAUTHENTICATED, name);
  await eventually(`the log has "${reason}"`, () => readFileSync(log, 'utf8').includes(reason));
  console.log(`${name}: refused, ${reason}`);
}

function tampered(token) {
  const [header, claims, signature] = token.split('.');
  const changed = { ...JSON.parse(Buffer.from(claims, 'base64url')), sub: 'admin' };
  return [header, Buffer.from(JSON.stringify(changed)).toString('base64url'), signature].join('.');
}

async function main() {
  const good = await tokenOf(issuer, AUDIENCE);
  // The server reads the provider's keys after its start.
  await eventually('the token gets in', async () => await call(good) === grpc.status.OK);
  console.log('a token of the provider: gets in');
  const short = await tokenOf(issuer, `${AUDIENCE}/short`);
  const { exp } = JSON.parse(Buffer.from(short.split('.')[1], 'base64url'));
  await eventually('the token expires', () => Date.now() >= exp * 1000);
  await refused('an expired token', short, 'has expired');
  await refused('another audience', await tokenOf(issuer, 'https://elsewhere.test'), 'is for another audience');
  await refused('another issuer', await tokenOf(otherIssuer, AUDIENCE), 'has another issuer');
  await refused('a tampered token', tampered(good), 'signature of the JSON Web Token is wrong');
  assert.equal(await call(good), grpc.status.OK);
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
