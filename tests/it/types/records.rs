//! Rows without columns.

use rowgate::value::proto::Value;

use crate::harness::client::request;
use crate::harness::unit::batch;
use crate::harness::{Backend, Service};

#[tokio::test]
async fn rows_without_columns_are_rows_in_every_call() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    client.must("create type mood as enum ('sad')", &[]).await;
    client.must("create table zc ()", &[]).await;
    client.must("insert into zc default values", &[]).await;
    // Enums are looked up while a statement is prepared.
    let filtered = "select from zc where $1::mood = 'sad'";
    for (sql, parameters, rows) in [
        ("select from zc", vec![], 1),
        ("select", vec![], 1),
        ("table zc", vec![], 1),
        ("select * from zc", vec![], 1),
        ("select from zc where false", vec![], 0),
        (filtered, vec![Value::text("sad")], 1),
    ] {
        let result = client.must(sql, &parameters).await;
        assert_eq!((result.has_columns, result.rows.len()), (true, rows), "{sql}");
        assert!(result.columns.is_empty() && result.rows.iter().all(|row| row.values.is_empty()));
        let streamed = client.stream(request(sql, &parameters)).await.expect("it runs");
        assert_eq!((streamed.header.has_columns, streamed.rows.len()), (true, rows), "{sql}");
        let mut transaction = client.begin().await;
        let result = transaction.query(sql, &parameters).await.expect("it runs");
        assert_eq!((result.has_columns, result.rows.len()), (true, rows), "{sql}");
        transaction.rollback().await.expect("it ends");
    }
    let results = client.batch(batch(&["select from zc", "delete from zc"])).await;
    let results = results.expect("it runs").results;
    assert_eq!((results[0].has_columns, results[0].rows.len()), (true, 1));
    assert!(!results[1].has_columns, "it returns nothing");
    assert!(!client.must("insert into zc default values", &[]).await.has_columns);
}
