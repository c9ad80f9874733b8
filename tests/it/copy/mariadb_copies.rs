//! Copies on MariaDB and MySQL: tables that cannot undo anything.

use rowgate::value::proto::Value;
use tonic::Code;

use crate::harness::copies::csv_into;
use crate::harness::{Backend, Service};

#[tokio::test]
async fn a_failure_in_a_table_without_transactions_is_not_told_as_undone() {
    let service = Service::start(Backend::Mariadb).await;
    let count = async |table: &str| {
        let sql = format!("select count(*) from {table}");
        service.client.must(&sql, &[]).await.rows[0].values[0].clone()
    };
    for (table, engine, outcome, left) in
        [("t", "InnoDB", "NOT_APPLIED", 0), ("u", "MyISAM", "UNKNOWN", 1)]
    {
        let sql = format!("create table {table} (a integer primary key) engine = {engine}");
        service.client.must(&sql, &[]).await;
        let failure = service.client.copy_text(csv_into(table), "1\nx\n", 1000).await;
        let failure = failure.expect_err("it is no number");
        assert_eq!(
            (failure.outcome.as_str(), failure.code),
            (outcome, Code::InvalidArgument),
            "{failure:?}"
        );
        let kept = count(table).await;
        assert!(kept == Value::int64(0) || kept == Value::int64(left), "{kept:?} in {table}");
    }
}
