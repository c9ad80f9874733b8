//! `CopyIn` and `CopyOut`: rows in bulk, all or none.

use std::time::Duration;

use rowgate::value::proto::{
    CopyFormat, CopyInStart, CopyOutRequest, CopyTextOptions, QueryOptions, Row, Value,
};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::{PATIENCE, read_only, request_with};
use crate::harness::copies::{csv_into, into_as, out_of, with_header};
use crate::harness::unit::keyed;
use crate::harness::wait::eventually_async;

contract! {
    csv_goes_in_and_comes_out_the_same
    text_goes_in_and_comes_out_the_same
    rows_go_in_and_come_out_the_same
    forms_are_as_the_caller_says
    some_columns_may_be_copied
    no_rows_are_rows
    a_bad_row_is_named_and_nothing_stays
    data_that_is_not_of_its_form_is_named_by_its_line
    data_behind_the_end_is_never_lost
    under_a_key_data_is_written_once
    a_stream_without_an_end_is_rolled_back
    a_caller_that_goes_away_is_rolled_back
    a_caller_that_sends_nothing_is_ended_at_its_deadline
    a_query_comes_out_with_its_parameters
    what_comes_out_is_only_read
    names_are_exact
    what_cannot_be_copied_is_refused
}

async fn table(service: &Service) {
    let sql = "create table t (id integer primary key, name varchar(100), price double precision)";
    service.client.must(sql, &[]).await;
}

async fn count(service: &Service) -> Value {
    let result = service.client.must("select count(*) from t", &[]).await;
    result.rows[0].values[0].clone()
}

const CSV: &str = "1,a,1.5\n2,,\n3,\"\",-2\n4,\"say \"\"hi\"\", x\ny\",1e+300\n";

async fn csv_goes_in_and_comes_out_the_same(service: Service) {
    table(&service).await;
    for piece in [1, 7, 1000] {
        let copied = service.client.copy_text(csv_into("t"), CSV, piece).await.expect("it fits");
        assert_eq!((copied.rows_affected, copied.attempts, copied.replayed), (4, 1, false));
        let all = service.client.must("select * from t order by id", &[]).await;
        assert_eq!(all.rows[1].values[1..], [Value::null(), Value::null()]);
        assert_eq!(all.rows[2].values[1..], [Value::text(""), Value::float64(-2.0)]);
        assert_eq!(all.rows[3].values[1], Value::text("say \"hi\", x\ny"));
        let out = service.client.copy_out(out_of("t", CopyFormat::Csv)).await.expect("it runs");
        assert_eq!((out.text(), out.row_count), (CSV, 4));
        service.client.must("delete from t", &[]).await;
    }
}

async fn text_goes_in_and_comes_out_the_same(service: Service) {
    table(&service).await;
    let text = "1\ta\\tb\\\\\t1.5\n2\t\\N\t\\N\n3\t\t0\n4\tx\\ny\t-1\n";
    let start = into_as("t", CopyFormat::Text);
    let copied = service.client.copy_text(start, text, 5).await.expect("it fits");
    assert_eq!(copied.rows_affected, 4);
    let all = service.client.must("select name from t order by id", &[]).await;
    let names: Vec<_> = all.rows.into_iter().map(|row| row.values[0].clone()).collect();
    let expected = [Value::text("a\tb\\"), Value::null(), Value::text(""), Value::text("x\ny")];
    assert_eq!(names, expected);
    let out = service.client.copy_out(out_of("t", CopyFormat::Text)).await.expect("it runs");
    assert_eq!((out.text(), out.row_count), (text, 4));
}

