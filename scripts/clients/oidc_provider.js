// Two OpenID providers over https, which have the same keys and differ in their issuers. A client may ask each for access
// tokens of its own (client_credentials).
//
// Usage: oidc_provider.js PORT OTHER_PORT CERT KEY
//
// A token's audience is the resource that it is asked for; below /short it lives for a second.

'use strict';

const { readFileSync } = require('node:fs');
const { createServer } = require('node:https');
const { generateKeyPairSync } = require('node:crypto');

const [port, otherPort, cert, key] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const settings = {
  clients: [{
    client_id: 'shop',
    client_secret: 'of-this-test-alone',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  }],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'first' }] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: 'read',
        audience: resource.replace('/short', ''),
        accessTokenTTL: resource.endsWith('/short') ? 1 : 60,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
};

async function main() {
  const { Provider } = await import(require.resolve('oidc-provider'));
  const options = { cert: readFileSync(cert), key: readFileSync(key) };
  for (const each of [otherPort, port]) {
    const provider = new Provider(`https://127.0.0.1:${each}`, settings);
    createServer(options, provider.callback()).listen(Number(each), '127.0.0.1');
  }
}

main();
