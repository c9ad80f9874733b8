//! The driver closes a statement that is not kept any more, when it likes and unasked: what is counted of
//! other requests must not be shifted by it.

use rowgate::value::proto::{ExecuteBatchRequest, ResultSet};
use tonic::Code;

use super::{exactly, keeping};
use crate::harness::Service;
use crate::harness::client::request;
use crate::harness::unit::{batch, keyed, statement};

/// As many rounds as let the driver's Close come at every moment.
const ROUNDS: usize = 60;

fn counts(results: &[ResultSet]) -> Vec<(&str, u64)> {
    results.iter().map(|result| (result.command.as_str(), result.rows_affected)).collect()
}

fn is_there(service: &Service, id: usize) -> String {
    service.postgres().psql(&format!("select count(*) from t where id = {id}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_is_judged_by_the_count_of_its_own_statement() {
    for kept in [1, 2] {
        let service = keeping(kept).await;
        service.postgres().psql("insert into t select -g, 0 from generate_series(1, 3) g");
        for round in 0..ROUNDS {
            for key in [true, false] {
                let statements = vec![
                    exactly(1, &format!("update t set n = {round} where id = {round} and {key}")),
                    statement(
                        &format!("update t set n = {round} where id = -1 and not {key} is null"),
                        &[],
                    ),
                ];
                let options = key.then(|| keyed(&format!("missed {round}")));
                let request = ExecuteBatchRequest { statements, options, ..batch(&[]) };
                let failure = service.client.batch(request).await.expect_err("it changes none");
                assert_eq!(
                    failure.what(),
                    (Code::FailedPrecondition, "EXPECTATION_FAILED"),
                    "{round}: {failure:?}"
                );
                let statements = vec![
                    exactly(1, &format!("insert into t values ({round}, 1)")),
                    exactly(
                        3,
                        &format!("update t set n = {round} where id < 0 and {key} is not null"),
                    ),
                    exactly(1, &format!("delete from t where id = {round} and {key} is not null")),
                ];
                let options = key.then(|| keyed(&format!("met {round}")));
                let request = ExecuteBatchRequest { statements, options, ..batch(&[]) };
                let response = service.client.batch(request.clone()).await.expect("all are met");
                let wanted = [("INSERT", 1), ("UPDATE", 3), ("DELETE", 1)];
                assert_eq!(counts(&response.results), wanted, "{round}");
                if key {
                    let again = service.client.batch(request).await.expect("it is replayed");
                    assert!(again.replayed && again.results == response.results, "{round}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_one_is_never_taken_for_transaction_control() {
    let service = keeping(1).await;
    for round in 0..2 * ROUNDS {
        let request = batch(&[&format!("insert into t values ({round}, 0)")]);
        let response = service.client.batch(request).await.expect("it is applied");
        assert_eq!(counts(&response.results), [("INSERT", 1)], "{round}");
        assert_eq!(is_there(&service, round), "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_one_by_one_are_counted_each_by_its_own_tag() {
    let service = keeping(1).await;
    for round in 0..ROUNDS {
        let statements = vec![
            statement(&format!("create table made{round} (id int)"), &[]),
            exactly(5, &format!("insert into made{round} select generate_series(1, 5)")),
            exactly(2, &format!("delete from made{round} where id < 3")),
        ];
        let options = (round % 2 == 0).then(|| keyed(&format!("made {round}")));
        let request = ExecuteBatchRequest { statements, options, ..batch(&[]) };
        let response = service.client.batch(request).await.expect("all are met");
        let wanted = [("CREATE TABLE", 0), ("INSERT", 5), ("DELETE", 2)];
        assert_eq!(counts(&response.results), wanted, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_transactions_tell_the_counts_of_their_own_statements() {
    let service = keeping(1).await;
    for round in 0..ROUNDS {
        let insert = format!("insert into t select {round}, g from generate_series(1, 4) g");
        let result = service.client.must(&insert, &[]).await;
        assert_eq!(counts(&[result]), [("INSERT", 4)], "{round}");
        let update = format!("update t set n = 9 where id = {round} and n < 3 returning n");
        let summary = service.client.stream(request(&update, &[])).await.expect("it runs").summary;
        let summary = summary.expect("it ended well");
        assert_eq!((summary.command.as_str(), summary.rows_affected), ("UPDATE", 2), "{round}");
        let mut transaction = service.client.begin().await;
        for (text, wanted) in [
            (format!("delete from t where id = {round} and n = 9"), ("DELETE", 2)),
            (format!("insert into t values ({round}, 0)"), ("INSERT", 1)),
            (format!("select n from t where id = {round} order by n"), ("SELECT", 0)),
        ] {
            let result = transaction.query(&text, &[]).await.expect("it runs");
            assert_eq!(counts(&[result]), [wanted], "{text}");
        }
        transaction.commit().await.expect("it commits");
        assert_eq!(is_there(&service, round), "3");
    }
}
