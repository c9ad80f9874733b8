//! The statements that the gateway itself sends: no name in them may mean what somebody with a schema in
//! the search path wants it to mean.

use std::fs;
use std::path::{Path, PathBuf};

use rowgate::value::proto::Value;
use rowgate::value::proto::get_transaction_outcome_request::Handle;

use crate::harness::Service;
use crate::harness::client::{Client, PATIENCE, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::server::{Server, run};
use crate::harness::unit::{batch, keyed};

/// The words that a statement of ours may start with.
const VERBS: &str = " select with insert update delete merge do begin commit rollback savepoint set reset \
    close discard create lock listen unlisten deallocate where explain -- ";

/// Words before a parenthesis that call nothing.
const SYNTAX: &str = " with from join any all array exists extract values as and or not where select lateral case when then \
    else key on recursive materialized operator coalesce ";

/// Words after which a name before a parenthesis is no call: it is defined there, or is a table.
const DEFINING: &str = " as recursive into exists on ";

/// Syntax that hides an operator or a cast which is looked up by the search path.
const HIDING: &str = " between like ilike similar nullif natural using distinct cast ";

fn is_among(word: &str, words: &str) -> bool {
    words.contains(&format!(" {} ", word.to_ascii_lowercase()))
}

/// The SQL of a Rust source: its string literals that start like a statement, without their tests.
pub(crate) fn statements(source: &str) -> Vec<String> {
    let code = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(open) = rest.find('"') {
        let mut text = String::new();
        let mut chars = rest[open + 1..].char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = open + 1 + at + 1;
                    break;
                }
                '\\' => text.extend(chars.next().map(|(_, c)| if c == '\n' { ' ' } else { c })),
                other => text.push(other),
            }
        }
        rest = &rest[end..];
        let first = text.split_whitespace().next().unwrap_or_default();
        let first = first.trim_end_matches(|c: char| !c.is_alphabetic() && c != '-');
        if text.contains("pg_catalog.") || (text.contains(' ') && is_among(first, VERBS)) {
            found.push(text);
        }
    }
    found
}

/// The words and signs of a statement, without comments and literals.
fn tokens(sql: &str) -> Vec<String> {
    let sql: String = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .fold(String::new(), |sql, line| sql + line + " ");
    let mut tokens: Vec<String> = Vec::new();
    for (number, part) in sql.split('\'').enumerate() {
        if number % 2 == 1 {
            tokens.push("literal".to_owned());
            continue;
        }
        let mut last = ' ';
        for c in part.chars() {
            let kind = |c: char| match c {
                c if c.is_alphanumeric() || "_.${}\"%".contains(c) => 1,
                c if "+-*/<>=~!@#^&|?:".contains(c) => 2,
                _ => 0,
            };
            match tokens.last_mut() {
                Some(token) if kind(c) != 0 && kind(c) == kind(last) => token.push(c),
                _ if c.is_whitespace() => {}
                _ => tokens.push(c.to_string()),
            }
            last = c;
        }
    }
    tokens
}

/// Finds what of a statement is looked up by the search path.
fn unqualified(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    let mut wrong = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let (before, after) = (if index > 0 { at(index - 1) } else { "" }, at(index + 1));
        let is_operator = token.chars().all(|c| "+-*/<>=~!@#^&|?:".contains(c));
        let within_operator = before == "pg_catalog." && after == ")";
        let is_sign = token == "-" && after.starts_with(|c: char| c.is_ascii_digit());
        let is_star = token == "*" && ["(", "select", "UNLISTEN"].contains(&before);
        let is_set = at(0).eq_ignore_ascii_case("set");
        let is_assignment =
            token == "=" && (is_set || ["response", "lock_timeout"].contains(&before));
        let is_ours = match token.as_str() {
            "::" => after.starts_with("pg_catalog."),
            "=>" | ":=" => true,
            _ => within_operator || is_sign || is_star || is_assignment || before.ends_with("."),
        };
        if is_operator && !is_ours {
            wrong.push(format!("{before} {token} {after}"));
        }
        let is_call = after == "(" && token.chars().all(|c| c.is_alphanumeric() || c == '_');
        if is_call && !is_among(token, SYNTAX) && !is_among(before, DEFINING) {
            wrong.push(format!("{token}("));
        }
        if is_among(token, HIDING) && !(token == "distinct" && before == "select") {
            wrong.push(token.clone());
        }
    }
    wrong
}

/// The file with the driver's own texts as it writes them, which are qualified before they are sent.
const DRIVERS: &str = "driver_queries.rs";

pub(crate) fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is a directory of ours") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.file_name().is_some_and(|name| name != "tests.rs" && name != DRIVERS) {
            found.push(path);
        }
    }
}

