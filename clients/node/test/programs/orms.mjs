// Drizzle and Kysely, which take a pool of node-postgres, over one of rowgate/pg; Knex, TypeORM and Sequelize, which take its module.

import 'reflect-metadata';
import assert from 'node:assert/strict';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { bigint, jsonb, numeric, pgTable, serial, text, timestamp } from 'drizzle-orm/pg-core';
import knexOf from 'knex';
import KnexPostgres from 'knex/lib/dialects/postgres/index.js';
import { Kysely, PostgresDialect } from 'kysely';
import * as rowgate from 'rowgate/pg';
import pg from 'rowgate/pg';
import { DataTypes, Sequelize } from 'sequelize';
import typeorm from 'typeorm';

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

class KnexRowgate extends KnexPostgres {
  _driver() {
    return pg;
  }
}
const knex = knexOf({ client: KnexRowgate, connection: { database: 'postgres' } });
await knex.schema.createTable('node_knex', (table) => {
  table.increments();
  table.string('name').unique();
  table.jsonb('doc');
});
await knex.transaction(async (outer) => {
  await outer('node_knex').insert({ name: 'ann', doc: { a: 1 } });
  await outer.transaction((inner) => inner('node_knex').insert({ name: 'ann' })).catch(({ code }) => assert.equal(code, '23505'));
  await outer('node_knex').insert({ name: 'bob' });
});
assert.deepEqual(await knex('node_knex').select('name', 'doc').orderBy('id'), [{ name: 'ann', doc: { a: 1 } }, { name: 'bob', doc: null }]);
await knex.schema.dropTable('node_knex');
await knex.destroy();
console.log('ok: Knex makes a table, and undoes a nested transaction alone');

const User = new typeorm.EntitySchema({ name: 'node_typeorm', columns: { id: { type: Number, primary: true, generated: true }, name: { type: String, unique: true } } });
const source = new typeorm.DataSource({ type: 'postgres', driver: rowgate, ...place(), entities: [User], synchronize: true });
await source.initialize();
await source.transaction((manager) => manager.save('node_typeorm', [{ name: 'ann' }, { name: 'bob' }]));
await assert.rejects(source.getRepository('node_typeorm').save({ name: 'ann' }), (error) => error.code === '23505');
assert.deepEqual((await source.getRepository('node_typeorm').find({ order: { id: 'ASC' } })).map(({ name }) => name), ['ann', 'bob']);
await source.query('drop table node_typeorm');
await source.destroy();
console.log('ok: TypeORM makes its tables, saves, and finds');

const sequelize = new Sequelize({
  dialect: 'postgres', dialectModule: rowgate, ...place(), logging: false,
  // Each of these would be a SET for the connection.
  keepDefaultTimezone: true, standardConformingStrings: false, dialectOptions: { clientMinMessages: 'ignore' },
});
const Account = sequelize.define('node_sequelize', { name: { type: DataTypes.STRING, unique: true }, at: DataTypes.DATE });
await Account.sync();
const at = new Date('2026-01-31T01:02:03.004Z');
await sequelize.transaction((transaction) => Account.create({ name: 'ann', at }, { transaction }));
await assert.rejects(Account.create({ name: 'ann' }), (error) => error.name === 'SequelizeUniqueConstraintError');
assert.deepEqual((await Account.findAll({ raw: true })).map((row) => [row.name, row.at]), [['ann', at]]);
await Account.drop();
await sequelize.close();
console.log('ok: Sequelize makes its tables, and commits a transaction');

function place() {
  const [, host, port] = /^(.*):(\d+)$/.exec(process.env.ROWGATE_ADDRESS);
  return { host, port: Number(port), database: 'postgres' };
}
