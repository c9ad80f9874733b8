//! The reach of the settings of a call, which end with it.

use std::time::Duration;

use rowgate::value::Value;
use rowgate::value::proto::PoolStats;

use super::{WAYS, Way, begin, service, text};
use crate::lanes::on_lane;

const ALLOWED: &str =
    "settings_allowed = ['work_mem', 'search_path', 'tenant.id', 'app.*', 'lock_timeout']\n";

const STATE: &str = "select concat_ws('|', current_setting('work_mem'), current_setting('search_path'), \
    current_setting('tenant.id', true), coalesce(current_setting('app.user', true), 'NULL'))";

#[tokio::test]
async fn settings_hold_for_their_call_and_for_no_other() {
    let service = service(ALLOWED).await;
    let client = &service.client;
    let quiet = r#"4MB|"$user", public||NULL"#;
    assert_eq!(text(&client.must(STATE, &[]).await), quiet);
    let pairs = [("Work_Mem", "8MB"), ("tenant.id", "it's 5"), ("app.user", "x")];
    for way in WAYS {
        let result = way.run(client, STATE, &pairs).await.expect("it runs");
        assert_eq!(text(&result), r#"8MB|"$user", public|it's 5|x"#, "{way:?}");
        assert_eq!(text(&client.must(STATE, &[]).await), quiet, "behind {way:?}");
        // These need no reset: the end of the transaction alone takes them away.
        let result = way.run(client, STATE, &[("work_mem", "8MB"), ("tenant.id", "5")]).await;
        assert_eq!(text(&result.expect("it runs")), r#"8MB|"$user", public|5|NULL"#, "{way:?}");
        assert_eq!(text(&client.must(STATE, &[]).await), quiet, "behind {way:?}");
        let result = way.run(client, STATE, &[("search_path", "acme, beta")]).await;
        assert_eq!(text(&result.expect("it runs")), "4MB|acme, beta||NULL", "{way:?}");
        assert_eq!(text(&client.must(STATE, &[]).await), quiet, "behind {way:?}");
    }
}

#[tokio::test]
async fn names_mean_what_the_search_path_of_the_call_says() {
    let service = service(ALLOWED).await;
    let client = &service.client;
    let sql = "select name from t";
    for _ in 0..3 {
        for way in WAYS {
            let acme = way.run(client, sql, &[("search_path", "acme")]).await.expect("it runs");
            assert_eq!(acme.rows[0].values, [Value::text("acme")], "{way:?}");
            let beta = way.run(client, sql, &[("search_path", "beta")]).await.expect("it runs");
            assert_eq!(beta.rows[0].values, [Value::int64(7)], "{way:?}");
            let none = client.must_fail(sql, &[]).await;
            assert_eq!(none.reason, "UNDEFINED_TABLE", "{way:?}");
        }
    }
}

#[tokio::test]
async fn settings_are_gone_when_the_call_fails_or_its_caller_leaves() {
    let service = service(ALLOWED).await;
    let client = &service.client;
    let pairs = [("work_mem", "8MB"), ("tenant.id", "5")];
    let quiet = r#"4MB|"$user", public||NULL"#;
    for way in WAYS {
        let failed = way.run(client, "select 1 / 0", &pairs).await.expect_err("it fails");
        assert_eq!(
            (failed.reason.as_str(), failed.outcome.as_str()),
            ("DIVISION_BY_ZERO", "NOT_APPLIED"),
            "{way:?}"
        );
        assert_eq!(text(&client.must(STATE, &[]).await), quiet, "behind {way:?}");
        let call = tokio::time::timeout(
            Duration::from_millis(100),
            way.run(client, "select pg_sleep(60)", &pairs),
        );
        assert!(call.await.is_err(), "{way:?}");
        assert_eq!(text(&client.must(STATE, &[]).await), quiet, "behind {way:?}");
    }
    let transaction = begin(client, &pairs).await.expect("it opens");
    drop(transaction);
    assert_eq!(text(&client.must(STATE, &[]).await), quiet);
}

#[tokio::test]
async fn what_a_call_with_settings_writes_is_committed_or_not_at_all() {
    let service = service(ALLOWED).await;
    let client = &service.client;
    let count = async || text(&client.must("select count(*)::text from log", &[]).await).to_owned();
    for (index, way) in WAYS.into_iter().filter(|way| *way != Way::ReadOnly).enumerate() {
        way.run(client, "insert into log values (1)", &[("work_mem", "8MB")])
            .await
            .expect("it runs");
        assert_eq!(count().await, (index + 1).to_string(), "{way:?}");
        let sql = "insert into log select 1 / (2 - n) from generate_series(1, 2) as n";
        way.run(client, sql, &[("work_mem", "8MB")]).await.expect_err("it fails");
        assert_eq!(count().await, (index + 1).to_string(), "{way:?}");
    }
    let refused =
        Way::ReadOnly.run(client, "insert into log values (1)", &[("work_mem", "8MB")]).await;
    assert_eq!(refused.expect_err("it may only read").reason, "READ_ONLY");
    let hidden = "select set_config('transaction_read_only', 'off', true)";
    drop(Way::ReadOnly.run(client, hidden, &[("work_mem", "8MB")]).await);
    assert_eq!(count().await, "4");
}

#[tokio::test]
async fn calls_with_settings_neither_ride_lanes_nor_cost_a_reset() {
    let service = service(ALLOWED).await;
    let client = &service.client;
    let sql = "select count(*) from log";
    on_lane(&service, sql, &[]).await;
    let before = service.pool().await;
    for way in WAYS.into_iter().cycle().take(20) {
        let pairs = [("work_mem", "8MB"), ("tenant.id", "5")];
        way.run(client, sql, &pairs).await.expect("it runs");
    }
    let after = service.pool().await;
    let seen = |pool: &PoolStats| (pool.lane_statements, pool.resets, pool.opened);
    assert_eq!(seen(&after), seen(&before));
}
