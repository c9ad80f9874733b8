//! Policies that ask for claims, by every way of the API.

use std::fs;

use rowgate::value::Value;
use serde_json::json;
use tonic::Code;

use super::{Database, KEY, Running, TENANTS, only};
use crate::call_settings::WAYS;
use crate::harness::client::{PATIENCE, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::server::run;
use crate::harness::unit::{batch, keyed};
use crate::harness::wait::eventually_async;

#[tokio::test]
async fn each_caller_sees_the_rows_of_its_claims_by_every_way() {
    let database = Database::new(&[]);
    let running = database.serve("").await;
    let user = |tenant: &str| database.user(&running, "alice", json!({ "tenant": tenant }));
    let clients = [
        (database.client(&running, "acme"), "acme"),
        (database.client(&running, "nobody"), "none"),
        (database.client(&running, "beta"), "beta"),
        (user("acme"), "acme"),
        (user("gamma"), "none"),
        (database.user(&running, "bob", json!({})), "none"),
        (user("beta"), "beta"),
    ];
    // All of them share one connection, and its plans.
    for _ in 0..7 {
        for way in WAYS {
            for (client, expected) in &clients {
                let rows = way.run(client, TENANTS, &[]).await.expect("it runs");
                assert_eq!(only(&rows), *expected, "{way:?}");
            }
        }
    }
    let by_hand = database.postgres.psql(&format!("set role app; {TENANTS}"));
    assert_eq!(by_hand, "none", "who is not Rowgate's caller has no claims");
}

#[tokio::test]
async fn what_a_caller_writes_is_under_the_policy_too() {
    let database = Database::new(&[]);
    let running = database.serve("").await;
    let client = database.client(&running, "acme");
    client.must("insert into orders (tenant) values ('acme')", &[]).await;
    let sql = "insert into orders (tenant) values ('beta')";
    for way in WAYS {
        let failure = way.run(&client, sql, &[]).await.expect_err("it is another tenant's");
        assert_eq!(failure.outcome, "NOT_APPLIED", "{way:?} {failure:?}");
        assert!(
            ["INSUFFICIENT_PRIVILEGE", "READ_ONLY"].contains(&failure.reason.as_str()),
            "{failure:?}"
        );
    }
    let changed = client.must("update orders set item = 'x'", &[]).await;
    assert_eq!(changed.rows_affected, 101);
    let both = batch(&["delete from orders where item = 'x'", sql]);
    client.batch(both).await.expect_err("it is applied together or not at all");
    assert_eq!(database.postgres.psql("select count(*) from orders"), "201");
}

#[tokio::test]
async fn claims_arrive_as_they_were_verified() {
    let database = Database::new(&[]);
    let running = database.serve("").await;
    let odd = "a\"b\\ü𝄞' --";
    let user = database.user(
        &running,
        "al/ice",
        json!({ "tenant": odd, "roles": ["a", "ü"], "level": 12_345_678_901_234_567_u64, "admin": true, "caller": "root" }),
    );
    for (claim, expected) in [
        ("tenant", odd),
        ("roles", r#"["a","\u00fc"]"#),
        ("level", "12345678901234567"),
        ("caller", "users/al/ice"),
        ("admin", "NULL"),
        ("sub", "NULL"),
        ("", "NULL"),
    ] {
        let result = user.must("select rowgate.claim($1)", &[Value::text(claim)]).await;
        assert_eq!(only(&result), expected, "{claim}");
    }
    let is_in = "select 'ü' in (select jsonb_array_elements_text(rowgate.claim('roles')::jsonb))";
    assert_eq!(user.must(is_in, &[]).await.rows[0].values, [Value::bool(true)]);
    // Twice, and with a character that no text of PostgreSQL's has.
    let odd = database.user(&running, "alice", json!({ "tenant": "a\0" }));
    let refused = odd.query("select 1", &[]).await.expect_err("its claims cannot be passed on");
    assert_eq!(refused.code, Code::Unauthenticated);
    let large = database.user(&running, "alice", json!({ "tenant": "x".repeat(4096) }));
    let refused = large.query("select 1", &[]).await.expect_err("its claims are too large");
    assert_eq!(refused.code, Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_answers_only_the_claims_that_it_was_used_with() {
    let database = Database::new(&[]);
    database.postgres.psql(
        "create table rowgate_idempotency (caller text, key text, request_hash bytea not null, response bytea,
             created_at timestamptz default now(), expires_at timestamptz not null, primary key (caller, key));
         grant select, insert, update, delete on rowgate_idempotency to app",
    );
    let running = database.serve("").await;
    let sql = "insert into orders (tenant, item) values (rowgate.claim('tenant'), 'new') returning tenant";
    let user =
        |subject: &str, tenant: &str| database.user(&running, subject, json!({ "tenant": tenant }));
    let call = async |client: crate::harness::client::Client| {
        client.run(request_with(sql, keyed("k"))).await.map(|result| only(&result).to_owned())
    };
    assert_eq!(call(user("alice", "acme")).await.expect("it runs"), "acme");
    assert_eq!(call(user("alice", "acme")).await.expect("it is replayed"), "acme");
    assert_eq!(call(user("bob", "beta")).await.expect("it is a key of another caller's"), "beta");
    let reused = call(user("alice", "beta")).await.expect_err("it is another request");
    assert_eq!(reused.reason, "KEY_REUSED");
    assert_eq!(database.postgres.psql("select count(*) from orders where item = 'new'"), "2");
}

#[tokio::test]
async fn without_functions_or_with_a_login_that_may_too_much_nothing_runs() {
    let database = Database::without_claims(&[]);
    database.postgres.psql("create role app login password 'app'; create role other");
    let running = database.serve("").await;
    let client = database.client(&running, "acme");
    let before = client.query("select 1", &[]).await.expect_err("they are not installed");
    assert_eq!(before.what(), (Code::FailedPrecondition, "CLAIMS_NOT_INSTALLED"));
    assert_eq!(before.outcome, "NOT_APPLIED");
    assert!(before.report.hint.contains("rowgate claims install"), "{before:?}");
    // Operators are told at the start, and with each such call.
    for message in ["calls on this database fail", "call failed"] {
        let is_told = |line: &str| {
            ["WARN", message, "CLAIMS_NOT_INSTALLED"].iter().all(|part| line.contains(part))
        };
        let told = async || running.server.log().lines().any(is_told).then_some(());
        eventually_async(message, PATIENCE, told).await;
    }
    database.install();
    client.must("select 1", &[]).await;
    for (grant, revoke, what) in [
        ("alter role app bypassrls", "alter role app nobypassrls", "BYPASSRLS"),
        ("alter role app createrole", "alter role app nocreaterole", "CREATEROLE"),
        ("alter role app superuser", "alter role app nosuperuser", "is a superuser"),
        ("alter role app replication", "alter role app noreplication", "REPLICATION"),
        (
            "grant rowgate_claims to app",
            "revoke rowgate_claims from app",
            "owner of the schema rowgate",
        ),
        ("alter role other bypassrls; grant other to app", "revoke other from app", "BYPASSRLS"),
        (
            "grant pg_read_server_files to app",
            "revoke pg_read_server_files from app",
            "files of the server",
        ),
        (
            "create table mine (); alter table mine owner to app; alter table mine enable row level security",
            "drop table mine",
            "owns a table",
        ),
    ] {
        database.postgres.psql(grant);
        database.postgres.terminate_backends();
        let refused = client.query("select 1", &[]).await.expect_err(grant);
        assert_eq!(refused.what(), (Code::FailedPrecondition, "CLAIMS_UNSAFE"), "{grant}");
        assert!(refused.message.contains(what), "{grant}: {refused:?}");
        database.postgres.psql(revoke);
        database.postgres.terminate_backends();
        client.must("select 1", &[]).await;
    }
}

#[tokio::test]
async fn a_right_that_the_login_gets_later_counts_on_open_connections_too() {
    let database = Database::new(&[]);
    let running = database.serve("claims.check_interval = '100ms'").await;
    let client = database.client(&running, "acme");
    for (grant, revoke) in [
        ("alter role app bypassrls", "alter role app nobypassrls"),
        ("grant owner_of_orders to app", "revoke owner_of_orders from app"),
    ] {
        assert_eq!(only(&client.must(TENANTS, &[]).await), "acme");
        let process = "select pg_backend_pid()::text";
        let before = client.must(process, &[]).await;
        database.postgres.psql(grant);
        let refused = async || client.query(TENANTS, &[]).await.err();
        let refused = eventually_async("it is refused", PATIENCE, refused).await;
        assert_eq!(refused.what(), (Code::FailedPrecondition, "CLAIMS_UNSAFE"), "{grant}");
        database.postgres.psql(revoke);
        let after = async || client.query(process, &[]).await.ok();
        let after = eventually_async("it is accepted again", PATIENCE, after).await;
        assert_eq!(only(&after), only(&before), "the connection is the same");
    }
}

#[tokio::test]
async fn a_standby_verifies_claims_too() {
    let database = Database::new(&["wal_level=replica"]);
    database.postgres.admit_standbys();
    let standby = Postgres::standby_of(&database.postgres);
    let ports = [&database.postgres, &standby].map(|server| format!(":{}/", server.port()));
    let configuration = database.configuration("", "app").replace(&ports[0], &ports[1]);
    let running = Running::start(&configuration).await;
    for caller in ["acme", "beta", "acme"] {
        let client = database.client(&running, caller);
        for way in WAYS {
            let seen = way.run(&client, TENANTS, &[]).await.expect("it runs");
            assert_eq!(only(&seen), caller, "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_expire_on_their_way_are_signed_anew() {
    let database = Database::new(&[]);
    let running = database.serve("claims.validity = '1s'").await;
    let client = database.client(&running, "acme");
    client.must(TENANTS, &[]).await;
    let lock = "begin; lock table rowgate.claim_keys in access exclusive mode; select 1 from pg_sleep(1.5); commit";
    let is_locked = async || {
        let locks = "select count(*) from pg_locks where relation = 'rowgate.claim_keys'::regclass and mode = 'AccessExclusiveLock'";
        (database.postgres.psql(locks) == "1").then_some(())
    };
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| database.postgres.psql(lock));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                eventually_async("it is locked", PATIENCE, is_locked).await;
                client.query(TENANTS, &[]).await.expect("another connection is asked")
            })
        })
    });
    assert_eq!(only(&seen), "acme");
}

#[tokio::test]
async fn config_check_tells_whether_claims_are_a_boundary() {
    let database = Database::without_claims(&[]);
    database.postgres.psql("create role app login password 'app'");
    let check = || {
        let output = run(database.directory.path(), &["config", "check"], &[]);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let before = check();
    assert!(
        before.contains("does not know claims of callers")
            && before.contains("rowgate claims install"),
        "{before}"
    );
    database.install();
    assert!(check().contains("claims of callers are accepted"));
    let key = database.directory.path().join("claims.key");
    fs::write(&key, KEY.replace('0', "1")).expect("it is ours");
    let foreign = check();
    assert!(foreign.contains("does not know the key that signed them"), "{foreign}");
    fs::write(&key, KEY).expect("it is ours");
    database.postgres.psql("alter role app bypassrls");
    let bypassing = check();
    assert!(
        bypassing.contains("no boundary: the role of the database passes over row-level security"),
        "{bypassing}"
    );
}
