//! A caller that may only read: whatever it sends, nothing is written.

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{AccessMode, Begin, ExecuteBatchRequest, TransactionOptions, Value};
use tonic::Code;

use super::Guarded;
use crate::harness::Backend;
use crate::harness::client::{Client, Failure, read_only, request, request_with};
use crate::harness::unit::batch;

const CALLERS: &[(&str, &str)] = &[
    ("reader", "databases = ['main']\nrpcs = METHODS"),
    ("writer", "databases = ['main']\nread_only = false\nrpcs = METHODS"),
];

fn reading() -> TransactionOptions {
    TransactionOptions { access_mode: AccessMode::ReadOnly.into(), ..Default::default() }
}

/// Runs a statement in each way of the API; with `reads` as READ_ONLY.
async fn in_each_way(client: &Client, sql: &str, reads: bool) -> Vec<Result<(), Failure>> {
    let query = || if reads { request_with(sql, read_only()) } else { request(sql, &[]) };
    let transaction = reads.then(reading);
    let begin = Begin { transaction, ..Begin::default() };
    let statements = ExecuteBatchRequest { transaction, ..batch(&[sql]) };
    let queried = client.run(query()).await.map(drop);
    let streamed = client.stream(query()).await.map(drop);
    let batched = client.batch(statements).await.map(drop);
    vec![queried, streamed, batched, in_a_transaction(client, begin, sql).await]
}

async fn in_a_transaction(client: &Client, begin: Begin, sql: &str) -> Result<(), Failure> {
    let mut transaction = client.transact().await;
    transaction.send(Command::Begin(begin)).await;
    transaction.reply().await?;
    let ran = transaction.query(sql, &[]).await.map(drop);
    if ran.is_err() {
        drop(transaction.rollback().await);
        return ran;
    }
    transaction.commit().await
}

#[tokio::test]
async fn what_is_not_read_only_is_denied_and_the_rest_reads() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let guarded = Guarded::start(backend, CALLERS).await;
        guarded.client("writer").must("create table t (id int)", &[]).await;
        let client = guarded.client("reader");
        for sql in ["select count(*) from t", "insert into t values (1)"] {
            for failure in in_each_way(&client, sql, false).await {
                let failure = failure.expect_err("it is not READ_ONLY");
                let denied = (Code::PermissionDenied, "ACCESS_DENIED");
                assert_eq!(failure.what(), denied, "{sql}: {failure:?}");
                assert!(failure.report.hint.contains("callers.reader.read_only"), "{failure:?}");
            }
        }
        for read in in_each_way(&client, "select count(*) from t", true).await {
            read.expect("it reads");
        }
    }
}

/// Ways out of READ_ONLY on PostgreSQL. Those that do not fail by themselves leave nothing.
const POSTGRES: &[&str] = &[
    "insert into t values (1)",
    "update t set id = 1",
    "with w as (insert into t values (1) returning id) select id from w",
    "create table made (id int)",
    "drop table t",
    "truncate t",
    "select nextval('s')",
    "select setval('s', 7)",
    "select lo_create(0)",
    "select id from t for update",
    "set transaction read write",
    "set session characteristics as transaction read write",
    "set transaction_read_only = off",
    "set default_transaction_read_only = off",
    "reset all",
    "select set_config('transaction_read_only', 'off', true)",
    "select set_config('transaction_read_only', 'off', false)",
    "begin read write",
    "commit",
    "rollback",
    "end",
    "abort",
    "savepoint a",
    "commit; begin; insert into t values (1)",
    "select 1; commit; insert into t values (1)",
    "/* x */ commit",
    "; commit",
    "prepare transaction 'x'",
    "select writes()",
    "select leaves()",
    "select * from writes()",
    "select count(*) from v",
    "do $$ begin insert into t values (1); end $$",
    "do $$ begin commit; insert into t values (1); end $$",
    "do $$ begin reset transaction_read_only; insert into t values (1); end $$",
    "call writing()",
    "call committing()",
    "prepare p as insert into t values (1)",
    "explain analyze insert into t values (1)",
    "explain (analyze) select writes()",
    "copy t from program 'echo 1'",
    "copy t to program 'cat > MARK'",
    "copy (select 1) to program 'cat > MARK'",
    "copy (select 1) to 'MARK'",
    "copy (select writes()) to stdout",
    "select lo_export(4711, 'MARK')",
    "select query_to_xml('insert into t values (1) returning id', true, true, '')",
    "select pg_reload_conf()",
    "alter system set work_mem = '1MB'",
    "alter role postgres set transaction_read_only = off",
    "create extension dblink",
    "notify x",
    "lock table t",
    "declare c cursor with hold for select writes()",
    "vacuum",
    "checkpoint",
];

