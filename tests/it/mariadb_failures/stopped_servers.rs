//! Servers that are shut down, and servers that are not there: connections are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{WAYS, Way, increment, must_be_true, number, service, told};
use crate::harness::client::{Client, PATIENCE};
use crate::harness::wait::eventually_async;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_listens_callers_learn_at_once_that_nothing_was_applied() {
    let mut service = service("").await;
    service.mariadb_mut().stop();
    for way in WAYS {
        let start = Instant::now();
        let answer = increment(&service.client, way).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{way:?}: it took {:?}", start.elapsed());
        let told = told(&answer);
        assert_eq!(told, "Unavailable DATABASE_UNAVAILABLE NOT_APPLIED", "{way:?}");
    }
    let read = service.client.must_fail("select 1", &[]).await;
    assert_eq!((&*read.reason, &*read.outcome), ("DATABASE_UNAVAILABLE", "NOT_APPLIED"));
    service.mariadb_mut().resume();
    eventually_async("the database is found again", PATIENCE, async || {
        service.client.query("select 1", &[]).await.ok()
    })
    .await;
    assert_eq!(number(service.mariadb()), 0);
    for (before, way) in (0..).zip(WAYS) {
        let answer = increment(&service.client, way).await;
        must_be_true(&answer, before, number(service.mariadb()), &format!("{way:?}"));
        assert_eq!(told(&answer), "applied", "{way:?}");
    }
}

/// Shutdowns and crashes under writes of every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdowns_and_crashes_at_any_moment_lose_and_double_nothing() {
    let mut service = service("").await;
    for (round, way) in WAYS.into_iter().enumerate() {
        let before = number(service.mariadb());
        let is_back = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let client = service.client.clone();
                let is_back = Arc::clone(&is_back);
                tokio::spawn(async move { write_until_lost(&client, way, &is_back).await })
            })
            .collect();
        eventually_async("there is load", PATIENCE, async || {
            (number(service.mariadb()) >= before + 20).then_some(())
        })
        .await;
        tokio::task::block_in_place(|| {
            if round % 2 == 0 {
                service.mariadb_mut().stop()
            } else {
                service.mariadb_mut().crash()
            }
            service.mariadb_mut().resume();
        });
        is_back.store(true, Relaxed);
        let mut counts = [0; 2];
        for writer in writers {
            let seen = writer.await.expect("no panic");
            counts = [counts[0] + seen[0], counts[1] + seen[1]];
        }
        let [applied, unknown] = counts;
        let more = number(service.mariadb()) - before;
        assert!(
            (applied..=applied + unknown).contains(&more),
            "round {round}, {way:?}: {more} of {applied} and perhaps {unknown}"
        );
        if matches!(way, Way::Keyed | Way::KeyedBatch) {
            assert_eq!(unknown, 0, "{way:?}: its key tells, once the server is back");
        }
        eventually_async("the database is found again", PATIENCE, async || {
            service.client.query("select 1", &[]).await.ok()
        })
        .await;
    }
}

/// Writes until something fails, or the server was away unnoticed; returns how many were applied, and how many perhaps.
async fn write_until_lost(client: &Client, way: Way, is_back: &AtomicBool) -> [u32; 2] {
    let mut counts = [0; 2];
    let mut failed = false;
    while !failed && !is_back.load(Relaxed) {
        match increment(client, way).await {
            Ok(attempts) => {
                counts[0] += 1;
                failed = attempts > 1;
            }
            Err(failure) => {
                let outcome = failure.outcome.as_str();
                assert!(["NOT_APPLIED", "UNKNOWN"].contains(&outcome), "{failure:?}");
                counts[1] += u32::from(outcome == "UNKNOWN");
                failed = true;
            }
        }
    }
    counts
}
