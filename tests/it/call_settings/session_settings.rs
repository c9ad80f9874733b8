//! Settings that the configuration gives to every session of a database.

use std::fs;

use rowgate::value::Value;
use tonic::Code;

use super::text;
use crate::harness::postgres::Postgres;
use crate::harness::server::run;
use crate::harness::{Backend, Service};
use crate::lanes::on_lane;

const STATE: &str = "select concat_ws(' ', current_setting('search_path'), current_setting('work_mem'), \
    current_setting('my.note'), current_setting('plan_cache_mode'), current_setting('jit'))";

#[tokio::test]
async fn sessions_begin_with_the_configured_settings_and_are_brought_back_to_them() {
    let postgres = Postgres::start();
    postgres.psql(
        "create schema app; create table app.t (id int); alter role postgres set work_mem = '2MB'",
    );
    let lines = "pool.min = 2\npool.max = 2\nsettings.work_mem = 8192\nsettings.'my.note' = \"it's\"\nsettings.jit = false\n\
        settings.SEARCH_PATH = 'app, public'\n";
    let variable = ("ROWGATE__DATABASES__MAIN__SETTINGS__PLAN_CACHE_MODE", "force_custom_plan");
    let service = Service::on_with(postgres, lines, &[variable]).await;
    for _ in 0..3 {
        let begun = service.client.must(STATE, &[]).await;
        assert_eq!(text(&begun), "app, public 8MB it's force_custom_plan off");
        service.client.must("insert into t values (1)", &[]).await;
        let change = "do $$ begin perform set_config('search_path', 'pg_catalog', false), \
            set_config('work_mem', '1MB', false), set_config('my.note', '', false); end $$";
        service.client.must(change, &[]).await;
    }
    // Lanes have the settings, too, and read the same tables.
    let counted = on_lane(&service, "select count(*) from t", &[]).await;
    assert_eq!(counted.rows[0].values, [Value::int64(3)]);
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_is_a_misconfiguration_that_names_it() {
    for (line, key) in [
        ("settings.work_mem = 'much'", "settings.work_mem"),
        ("settings.jit = 'off'\nsettings.no_such = 1", "settings.no_such"),
        ("settings_allowed = ['plpgsql.no_such']", "settings_allowed"),
    ] {
        let postgres = Postgres::start();
        postgres.psql("alter database postgres set session_preload_libraries = 'plpgsql'");
        let service = Service::on(postgres, line).await;
        let failure = service.client.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"), "{line}");
        assert!(failure.message.contains(key), "{line}: {}", failure.message);
        let hint = &failure.report.hint;
        assert!(hint.contains(&format!("databases.main.{key}")), "{line}: {hint}");
    }
}

#[test]
fn settings_that_sessions_cannot_begin_with_are_refused_at_start() {
    const POSTGRES: &str = "postgres://me@localhost/shop";
    for (url, line, parts) in [
        (POSTGRES, "settings.TimeZone = 'CET'", ["settings.TimeZone", "to_char"]),
        (POSTGRES, "settings.role = 'admin'", ["settings.role", "A role is a login"]),
        (
            POSTGRES,
            "settings.lock_timeout = '1s'",
            ["settings.lock_timeout", "Set databases.NAME.lock_timeout"],
        ),
        (
            POSTGRES,
            "settings.default_transaction_read_only = true",
            ["default_transaction_read_only", "callers.NAME.read_only"],
        ),
        (POSTGRES, "settings.\"a'b\" = '1'", ["settings.a'b", "not the name of a setting"]),
        (
            POSTGRES,
            "settings.work_mem = ['8MB']",
            ["settings.work_mem", "a text as SHOW prints it"],
        ),
        (POSTGRES, "settings = 'work_mem=8MB'", ["databases.main.settings", "as a key in it"]),
        (POSTGRES, "settings_allowed = ['role']", ["settings_allowed", "A role is a login"]),
        (POSTGRES, "settings_allowed = ['*']", ["settings_allowed", "app.*"]),
        (POSTGRES, "settings_allowed = ['rowgate.*']", ["settings_allowed", "the server's own"]),
        (
            "sqlite:test.db",
            "settings.work_mem = '8MB'",
            ["settings.work_mem", "SQLite has no settings"],
        ),
        (
            "sqlite:test.db",
            "settings_allowed = ['work_mem']",
            ["settings_allowed", "SQLite has no settings"],
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let file = format!("[databases.main]\nurl = '{url}'\n{line}\n");
        fs::write(directory.path().join("rowgate.toml"), file).expect("it is ours");
        let output = run(directory.path(), &["config", "check", "--no-connect"], &[]);
        let reported = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{line}: {reported}");
        for part in parts {
            assert!(reported.contains(part), "{line}: {reported}");
        }
    }
}

#[tokio::test]
async fn the_command_line_sends_settings() {
    let service =
        Service::with(Backend::Postgres, "settings_allowed = ['work_mem', 'app.*']").await;
    let address = service.server.grpc().to_string();
    let query = |arguments: &[&str]| {
        let mut all = vec!["query", "--address", &address, "--format", "csv"];
        all.extend(arguments);
        let output = run(service.server.directory(), &all, &[]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("it is text"))
    };
    let shown = "select current_setting('work_mem') || ' ' || current_setting('app.user') as s";
    let settings = ["--setting", "work_mem=8MB", "--setting", "app.user=a=b"];
    let (status, printed) = query(&[&settings[..], &[shown]].concat());
    assert_eq!((status, printed.as_str()), (Some(0), "s\n8MB a=b\n"));
    let (status, printed) = query(&[&settings[..], &["--key", "k1", "select 1 as n"]].concat());
    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("idempotency"), "{printed}");
    let (status, printed) = query(&["--setting", "role=postgres", "select 1"]);
    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("role cannot be set by a call"), "{printed}");
    let (status, printed) = query(&["--setting", "work_mem", "select 1"]);
    assert_eq!(status, Some(2), "{printed}");
}
