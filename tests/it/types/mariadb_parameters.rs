//! Parameters of native kinds for the types of MariaDB and MySQL, and utf8mb4 in texts, names and errors.

use rowgate::value::Kind;
use rowgate::value::proto::{ArrayValue, RecordValue, Value};
use tonic::Code;

use crate::harness::{Backend, Service};

/// Stores the value in a column of the type, and returns what the server's client prints of it.
async fn stored(service: &Service, number: usize, declared: &str, value: &Value) -> String {
    let table = format!("stored_{number}");
    service.mariadb().sql(&format!("create table {table} (v {declared})"));
    let sql = format!("insert into {table} values ($1)");
    service.client.must(&sql, std::slice::from_ref(value)).await;
    service.mariadb().sql_in_hex(&format!("set time_zone = '+00:00'; select v from {table}"))
}

#[tokio::test]
async fn kinds_are_stored_as_they_are_in_columns_of_mariadb_that_hold_them() {
    let service = Service::start(Backend::Mariadb).await;
    let cases = [
        ("tinyint", Value::int64(-128), "-128"),
        ("tinyint(1)", Value::bool(true), "1"),
        ("bit(1)", Value::bool(true), "0x01"),
        ("bit(1)", Value::bool(false), "0x00"),
        ("bit(16)", Value::bytes([1, 2]), "0x0102"),
        ("bigint", Value::int64(i64::MIN), "-9223372036854775808"),
        ("bigint unsigned", Value::text("18446744073709551615"), "18446744073709551615"),
        ("decimal(20,4)", Value::int64(i64::from(i32::MAX)), "2147483647.0000"),
        (
            "decimal(30,10)",
            Value::text("12345678901234567890.0123456789"),
            "12345678901234567890.0123456789",
        ),
        ("float", Value::float64(0.1), "0.1"),
        ("double", Value::float64(-1.7976931348623157e308), "-1.7976931348623157e308"),
        ("double", Value::int64(9_007_199_254_740_992), "9.007199254740992e15"),
        ("varchar(9)", Value::text("naïve 🦀"), "naïve 🦀"),
        ("varchar(9)", Value::int64(7), "7"),
        ("varbinary(9)", Value::bytes([0, 255, 39, 92]), "0x00FF275C"),
        ("blob", Value::text("ü"), "0xC3BC"),
        ("datetime(6)", Value::timestamp(0, 1_500), "1970-01-01 00:00:00.000002"),
        (
            "timestamp(3) null",
            Value::timestamp(1_700_000_000, 5_000_000),
            "2023-11-14 22:13:20.005",
        ),
        ("timestamp null", Value::null(), "NULL"),
        ("date", Value::text("2026-01-31"), "2026-01-31"),
        ("time(2)", Value::text("-837:59:59.25"), "-837:59:59.25"),
        ("year", Value::int64(2026), "2026"),
        ("json", Value::text("{\"a\": \"🦀\"}"), "{\"a\": \"🦀\"}"),
        ("enum('a','🦀')", Value::text("🦀"), "🦀"),
        ("set('a','b','🦀')", Value::text("a,🦀"), "a,🦀"),
    ];
    for (number, (declared, value, wanted)) in cases.iter().enumerate() {
        let found = stored(&service, number, declared, value).await;
        assert_eq!(found, *wanted, "{declared}: {value:?}");
    }
}

