//! The header of a CopyIn: its names are the columns that the data is for.

use rowgate::value::proto::{CopyInStart, Value};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::copies::{csv_into, with_header};

contract! {
    a_header_says_which_columns_the_data_is_for
    a_header_that_does_not_fit_is_refused
    a_column_is_named_once
}

async fn table(service: &Service) {
    let sql = "create table t (id integer primary key, name varchar(100), price double precision)";
    service.client.must(sql, &[]).await;
}

async fn count(service: &Service) -> Value {
    let result = service.client.must("select count(*) from t", &[]).await;
    result.rows[0].values[0].clone()
}

async fn a_header_says_which_columns_the_data_is_for(service: Service) {
    table(&service).await;
    let start = || CopyInStart { text: with_header(), ..csv_into("t") };
    let swapped = "name,id\n7,1\n8,2\n";
    for piece in [1, 5, 1000] {
        let copied = service.client.copy_text(start(), swapped, piece).await.expect("it fits");
        assert_eq!(copied.rows_affected, 2);
        let all = service.client.must("select id, name, price from t order by id", &[]).await;
        assert_eq!(all.rows[0].values, [Value::int64(1), Value::text("7"), Value::null()]);
        service.client.must("delete from t", &[]).await;
    }
    let columns = vec!["name".to_owned(), "id".to_owned()];
    let named = CopyInStart { columns, ..start() };
    service.client.copy_text(named, swapped, 4).await.expect("the header says the same");
    service.client.copy_text(start(), "\u{feff}id,name\n3,c\n", 2).await.expect("a mark is none");
    let failure = service.client.copy_text(start(), "id,name\n4,d\nx,e\n", 3).await;
    let failure = failure.expect_err("it is no number");
    assert_eq!((failure.report.line, failure.outcome.as_str()), (3, "NOT_APPLIED"), "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(3));
}

async fn a_header_that_does_not_fit_is_refused(service: Service) {
    table(&service).await;
    let start = |columns: &[&str]| {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        CopyInStart { columns, text: with_header(), ..csv_into("t") }
    };
    let cases: [(&[&str], &str, &[&str]); 7] = [
        (&["id", "name"], "name,id\n1,2\n", &["\"name\"", "\"id\""]),
        (&["id", "name"], "id\n1\n", &["1 names", "has 2"]),
        (&[], "id,nope\n1,2\n", &["nope"]),
        (&[], "id,id\n1,2\n", &["\"id\" twice"]),
        (&[], "1,2\n3,4\n", &["1"]),
        (&[], "id,\n1,2\n", &["column 2 of the header has no name"]),
        (&[], "", &["the header is missing"]),
    ];
    for (columns, csv, words) in cases {
        let failure = service.client.copy_text(start(columns), csv, 3).await.expect_err(csv);
        assert_eq!(failure.code, Code::InvalidArgument, "{csv:?}: {failure:?}");
        assert!(failure.message.starts_with("line 1: "), "{csv:?}: {failure:?}");
        for word in words {
            assert!(failure.message.contains(word), "{word} is not in {failure:?}");
        }
        assert_eq!((failure.report.line, failure.outcome.as_str()), (1, "NOT_APPLIED"));
    }
    assert_eq!(count(&service).await, Value::int64(0));
    service
        .client
        .copy_text(csv_into("t"), "1,a,1\n", 1000)
        .await
        .expect("the next one is not touched");
}

async fn a_column_is_named_once(service: Service) {
    table(&service).await;
    let columns = vec!["id".to_owned(), "id".to_owned()];
    let start = CopyInStart { columns, ..csv_into("t") };
    let failure = service.client.copy_text(start, "1,2\n", 1000).await.expect_err("one is lost");
    assert_eq!(failure.fields(), ["columns"], "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(count(&service).await, Value::int64(0));
}