#[test]
fn every_name_in_a_statement_of_ours_is_qualified() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/postgres"), &mut files);
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sql") => vec![text],
            Some("rs") => statements(&text),
            _ => Vec::new(),
        };
        count += found.len();
        for sql in found {
            let names = unqualified(&sql);
            if !names.is_empty() {
                wrong.push(format!("{}: {names:?} in\n{sql}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 25, "only {count} statements were found");
}

#[test]
fn unqualified_names_are_found() {
    for (sql, expected) in [
        ("select 1 operator(pg_catalog.+) pg_catalog.abs(-1)", ""),
        ("select a, lower(b)", "lower("),
        ("select 1 + pg_catalog.abs(1)", "1 + pg_catalog.abs"),
        ("select abs(1)", "abs("),
        ("select '1'::int8", "literal :: int8"),
        ("select x from y where z in (1)", "in("),
        ("select pg_catalog.count(*) from y", ""),
    ] {
        assert_eq!(unqualified(sql).join(" "), expected, "{sql}");
    }
}

/// A schema whose operators, functions, types and casts have the names of the built-in ones, and record
/// that they ran; also operators and casts for types that have none of that name.
const SHADOWS: &str = r"
    create schema evil;
    create sequence evil.ran;
    create table evil.seen (what text, query text);
    create function evil.touch(what text) returns boolean language plpgsql as $f$ begin
      perform pg_catalog.nextval('evil.ran');
      insert into evil.seen values (what, pg_catalog.current_query());
      return true; end $f$;
    do $do$
    declare o record; body text; n int := 0;
    begin
      body := 'language plpgsql as $f$ begin perform evil.touch(%L); return null; end $f$';
      for o in
        select oprname, format_type(oprleft, null) as l, format_type(oprright, null) as r,
               format_type(oprresult, null) as result, oprleft = 0 as is_prefix
        from pg_operator where oprnamespace = 'pg_catalog'::regnamespace
        union
        select name, l, r, 'boolean', false
        from unnest('{=,<>,<,>,<=,>=,+,-,*,/,||,~,!~,~~}'::text[]) as name,
             unnest('{smallint,integer,bigint,numeric,double precision,text,name,oid,char,timestamp with time zone}'::text[]) as l,
             unnest('{smallint,integer,bigint,numeric,double precision,text,name,oid,char,interval}'::text[]) as r
        where not exists (select from pg_operator where oprname = name
          and format_type(oprleft, null) = l and format_type(oprright, null) = r)
      loop begin
        n := n + 1;
        if o.is_prefix then
          execute format('create function evil.f%s(%s) returns %s ' || body, n, o.r, o.result, 'operator ' || o.oprname);
          execute format('create operator evil.%s (rightarg = %s, function = evil.f%s)', o.oprname, o.r, n);
        else
          execute format('create function evil.f%s(%s, %s) returns %s ' || body, n, o.l, o.r, o.result, 'operator ' || o.oprname);
          execute format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.f%s)', o.oprname, o.l, o.r, n);
        end if;
      exception when others then null; end; end loop;
      for o in select proname, oid, format_type(prorettype, null) as result from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f' and not proretset
          and not '{internal,cstring}'::regtype[] && proargtypes::oid[]::regtype[]
      loop begin
        execute format('create function evil.%I(%s) returns %s ' || body, o.proname,
          pg_get_function_arguments(o.oid), o.result, o.proname);
      exception when others then null; end; end loop;
      for o in select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype = 'b'
      loop begin
        execute format('create domain evil.%I as pg_catalog.%I check (evil.touch(%L))', o.typname, o.typname, 'type ' || o.typname);
      exception when others then null; end; end loop;
    end $do$;
    create function evil.counted(bigint) returns bigint language plpgsql as $f$ begin perform evil.touch('count'); return null; end $f$;
    create aggregate evil.count(*) (sfunc = evil.counted, stype = bigint);
    create function evil.to_int(text) returns int language plpgsql as $f$ begin perform evil.touch('cast'); return 1; end $f$;
    create cast (text as int) with function evil.to_int(text) as implicit;
    create function evil.to_bigint(text) returns bigint language plpgsql as $f$ begin perform evil.touch('cast'); return 1; end $f$;
    create cast (text as bigint) with function evil.to_bigint(text) as implicit;";

/// Types that the driver looks up, by each of its queries.
const TYPES: &str = "
    create type public.mood as enum ('sad', 'happy');
    create type public.pair as (a public.mood, b int);
    create type public.span as range (subtype = int);
    create domain public.small as int;
    create table public.typed (m public.mood, p public.pair, s public.span, d public.small);
    insert into public.typed values ('sad', '(happy,1)', '[1,2)', 3);";

/// Calls that make the gateway, and its driver, send every kind of statement of their own.
async fn make_it_ask(client: &Client) {
    client.must("select m, p, s, d, array[m] from public.typed", &[]).await;
    client.must("insert into public.typed (m) values ($1)", &[Value::text("sad")]).await;
    client.must("select v from public.t", &[]).await;
    client.must("insert into public.t values ('x')", &[]).await;
    client.must("select pg_catalog.nextval('public.s')", &[]).await;
    client.must("select pg_catalog.set_config('my.x', '1', false)", &[]).await;
    client.must("prepare own as select 1", &[]).await;
    for _ in 0..2 {
        let call = request_with("insert into public.t values ('y')", keyed("k"));
        client.call(call, PATIENCE).await.expect("it is stored");
    }
    let mut expiring = batch(&["insert into public.t values ('z')"]);
    expiring.options = Some(keyed("l"));
    client.batch(expiring).await.expect("it runs");
    client.outcome(Handle::IdempotencyKey("l".to_owned())).await.expect("it is known");
    let token = Handle::TransactionToken("pg1-1-2-3-4-5".to_owned());
    client.outcome(token).await.expect_err("it is of no cluster");
    let mut transaction = client.begin().await;
    transaction.query("insert into public.t values ('a')", &[]).await.expect("it runs");
    transaction.commit().await.expect("it commits");
}

#[tokio::test]
async fn no_statement_of_ours_uses_what_shadows_the_built_in() {
    let postgres = Postgres::start();
    postgres.psql(SHADOWS);
    postgres.psql(TYPES);
    postgres.psql(
        "create table t (v text); create sequence s;
         create role app superuser login password 'app';
         alter role app set search_path = evil, pg_catalog, public",
    );
    let counts = postgres.psql(
        "select (select count(*) > 1000 from pg_operator where oprnamespace = 'evil'::regnamespace),
                (select count(*) > 1500 from pg_proc where pronamespace = 'evil'::regnamespace),
                (select count(*) > 50 from pg_type where typnamespace = 'evil'::regnamespace and typtype = 'd')",
    );
    assert_eq!(counts, "t|t|t", "the shadows are there");
    let directory = tempfile::tempdir().expect("it can be made");
    let settings = format!(
        "[idempotency]\ntable = 'public.rowgate_idempotency'\n[databases.main]\nurl = \"{}\"\n\
         session_statements = \"allow\"\n[databases.main.pool]\nmin = 1\nmax = 2\n",
        postgres.url_as("app", "app")
    );
    fs::write(directory.path().join("rowgate.toml"), &settings).expect("it is ours");
    let installed = run(directory.path(), &["idempotency", "install"], &[]);
    assert!(installed.status.success(), "{installed:?}");
    let server = Server::start(&settings);
    make_it_ask(&Client::connect(server.grpc()).await).await;
    let seen = postgres.psql("select distinct what, query from evil.seen");
    assert_eq!(seen, "", "a statement of ours called what shadows the built-in");
    assert_eq!(postgres.psql("select is_called from evil.ran"), "f");
}

#[tokio::test]
async fn a_type_is_looked_up_whatever_search_path_the_caller_has_set() {
    let postgres = Postgres::start();
    postgres.psql(TYPES);
    postgres.psql(
        "create schema evil;
         create function evil.same(oid, oid) returns boolean language plpgsql as
           $$ begin raise exception 'it ran'; end $$;
         create operator evil.= (leftarg = oid, rightarg = oid, function = evil.same);
         create function evil.over(int2, int4) returns boolean language plpgsql as
           $$ begin raise exception 'it ran'; end $$;
         create operator evil.> (leftarg = int2, rightarg = int4, function = evil.over);",
    );
    let service = Service::on(postgres, "pool.min = 1\npool.max = 1").await;
    let mut transaction = service.client.begin().await;
    let shadowed = "set local search_path = evil, pg_catalog, public";
    transaction.query(shadowed, &[]).await.expect("it runs");
    let result = transaction.query("select m, p, s, d from typed", &[]).await.expect("it runs");
    assert_eq!(result.rows[0].values[0], Value::text("sad"));
    transaction.commit().await.expect("it commits");
}

#[tokio::test]
async fn who_may_create_in_public_runs_nothing_in_a_reset() {
    let postgres = Postgres::start();
    postgres.psql("create role low login password 'low'; grant create on schema public to low;");
    postgres.psql(
        "set role low; create table ran (who text); grant all on ran to public;
         create function divide(int, numeric) returns numeric language plpgsql security invoker as
           $$ begin insert into public.ran values (current_user); return 0.5; end $$;
         create operator / (leftarg = int, rightarg = numeric, function = divide);
         create function lower_than(oid, int) returns boolean language plpgsql as
           $$ begin insert into public.ran values (current_user); return true; end $$;
         create operator < (leftarg = oid, rightarg = int, function = lower_than);
         create function times(numeric, int) returns numeric language plpgsql as
           $$ begin insert into public.ran values (current_user); return 1; end $$;
         create operator * (leftarg = numeric, rightarg = int, function = times);",
    );
    let service =
        Service::on(postgres, "session_statements = \"allow\"\npool.min = 1\npool.max = 1").await;
    service.client.must("select set_config('my.x', '1', false)", &[]).await;
    service.client.must("select count(*) from pg_class", &[]).await;
    service.client.batch(batch(&["select 1", "select $$2$$"])).await.expect("it runs");
    let who = service.client.must("select count(*) from ran", &[]).await.rows;
    assert_eq!(who[0].values, [Value::int64(0)]);
}
