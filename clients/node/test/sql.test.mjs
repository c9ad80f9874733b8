import { after, test } from 'node:test';
import { connect, sql } from 'rowgate';
import { address, assert, DATABASES, failureOf } from './harness.mjs';

const connections = DATABASES.map((database) => connect(address, { database }));
after(() => connections.forEach((db) => db.close()));

test('values become parameters, and pieces are inserted with theirs', () => {
  const active = sql`active = ${true}`;
  const where = sql`where ${sql.join([active, sql`id > ${5}`], sql` and `)}`;
  const statement = sql`select * from t ${where} ${sql.empty}limit ${10}`;
  assert.deepEqual(statement.compile(), { text: 'select * from t where active = $1 and id > $2 limit $3', values: [true, 5, 10] });
  assert.deepEqual(sql`values ${sql.join([[1, 'a'], [2, 'b']].map((row) => sql`(${sql.join(row)})`))}`.compile(), {
    text: 'values ($1, $2), ($3, $4)', values: [1, 'a', 2, 'b'] });
});

test('names are quoted as the database wants it', () => {
  const name = sql.identifier('a"b', 'c`d');
  assert.equal(name.compile('postgres').text, '"a""b"."c`d"');
  assert.equal(name.compile('sqlite').text, '"a""b"."c`d"');
  assert.equal(name.compile('mysql').text, '`a"b`.`c``d`');
  assert.throws(() => sql.identifier(''), /not empty/);
  assert.throws(() => sql.identifier('a\0'), /NUL/);
});

test('what would change the meaning of a statement silently is refused', () => {
  assert.throws(() => sql`select ${undefined}`, /undefined/);
  assert.throws(() => sql('select 1'), /tag/);
  assert.throws(() => sql(['select 1']), /tag/);
  assert.throws(() => sql.join([]), /nothing to join/);
  assert.throws(() => sql.join([1], ', '), /piece of SQL/);
});

test('what a stranger sends stays a value, and a name stays a name', async () => {
  const evil = `'; drop table node_sql; --`;
  const table = 'node "sql` table';
  for (const [index, db] of connections.entries()) {
    const name = sql.identifier(table);
    await db.sql`drop table if exists ${name}`;
    await db.sql`create table ${name} (id int primary key, ${sql.identifier('select')} varchar(200))`;
    await db.sql`insert into ${name} values (${1}, ${evil})`;
    const { rows } = await db.sql`select ${sql.identifier('select')} as found from ${name} where ${sql.identifier('select')} = ${evil}`;
    assert.deepEqual(rows, [{ found: evil }], DATABASES[index]);
    await db.sql`drop table ${name}`;
  }
});

test('a text with values, and a piece of SQL with options, are told apart', async () => {
  const [db] = connections;
  assert.deepEqual((await db.query('select $1 as a', ['x'], { rowMode: 'array' })).rows, [['x']]);
  assert.deepEqual((await db.query(sql`select ${'x'} as a`, { rowMode: 'array' })).rows, [['x']]);
  assert.match((await failureOf(db.query(sql`select ${1}`, [1]))).message, /stand in it/);
  assert.match((await failureOf(db.query('select $1', 'x'))).message, /array/);
  assert.match((await failureOf(db.query('select $1', [undefined]))).message, /parameters\[0\].*undefined/);
});
