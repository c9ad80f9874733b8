//! Statements that dirty a session of MariaDB or MySQL, and the callers after them, who must see none of it.

mod checkouts;
mod next_caller;
mod traffic;

use rowgate::value::proto::{Row, Value};

use crate::harness::Service;
use crate::harness::client::Client;
use crate::harness::mariadb::{Mariadb, is_mysql};

/// A statement that leaves something behind, and one by which the next caller would notice.
#[derive(Debug, Clone, Copy)]
struct Leak {
    dirty: &'static str,
    probe: &'static str,
}

const fn leak(dirty: &'static str, probe: &'static str) -> Leak {
    Leak { dirty, probe }
}

const SETUP: &str = "
    create table t (id bigint auto_increment primary key, n bigint);
    insert into t values (1, 1);
    create table seven (id int primary key);
    insert into seven values (1), (2), (3), (4), (5), (6), (7);
    create table guarded (id int);
    create table tokens (token bigint primary key);
    create function dirty() returns int return (@leak := 3);
    create function locking() returns int return get_lock('leak', 0);
    create procedure dirtying() set @leak = 'procedure';
    create procedure making() create temporary table seven (id int);
    create procedure preparing() prepare leaked from 'select 1';
    create table triggered (id int);
    create trigger dirtying before insert on triggered for each row set @leak = 'trigger';
    create view innocent as select locking() as x;
    create role leaker;
    grant leaker to rowgate@'%';";

/// MariaDB has sequences, and defaults that draw from them.
const SETUP_OF_MARIADB: &str = "
    create sequence numbers;
    create table drawing (id int, x bigint default nextval(numbers));";

const OF_BOTH: &[Leak] = &[
    leak("set @leak = 1", "select @leak"),
    leak("select @leak := 2", "select @leak"),
    leak("select 3 into @leak", "select @leak"),
    leak("select n into @leak from t where id = 1", "select @leak"),
    leak("do @leak := 4", "select @leak"),
    leak("select 1 where (@leak := 5) > 0", "select @leak"),
    leak("update t set n = (@leak := 6) where id = 1", "select @leak"),
    leak("/*! set @leak = 7 */", "select @leak"),
    leak("select dirty()", "select @leak"),
    leak("do dirty()", "select @leak"),
    leak("call dirtying()", "select @leak"),
    leak("insert into triggered values (1)", "select @leak"),
    leak("set @@session.sql_mode = ''", "select @@sql_mode"),
    leak("set names latin1", "select @@character_set_client"),
    leak("set time_zone = '+09:00'", "select @@time_zone"),
    leak("set timestamp = 1", "select now() < '2000-01-01'"),
    leak("set insert_id = 4711", "select @@insert_id"),
    leak("set last_insert_id = 99", "select last_insert_id()"),
    leak("set foreign_key_checks = 0", "select @@foreign_key_checks"),
    leak("set unique_checks = 0", "select @@unique_checks"),
    leak("set sql_safe_updates = 1", "select @@sql_safe_updates"),
    leak("set sql_select_limit = 1", "select id from seven order by id"),
    leak("set default_storage_engine = 'MEMORY'", "select @@default_storage_engine"),
    leak("set innodb_lock_wait_timeout = 1234", "select @@innodb_lock_wait_timeout"),
    leak("set group_concat_max_len = 4", "select group_concat(id order by id) from seven"),
    leak("set session_track_state_change = 0", "select @@session_track_state_change"),
    leak("set session_track_transaction_info = 'OFF'", "select @@session_track_transaction_info"),
    leak("set lc_messages = 'de_DE'", "select @@lc_messages"),
    leak("select get_lock('leak', 0)", "select is_used_lock('leak') is null"),
    leak("select locking()", "select is_used_lock('leak') is null"),
    leak("select * from innocent", "select is_used_lock('leak') is null"),
    leak("do get_lock('leak', 0)", "select release_all_locks()"),
    leak("create temporary table seven (id int)", "select count(*) from seven"),
    leak("create temporary table seven select 1 as id", "select count(*) from seven"),
    leak("call making()", "select count(*) from seven"),
    leak("select last_insert_id(42)", "select last_insert_id()"),
    leak("update t set n = last_insert_id(43) where id = 1", "select last_insert_id()"),
    leak("insert into t (n) values (1)", "select last_insert_id()"),
    leak("select sql_calc_found_rows id from seven limit 1", "select found_rows()"),
    leak("prepare leaked from 'select 1'", "execute leaked"),
    leak("call preparing()", "execute leaked"),
    leak("use information_schema", "select database()"),
    leak("lock tables t read", "insert into guarded values (1)"),
    leak("lock tables t write", "select count(*) from seven"),
    leak("set role leaker", "select current_role()"),
    leak("handler t open as leaked", "handler leaked read first"),
    leak("set profiling = 1", "select @@profiling"),
];

const OF_MARIADB: &[Leak] = &[
    // MySQL forgets them as it prepares the next statement.
    leak("insert ignore into t (id) values (1)", "show warnings"),
    leak("select cast('secret' as signed)", "show warnings"),
    leak("select 1 / 0", "select @@warning_count"),
    leak("select nextval(numbers)", "select lastval(numbers)"),
    leak("select next value for numbers", "select previous value for numbers"),
    leak("insert into drawing (id) values (1)", "select lastval(numbers)"),
    leak("execute immediate 'set @leak = 8'", "select @leak"),
    leak("analyze select (@leak := 9)", "select @leak"),
    leak("set @@session.tx_isolation = 'SERIALIZABLE'", "select @@tx_isolation"),
    leak("set @@tx_read_only = 1", "insert into guarded values (1)"),
    leak("set max_statement_time = 1234", "select @@max_statement_time"),
    leak("set default_master_connection = 'x'", "select @@default_master_connection"),
];

const OF_MYSQL: &[Leak] = &[
    leak("explain analyze select locking()", "select is_used_lock('leak') is null"),
    leak("set @@session.transaction_isolation = 'SERIALIZABLE'", "select @@transaction_isolation"),
    leak("set @@transaction_read_only = 1", "insert into guarded values (1)"),
    leak("set max_execution_time = 1234", "select @@max_execution_time"),
];

/// All that the server of this run takes.
fn leaks() -> Vec<Leak> {
    let own = if is_mysql() { OF_MYSQL } else { OF_MARIADB };
    OF_BOTH.iter().chain(own).copied().collect()
}

fn mariadb(settings: &[&str]) -> Mariadb {
    let mariadb = Mariadb::with(settings);
    mariadb.sql(SETUP);
    if !is_mysql() {
        mariadb.sql(SETUP_OF_MARIADB);
    }
    mariadb
}

/// A service with so many connections.
async fn service(pool: u32, environment: &[(&str, &str)]) -> Service {
    let settings = format!(
        "session_statements = \"allow\"\npool.min = {pool}\npool.max = {pool}\n[health]\ninterval = \"1h\""
    );
    Service::on_mariadb(mariadb(&[]), &settings, environment).await
}

/// The rows of an answer, or the database's own name of the error, or ours.
type Seen = Result<Vec<Vec<Value>>, String>;

async fn see(client: &Client, sql: &str) -> Seen {
    let rows = |rows: Vec<Row>| rows.into_iter().map(|row| row.values).collect();
    match client.query(sql, &[]).await {
        Ok(answer) => Ok(rows(answer.rows)),
        Err(failure) => Err(format!("{} {}", failure.reason, failure.report.sqlstate)),
    }
}
