// Drizzle and Kysely, which take a pool of node-postgres, over one of rowgate/pg.

import assert from 'node:assert/strict';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { bigint, jsonb, numeric, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'rowgate/pg';

const pool = new pg.Pool({ database: 'postgres' });
await pool.query(`drop table if exists node_orms;
  create table node_orms (id serial primary key, name text unique, price numeric, at timestamptz, doc jsonb, big int8)`);

const users = pgTable('node_orms', {
  id: serial(), name: text(), price: numeric(), at: timestamp({ withTimezone: true }), doc: jsonb(), big: bigint({ mode: 'bigint' }),
});
const ann = { name: 'ann', price: '1.50', at: new Date('2026-01-31T01:02:03.004Z'), doc: { a: [1] }, big: 2n ** 60n };
const db = drizzle(pool);
await db.insert(users).values(ann);
assert.deepEqual(await db.select().from(users).where(eq(users.name, 'ann')), [{ id: 1, ...ann }]);
await db.transaction(async (tx) => {
  await tx.insert(users).values({ name: 'bob' });
  await assert.rejects(tx.transaction((nested) => nested.insert(users).values({ name: 'ann' })), (error) => (error.cause ?? error).code === '23505');
}, { isolationLevel: 'serializable' });
await assert.rejects(db.transaction(async (tx) => {
  await tx.delete(users);
  tx.rollback();
}));
console.log('ok: Drizzle selects, inserts, and undoes a nested transaction alone');

const kysely = new Kysely({ dialect: new PostgresDialect({ pool }) });
assert.deepEqual(await kysely.selectFrom('node_orms').select('name').where('id', '>', 0).orderBy('id').execute(), [{ name: 'ann' }, { name: 'bob' }]);
await kysely.transaction().setIsolationLevel('repeatable read').execute((trx) => trx.insertInto('node_orms').values({ name: 'cid' }).execute());
assert.equal((await kysely.updateTable('node_orms').set({ name: 'x' }).where('name', '=', 'cid').executeTakeFirst()).numUpdatedRows, 1n);
await pool.query('drop table node_orms');
await kysely.destroy();
console.log('ok: Kysely selects, updates, and commits a transaction');
