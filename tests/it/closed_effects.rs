//! The ways in which a statement that looks harmless reaches somebody's code: none of them may pass for a
//! read, nor leave its session as it is.

use rowgate::value::proto::{DescribeStatementRequest, Value};

use crate::harness::client::{PATIENCE, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::unit::batch;
use crate::harness::{Service, behind::KEYS};
use crate::session_effects::{pool, resetting};

/// The contents of each database: code that marks its session, immutable as far as its author says.
const MARK: &str = "
    create sequence numbers;
    create table t (id int, name text);
    insert into t select n, 'x' from generate_series(1, 3) as n;
    create function mark(int) returns int language plpgsql immutable as
      $$ begin perform set_config('my.leak', 'x', false); return $1; end $$;";

async fn service(setup: &str) -> Service {
    let postgres = Postgres::start();
    postgres.psql(&format!("{MARK}{setup}"));
    Service::on(postgres, "session_statements = \"allow\"\npool.min = 1\npool.max = 1").await
}

/// Checks that these statements reset their session and are no reads.
async fn check(setup: &str, statements: &[&str]) {
    let service = service(setup).await;
    assert_eq!(resetting(&service, statements).await, statements, "with {setup}");
    for sql in statements {
        let request = DescribeStatementRequest { sql: (*sql).to_owned(), ..Default::default() };
        let answer =
            service.client.raw().describe_statement(with_deadline(request, PATIENCE)).await;
        let described = answer.unwrap_or_else(|status| panic!("{sql}: {status:?}")).into_inner();
        assert!(!described.read_only, "{sql} is said to read only, with {setup}");
    }
}

#[tokio::test]
async fn a_name_that_postgresql_cuts_off_is_unknown() {
    let long = "n".repeat(63);
    let called = format!("select {long}_and_more(1)");
    let read = format!("select * from {long}_and_more");
    let setup = format!(
        "create function {long}(int) returns int language sql as 'select mark($1)';
         create view {long} as select mark(1);"
    );
    check(&setup, &[&called, &read]).await;
}

#[tokio::test]
async fn operators_and_casts_of_somebodys_are_found_behind_plain_literals() {
    for (setup, sql) in [
        (
            "create function add(text, text) returns text language sql as 'select mark(1)::text';
             create operator + (leftarg = text, rightarg = text, function = add);",
            "select 'a'::text + 'b'::text",
        ),
        // The code is built-in, and writes all the same.
        ("create operator + (rightarg = regclass, function = nextval);", "select + 'numbers'::regclass"),
        (
            "create function to_number(text) returns int language sql as 'select mark(1)';
             create cast (text as int) with function to_number(text) as implicit;",
            "select abs('7'::text)",
        ),
        (
            "create type mood as enum ('sad', 'happy');
             create function to_mood(text) returns mood language sql as 'select null::mood';
             create cast (text as mood) with function to_mood(text) as assignment;",
            "select count(*) from t",
        ),
        (
            "create function compare(int, int) returns int language sql immutable as 'select mark($1)';
             create operator class odd_ops for type int4 using btree as operator 1 <, operator 2 <=,
               operator 3 =, operator 4 >=, operator 5 >, function 1 compare(int, int);",
            "select id from t order by id",
        ),
    ] {
        check(setup, &[sql]).await;
    }
}

const DOMAINS: &str = "
    create domain checked as int check (mark(value) > 0);
    create type pair as (a checked, b int);
    create type checked_range as range (subtype = checked);
    create table holds (p pair, a checked[]);
    create function \"text\"(pair) returns text language sql as 'select $1.a::text';
    create table plain_domain (c checked);";

#[tokio::test]
async fn domains_are_found_wherever_they_are_contained() {
    check(
        DOMAINS,
        &[
            "select checked(1)",
            "select * from holds where a = '{1}'",
            "select * from json_to_record('{\"a\": 1}') as r (a checked)",
            "select * from json_to_record('{\"a\": 1}') as r (a int)",
            "select json_populate_record(null::pair, '{\"a\": 1}')",
            "insert into holds (a) values ('{1}')",
            "insert into plain_domain values (1)",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_parameter_of_a_domain_is_checked_as_it_is_read_in() {
    let service = service(DOMAINS).await;
    let before = pool(&service).await.resets;
    let sql = "select coalesce(c, $1) from plain_domain";
    drop(service.client.query(sql, &[Value::int64(1)]).await);
    let inserted = "insert into plain_domain values ($1)";
    service.client.must(inserted, &[Value::int64(1)]).await;
    assert!(pool(&service).await.resets > before);
    let leak = service.client.must("select current_setting('my.leak', true) = 'x'", &[]).await;
    assert_ne!(leak.rows[0].values, [Value::bool(true)]);
}

#[tokio::test]
async fn what_fails_while_it_is_parsed_leaves_nothing() {
    let service = service(
        "create function locks(int) returns boolean language plpgsql as
           $$ begin perform pg_advisory_lock(42); raise exception 'no'; end $$;
         create domain locking as int check (locks(value));",
    )
    .await;
    service.client.must_fail("select '{1}'::locking[]", &[]).await;
    let locks = "select count(*) from pg_locks where locktype = 'advisory'";
    assert_eq!(service.client.must(locks, &[]).await.rows[0].values, [Value::int64(0)]);
}

#[tokio::test]
async fn the_code_that_planning_runs_is_looked_at() {
    check(
        "create table indexed (id int); create index on indexed (mark(id));
         create table part_of (id int); create index on part_of (id) where mark(id) > 0;
         create table counted (id int, n int);
         -- PostgreSQL 13 has no statistics on expressions.
         do $$ begin create statistics counted_s on (mark(id)), n from counted;
         exception when feature_not_supported then create index on counted (mark(id)); end $$;
         create table keyed (id int) partition by range (mark(id));
         create table keyed_1 partition of keyed for values from (1) to (9);
         create table parent (id int);
         create table child (check (mark(id) > 0)) inherits (parent);
         create table made (id int, m int generated always as (mark(id)) stored);
         create table referenced (id int primary key); create index on referenced (mark(id));
         create table referencing (id int references referenced);
         insert into referenced values (1);",
        &[
            "select * from indexed",
            "select * from part_of where id = 1",
            "select * from counted",
            "select * from keyed where id = 1",
            "select * from parent where id = 1",
            "select * from made",
            "insert into referencing values (1)",
            "select count(*) from t, lateral (select * from indexed where indexed.id = t.id) as i",
        ],
    )
    .await;
}

#[tokio::test]
async fn functions_that_run_other_code_are_no_reads_whatever_they_are_marked() {
    check(
        "create extension tablefunc; create extension hstore;",
        &[
            "select * from crosstab('select mark(1), 2, 3') as c (a int, b int, d int)",
            "select table_to_xml('t', true, true, '')",
            "select txid_current()",
            "select ts_rewrite('a'::tsquery, 'select mark(1)::text::tsquery, null::tsquery')",
            "select record_in('(1)', 0, -1)",
            "select populate_record(null::t, 'id => 1')",
        ],
    )
    .await;
}

#[tokio::test]
async fn known_extensions_cost_nothing() {
    let service = service(
        "create extension hstore; create extension citext; create extension ltree; create extension cube;
         create extension btree_gist; create extension btree_gin; create extension intarray;
         create extension pg_trgm; create extension unaccent; create extension seg;
         create extension fuzzystrmatch; create extension pgcrypto; create extension isn;
         create table tagged (id int primary key, tags hstore, mail citext);
         create index on tagged (lower(mail::text)); create index on t (lower(name));",
    )
    .await;
    let free = [
        "select id, tags, mail from tagged where id = $1",
        "insert into tagged (id) values (77) on conflict do nothing",
        "select similarity(name, 'x'), levenshtein(name, 'y') from t",
        "select 'a' || 'b', 1 + 1",
    ];
    assert_eq!(resetting(&service, &free).await, [""; 0]);
}

#[tokio::test]
async fn an_operator_that_was_added_to_a_known_extension_is_not_its_own() {
    check(
        "create extension hstore;
         create function add(text, text) returns text language sql as 'select mark(1)::text';
         create operator + (leftarg = text, rightarg = text, function = add);
         alter extension hstore add operator + (text, text);
         alter extension hstore add function add(text, text);",
        &["select 'a'::text + 'b'::text"],
    )
    .await;
}

#[tokio::test]
async fn no_verdict_comes_from_a_session_that_was_changed_or_goes_to_one() {
    let service = service(
        "create schema other; create table other.twice (id int); create table twice (id int);
         create function on_insert() returns trigger language plpgsql as
           $$ begin perform mark(1); return new; end $$;
         create trigger marking before insert on public.twice for each row execute function on_insert();",
    )
    .await;
    let insert = "insert into twice values (1)";
    let mut transaction = service.client.begin().await;
    transaction.query("set local search_path = other", &[]).await.expect("it runs");
    transaction.query(insert, &[]).await.expect("it runs");
    transaction.commit().await.expect("it commits");
    assert_eq!(resetting(&service, &[insert]).await, [insert]);
    // A temporary table stands before all others.
    let harmless = ["select * from t"];
    assert_eq!(resetting(&service, &harmless).await, [""; 0]);
    let changed = ["create temp view t as select mark(1)", "select * from t"];
    service.client.batch(batch(&changed)).await.expect("it runs");
    assert_eq!(resetting(&service, &harmless).await, [""; 0]);
}

#[tokio::test]
async fn a_trigger_on_the_table_of_keys_is_somebodys_code() {
    let setup = format!(
        "{KEYS};
         create function on_insert() returns trigger language plpgsql as
           $$ begin perform set_config('my.leak', 'x', false); return new; end $$;
         create trigger marking before insert on rowgate_idempotency for each row execute function on_insert();"
    );
    let service = service(&setup).await;
    let mut keyed = batch(&["insert into t values (1)"]);
    keyed.options = Some(crate::harness::unit::keyed("k"));
    let before = pool(&service).await.resets;
    service.client.batch(keyed).await.expect("it runs");
    assert!(pool(&service).await.resets > before, "the session was reset");
}
