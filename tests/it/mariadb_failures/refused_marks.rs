//! Marks of commits that the database refuses: the unit ends before its commit, as nobody could find out what became of
//! a commit whose mark is missing.

use rowgate::value::proto::ExecuteBatchRequest;

use super::{number, service, told};
use crate::harness::Service;
use crate::harness::client::Failure;
use crate::harness::unit::statement;

/// The units that leave a mark, of one statement each: with statements that go together, one by one, and interactive.
async fn answers(service: &Service) -> Vec<String> {
    let mut found = Vec::new();
    for sql in [PLAIN, WITH_VARIABLE] {
        let statements = vec![statement(sql, &[])];
        let request = ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
        found.push(told(&service.client.batch(request).await.map(|answer| answer.attempts)));
    }
    found.push(told(&transact(service).await));
    found
}

const PLAIN: &str = "update t set n = n + 1 where id = 1";
const WITH_VARIABLE: &str = "update t set n = n + (@a := 1) where id = 1";

async fn transact(service: &Service) -> Result<u32, Failure> {
    let mut transaction = service.client.begin().await;
    transaction.query(PLAIN, &[]).await?;
    transaction.commit().await.map(|()| 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_mark_fails_alone_is_not_applied() {
    let service = service("").await;
    let mariadb = service.mariadb();
    mariadb.sql(
        "create trigger refuse before insert on rowgate_idempotency for each row \
         signal sqlstate '45000' set message_text = 'no row'",
    );
    let refused = "FailedPrecondition RAISE_EXCEPTION NOT_APPLIED";
    assert_eq!(answers(&service).await, [refused; 3]);
    assert_eq!(number(mariadb), 0, "a unit was committed without its mark");
    mariadb.sql("drop trigger refuse");
    assert_eq!(answers(&service).await, ["applied"; 3]);
    assert_eq!(number(mariadb), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_goes_on_without_its_mark_where_the_table_is_gone() {
    let service = service("").await;
    assert_eq!(answers(&service).await, ["applied"; 3]);
    service.mariadb().sql("drop table rowgate_idempotency");
    assert_eq!(answers(&service).await, ["applied"; 3]);
    assert_eq!(number(service.mariadb()), 6);
}
