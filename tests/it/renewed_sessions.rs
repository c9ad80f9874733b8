//! State that no reset removes from a session, and the next caller must not see: its connection is
//! replaced.

use rowgate::value::proto::Value;

use crate::harness::Service;
use crate::harness::postgres::Postgres;
use crate::session_effects::pool;

/// Runs statements one by one, each as a caller of its own, and returns what the last one answers; also
/// the number of connections that were replaced meanwhile.
async fn answer(postgres: Postgres, statements: &[&str]) -> (Option<Value>, u64) {
    answer_with(postgres, "", statements).await
}

/// As [`answer`], with settings of the database.
async fn answer_with(
    postgres: Postgres,
    settings: &str,
    statements: &[&str],
) -> (Option<Value>, u64) {
    let settings =
        format!("session_statements = \"allow\"\npool.min = 1\npool.max = 1\n{settings}");
    let service = Service::on(postgres, &settings).await;
    service.client.must("select 1", &[]).await;
    let opened = pool(&service).await.opened;
    let mut value = None;
    for sql in statements {
        let result = service.client.must(sql, &[]).await;
        value = result.rows.first().and_then(|row| row.values.first().cloned());
    }
    (value, pool(&service).await.opened - opened)
}

#[tokio::test]
async fn connections_to_other_databases_end_with_their_caller() {
    let postgres = Postgres::start();
    postgres.psql("create extension dblink");
    let target =
        format!("host={} port={} user=postgres", postgres.directory().display(), postgres.port());
    let connect = format!("select dblink_connect('leaked', '{target} dbname=postgres')");
    let left = "select coalesce(array_length(dblink_get_connections(), 1), 0)";
    let (count, _) = answer(postgres, &[&connect, left]).await;
    assert_eq!(count, Some(Value::int64(0)));
}

#[tokio::test]
async fn a_temporary_replication_slot_ends_with_its_caller() {
    let create = "select pg_create_physical_replication_slot('leaked', true, true)";
    let left = "select count(*) from pg_replication_slots";
    let (count, replaced) = answer(Postgres::start(), &[create, left]).await;
    assert_eq!((count, replaced), (Some(Value::int64(0)), 1));
}

#[tokio::test]
async fn a_replication_origin_is_given_up_without_a_new_connection() {
    let setup = "select pg_replication_origin_session_setup('leaked')";
    let left = "select pg_replication_origin_session_is_setup()";
    let create = "select pg_replication_origin_create('leaked')";
    let (is_setup, replaced) = answer(Postgres::start(), &[create, setup, left]).await;
    assert_eq!((is_setup, replaced), (Some(Value::bool(false)), 0));
}

#[tokio::test]
async fn the_list_of_prepared_statements_shows_no_text_of_other_callers() {
    let left = "select count(*) from PG_prepared_statements where statement like '%canary%' \
                and statement not like '%list%' /* list */";
    let earlier = "select 'canary'";
    let (count, _) = answer(Postgres::start(), &[earlier, earlier, left]).await;
    assert_eq!(count, Some(Value::int64(0)));
}

#[tokio::test]
async fn known_extensions_are_reset_and_keep_their_connections() {
    let postgres = Postgres::start();
    postgres.psql("create extension pg_trgm; create extension tablefunc; create extension hstore");
    let set = "select set_config('work_mem', '1MB', false)";
    let (_, replaced) = answer(postgres, &[set, set, "select 1"]).await;
    assert_eq!(replaced, 0);
}

const IS_NULL: &str = "select current_setting('tenant.id', true) is null";

#[tokio::test]
async fn a_custom_setting_that_a_caller_made_is_none_for_the_next() {
    for sql in [
        "set local tenant.id = '5'",
        "select set_config('tenant.id', '5', true)",
        "select set_config('tenant' || '.id', '5', true)",
        "do $$ begin set local \"tenant\" . id = '5'; end $$",
        "do $$ begin execute 'set local ' || 'tenant' || '.id = 5'; end $$",
    ] {
        let (is_null, replaced) = answer(Postgres::start(), &[sql, IS_NULL]).await;
        assert_eq!((is_null, replaced), (Some(Value::bool(true)), 1), "{sql}");
    }
}

#[tokio::test]
async fn a_custom_setting_that_a_function_makes_is_none_for_the_next_caller() {
    let function = "create function f() returns text language";
    for setup in [
        format!("{function} sql as $f$ select set_config('tenant.id', '5', true) $f$"),
        format!("{function} sql begin atomic select set_config('tenant.id', '5', true); end"),
        format!("{function} sql set tenant.id = '5' as $f$ select 'x' $f$"),
        format!("{function} plpgsql as $f$ begin set local tenant.id = 5; return 'x'; end $f$"),
        format!(
            "{function} plpgsql as $f$ begin perform set_config('tenant.' || 'id', '5', true); return 'x'; end $f$"
        ),
        format!(
            "{function} plpgsql as $f$ begin execute format('set local %s.id = 5', 'tenant'); return 'x'; end $f$"
        ),
    ] {
        let postgres = Postgres::start();
        if setup.contains("begin atomic") && postgres.major() < 14 {
            continue;
        }
        postgres.psql(&setup);
        let (is_null, replaced) = answer(postgres, &["select f()", IS_NULL]).await;
        assert_eq!((is_null, replaced), (Some(Value::bool(true)), 1), "{setup}");
    }
}

#[tokio::test]
async fn a_custom_setting_that_every_session_begins_with_costs_no_connection() {
    let postgres = Postgres::start();
    postgres.psql("alter database postgres set tenant.id = ''");
    let set = "set local tenant.id = '5'";
    let (is_null, replaced) = answer(postgres, &[set, set, IS_NULL]).await;
    assert_eq!((is_null, replaced), (Some(Value::bool(false)), 0));
}

#[tokio::test]
async fn a_custom_setting_of_the_configuration_costs_no_connection() {
    let value = "select current_setting('tenant.id', true)";
    let set = "set local tenant.id = '5'";
    for (settings, set, left) in [
        ("settings.tenant.id = ''", set, Value::text("")),
        ("settings.Tenant.ID = '7'", set, Value::text("7")),
        ("settings.tenant.id = 7", "select set_config('TENANT.id', '5', false)", Value::text("7")),
        ("settings_allowed = ['tenant.id']", set, Value::text("")),
    ] {
        let statements = [set, set, value, "reset all", value];
        let (seen, replaced) = answer_with(Postgres::start(), settings, &statements).await;
        assert_eq!((seen, replaced), (Some(left), 0), "{settings}");
    }
    let other = "set local tenant.other = '5'";
    let (_, replaced) =
        answer_with(Postgres::start(), "settings.tenant.id = ''", &[other, value]).await;
    assert_eq!(replaced, 1);
}

#[tokio::test]
async fn code_that_sets_no_custom_setting_costs_no_connection() {
    let postgres = Postgres::start();
    postgres.psql(
        "create schema s; create table s.t (n int);
         create function f() returns int language plpgsql as
           $f$ begin update s.t set n = 1 where s.t.n = 2; set local work_mem = '1MB'; return 1; end $f$",
    );
    let (_, replaced) =
        answer(postgres, &["select f()", "update s.t set n = f()", "select 1"]).await;
    assert_eq!(replaced, 0);
}
