//! Batches in interactive transactions on PostgreSQL: they are one round trip, mean what they meant one by one, and end
//! with their connection.

use std::time::{Duration, Instant};

use rowgate::value::proto::Value;
use tonic::Code;

use crate::harness::behind::Behind;
use crate::harness::postgres::Postgres;
use crate::harness::proxy::{Cut, Direction, Fault, Place, Then, Weather};
use crate::harness::unit::statement;
use crate::harness::{Backend, Service};

const UPDATE: &str = "update t set n = n + 1 where id = 1";

#[tokio::test]
async fn a_batch_in_a_transaction_is_one_round_trip() {
    const LATENCY: Duration = Duration::from_millis(50);
    let postgres = Postgres::start();
    postgres.psql("create table t (id int primary key, n int); insert into t values (1, 0)");
    let behind = Behind::start(postgres, "", &[]).await;
    let both = [statement(UPDATE, &[]), statement("select n from t", &[])];
    let updates = || std::iter::repeat_n(both.clone(), 20).flatten().collect::<Vec<_>>();
    let mut transaction = behind.client.begin().await;
    for _ in 0..2 {
        transaction.batch(updates()).await.expect("its statements get prepared");
    }
    behind.proxy.set_weather(Weather { latency: LATENCY, ..Weather::default() });
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(transaction.batch(updates()).await.expect("it runs").len(), 40);
        shortest = shortest.min(began.elapsed());
    }
    behind.proxy.set_weather(Weather::default());
    transaction.commit().await.expect("it commits");
    assert!(shortest >= LATENCY * 2, "{shortest:?} is no round trip");
    assert!(shortest < LATENCY * 4, "40 statements took {shortest:?}");
    assert_eq!(behind.postgres.psql("select n from t where id = 1"), "140");
}

#[tokio::test]
async fn a_statement_means_what_those_before_it_make_of_it() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql(
        "create schema other; create table t (v text); insert into t values ('here');
         create table other.t (v text, w int); insert into other.t values ('there', 1);
         create function move() returns void language sql as $$
             select pg_catalog.set_config('search_path', 'other', true) $$;",
    );
    for mover in ["set local search_path = other", "select move()"] {
        let mut transaction = service.client.begin().await;
        let select = statement("select * from t", &[]);
        let before = transaction.batch(vec![select.clone(); 2]).await.expect("it runs");
        assert_eq!(before[1].rows[0].values, [Value::text("here")]);
        let moving = vec![select.clone(), statement(mover, &[]), select.clone()];
        let moved = transaction.batch(moving).await.expect("it runs");
        assert_eq!(moved[0].rows[0].values, [Value::text("here")], "{mover}");
        let there = [Value::text("there"), Value::int64(1)];
        assert_eq!(moved[2].rows[0].values, there, "{mover}");
        let behind = transaction.batch(vec![select]).await.expect("it runs");
        assert_eq!(behind[0].rows[0].values, there, "{mover}");
        transaction.commit().await.expect("it commits");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_in_a_batch_ends_the_transaction_with_nothing_applied() {
    let postgres = Postgres::start();
    postgres.psql("create table t (id int primary key, n int); insert into t values (1, 0)");
    let behind = Behind::start(postgres, "pool.max = 1", &[]).await;
    for place in [Place::Text("marked"), Place::Text("UPDATE 1")] {
        let direction =
            if place == Place::Text("marked") { Direction::Up } else { Direction::Down };
        let mut transaction = behind.client.begin().await;
        transaction.batch(vec![statement(UPDATE, &[])]).await.expect("it runs");
        let fault = Fault { direction, place, then: Then::Cut(Cut::Reset) };
        let happened = behind.proxy.arm(fault);
        let marked = statement("select $1", &[Value::text("marked")]);
        let statements = vec![statement(UPDATE, &[]), statement(UPDATE, &[]), marked];
        let failure = transaction.batch(statements).await.expect_err("the connection is lost");
        happened.await.expect("it was cut");
        assert_eq!(failure.what(), (Code::Unavailable, "CONNECTION_LOST"), "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
        let read = behind.client.must("select n from t", &[]).await;
        assert_eq!(read.rows[0].values, [Value::int64(0)], "another connection serves");
    }
}