#[tokio::test]
async fn a_value_that_a_column_of_mariadb_cannot_hold_is_refused_and_not_stored() {
    let service = Service::start(Backend::Mariadb).await;
    let cases = [
        ("tinyint", Value::int64(128), Code::OutOfRange),
        ("int unsigned", Value::int64(-1), Code::OutOfRange),
        ("bigint unsigned", Value::text("18446744073709551616"), Code::OutOfRange),
        ("decimal(4,2)", Value::text("100.00"), Code::OutOfRange),
        ("float", Value::float64(1e300), Code::OutOfRange),
        ("year", Value::int64(3000), Code::OutOfRange),
        ("int", Value::text("two"), Code::InvalidArgument),
        ("varchar(2)", Value::text("🦀🦀🦀"), Code::InvalidArgument),
        ("varbinary(2)", Value::bytes([1, 2, 3]), Code::InvalidArgument),
        ("varchar(9) character set latin1", Value::text("🦀"), Code::InvalidArgument),
        ("date", Value::text("2026-02-30"), Code::InvalidArgument),
        ("date", Value::text("0000-00-00"), Code::InvalidArgument),
        ("datetime", Value::text("2026-01-31 24:00:00"), Code::InvalidArgument),
        ("enum('a')", Value::text("b"), Code::InvalidArgument),
        ("set('a')", Value::text("a,b"), Code::InvalidArgument),
        ("geometry", Value::bytes([1, 2, 3]), Code::InvalidArgument),
        ("point", Value::text("point(1 2)"), Code::InvalidArgument),
    ];
    let mut wrong = Vec::new();
    for (number, (declared, value, code)) in cases.into_iter().enumerate() {
        let table = format!("refused_{number}");
        service.mariadb().sql(&format!("create table {table} (v {declared})"));
        let sql = format!("insert into {table} values ($1)");
        match service.client.query(&sql, &[value]).await {
            Err(failure) if failure.code == code && failure.outcome == "NOT_APPLIED" => {}
            answer => wrong.push(format!("{declared}: {answer:?}")),
        }
        assert_eq!(service.mariadb().sql(&format!("select count(*) from {table}")), "0");
    }
    super::assert_none(&wrong);
}

#[tokio::test]
async fn a_kind_that_mariadb_has_no_form_for_is_refused_by_its_place() {
    let service = Service::start(Backend::Mariadb).await;
    let list = Kind::ArrayValue(ArrayValue::default()).into();
    let record = Kind::RecordValue(RecordValue::default()).into();
    for (value, code) in [
        (Value { kind: None }, Code::InvalidArgument),
        (list, Code::InvalidArgument),
        (record, Code::InvalidArgument),
        (Value::float64(f64::NAN), Code::OutOfRange),
        (Value::float64(f64::INFINITY), Code::OutOfRange),
        (Value::timestamp(i64::MAX, 0), Code::OutOfRange),
    ] {
        let failure = service.client.must_fail("select $1, $2", &[Value::int64(1), value]).await;
        assert_eq!((failure.code, &failure.fields()[..]), (code, &["parameters[1]"][..]));
    }
}

#[tokio::test]
async fn texts_names_and_errors_are_utf8mb4_from_end_to_end() {
    let service = Service::start(Backend::Mariadb).await;
    let client = &service.client;
    let create = "create table `☃ table` (`naïve ☃` varchar(9), unique key `größe` (`naïve ☃`))";
    client.must(create, &[]).await;
    let insert = "insert into `☃ table` (`naïve ☃`) values ($1), ('🦀$1🐙')";
    assert_eq!(client.must(insert, &[Value::text("🦀")]).await.rows_affected, 2);
    let select =
        "select `naïve ☃`, hex(`naïve ☃`), '🦀 # -- $2' from `☃ table` where `naïve ☃` = $1";
    let found = client.must(select, &[Value::text("🦀")]).await;
    assert_eq!(found.columns[0].name, "naïve ☃");
    let row = ["🦀", "F09FA680", "🦀 # -- $2"].map(Value::text);
    assert_eq!(found.rows[0].values, row);
    assert_eq!(
        service.mariadb().sql("select `naïve ☃` from `☃ table` where `naïve ☃` = '🦀'"),
        "🦀"
    );

    let doubled = client.must_fail(insert, &[Value::text("🐙")]).await;
    assert_eq!(doubled.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"));
    assert_eq!(doubled.report.constraint, "größe", "{doubled:?}");
    let missing = client.must_fail("select * from `☃ none`", &[]).await;
    assert_eq!(missing.what(), (Code::InvalidArgument, "UNDEFINED_TABLE"), "{missing:?}");
    // The server's names have no characters beyond the basic plane.
    let beyond = client.must_fail("select 1 from `🦀`", &[]).await;
    assert_eq!(beyond.code, Code::InvalidArgument, "{beyond:?}");
    let raised = "signal sqlstate '45000' set message_text = 'naïve ☃'";
    assert_eq!(client.must_fail(raised, &[]).await.message, "naïve ☃");
    let after = client.must("select '🦀', char_length($1)", &[Value::text("🦀🐙")]).await;
    assert_eq!(after.rows[0].values, [Value::text("🦀"), Value::int64(2)]);
}
