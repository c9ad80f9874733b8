//! Locks that others hold: 1205 after the time, which undoes the statement; 1213 at once, which undoes all.

use rowgate::value::proto::{ExecuteBatchRequest, Value};

use super::{WAYS, Way, increment, lock, must_be_true, number, service, told};
use crate::harness::client::{Client, Failure};
use crate::harness::unit::{keyed, statement};

const SHORT: &str = "lock_timeout = \"1s\"";

#[tokio::test]
async fn a_lock_that_is_not_free_in_time_is_an_error_that_applied_nothing() {
    let service = service(SHORT).await;
    let holder = lock(&service.client).await;
    for way in WAYS {
        let before = number(service.mariadb());
        let answer = increment(&service.client, way).await;
        must_be_true(&answer, before, number(service.mariadb()), &format!("{way:?}"));
        assert_eq!(told(&answer), "Aborted LOCK_NOT_AVAILABLE NOT_APPLIED", "{way:?}");
    }
    holder.rollback().await.expect("it holds a lock and nothing else");
}

#[tokio::test]
async fn a_lock_timeout_undoes_its_statement_and_not_the_transaction() {
    let service = service(SHORT).await;
    let holder = lock(&service.client).await;
    let mut transaction = service.client.begin().await;
    transaction.query("update t set n = 7 where id = 2", &[]).await.expect("it is free");
    transaction.savepoint("a").await.expect("the transaction is open");
    let failure = transaction.query("update t set n = 8 where id = 1", &[]).await;
    assert_eq!(failure.expect_err("it is locked").reason, "LOCK_NOT_AVAILABLE");
    transaction.rollback_to("a").await.expect("the transaction is open");
    transaction.commit().await.expect("what was before is there");
    holder.rollback().await.expect("it holds a lock and nothing else");
    assert_eq!(service.mariadb().sql("select n from t order by id"), "0\n7");
}

/// Two that lock rows 1 and 2 crosswise: one of them is chosen by the database, and rolled back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_repeated_by_the_server_where_it_can_be() {
    let service = service("").await;
    for way in [Way::Batch, Way::KeyedBatch] {
        for _ in 0..10 {
            let before = service.mariadb().sql("select n from t order by id");
            let crosswise = [[1, 2], [2, 1]].map(|ids| {
                let client = service.client.clone();
                tokio::spawn(async move { increment_both(&client, way, ids).await })
            });
            for each in crosswise {
                let answer = each.await.expect("no panic");
                assert!(answer.is_ok(), "{way:?}: {answer:?}");
            }
            let both = |text: &str| -> Vec<u32> {
                text.lines().map(|n| n.parse().expect("a number")).collect()
            };
            let after = both(&service.mariadb().sql("select n from t order by id"));
            let expected: Vec<_> = both(&before).iter().map(|n| n + 2).collect();
            assert_eq!(after, expected, "{way:?}");
        }
    }
}

async fn increment_both(client: &Client, way: Way, ids: [i64; 2]) -> Result<u32, Failure> {
    let add = |id| statement("update t set n = n + 1 where id = $1", &[Value::int64(id)]);
    let options =
        (way == Way::KeyedBatch).then(|| keyed(&format!("both-{:016x}", fastrand::u64(..))));
    // The last one opens no transaction anew behind a rollback of all.
    let statements = vec![add(ids[0]), add(ids[1]), statement("select 1", &[])];
    let request = ExecuteBatchRequest { statements, options, ..ExecuteBatchRequest::default() };
    Ok(client.batch(request).await?.attempts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_of_transactions_is_told_to_one_of_them_and_undoes_all_of_it() {
    let service = service("").await;
    let mut one = service.client.begin().await;
    let mut other = service.client.begin().await;
    let add = |id: i32| format!("update t set n = n + 1 where id = {id}");
    one.query(&add(1), &[]).await.expect("it is free");
    other.query(&add(2), &[]).await.expect("it is free");
    one.send_query(&add(2)).await;
    other.send_query(&add(1)).await;
    let mut failed = 0;
    for mut each in [one, other] {
        match each.result().await {
            Ok(_) => each.commit().await.expect("it was not chosen"),
            Err(failure) => {
                failed += 1;
                let answer = Err(failure);
                assert_eq!(told(&answer), "Aborted DEADLOCK_DETECTED NOT_APPLIED");
                let after = each.commit().await.expect_err("nothing is left of it");
                assert_eq!(after.outcome, "NOT_APPLIED", "{after:?}");
            }
        }
    }
    assert_eq!(failed, 1);
    assert_eq!(service.mariadb().sql("select n from t order by id"), "1\n1");
}