async fn rows_go_in_and_come_out_the_same(service: Service) {
    let bytes = service.pick("blob", "bytea", "blob");
    let sql = format!("create table t (id integer primary key, name text, data {bytes})");
    service.client.must(&sql, &[]).await;
    let row =
        |id: i64, name: Value, data: Value| Row { values: vec![Value::int64(id), name, data] };
    let rows = vec![
        row(1, Value::text("a\tb\\N\n"), Value::bytes([0, 255, 10])),
        row(2, Value::null(), Value::null()),
        row(3, Value::text(""), Value::bytes([])),
    ];
    let start = || into_as("t", CopyFormat::Rows);
    let batches = vec![rows[..1].to_vec(), rows[1..].to_vec()];
    let copied = service.client.copy_rows(start(), batches).await.expect("they fit");
    assert_eq!(copied.rows_affected, 3);
    let out = service.client.copy_out(out_of("t", CopyFormat::Rows)).await.expect("it runs");
    assert_eq!((out.rows, out.row_count), (rows.clone(), 3));
    let csv = service.client.copy_out(out_of("t", CopyFormat::Csv)).await.expect("it runs");
    assert_eq!(csv.text(), "1,\"a\tb\\N\n\",\\x00ff0a\n2,,\n3,\"\",\\x\n");
    service.client.must("delete from t", &[]).await;
    service.client.copy_text(csv_into("t"), csv.text(), 1000).await.expect("it fits");
    let again = service.client.copy_out(out_of("t", CopyFormat::Rows)).await.expect("it runs");
    assert_eq!(again.rows, rows);
    let narrow = vec![vec![Row { values: vec![Value::int64(9)] }]];
    let failure = service.client.copy_rows(start(), narrow).await.expect_err("too few values");
    assert_eq!(failure.what(), (Code::InvalidArgument, "BAD_COPY_FILE_FORMAT"), "{failure:?}");
}

async fn forms_are_as_the_caller_says(service: Service) {
    table(&service).await;
    let text = CopyTextOptions {
        delimiter: ";".to_owned(),
        null_text: Some("NULL".to_owned()),
        header: true,
        quote: "'".to_owned(),
        escape: "\\".to_owned(),
    };
    let start = CopyInStart { text: Some(text.clone()), ..csv_into("t") };
    let csv = "id;name;price\n1;'it\\'s; NULL';NULL\n2;'NULL';3\n";
    let copied = service.client.copy_text(start, csv, 3).await.expect("it fits");
    assert_eq!(copied.rows_affected, 2);
    let all = service.client.must("select name, price from t order by id", &[]).await;
    assert_eq!(all.rows[0].values, [Value::text("it's; NULL"), Value::null()]);
    assert_eq!(all.rows[1].values[0], Value::text("NULL"));
    let request = CopyOutRequest { text: Some(text), ..out_of("t", CopyFormat::Csv) };
    let out = service.client.copy_out(request).await.expect("it runs");
    assert_eq!((out.text(), out.row_count), (csv, 2));
}

async fn some_columns_may_be_copied(service: Service) {
    table(&service).await;
    let columns = vec!["price".to_owned(), "id".to_owned()];
    let start = CopyInStart { columns: columns.clone(), ..csv_into("t") };
    service.client.copy_text(start, "2.5,1\n,2\n", 1000).await.expect("it fits");
    let all = service.client.must("select * from t order by id", &[]).await;
    let first = [Value::int64(1), Value::null(), Value::float64(2.5)];
    assert_eq!(all.rows[0].values, first);
    let text = with_header();
    let request = CopyOutRequest { columns, text, ..out_of("t", CopyFormat::Csv) };
    let out = service.client.copy_out(request).await.expect("it runs");
    assert_eq!(out.text(), "price,id\n2.5,1\n,2\n");
}

async fn no_rows_are_rows(service: Service) {
    table(&service).await;
    for format in [CopyFormat::Csv, CopyFormat::Text, CopyFormat::Rows] {
        let copied = service.client.copy_text(into_as("t", format), "", 1).await.expect("it fits");
        assert_eq!(copied.rows_affected, 0);
        let out = service.client.copy_out(out_of("t", format)).await.expect("it runs");
        assert_eq!((out.data.len(), out.rows.len(), out.row_count), (0, 0, 0));
    }
    let header = CopyInStart { text: with_header(), ..csv_into("t") };
    let copied = service.client.copy_text(header, "id,name,price\n", 4).await.expect("it fits");
    assert_eq!(copied.rows_affected, 0);
}