/// The same on SQLite.
const SQLITE: &[&str] = &[
    "insert into t values (1)",
    "update t set id = 1",
    "delete from t",
    "replace into t values (1)",
    "with w as (select 1) insert into t select * from w",
    "create table made (id int)",
    "create temp table made (id int)",
    "drop table t",
    "pragma query_only = off",
    "pragma query_only = 0",
    "pragma query_only(0)",
    "pragma main.query_only = 0",
    "pragma writable_schema = on",
    "pragma user_version = 7",
    "pragma journal_mode = delete",
    "pragma journal_mode = off",
    "pragma wal_checkpoint(truncate)",
    "attach 'MARK' as made",
    "attach database ':memory:' as made",
    "detach main",
    "vacuum into 'MARK'",
    "vacuum",
    "reindex",
    "analyze",
    "begin immediate",
    "commit",
    "commit; insert into t values (1)",
    "select 1; insert into t values (1)",
    "savepoint a",
    "explain insert into t values (1); insert into t values (1)",
    "select load_extension('x')",
    "select writefile('MARK', 'x')",
    "select * from pragma_query_only(0)",
];

/// The same on MariaDB and MySQL, whose definitions leave a read-only transaction by themselves.
const MARIADB: &[&str] = &[
    "insert into t values (1)",
    "insert into m values (1)",
    "update t set id = 1",
    "delete from t",
    "replace into t values (1)",
    "insert into t select 1",
    "select id from t for update",
    "create table made (id int)",
    "create temporary table made (id int)",
    "create or replace table t (id int, n int)",
    "drop table t",
    "truncate m",
    "alter table t add n int",
    "rename table t to made",
    "create index made on t (id)",
    "create view made as select 1",
    "create procedure made() select 1",
    "create trigger made before insert on t for each row set @a = 1",
    "drop procedure writing",
    "lock tables t write",
    "flush tables",
    "analyze table t",
    "optimize table m",
    "select nextval(s)",
    "select next value for s",
    "select setval(s, 7)",
    "do nextval(s)",
    "set transaction read write",
    "set session transaction read write",
    "set tx_read_only = off",
    "set @@session.transaction_read_only = 0",
    "set autocommit = 1",
    "set autocommit = 0",
    "start transaction read write",
    "begin",
    "commit",
    "commit and chain",
    "rollback",
    "savepoint a",
    "commit; insert into t values (1)",
    "select 1; insert into t values (1)",
    "/* x */ commit",
    "# x\ncommit",
    "/*! commit */",
    "/*M! commit */",
    "/*!99999 x */ commit",
    "/*!50000 insert into t values (1) */",
    "/*! set session transaction read write */",
    "select 1 /*! into outfile 'MARK' */",
    "select 1 into outfile 'MARK'",
    "select 1 into dumpfile 'MARK'",
    "select 1 into @a",
    "select writes()",
    "do writes()",
    "values (writes())",
    "set @a = writes()",
    "select count(*) from v",
    "select benchmark(1, writes())",
    "select * from (select writes()) x",
    "with w as (select writes() as a) select a from w",
    "show tables where writes() = 1",
    "explain select writes()",
    "call writing()",
    "call committing()",
    "call leaving()",
    "execute immediate 'insert into t values (1)'",
    "prepare p from 'insert into t values (1)'",
    "set statement max_statement_time = 1 for insert into t values (1)",
    "begin not atomic commit; insert into t values (1); end",
    "if true then commit; insert into t values (1); end if",
    "explain insert into t values (1)",
    "explain analyze insert into t values (1)",
    "analyze insert into t values (1)",
    "analyze format=json insert into t values (1)",
    "load data local infile '/etc/hostname' into table t",
    "load data infile '/etc/hostname' into table t",
    "handler t open",
    "xa start 'x'",
    "xa commit 'x'",
    "grant select on test.t to rowgate@'%'",
    "create user made@'%'",
    "kill query 1",
    "select get_lock('a', 0)",
];

