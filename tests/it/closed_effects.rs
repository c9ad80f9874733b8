//! Statements that look harmless and reach somebody's code: none passes for a read, or leaves its session as it is.

use std::collections::BTreeSet;

use rowgate::value::proto::{DescribeStatementRequest, Value};

use crate::harness::client::{PATIENCE, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::unit::{batch, keyed};
use crate::harness::{Service, behind::KEYS};
use crate::session_effects::{pool, resetting};

/// The contents of each database: code that marks its session, immutable as far as its author says.
const MARK: &str = "
    create sequence numbers;
    create table t (id int, name text);
    insert into t select n, 'x' from generate_series(1, 3) as n;
    create function mark(int) returns int language plpgsql immutable as
      $$ begin perform set_config('my.leak', 'x', false); return $1; end $$;";

pub(crate) async fn service(setup: &str) -> Service {
    let postgres = Postgres::start();
    let mut setup = format!("{MARK}{setup}");
    if postgres.major() < 14 {
        // The signature of a conversion was another one.
        setup = setup.replace("internal, int, bool) returns int", "internal, int) returns void");
    }
    postgres.psql(&setup);
    Service::on(postgres, "session_statements = \"allow\"\npool.min = 1\npool.max = 1").await
}

/// Checks that these statements reset their session and are no reads.
pub(crate) async fn check(setup: &str, statements: &[&str]) {
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
            // Where types are polymorphic, a literal beside a domain is read in as the domain.
            "select lag(c, 1, '5') over () from plain_domain",
            "select array[c] = '{5}' from plain_domain",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_domain_that_calls_nothing_costs_nothing() {
    let service = service(
        "create domain even as int default 4 check (value % 2 = 0 and abs(value) > 1);
         create domain mail as text not null check (value ~ '@' and length(value) < 100);
         create domain narrow as even check (value < 10);
         create table calm (e even, m mail, n narrow[]);",
    )
    .await;
    let free = [
        "select lag(e, 1, '6') over (), n from calm where m = $1",
        "insert into calm (m) values ('a@b')",
    ];
    assert_eq!(resetting(&service, &free).await, [""; 0]);
    let odd = "create domain odd as int default mark(1);
               create domain over_checked as narrow check (mark(value) > 0);
               create domain above as over_checked;
               create table calm (e odd); create table calm_2 (n above);";
    check(
        &format!("create domain narrow as int; {odd}"),
        &["select e from calm", "select n from calm_2"],
    )
    .await;
}

#[tokio::test]
async fn a_type_with_the_name_of_a_built_in_one_may_stand_before_it() {
    check(
        "create schema evil; create domain evil.text as pg_catalog.text check (mark(length(value)) > 0);
         alter role postgres set search_path = evil, pg_catalog, public;",
        &["select 'x'::text", "select text 'x'"],
    )
    .await;
}

#[tokio::test]
async fn types_and_conversions_of_somebodys_are_found_behind_the_names_of_types_and_encodings() {
    for (setup, sql) in [
        (
            "create type base;
             create function base_in(cstring) returns base language internal immutable strict as 'int4in';
             create function base_out(base) returns cstring language internal immutable strict as 'int4out';
             create type base (input = base_in, output = base_out, like = int4);",
            "select to_regtype('base')",
        ),
        (
            "create function converts(int, int, cstring, internal, int, bool) returns int
               language c strict as '$libdir/utf8_and_iso8859_1', 'iso8859_1_to_utf8';
             create default conversion somebodys for 'LATIN1' to 'UTF8' from converts;",
            "select convert_from('a', 'LATIN1')",
        ),
        (
            "create or replace function pg_catalog.initcap(text) returns text language plpgsql immutable strict as
               $$ begin perform mark(1); return $1; end $$;",
            "select initcap('x')",
        ),
    ] {
        check(setup, &[sql]).await;
    }
}

/// The rule by which the catalogs tell effects.
const RULE: &str = include_str!("../../src/backend/postgres/session/effects.sql");

/// The built-in functions that are taken for harmless were read, on these major versions: a hash of their
/// names and numbers of parameters. A change here means: read what has come, and what each can reach.
const REVIEWED: [(u32, &str); 6] = [
    (13, "96f0f5033b624cc2a0a1709854782016"),
    (14, "bce0325750114cc38c453698705a73e9"),
    (15, "e279ecb199efd00f2b620ad0cb4aabbf"),
    (16, "f3f4a66a2b09bac32aadb1e8e611e6fa"),
    (17, "752d8f7a05229afc7775b25133e40895"),
    (18, "d8bc9b7410b1d43dc3a476c128178f4a"),
];

#[test]
fn the_built_in_functions_that_count_as_harmless_are_those_that_were_read() {
    let postgres = Postgres::start();
    let (head, _) = RULE.split_once(",\ncalled as (").expect("the functions come first");
    let harmless = format!(
        "{head} select md5(string_agg(f, ' ' order by f collate \"C\")) from (
           select distinct proname || '/' || pronargs as f from callable where computes and oid < 16384) as a"
    );
    let version = postgres.psql("select current_setting('server_version_num')::int / 10000");
    let reviewed = REVIEWED.iter().find(|(major, _)| major.to_string() == version);
    assert_eq!(Some(postgres.psql(&harmless).as_str()), reviewed.map(|(_, hash)| *hash));
}

/// The reset, with the extensions that it cleans.
const CLEANED: &str = include_str!("../../src/backend/postgres/session/reset.rs");

/// The names in the last array of a text before `end`.
fn names(text: &str, end: &str) -> BTreeSet<String> {
    let before = &text[..text.find(end).expect("the list is there")];
    let list = &before[before.rfind("'{").expect("it is an array") + 2..];
    list.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_two_lists_of_extensions_differ_for_known_reasons() {
    let believed = names(RULE, "}')\n),\ncallable as");
    let cleaned = names(CLEANED, "}'))) \\\n    FROM pg_catalog.pg_prepared_statements");
    // Its `isn_weak` keeps a flag in the session that no reset clears; of its functions, all others compute.
    let only_believed = ["isn"];
    // They read or write files, indexes, pages or large objects, run the SQL that they are given, or look
    // up objects by name: code that leaves nothing, and is no read for all that. Of postgis the functions
    // in SQL and PL/pgSQL call each other by the search path. The others compute, and were not read.
    let only_cleaned = "adminpack amcheck bloom dict_int dict_xsyn earthdistance file_fdw intagg lo moddatetime \
        pageinspect pg_buffercache pg_freespacemap pg_prewarm pg_stat_statements pg_visibility \
        pgrowlocks pgstattuple postgis sslinfo tablefunc uuid-ossp xml2";
    assert_eq!(
        believed.difference(&cleaned).collect::<Vec<_>>(),
        only_believed.iter().collect::<Vec<_>>()
    );
    assert_eq!(
        cleaned.difference(&believed).collect::<Vec<_>>(),
        only_cleaned.split(' ').collect::<Vec<_>>()
    );
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
    let changed = batch(&["create temp view t as select mark(1)", "select * from t"]);
    service.client.batch(changed).await.expect("it runs");
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
    let mut insert = batch(&["insert into t values (1)"]);
    insert.options = Some(keyed("k"));
    let before = pool(&service).await.resets;
    service.client.batch(insert).await.expect("it runs");
    assert!(pool(&service).await.resets > before, "the session was reset");
}