async fn a_bad_row_is_named_and_nothing_stays(service: Service) {
    table(&service).await;
    let id = |line: usize| if line == 1_500 { 7 } else { line };
    let csv: String = (1..=2_000).map(|line| format!("{},name {line},0\n", id(line))).collect();
    let failure = service.client.copy_text(csv_into("t"), &csv, 9_000).await.expect_err("twice");
    assert_eq!(failure.code, Code::AlreadyExists, "{failure:?}");
    assert_eq!((failure.outcome.as_str(), failure.report.line), ("NOT_APPLIED", 1_500));
    assert!(failure.message.starts_with("line 1500: "), "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(0));
    let rows = (1..=100).map(|line| if line == 60 { 7 } else { line });
    let row = |id| Row { values: vec![Value::int64(id), Value::null(), Value::null()] };
    let start = into_as("t", CopyFormat::Rows);
    let failure = service.client.copy_rows(start, vec![rows.map(row).collect()]).await;
    assert_eq!(failure.expect_err("twice").report.line, 60);
    assert_eq!(count(&service).await, Value::int64(0));
    service.client.copy_text(csv_into("t"), CSV, 1000).await.expect("the next one is not touched");
}

async fn data_that_is_not_of_its_form_is_named_by_its_line(service: Service) {
    table(&service).await;
    let unended = ("1,\"a,1\n2,b,2\n", 1);
    for (csv, line) in [("1,a,1\n2,b\n3,c,3\n", 2), ("1,a,1\n2,b,2,3\n", 2), unended] {
        let failure = service.client.copy_text(csv_into("t"), csv, 1000).await.expect_err(csv);
        assert_eq!(failure.what(), (Code::InvalidArgument, "BAD_COPY_FILE_FORMAT"), "{failure:?}");
        assert_eq!((failure.report.line, failure.outcome.as_str()), (line, "NOT_APPLIED"));
    }
    assert_eq!(count(&service).await, Value::int64(0));
}

async fn data_behind_the_end_is_never_lost(service: Service) {
    table(&service).await;
    let csv = "1,a,1\n2,b,2\n\\.\n3,c,3\n";
    let cases = [
        (CopyFormat::Csv, csv.to_owned()),
        (CopyFormat::Csv, csv.replace('\n', "\r\n")),
        (CopyFormat::Csv, "1,a,1\n2,\"x\",2\n\\.\n\n".to_owned()),
        (CopyFormat::Text, csv.replace(',', "\t")),
        (CopyFormat::Text, "1\t\\N\t1\n2\t\\N\t2\n\\.\n\\.\n".to_owned()),
    ];
    for (format, text) in &cases {
        for piece in [1, 2, 3, 5, 1000] {
            let start = into_as("t", *format);
            let failure = service.client.copy_text(start, text, piece).await.expect_err(text);
            let what = (Code::InvalidArgument, "BAD_COPY_FILE_FORMAT");
            assert_eq!(failure.what(), what, "{text:?} in pieces of {piece}: {failure:?}");
            assert_eq!((failure.report.line, failure.outcome.as_str()), (3, "NOT_APPLIED"));
            assert!(failure.report.hint.contains("the last one"), "{failure:?}");
            assert_eq!(count(&service).await, Value::int64(0), "{text:?} in pieces of {piece}");
        }
    }
    // As the last line it ends the data; a value in quotes it does not.
    for (format, text) in [
        (CopyFormat::Csv, "1,a,1\n2,b,2\n\\.\n"),
        (CopyFormat::Csv, "1,\"a\n\\.\n\",1\n2,\\.,2\n"),
        (CopyFormat::Text, "1\ta\t1\n2\t\\\\.\t2\n\\.\n"),
    ] {
        for piece in [1, 2, 1000] {
            let copied = service.client.copy_text(into_as("t", format), text, piece).await;
            assert_eq!(copied.expect(text).rows_affected, 2, "{text:?} in pieces of {piece}");
            service.client.must("delete from t", &[]).await;
        }
    }
}

async fn under_a_key_data_is_written_once(service: Service) {
    table(&service).await;
    service.install_keys();
    let start = |key: &str| CopyInStart { options: Some(keyed(key)), ..csv_into("t") };
    let client = &service.client;
    let first = client.copy_text(start("k"), CSV, 1000).await.expect("it runs");
    let again = client.copy_text(start("k"), CSV, 3).await.expect("it was applied");
    assert_eq!((first.rows_affected, first.replayed), (4, false));
    assert_eq!((again.rows_affected, again.replayed), (4, true));
    let failure = client.copy_text(start("k"), "9,a,1\n", 9).await.expect_err("other data");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "KEY_REUSED"), "{failure:?}");
    let columns = vec!["id".to_owned(), "name".to_owned(), "price".to_owned()];
    let other = CopyInStart { columns, ..start("k") };
    let failure = client.copy_text(other, CSV, 9).await.expect_err("another request");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "KEY_REUSED"), "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(4));
    let failure = client.copy_text(start("free"), CSV, 1000).await.expect_err("they are there");
    assert_eq!(failure.code, Code::AlreadyExists, "{failure:?}");
    service.client.must("delete from t", &[]).await;
    client.copy_text(start("free"), CSV, 1000).await.expect("a failure does not use a key up");
}

