//! Statements that dirty their session, and the callers after them, who must see none of it.

use std::time::Duration;

use rowgate::value::proto::{AccessMode, QueryOptions, Value};

use crate::harness::client::{Client, PATIENCE, read_only, request, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::random::Random;
use crate::harness::{Backend, Service, wait::eventually};

/// All that a session can remember, in one row. The names of temporary tables and of prepared
/// statements are listed and not counted: a failure then says what was left.
pub(crate) const AUDIT: &str = "select
    (select string_agg(objid::text, ',') from pg_locks
      where pid = pg_backend_pid() and locktype = 'advisory') as locks,
    (select string_agg(name, ',') from pg_prepared_statements where from_sql) as prepared,
    (select string_agg(name, ',') from pg_cursors where name <> '') as cursors,
    (select string_agg(c, ',') from pg_listening_channels() as c) as channels,
    (select string_agg(relname, ',') from pg_class
      where relnamespace = pg_my_temp_schema() and relkind = 'r') as temporary,
    (select string_agg(name || '=' || setting, ',' order by name) from pg_settings
      where source = 'session') as changed,
    (select md5(string_agg(name || '=' || setting, ',' order by name)) from pg_settings
      where name not like 'plpgsql.%') as all_settings,
    (select count(*) from pg_locks where pid = pg_backend_pid() and relation >= 16384) as held,
    nullif(current_setting('my.leak', true), '') as leak,
    current_setting('search_path') as search_path,
    current_setting('statement_timeout') as statement_timeout,
    current_setting('default_transaction_read_only') as read_only,
    current_setting('timezone') as timezone,
    current_setting('datestyle') as datestyle,
    current_setting('client_encoding') as encoding,
    current_user::text as who,
    session_user::text as login,
    pg_current_xact_id_if_assigned()::text as transaction";

pub(crate) const SETUP: &str = "
    create role somebody; grant all on schema public to somebody;
    create table t (id serial primary key, n int);
    create function dirty() returns text language sql as $$ select set_config('my.leak', 'f', false) $$;
    create view innocent as select set_config('my.leak', 'view', false) as x;
    create view nested as select * from innocent;
    create table triggered (id int);
    create function on_insert() returns trigger language plpgsql as $$
      begin perform set_config('my.leak', 'trigger', false); return new; end $$;
    create trigger dirtying before insert on triggered for each row execute function on_insert();
    create table defaulted (id int, x text default set_config('my.leak', 'default', false));
    create function plus(int, text) returns text language sql as $$ select dirty() $$;
    create operator <+> (leftarg = int, rightarg = text, function = plus);
    create domain checked as int check (set_config('my.leak', 'domain', false) is not null);
    create procedure committing() language plpgsql as $$
      begin perform set_config('my.leak', 'procedure', false); commit; end $$;
    create table secured (id int); insert into secured values (1);
    alter table secured enable row level security; alter table secured force row level security;
    create policy dirtying on secured using (dirty() is not null);";

/// Session SQL that works, and leaves something behind.
pub(crate) const DIRTY: &[&str] = &[
    "set work_mem = '1MB'",
    "set search_path = pg_catalog",
    "set timezone = 'Asia/Tokyo'",
    "set datestyle = 'German'",
    "set statement_timeout = 1",
    "set default_transaction_read_only = on",
    "set client_encoding = 'LATIN1'",
    "set role somebody",
    "set session authorization somebody",
    "set my.leak = 'set'",
    "select set_config('my.leak', 'select', false)",
    "with a as (select set_config('my.leak', 'with', false) as x) select * from a",
    "select 1 where set_config('my.leak', 'where', false) is not null",
    "select * from set_config('my.leak', 'from', false)",
    "select dirty()",
    "select 1 <+> 'a'",
    "select 1::checked",
    "select * from innocent",
    "select * from nested",
    "table innocent",
    "insert into triggered values (1)",
    "insert into defaulted (id) values (1)",
    "update t set n = length(set_config('my.leak', 'update', false)) where id = 1",
    "call committing()",
    "do $$ begin perform set_config('my.leak', 'do', false); end $$",
    "explain analyze select set_config('my.leak', 'explain', false)",
    "create temp table leaked (id int)",
    "create temporary table leaked as select 1 as id",
    "select 1 as id into temp leaked",
    "create temp view leaked_view as select 1 as id",
    "select pg_advisory_lock(hashtext(clock_timestamp()::text))",
    "select pg_try_advisory_lock(hashtext(clock_timestamp()::text)) from generate_series(1, 3)",
    "select pg_advisory_lock_shared(7)",
    "listen leaked",
    "prepare leaked as select 1",
    "declare leaked cursor with hold for select 1",
    "discard all",
    "deallocate all",
    "reset all",
    "discard plans",
];

/// Statements that fail, or may, and must leave nothing behind either.
pub(crate) const FAILING: &[&str] = &[
    "begin",
    "start transaction isolation level serializable",
    "/* hidden */ begin",
    "commit and chain",
    "rollback and chain",
    "prepare transaction 'leaked'",
    "set local my.leak = 'local'",
    "set transaction read only",
    "set session characteristics as transaction isolation level serializable",
    "lock table t",
    "declare leaked cursor for select 1",
    "select set_config('my.leak', 'rolled back', false), 1 / (select 0)",
    "do $$ begin perform set_config('my.leak', 'raised', false); raise exception 'no'; end $$",
    "create temp table leaked as select 1 / (select 0) as id",
    "copy (select 1) to stdout",
    "copy t from stdin",
    "select pg_advisory_lock(8) from nowhere",
];

/// A service with so many connections, on a database with [`SETUP`].
pub(crate) async fn service(pool: u32) -> Service {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    let settings = format!(
        "session_statements = \"allow\"\n[databases.main.pool]\nmin = {pool}\nmax = {pool}\nlanes = 1"
    );
    Service::on(postgres, &settings).await
}

async fn audit(client: &Client) -> Vec<Value> {
    client.must(AUDIT, &[]).await.rows.remove(0).values
}

#[tokio::test]
async fn each_statement_works_and_the_next_caller_sees_nothing_of_it() {
    let service = service(1).await;
    let clean = audit(&service.client).await;
    let mut wrong = Vec::new();
    for sql in DIRTY {
        if let Err(failure) = service.client.query(sql, &[]).await {
            wrong.push(format!("{sql}: {failure:?}"));
        }
        let seen = audit(&service.client).await;
        if seen != clean {
            wrong.push(format!("after {sql}: {seen:?}, not {clean:?}"));
        }
    }
    for sql in FAILING {
        let timeout = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
        let options = QueryOptions { timeout, ..QueryOptions::default() };
        drop(service.client.run(request_with(sql, options)).await);
        let seen = audit(&service.client).await;
        if seen != clean {
            wrong.push(format!("after the failing {sql}: {seen:?}, not {clean:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_call_that_may_only_read_cannot_leave_anything_either() {
    let service = service(1).await;
    let clean = audit(&service.client).await;
    for sql in DIRTY.iter().chain(FAILING) {
        let options = QueryOptions {
            timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..read_only()
        };
        drop(service.client.run(request_with(sql, options)).await);
        assert_eq!(audit(&service.client).await, clean, "after {sql}, READ_ONLY");
    }
    assert_eq!(service.postgres().psql("select count(*) from triggered"), "0");
}

#[tokio::test]
async fn the_last_value_of_a_sequence_is_nobody_elses() {
    let service = service(1).await;
    for sql in ["select nextval('t_id_seq')", "insert into t (n) values (1)"] {
        service.client.must(sql, &[]).await;
        let failure = service.client.must_fail("select lastval()", &[]).await;
        assert_eq!(failure.report.sqlstate, "55000", "after {sql}: {failure:?}");
    }
}

/// The behaviour of one of many callers: mostly bad.
struct Caller {
    client: Client,
    random: Random,
    clean: Vec<Value>,
}

impl Caller {
    async fn run(mut self, calls: u32) -> Result<(), String> {
        for number in 0..calls {
            match self.random.below(10) {
                0..3 => self.dirty(DIRTY, 0).await,
                3 => self.dirty(FAILING, 100).await,
                4 => self.dirty(DIRTY, 1 + self.random.0 % 5).await,
                5 => self.leave_a_stream().await,
                6 => self.hang_up().await,
                7 => self.plain().await?,
                _ => self.audit(number).await?,
            }
        }
        Ok(())
    }

    async fn dirty(&mut self, from: &[&str], milliseconds: u64) {
        let mut request = request(self.random.pick(from), &[]);
        let mode =
            self.random.pick(&[AccessMode::ReadWrite, AccessMode::ReadWrite, AccessMode::ReadOnly]);
        let mut options = QueryOptions { access_mode: mode.into(), ..QueryOptions::default() };
        if milliseconds > 0 {
            let timeout = Duration::from_millis(milliseconds);
            options.timeout = Some(timeout.try_into().expect("it is short"));
        }
        request.options = Some(options);
        drop(self.client.run(request).await);
    }

    /// Opens a stream that dirties its session, and goes away in the midst of it.
    async fn leave_a_stream(&mut self) {
        let sql = "select set_config('my.leak', 'stream', false), n, \
                   case when n < 9 then pg_try_advisory_lock(n) end \
                   from generate_series(1, 20000) as n";
        if let Ok(mut parts) = self.client.open(request(sql, &[])).await {
            for _ in 0..self.random.below(3) {
                drop(parts.next().await);
            }
        }
    }

    /// Goes away before the answer.
    async fn hang_up(&mut self) {
        let sql = "select set_config('my.leak', 'hung up', false), pg_advisory_lock_shared(9), pg_sleep(1)";
        let patience = Duration::from_micros(self.random.below(5000));
        drop(tokio::time::timeout(patience, self.client.query(sql, &[])).await);
    }

    /// A statement that must work whatever the others do.
    async fn plain(&mut self) -> Result<(), String> {
        let number = i64::try_from(self.random.below(1000)).expect("it is small");
        let result = self.client.query("select $1::int8 + 1", &[Value::int64(number)]).await;
        let result = result.map_err(|failure| format!("a plain call: {failure:?}"))?;
        let right = result.rows[0].values == [Value::int64(number + 1)];
        right.then_some(()).ok_or_else(|| format!("{number} + 1 is {result:?}"))
    }

    async fn audit(&mut self, number: u32) -> Result<(), String> {
        let result = self.client.query(AUDIT, &[]).await;
        let result = result.map_err(|failure| format!("the audit: {failure:?}"))?;
        let seen = &result.rows[0].values;
        let same = *seen == self.clean;
        same.then_some(())
            .ok_or_else(|| format!("call {number} saw {seen:?}, not {:?}", self.clean))
    }
}

#[tokio::test]
async fn callers_who_share_four_connections_see_nothing_of_each_other() {
    let service = service(4).await;
    let clean = audit(&service.client).await;
    let callers: Vec<_> = (0..16)
        .map(|seed| Caller {
            client: service.client.clone(),
            random: Random(seed),
            clean: clean.clone(),
        })
        .map(|caller| tokio::spawn(caller.run(40)))
        .collect();
    let mut wrong = Vec::new();
    for caller in callers {
        wrong.extend(caller.await.expect("no caller panics").err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(audit(&service.client).await, clean);
    check_from_outside(service.postgres());
}

/// Checks what the database itself reports of the pool's sessions, once they are idle.
fn check_from_outside(postgres: &Postgres) {
    let sessions = "from pg_stat_activity where backend_type = 'client backend' \
                    and pid <> pg_backend_pid()";
    eventually("all sessions are idle", PATIENCE, || {
        let busy = postgres.psql(&format!("select count(*) {sessions} and state <> 'idle'"));
        (busy == "0").then_some(())
    });
    for (what, sql) in [
        ("advisory locks", "select * from pg_locks where locktype = 'advisory'"),
        ("temporary tables", "select relname from pg_class where relpersistence = 't'"),
        ("open transactions", "select * from pg_prepared_xacts"),
    ] {
        assert_eq!(postgres.psql(sql), "", "{what} are left");
    }
    // One that was closed leaves the list a moment later.
    eventually("the pool has 4 connections, the lane and the probe one each", PATIENCE, || {
        let count = postgres.psql(&format!("select count(*) {sessions}"));
        (count.parse::<u32>().expect("a number") <= 6).then_some(())
    });
}

#[tokio::test]
async fn two_callers_do_not_share_literals_through_prepared_statements() {
    let service = Service::start(Backend::Postgres).await;
    for number in 0..600 {
        // More texts than the statement cache holds, some of them alike.
        let result = service.client.must(&format!("select {} as n", number % 400), &[]).await;
        assert_eq!(result.rows[0].values, [Value::int64(number % 400)]);
    }
}