/// The client of the database reads the delimiters.
const MARIADB_SETUP: &str = "create table t (id int) engine=innodb;
    create table m (id int) engine=myisam;
    insert into m values (1);
    create procedure writing() insert into t values (1);
    grant execute on test.* to rowgate@'%';
delimiter //
create function writes() returns int deterministic modifies sql data
    begin insert into t values (1); return 1; end //
create procedure committing() begin commit; insert into t values (1); end //
create procedure leaving()
    begin commit; set session transaction read write; insert into t values (1); end //
delimiter ;
    create view v as select writes() as id";

/// All that may have been written, from the view of the user.
const MYSQL_STATE: &str = "select count(*), (select count(*) from m), \
    (select count(*) from information_schema.columns), \
    (select count(*) from information_schema.statistics), \
    (select count(*) from information_schema.triggers), \
    (select count(*) from information_schema.routines) from t";

const MARIADB_STATE: &str = "select count(*), (select count(*) from m), \
    (select next_not_cached_value from s), \
    (select count(*) from information_schema.columns), \
    (select count(*) from information_schema.statistics), \
    (select count(*) from information_schema.triggers), \
    (select count(*) from information_schema.routines) from t";

const SETUP: &str = "create table t (id int); create sequence s;
    create function writes() returns int language plpgsql as $$ begin
        insert into t values (1); return 1; end $$;
    create function leaves() returns int language plpgsql as $$ begin
        perform set_config('transaction_read_only', 'off', true);
        insert into t values (1); return 1; end $$;
    create view v as select writes() as id;
    create procedure writing() language sql as $$ insert into t values (1) $$;
    create procedure committing() language plpgsql as $$ begin
        commit; insert into t values (1); end $$;
    select lo_from_bytea(4711, 'as it was');";

#[tokio::test]
async fn no_way_out_of_read_only_writes_anything() {
    let backends =
        [(Backend::Sqlite, SQLITE), (Backend::Postgres, POSTGRES), (Backend::Mariadb, MARIADB)];
    for (backend, ways) in backends {
        let guarded = Guarded::start(backend, CALLERS).await;
        let (writer, reader) = (guarded.client("writer"), guarded.client("reader"));
        let state = match backend {
            Backend::Sqlite => {
                writer.must("create table t (id int)", &[]).await;
                "select count(*), (select count(*) from sqlite_master), \
                 (select user_version from pragma_user_version) from t"
            }
            Backend::Mariadb => {
                guarded.service.mariadb().sql(MARIADB_SETUP);
                if guarded.service.mariadb().is_mysql() {
                    MYSQL_STATE
                } else {
                    guarded.service.mariadb().sql("create sequence s");
                    MARIADB_STATE
                }
            }
            Backend::Postgres => {
                guarded.service.postgres().psql(SETUP);
                "select count(*), (select count(*) from pg_class where relkind in ('r', 'S')), \
                 (select count(*) from pg_largeobject_metadata), (select is_called from s), \
                 (select count(*) from pg_db_role_setting) from t"
            }
        };
        let before = writer.must(state, &[]).await.rows;
        let mark = guarded.directory.path().join("mark");
        for way in ways {
            let sql = way.replace("MARK", &mark.display().to_string());
            // Some fail and some do nothing: what counts is what stays.
            drop(in_each_way(&reader, &sql, true).await);
            let state = writer.must(state, &[]).await.rows;
            assert_eq!(state, before, "{backend:?}: {way} wrote");
            assert!(!mark.exists(), "{backend:?}: {way} made a file");
            // The session of the next caller writes as before.
            let insert = "insert into t values (2)";
            let dry = ExecuteBatchRequest { dry_run: true, ..batch(&[insert]) };
            writer.batch(dry).await.unwrap_or_else(|failure| panic!("after {way}: {failure:?}"));
        }
        let left = writer.must("select count(*) from t", &[]).await;
        assert_eq!(left.rows[0].values, [Value::int64(0)]);
    }
}