async fn a_stream_without_an_end_is_rolled_back(service: Service) {
    table(&service).await;
    let open = service.client.open_copy(csv_into("t"), Some(PATIENCE)).await;
    assert!(open.text(CSV).await);
    let failure = open.close().await.expect_err("there is no end");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "NOT_COMMITTED"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(count(&service).await, Value::int64(0));
}

async fn a_caller_that_goes_away_is_rolled_back(service: Service) {
    table(&service).await;
    for _ in 0..5 {
        let open = service.client.open_copy(csv_into("t"), Some(PATIENCE)).await;
        for line in 0..2_000 {
            assert!(open.text(&format!("{line},name,1\n")).await);
        }
        drop(open);
    }
    // What it had locked is free, and nothing is left.
    let check = async || {
        let drop = service.client.query("delete from t", &[]).await.ok()?;
        assert_eq!(drop.rows_affected, 0);
        Some(())
    };
    eventually_async("the rows are gone", Duration::from_secs(5), check).await;
    service.client.copy_text(csv_into("t"), CSV, 1000).await.expect("nothing is in the way");
}

async fn a_caller_that_sends_nothing_is_ended_at_its_deadline(service: Service) {
    table(&service).await;
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 });
    let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
    let start = CopyInStart { options, ..csv_into("t") };
    let mut open = service.client.open_copy(start, None).await;
    assert!(open.text(CSV).await);
    let failure = open.answer().await.expect_err("there is no end");
    assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(count(&service).await, Value::int64(0));
}

async fn a_query_comes_out_with_its_parameters(service: Service) {
    table(&service).await;
    service.client.copy_text(csv_into("t"), CSV, 1000).await.expect("it fits");
    let request = CopyOutRequest {
        sql: "select id from t where id < $1 order by id".to_owned(),
        parameters: vec![Value::int64(3)],
        ..CopyOutRequest::default()
    };
    let out = service.client.copy_out(request.clone()).await.expect("it runs");
    let ids = [1, 2].map(|id| Row { values: vec![Value::int64(id)] });
    assert_eq!((out.rows, out.row_count), (ids.to_vec(), 2));
    let csv = CopyOutRequest { format: CopyFormat::Csv.into(), ..request.clone() };
    match service.client.copy_out(csv).await {
        Ok(out) => assert_eq!(out.text(), "1\n2\n"),
        // COPY has none.
        Err(failure) => assert_eq!(failure.fields(), ["parameters"], "{failure:?}"),
    }
    let plain = CopyOutRequest {
        sql: "select id from t where id < 3 order by id -- )".to_owned(),
        parameters: Vec::new(),
        format: CopyFormat::Csv.into(),
        ..request
    };
    assert_eq!(service.client.copy_out(plain).await.expect("it runs").text(), "1\n2\n");
}

