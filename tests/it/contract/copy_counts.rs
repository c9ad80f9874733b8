//! The rows of a copy, as they are counted and weighed.

use rowgate::value::proto::{CopyFormat, CopyOutRequest, QueryOptions, Row, Value};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::copies::{csv_into, into_as, out_of, with_header};

contract! {
    a_header_is_no_row
    rows_that_a_table_ignores_are_not_counted
}

contract! {
    with "max_row_size = \"64KiB\"":
    a_row_of_values_is_weighed_as_one_of_text
}

async fn a_header_is_no_row(service: Service) {
    service.client.must("create table t (a int, b varchar(9))", &[]).await;
    let csv = "1,x\n2,y\n3,z\n";
    service.client.copy_text(csv_into("t"), csv, 1000).await.expect("it fits");
    let bounded = |max_rows: u64| CopyOutRequest {
        text: with_header(),
        options: Some(QueryOptions { max_rows, ..QueryOptions::default() }),
        ..out_of("t", CopyFormat::Csv)
    };
    let out = service.client.copy_out(bounded(3)).await.expect("there are three");
    assert_eq!((out.text(), out.row_count), ("a,b\n1,x\n2,y\n3,z\n", 3));
    let failure = service.client.copy_out(bounded(2)).await.expect_err("there are three");
    assert_eq!(failure.reason, "RESULT_TOO_LARGE", "{failure:?}");
    service.client.must("delete from t", &[]).await;
    let out = service.client.copy_out(bounded(1)).await.expect("there are none");
    assert_eq!((out.text(), out.row_count), ("a,b\n", 0));
}

async fn rows_that_a_table_ignores_are_not_counted(service: Service) {
    // MariaDB has no table that ignores rows.
    let (conflicts, ignored) = service.pick(("on conflict ignore", 1), ("", 0), ("", 0));
    let sql = format!("create table t (a int, b int, unique (a) {conflicts})");
    service.client.must(&sql, &[]).await;
    let trigger = service.pick(
        Some("create trigger g before insert on t when new.b = 0 begin select raise(ignore); end"),
        Some("create trigger g before insert on t for each row when (new.b = 0) execute function f()"),
        None,
    );
    if service.pick(false, true, false) {
        let function =
            "create function f() returns trigger language plpgsql as 'begin return null; end'";
        service.client.must(function, &[]).await;
    }
    if let Some(trigger) = trigger {
        service.client.must(trigger, &[]).await;
    }
    let by_trigger = if trigger.is_some() { 500 } else { 0 };
    let twice = if ignored == 1 { "7,1\n" } else { "" };
    // More than one statement of the inserts has.
    let csv: String = (0..1_000).map(|line| format!("{line},{}\n", line % 2)).collect();
    let copied = service.client.copy_text(csv_into("t"), &(csv + twice), 1000).await;
    assert_eq!(copied.expect("it fits").rows_affected, 1_000 - by_trigger);
    let kept = service.client.must("select count(*) from t", &[]).await;
    let kept = kept.rows[0].values[0].clone();
    assert_eq!(kept, Value::int64(if by_trigger == 0 { 1_000 } else { 500 }));
}

async fn a_row_of_values_is_weighed_as_one_of_text(service: Service) {
    let text = service.pick("text", "text", "mediumtext");
    service.client.must(&format!("create table t (a int, b {text})"), &[]).await;
    let long = "x".repeat(70_000);
    let row = |text: &str| Row { values: vec![Value::int64(1), Value::text(text)] };
    let rows = vec![vec![row("short"), row(&long)]];
    let start = into_as("t", CopyFormat::Rows);
    let failure = service.client.copy_rows(start, rows).await.expect_err("it is too large");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "ROW_TOO_LARGE"), "{failure:?}");
    assert_eq!((failure.report.line, failure.outcome.as_str()), (2, "NOT_APPLIED"));
    if service.pick(true, false, true) {
        let csv = format!("1,short\n1,{long}\n");
        let of_text = service.client.copy_text(csv_into("t"), &csv, 9_000).await;
        let of_text = of_text.expect_err("it is too large");
        assert_eq!((of_text.what(), of_text.report.line), (failure.what(), 2), "{of_text:?}");
        assert_eq!(of_text.message, failure.message);
    }
    let kept = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(kept.rows[0].values, [Value::int64(0)]);
}
