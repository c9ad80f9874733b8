//! Tokens that are revoked, or expire, while their calls run.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use rowgate::access::TokenFile;
use rowgate::value::proto::{ListPoolStatsRequest, Value, WatchPoolStatsRequest};
use tonic::Code;

use super::{Guarded, add_token, headers};
use crate::harness::Backend;
use crate::harness::client::{Client, Failure, PATIENCE, request};
use crate::harness::server::{replace_file, run};
use crate::harness::wait::{Stutter, eventually_async};

const CALLERS: &[(&str, &str)] = &[
    ("shop", "databases = ['main']\nread_only = false\nrpcs = METHODS"),
    ("billing", "databases = ['main']\nread_only = false\nrpcs = METHODS"),
];

/// Rows without an end.
const ENDLESS: &str =
    "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n";

/// The calls of a caller that last.
async fn hold(client: &Client) -> [tokio::task::JoinHandle<Failure>; 3] {
    let mut stream = client.open(request(ENDLESS, &[])).await.expect("it opens");
    stream.header().await.expect("it begins");
    let mut transaction = client.begin().await;
    transaction.query("insert into t values (1)", &[]).await.expect("it runs");
    let request = WatchPoolStatsRequest::default();
    let watch = client.pools().watch_pool_stats(request).await.expect("it opens");
    let mut watch = watch.into_inner();
    watch.message().await.expect("it begins");
    [
        tokio::spawn(async move {
            loop {
                if let Err(failure) = stream.next().await {
                    return failure;
                }
            }
        }),
        tokio::spawn(async move { transaction.reply().await.expect_err("it ends") }),
        tokio::spawn(async move {
            loop {
                if let Err(status) = watch.message().await {
                    return Failure::from(status);
                }
            }
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_let_in_ends_within_a_second_after_it_is_revoked() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let guarded = Guarded::start(backend, CALLERS).await;
        let (shop, billing) = (guarded.client("shop"), guarded.client("billing"));
        billing.must("create table t (id int)", &[]).await;
        let held = hold(&shop).await;
        let kept = TokenFile::new(guarded.file());
        let second = add_token(&kept, "shop", None);
        let second = format!("Bearer {second}");
        let second = shop.with_headers(headers(&[("authorization", second.as_bytes())]));
        eventually_async("the second token is read", PATIENCE, async || {
            second.query("select 1", &[]).await.ok()
        })
        .await;

        let id = guarded.token("shop").split('_').nth(1).expect("it has one").to_owned();
        let stutter = Stutter::watch();
        let arguments = ["token", "revoke", &id, "--file", "tokens"];
        let ended = run(guarded.directory.path(), &arguments, &[]);
        assert!(ended.status.success(), "{ended:?}");
        let start = Instant::now();
        for (task, reasons) in held.into_iter().zip([
            &["TERMINATED", "UNAUTHENTICATED"][..],
            &["UNAUTHENTICATED"],
            &["UNAUTHENTICATED"],
        ]) {
            let failure = task.await.expect("it does not panic");
            assert!(reasons.contains(&failure.reason.as_str()), "{failure:?}");
        }
        let limit = Duration::from_secs(1) + stutter.allowance();
        assert!(start.elapsed() < limit, "{backend:?}: {:?}", start.elapsed());
        let failure = shop.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::Unauthenticated, "UNAUTHENTICATED"));
        for other in [&billing, &second] {
            let count = other.must("select count(*) from t", &[]).await;
            assert_eq!(count.rows[0].values, [Value::int64(0)], "it is rolled back");
        }
        second.begin().await.rollback().await.expect("another token of the caller is in force");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_reader_takes_nothing_ends_with_its_token_too() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let guarded = Guarded::start(backend, CALLERS).await;
        let (shop, billing) = (guarded.client("shop"), guarded.client("billing"));
        let mut stream = shop.open(request(ENDLESS, &[])).await.expect("it opens");
        stream.header().await.expect("it begins");
        let in_use = async || {
            let request = ListPoolStatsRequest { pool: "main".to_owned() };
            let answer = billing.pools().list_pool_stats(request).await.expect("it is listed");
            answer.into_inner().pools[0].in_use
        };
        // The server itself may still look at the rights of the role.
        let alone = async || (in_use().await == 1).then_some(());
        eventually_async("the stream alone has a connection", PATIENCE, alone).await;
        let stutter = Stutter::watch();
        let id = guarded.token("shop").split('_').nth(1).expect("it has one");
        let revoked = TokenFile::new(guarded.file()).revoke(id).expect("it is written");
        assert!(revoked.is_some());
        let start = Instant::now();
        eventually_async("its connection is returned", PATIENCE, async || {
            (in_use().await == 0).then_some(())
        })
        .await;
        // The session is cancelled and reset after that second; a stalled reader has ten.
        let limit = Duration::from_secs(2) + stutter.allowance();
        assert!(start.elapsed() < limit, "{backend:?}: {:?}", start.elapsed());
        drop(stream);
    }
}

#[tokio::test]
async fn a_token_that_expires_ends_what_it_let_in() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    guarded.client("billing").must("create table t (id int)", &[]).await;
    let end = SystemTime::now() + Duration::from_secs(3);
    let token = add_token(&TokenFile::new(guarded.file()), "shop", Some(end));
    let value = format!("Bearer {token}");
    let shop = guarded.service.client.with_headers(headers(&[("authorization", value.as_bytes())]));
    eventually_async("the token is read", PATIENCE, async || {
        shop.query("select 1", &[]).await.ok()
    })
    .await;
    let mut transaction = shop.begin().await;
    let stutter = Stutter::watch();
    let failure = transaction.reply().await.expect_err("it ends");
    assert_eq!(failure.reason, "UNAUTHENTICATED");
    let limit = Duration::from_millis(1500) + stutter.allowance();
    assert!(SystemTime::now() < end + limit, "it ended after more than {limit:?}");
    assert_eq!(shop.must_fail("select 1", &[]).await.reason, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_keeps_the_tokens_before_in_force() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let shop = guarded.client("shop");
    let good = fs::read_to_string(guarded.file()).expect("it is there");
    for (number, bad) in
        ["not a token\n", "{\"id\":1}\n", &format!("{good}{good}")].iter().enumerate()
    {
        replace_file(guarded.file(), bad);
        let told = async || {
            let log = guarded.service.server.log();
            (log.matches("files not read").count() > number).then_some(())
        };
        eventually_async("it is told", PATIENCE, told).await;
        shop.must("select 1", &[]).await;
    }
    assert!(!guarded.service.server.log().contains("not a token"));
    fs::remove_file(guarded.file()).expect("it is ours");
    let told =
        async || (guarded.service.server.log().matches("files not read").count() > 3).then_some(());
    eventually_async("it is told", PATIENCE, told).await;
    shop.must("select 1", &[]).await;
    let without: String = good.lines().filter(|line| !line.contains("\"shop\"")).collect();
    replace_file(guarded.file(), without);
    eventually_async("it is revoked", PATIENCE, async || {
        shop.query("select 1", &[]).await.err().filter(|it| it.reason == "UNAUTHENTICATED")
    })
    .await;
}
