//! `rowgate claims install`: what it makes, what it prints, and what is in its way.

use std::process::Output;

use super::{Database, KEY};
use crate::harness::server::run;

/// The functions and the table, with their owners and rights.
const SHAPE: &str = "select string_agg(concat_ws(' ', p.oid::regprocedure, p.proowner::regrole, p.prosecdef, p.provolatile,
        p.proparallel, p.proconfig, p.proacl, md5(p.prosrc)), E'\\n' order by p.oid::regprocedure::text)
    from pg_proc p where pronamespace = 'rowgate'::regnamespace
    union all select concat_ws(' ', nspowner::regrole, nspacl) from pg_namespace where nspname = 'rowgate'
    union all select concat_ws(' ', relname, relowner::regrole, relacl, relrowsecurity) from pg_class where oid = 'rowgate.claim_keys'::regclass
    union all select string_agg(id || inner_pad::text || outer_pad::text, ' ') from rowgate.claim_keys";

fn install(
    database: &Database,
    more: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let arguments = [&["claims", "install", "main"], more].concat();
    let Output { status, stdout, stderr } = run(database.directory.path(), &arguments, environment);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn printed_and_installed_are_the_same_however_often() {
    let database = Database::without_claims(&["log_statement=all"]);
    let (status, functions, errors) = install(&database, &["--print"], &[]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let (status, keys, errors) = install(&database, &["--print-keys"], &[]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    for _ in 0..2 {
        database.postgres.psql(&functions);
        database.postgres.psql(&keys);
    }
    let printed = database.postgres.psql(SHAPE);
    assert!(printed.contains("claim(text) rowgate_claims t s r"), "{printed}");
    database.postgres.psql("drop schema rowgate cascade; drop role rowgate_claims");
    for _ in 0..2 {
        assert_eq!(
            database.install(),
            "database main: claims are installed in the schema rowgate, 1 key accepted\n"
        );
        assert_eq!(database.postgres.psql(SHAPE), printed);
    }
    let log = database.postgres.log();
    let installed = log.rfind("insert into rowgate.claim_keys").is_some();
    assert!(!installed && !log.contains(KEY), "the keys are kept out of the log");
    assert!(!functions.contains(KEY) && !keys.contains(KEY));
}

#[test]
fn an_administrator_without_being_a_superuser_installs_and_keeps_no_right() {
    let database = Database::without_claims(&[]);
    database.postgres.psql(
        "create role admin login createrole password 'admin'; grant create on database postgres to admin;
         alter default privileges for role admin grant all on tables to public;
         create role app login password 'app'",
    );
    let url = database.postgres.url_as("admin", "admin");
    for _ in 0..2 {
        let (status, _, errors) = install(&database, &[], &[("ROWGATE_ADMIN_URL", &url)]);
        assert_eq!(status, Some(0), "{errors}");
    }
    let of_keys = "select has_table_privilege('app', 'rowgate.claim_keys', 'select')";
    assert_eq!(database.postgres.psql(of_keys), "f");
    let may = "select pg_has_role('admin', 'rowgate_claims', 'usage')";
    assert_eq!(database.postgres.psql(may), "f");
}

#[test]
fn what_is_in_the_way_is_explained() {
    let database = Database::without_claims(&[]);
    let url = database.postgres.url();
    let admin = [("ROWGATE_ADMIN_URL", url.as_str())];
    for (before, after, expected) in [
        (
            "create role app login password 'app'; create schema rowgate authorization app",
            "drop schema rowgate",
            "belongs to app",
        ),
        (
            "create role rowgate_claims login",
            "drop role rowgate_claims",
            "it must be a role that nobody is",
        ),
    ] {
        database.postgres.psql(before);
        let (status, out, errors) = install(&database, &[], &admin);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        database.postgres.psql(after);
    }
    // The configured login may not.
    let (status, _, errors) = install(&database, &[], &[]);
    assert!(status == Some(1) && errors.contains("permission denied"), "{errors}");
    assert!(errors.contains("ROWGATE_ADMIN_URL"), "{errors}");
    let arguments = ["claims", "install", "mian", "--print-keys"];
    let Output { status, stderr, .. } = run(database.directory.path(), &arguments, &[]);
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.code() == Some(1) && errors.contains("The databases are main"), "{errors}");
}

#[test]
fn sqlite_has_none() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let arguments = ["claims", "install", "main"];
    let Output { status, stderr, .. } = run(directory.path(), &arguments, &[]);
    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(78), "{errors}");
    assert!(errors.contains("SQLite has no row-level security"), "{errors}");
}
