//! Statements that an operator kills: 1317 for the statement, 1927 or no more than the end for the connection.

use rowgate::value::proto::Value;

use super::{WAYS, Way, increment, lock, must_be_true, number, running, service, told};
use crate::harness::client::PATIENCE;
use crate::harness::wait::eventually;

/// Kills what waits at row 1.
fn kill_waiting(service: &crate::harness::Service, kill: &str) {
    let mariadb = service.mariadb();
    let id = eventually("the statement waits", PATIENCE, || {
        running(mariadb, "update t set n").first().copied()
    });
    mariadb.sql(&format!("{kill} {id}"));
    eventually("it is killed", PATIENCE, || {
        (!running(mariadb, "update t set n").contains(&id)).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_killed_while_it_waits_is_told_truly() {
    let service = service("").await;
    let mut found = Vec::new();
    for kill in ["kill query", "kill"] {
        for way in WAYS {
            let before = number(service.mariadb());
            let holder = lock(&service.client).await;
            let client = service.client.clone();
            let writing = tokio::spawn(async move { increment(&client, way).await });
            tokio::task::block_in_place(|| kill_waiting(&service, kill));
            // What is repeated gets the row.
            holder.rollback().await.expect("it holds a lock and nothing else");
            let answer = writing.await.expect("no panic");
            let case = format!("{kill}, {way:?}: {}", told(&answer));
            must_be_true(&answer, before, number(service.mariadb()), &case);
            found.push(case);
        }
    }
    assert_eq!(found, KILLED);
}

/// The answers: a killed statement is ended for good, a killed connection is replaced where that is safe.
const KILLED: [&str; 10] = [
    "kill query, Autocommit: DeadlineExceeded DEADLINE NOT_APPLIED",
    "kill query, Keyed: DeadlineExceeded DEADLINE NOT_APPLIED",
    "kill query, Batch: DeadlineExceeded DEADLINE NOT_APPLIED",
    "kill query, KeyedBatch: DeadlineExceeded DEADLINE NOT_APPLIED",
    "kill query, Transact: DeadlineExceeded DEADLINE NOT_APPLIED",
    "kill, Autocommit: Unknown OUTCOME_UNKNOWN UNKNOWN",
    "kill, Keyed: applied, after more than one attempt",
    "kill, Batch: applied, after more than one attempt",
    "kill, KeyedBatch: applied, after more than one attempt",
    "kill, Transact: Unavailable CONNECTION_LOST NOT_APPLIED",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_killed_ends_or_is_repeated() {
    let service = service("").await;
    // It takes about a second: 2 rows, joined 24 times.
    let tables: Vec<_> = (0..24).map(|number| format!("t a{number}")).collect();
    let sql = format!("select count(*) from {} where a0.n + a23.n < $1", tables.join(", "));
    let mut found = Vec::new();
    for kill in ["kill query", "kill"] {
        let client = service.client.clone();
        let sql = sql.clone();
        let reading = tokio::spawn(async move { client.query(&sql, &[Value::int64(1)]).await });
        let mariadb = service.mariadb();
        tokio::task::block_in_place(|| {
            let id = eventually("the statement runs", PATIENCE, || {
                running(mariadb, "from t a0").first().copied()
            });
            mariadb.sql(&format!("{kill} {id}"));
        });
        let answer = reading.await.expect("no panic").map(|_| 1);
        found.push(format!("{kill}: {}", told(&answer)));
    }
    assert_eq!(found, ["kill query: DeadlineExceeded DEADLINE NOT_APPLIED", "kill: applied"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_killed_between_its_statements_is_rolled_back() {
    let service = service("").await;
    let mariadb = service.mariadb();
    for kill in ["kill query", "kill"] {
        let before = number(mariadb);
        let mut transaction = service.client.begin().await;
        let first = "update t set n = n + 1 where id = 1";
        transaction.query(first, &[]).await.expect("it runs");
        let id = transaction.query("select connection_id()", &[]).await.expect("it runs");
        let id = id.rows[0].values[0].clone();
        let Some(rowgate::value::Kind::Int64Value(id)) = id.kind else { panic!("{id:?}") };
        tokio::task::block_in_place(|| mariadb.sql(&format!("{kill} {id}")));
        let answer = match transaction.query("select 1", &[]).await {
            Ok(_) => transaction.commit().await,
            Err(failure) => Err(failure),
        };
        let answer = answer.map(|()| 1);
        let case = format!("{kill}: {}", told(&answer));
        must_be_true(&answer, before, number(mariadb), &case);
        // An idle connection has no statement that could be killed.
        let expected = if kill == "kill" {
            "kill: Unavailable CONNECTION_LOST NOT_APPLIED"
        } else {
            "kill query: applied"
        };
        assert_eq!(case, expected);
    }
}

/// Kills among many writes, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_moment_lose_and_double_nothing() {
    let service = service("").await;
    for way in WAYS {
        let before = number(service.mariadb());
        let client = service.client.clone();
        let writing = tokio::spawn(async move {
            let mut counts = [0_u32; 2];
            for _ in 0..200 {
                match increment(&client, way).await {
                    Ok(_) => counts[0] += 1,
                    Err(failure) if failure.outcome == "UNKNOWN" => counts[1] += 1,
                    Err(failure) => assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}"),
                }
            }
            counts
        });
        while !writing.is_finished() {
            tokio::task::block_in_place(|| service.mariadb().kill_connections());
        }
        let [applied, unknown] = writing.await.expect("no panic");
        let more = number(service.mariadb()) - before;
        assert!((applied..=applied + unknown).contains(&more), "{way:?}: {more} of {applied}");
        assert!(applied > 0, "{way:?}");
        if matches!(way, Way::Keyed | Way::KeyedBatch) {
            assert_eq!(unknown, 0, "{way:?}: its key tells");
        }
    }
}
