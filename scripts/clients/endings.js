// Transactions whose caller never closes its side: each stream must end at once, OK, with all replies.
//
// Usage: endings.js NAME ADDRESS PROTO_DIRECTORY

const assert = require('node:assert');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [name, address, directory] = process.argv.slice(2);
const TRANSACTIONS = 200;
const definition = loader.loadSync('rowgate/v1/database.proto', {
  includeDirs: [directory, 'examples/proto'], keepCase: true, oneofs: true,
});
const { DatabaseService } = grpc.loadPackageDefinition(definition).rowgate.v1;
const client = new DatabaseService(address, grpc.credentials.createInsecure());

function transaction(last) {
  return new Promise((resolve, reject) => {
    const stream = client.Transact({ deadline: Date.now() + 30_000 });
    const replies = [];
    let sent;
    const commands = [{ begin: {} }, { query: { sql: 'select 1' } }, { [last]: {} }];
    const next = () => {
      sent = Date.now();
      stream.write({ sequence: replies.length + 1, ...commands[replies.length] });
    };
    stream.on('data', (reply) => {
      if (reply.result?.more) return;
      replies.push(reply.reply);
      if (replies.length < commands.length) next();
    });
    stream.on('error', reject);
    stream.on('status', (status) => resolve({ status, replies, duration: Date.now() - sent }));
    next();
  });
}

async function main() {
  let slowest = 0;
  for (let count = 0; count < TRANSACTIONS; count += 1) {
    const [last, reply] = count % 2 ? ['commit', 'committed'] : ['rollback', 'rolled_back'];
    const { status, replies, duration } = await transaction(last);
    assert.equal(status.code, grpc.status.OK);
    assert.deepEqual(replies, ['begun', 'result', reply]);
    slowest = Math.max(slowest, duration);
  }
  assert.ok(slowest < 900, `${name}: a stream ended ${slowest} ms after its last command`);
  console.log(`ok   ${name}: ${TRANSACTIONS} streams ended OK, at the latest ${slowest} ms after their last command`);
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
