//! The outcomes of calls with settings whose commit is not answered, and the round trips that they take.

use std::time::{Duration, Instant};

use super::{WAYS, Way, service};
use crate::harness::behind::Behind;
use crate::harness::postgres::Postgres;
use crate::harness::proxy::{Direction, Fault, Place, Then, Weather};

const LOST: Fault = Fault {
    direction: Direction::Down,
    place: Place::Text("COMMIT\0"),
    then: Then::Lose(Duration::from_millis(50)),
};

/// A service behind a proxy, with one connection.
async fn behind() -> Behind {
    let postgres = Postgres::start();
    postgres.psql("create schema acme; create table acme.t (n int)");
    let settings = "settings_allowed = ['work_mem', 'search_path', 'tenant.id']\n\
        pool.min = 1\npool.max = 1\npool.lanes = 0";
    Behind::start(postgres, settings, &[]).await
}

fn count(behind: &Behind) -> usize {
    let count = behind.postgres.psql("select count(*) from acme.t");
    count.trim().parse().expect("it is a number")
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_found_out() {
    let behind = behind().await;
    let writing = WAYS.into_iter().filter(|way| *way != Way::ReadOnly);
    for (index, way) in writing.enumerate() {
        let sql = "insert into t values (1) returning n";
        let pairs = [("search_path", "acme")];
        // So that it is the commit of no question at the opening of a connection.
        behind.client.must("select 1", &[]).await;
        let happened = behind.proxy.arm(LOST);
        way.run(&behind.client, sql, &pairs).await.expect("it was applied");
        happened.await.expect("it was lost");
        assert_eq!(count(&behind), index + 1, "{way:?}");
    }
}

#[tokio::test]
async fn a_query_with_settings_is_one_round_trip() {
    const LATENCY: Duration = Duration::from_millis(20);
    let behind = behind().await;
    for (pairs, sql) in [
        (&[("work_mem", "8MB"), ("tenant.id", "5")][..], "select count(*) from acme.t"),
        (&[("search_path", "acme")], "select count(*) from t"),
    ] {
        for way in [Way::Query, Way::ReadOnly, Way::Batch] {
            for _ in 0..3 {
                way.run(&behind.client, sql, pairs).await.expect("it runs");
            }
            behind.proxy.set_weather(Weather { latency: LATENCY, ..Weather::default() });
            let mut shortest = Duration::MAX;
            for _ in 0..5 {
                let began = Instant::now();
                way.run(&behind.client, sql, pairs).await.expect("it runs");
                shortest = shortest.min(began.elapsed());
                // The reset behind the call is off its path, and in that of the next one.
                behind.client.must("select 1", &[]).await;
            }
            behind.proxy.set_weather(Weather::default());
            assert!(shortest >= LATENCY * 2, "{way:?}: {shortest:?} is no round trip");
            assert!(shortest < LATENCY * 4, "{way:?} {pairs:?} took {shortest:?}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_statement_names_it_and_not_its_place_in_a_batch() {
    let service = service("settings_allowed = ['work_mem']").await;
    let failure = Way::Query.run(&service.client, "select no_such", &[("work_mem", "8MB")]).await;
    let failure = failure.expect_err("there is no such column");
    assert_eq!(failure.reason, "UNDEFINED_COLUMN");
    assert_eq!(failure.report.failed_statement, None, "{failure:?}");
}