async fn what_comes_out_is_only_read(service: Service) {
    table(&service).await;
    let sql = "delete from t".to_owned();
    for format in [CopyFormat::Rows, CopyFormat::Csv] {
        let request =
            CopyOutRequest { sql: sql.clone(), format: format.into(), ..CopyOutRequest::default() };
        let failure = service.client.copy_out(request).await.expect_err("it writes");
        assert!(
            ["READ_ONLY", "FEATURE_NOT_SUPPORTED"].contains(&failure.reason.as_str()),
            "{failure:?}"
        );
        assert_eq!(failure.outcome, "NOT_APPLIED");
    }
    let options = Some(read_only());
    let request = CopyOutRequest { options, ..out_of("t", CopyFormat::Csv) };
    service.client.copy_out(request).await.expect("it says so itself");
    let start = CopyInStart { options: Some(read_only()), ..csv_into("t") };
    let failure = service.client.copy_text(start, CSV, 1000).await.expect_err("it writes");
    assert_eq!(failure.fields(), ["options.access_mode"], "{failure:?}");
}

async fn names_are_exact(service: Service) {
    let quoted = service.pick(
        "create table \"Order \"\"x`\" (\"select\" integer, \"B b\" text)",
        "create table \"Order \"\"x`\" (\"select\" integer, \"B b\" text)",
        "create table `Order \"x``` (`select` integer, `B b` text)",
    );
    service.client.must(quoted, &[]).await;
    let name = "Order \"x`";
    let columns = vec!["B b".to_owned(), "select".to_owned()];
    let start = CopyInStart { columns: columns.clone(), ..csv_into(name) };
    service.client.copy_text(start, "b,1\n", 1000).await.expect("it fits");
    let request = CopyOutRequest { columns, ..out_of(name, CopyFormat::Csv) };
    assert_eq!(service.client.copy_out(request).await.expect("it runs").text(), "b,1\n");
    for columns in [vec!["no such".to_owned()], vec!["select) values (1) --".to_owned()]] {
        let start = CopyInStart { columns: columns.clone(), ..csv_into(name) };
        let failure = service.client.copy_text(start, "1\n", 1000).await.expect_err("no column");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        let request = CopyOutRequest { columns, ..out_of(name, CopyFormat::Csv) };
        service.client.copy_out(request).await.expect_err("no column");
    }
    for _ in 0..5 {
        let failure = service.client.copy_text(csv_into("none"), "1\n", 1).await.expect_err("none");
        assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
        service.client.must("select 1", &[]).await;
    }
}

async fn what_cannot_be_copied_is_refused(service: Service) {
    table(&service).await;
    let options = |options| CopyInStart { options: Some(options), ..csv_into("t") };
    let text = |text| CopyInStart { text: Some(text), ..csv_into("t") };
    let none = QueryOptions::default;
    let cases = [
        (csv_into(""), "table"),
        (CopyInStart { format: 99, ..csv_into("t") }, "format"),
        (options(QueryOptions { max_rows: 1, ..none() }), "options.max_rows"),
        (options(QueryOptions { idempotent: true, ..none() }), "options.idempotent"),
        (options(QueryOptions { format: 2, ..none() }), "options.format"),
        (
            text(CopyTextOptions { delimiter: "ab".to_owned(), ..Default::default() }),
            "text.delimiter",
        ),
    ];
    for (start, field) in cases {
        let failure = service.client.copy_text(start, CSV, 1000).await.expect_err(field);
        assert_eq!(failure.fields(), [field], "{failure:?}");
    }
    let rows = vec![vec![Row { values: vec![Value::int64(1)] }]];
    let failure = service.client.copy_rows(csv_into("t"), rows).await.expect_err("it is CSV");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_COMMAND"), "{failure:?}");
    let both = CopyOutRequest { sql: "select 1".to_owned(), ..out_of("t", CopyFormat::Csv) };
    let failure = service.client.copy_out(both).await.expect_err("which one");
    assert_eq!(failure.fields(), ["sql"], "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(0));
    let sql = request_with("select count(*) from t", none());
    service.client.run(sql).await.expect("the connection is as it was");
}
