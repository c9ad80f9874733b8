//! The settings that callers may set: everything that is not listed is refused before anything runs.

use tonic::Code;

use super::{WAYS, Way, service, text};
use crate::access::Guarded;
use crate::harness::client::Failure;
use crate::harness::{Backend, Service};

const ALLOWED: &str = "settings_allowed = ['work_mem', 'lock_timeout', 'statement_timeout', 'tenant.id', 'app.*', \
    'plpgsql.extra_warnings', 'log_statement', 'no_such']\nmax_settings = 4\nmax_settings_size = '100B'\nlock_timeout = '5s'\n";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Code, reason and field.
type Refusal<'a> = (Code, &'a str, &'a str);

/// The path of a field as the way's own request has it.
fn field(way: Way, part: &str) -> String {
    let root = if way == Way::Transact { "begin" } else { "options" };
    format!("{root}.{part}")
}

fn check(way: Way, failure: &Failure, (code, reason, part): Refusal<'_>) {
    assert_eq!(failure.what(), (code, reason), "{way:?}: {failure:?}");
    assert_eq!(failure.fields(), [field(way, part)], "{way:?}: {failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_before_anything_runs() {
    let service = service(ALLOWED).await;
    let invalid = (Code::InvalidArgument, "INVALID_OPTION", "settings[0].name");
    let invalid_value = (Code::InvalidArgument, "INVALID_OPTION", "settings[0].value");
    let denied = (Code::PermissionDenied, "ACCESS_DENIED", "settings[0].name");
    let long = "x".repeat(100);
    let cases: &[(Pairs<'_>, Refusal<'_>)] = &[
        (&[("search_path", "acme")], denied),
        (&[("work_mem2", "1MB")], denied),
        (&[("tenant.ids", "1")], denied),
        (&[("app", "1")], denied),
        (&[("enable_seqscan", "off")], denied),
        (&[("session_replication_role", "replica")], denied),
        (&[("role", "postgres")], invalid),
        (&[("ROLE", "postgres")], invalid),
        (&[("session_authorization", "postgres")], invalid),
        (&[("is_superuser", "on")], invalid),
        (&[("transaction_read_only", "off")], invalid),
        (&[("transaction_isolation", "serializable")], invalid),
        (&[("default_transaction_read_only", "off")], invalid),
        (&[("TimeZone", "UTC")], invalid),
        (&[("client_min_messages", "error")], invalid),
        (&[("seed", "0.5")], invalid),
        (&[("rowgate.claims", "{}")], invalid),
        (&[("", "1")], invalid),
        (&[("app.", "1")], invalid),
        (&[("app.a b", "1")], invalid),
        (&[("app.a'; drop table log", "1")], invalid),
        (
            &[("work_mem", "1MB"), ("WORK_MEM", "2MB")],
            (Code::InvalidArgument, "INVALID_OPTION", "settings[1].name"),
        ),
        (&[("app.a", "a\0b")], invalid_value),
        (&[("lock_timeout", "6s")], invalid_value),
        (&[("lock_timeout", "0")], invalid_value),
        (&[("lock_timeout", "010")], invalid_value),
        (&[("statement_timeout", "1d")], invalid_value),
        (
            &[("app.a", "1"), ("app.b", "1"), ("app.c", "1"), ("app.d", "1"), ("app.e", "1")],
            (Code::InvalidArgument, "INVALID_OPTION", "settings"),
        ),
        (&[("app.a", &long)], (Code::InvalidArgument, "INVALID_OPTION", "settings")),
    ];
    for (pairs, expected) in cases {
        for way in WAYS {
            let failure = way.run(&service.client, "insert into log values (1)", pairs).await;
            check(way, &failure.expect_err("it is refused"), *expected);
        }
    }
    let count = service.client.must("select count(*)::text from log", &[]).await;
    assert_eq!(text(&count), "0");
}

#[tokio::test]
async fn what_the_database_refuses_names_the_setting() {
    let service = service(ALLOWED).await;
    for way in WAYS {
        for (pairs, expected) in [
            (
                &[("work_mem", "1MB"), ("work_mem", "much")][1..],
                (Code::InvalidArgument, "INVALID_PARAMETER_VALUE"),
            ),
            (&[("no_such", "1")][..], (Code::InvalidArgument, "UNDEFINED_OBJECT")),
        ] {
            let failure = way.run(&service.client, "insert into log values (1)", pairs).await;
            let failure = failure.expect_err("the database refuses it");
            check(way, &failure, (expected.0, expected.1, "settings[0]"));
        }
    }
}

#[tokio::test]
async fn timeouts_below_those_of_the_server_are_allowed() {
    let service = service(ALLOWED).await;
    for way in WAYS {
        let slow =
            way.run(&service.client, "select pg_sleep(60)", &[("statement_timeout", "50ms")]).await;
        assert_eq!(slow.expect_err("it is too slow").reason, "DEADLINE", "{way:?}");
        let shown = way.run(&service.client, "show lock_timeout", &[("lock_timeout", "50")]).await;
        assert_eq!(text(&shown.expect("it runs")), "50ms", "{way:?}");
    }
    let shown = service.client.must("show lock_timeout", &[]).await;
    assert_eq!(text(&shown), "5s");
}

#[tokio::test]
async fn a_caller_sets_only_what_its_own_list_has_too() {
    let rights = "databases = ['main']\nrpcs = METHODS\nread_only = false\n";
    let callers = [
        ("none", rights.to_owned()),
        ("some", format!("{rights}settings = ['tenant.id', 'search_path']\n")),
        ("starts", format!("{rights}settings = ['app.*']\n")),
    ];
    let callers = callers.each_ref().map(|(name, lines)| (*name, lines.as_str()));
    let guarded = Guarded::with_lines(Backend::Postgres, ALLOWED, &callers).await;
    for (caller, name, is_allowed) in [
        ("none", "tenant.id", false),
        ("none", "work_mem", false),
        ("some", "tenant.id", true),
        ("some", "work_mem", false),
        // The database's list has it not.
        ("some", "search_path", false),
        ("starts", "app.user", true),
        ("starts", "tenant.id", false),
    ] {
        for way in WAYS {
            let ran = way.run(&guarded.client(caller), "select 1", &[(name, "4MB")]).await;
            match ran {
                Ok(_) => assert!(is_allowed, "{caller} {name} {way:?}"),
                Err(failure) => {
                    assert!(!is_allowed, "{caller} {name} {way:?}: {failure:?}");
                    check(
                        way,
                        &failure,
                        (Code::PermissionDenied, "ACCESS_DENIED", "settings[0].name"),
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn sqlite_has_no_settings() {
    let service = Service::start(Backend::Sqlite).await;
    for way in WAYS {
        let failure = way.run(&service.client, "select 1", &[("work_mem", "8MB")]).await;
        check(
            way,
            &failure.expect_err("it is refused"),
            (Code::InvalidArgument, "INVALID_OPTION", "settings"),
        );
    }
}
