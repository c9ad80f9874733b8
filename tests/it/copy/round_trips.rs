//! Copies out of a table and into one of the same definition: each type of each database comes back equal, or is refused.

use std::process::Output;

use crate::harness::server::run;
use crate::harness::{Backend, Service};

/// A type, and the values to store.
type Stored = (&'static str, &'static [&'static str]);

const POSTGRES: [Stored; 20] = [
    ("smallint", &["-32768"]),
    ("bigint", &["-9223372036854775808"]),
    ("numeric", &["12345678901234567890.0123456789", "'NaN'", "'1e-50'"]),
    ("real", &["'3.4028235e38'", "'1e-45'", "'Infinity'", "0.1"]),
    (
        "double precision",
        &["'1.7976931348623157e308'", "'-Infinity'", "'NaN'", "0.1::float8 + 0.2::float8"],
    ),
    ("boolean", &["true", "false"]),
    ("text", &["''", "E'a\\n\\r\\t\\\\.,\"'", "'\\N'", "' NULL '", "E'\\u00e9'"]),
    ("char(5)", &["'ab'"]),
    ("bytea", &["'\\x'", "'\\x00ff5c'"]),
    ("date", &["'infinity'", "'4713-01-01 BC'", "'5874897-12-31'"]),
    ("timestamp", &["'-infinity'", "'2026-03-29 02:30:00.123456'"]),
    ("timestamptz", &["'infinity'", "'2026-03-29 02:30:00.123456+00'"]),
    ("time", &["'24:00:00'"]),
    ("interval", &["'-1 year 2 months -3 days 04:05:06.789'"]),
    ("uuid", &["'00000000-0000-0000-0000-0000000000ff'"]),
    ("jsonb", &["'{\"a\": [1.0, null, \"x\\\\ny\"]}'", "'null'"]),
    ("text[]", &["'{}'", "array['a,b', null, '', '\"']", "'[0:1]={a,b}'"]),
    ("inet", &["'::1/64'"]),
    ("int4range", &["'empty'", "'[1,5)'"]),
    ("bit varying", &["B'0101'"]),
];

const MARIADB: [Stored; 27] = [
    ("tinyint", &["-128", "0"]),
    ("bigint unsigned", &["18446744073709551615"]),
    ("int(6) zerofill", &["7"]),
    ("decimal(30,10)", &["12345678901234567890.0123456789"]),
    ("float", &["3.4028234e38", "16777216", "1234567.5", "1.4e-45", "-0.1"]),
    ("double", &["1.7976931348623157e308", "0.1 + 0.2", "5e-324"]),
    ("bit(1)", &["b'0'", "b'1'"]),
    ("bit(9)", &["b'101000111'", "0"]),
    ("year", &["0", "1901", "2000", "2155"]),
    ("date", &["'9999-12-31'", "'0001-01-01'"]),
    ("datetime(6)", &["'2026-03-29 02:30:00.123456'"]),
    ("timestamp(6) null", &["'2026-03-29 02:30:00.123456'", "'1970-01-02 00:00:01'"]),
    ("timestamp null", &["'2026-10-25 02:30:00'"]),
    ("time(6)", &["'-838:59:58.999999'"]),
    ("char(5)", &["'ab'", "''"]),
    ("varchar(20)", &["'a\\n\\r\\t\\'\\\\'", "'\\\\N'", "' x '", "'t'", "'0'"]),
    ("varchar(9) character set latin1", &["x'e980ff'"]),
    ("text", &["'\\\\x00ff'", "'\\\\.'", "','"]),
    ("binary(4)", &["x'00ff27'"]),
    ("varbinary(9)", &["x'00ff270a0d5c'", "''", "'\\\\x41'"]),
    ("blob", &["x'8000'"]),
    ("enum('a','b')", &["'b'"]),
    ("set('x','y')", &["'x,y'", "''"]),
    ("json", &["'{\"a\": 1.0}'"]),
    ("geometry", &["point(1.5, -2)"]),
    ("boolean", &["true"]),
    ("double(20,2)", &["123456789012345.67"]),
];

const SQLITE: [Stored; 16] = [
    (
        "real",
        &[
            "9e999",
            "-9e999",
            "1.5",
            "0.1 + 0.2",
            "1.7976931348623157e308",
            "5e-324",
            "123456789.987654321",
        ],
    ),
    ("double precision", &["9e999", "5", "'abc'"]),
    ("integer", &["9223372036854775807", "-1", "1.5", "9e999", "'abc'"]),
    ("numeric", &["0.1 + 0.2", "1e300", "7", "'abc'"]),
    ("decimal(10,2)", &["1.25"]),
    ("boolean", &["0", "1", "2", "'yes'"]),
    (
        "text",
        &["''", "'Infinity'", "'5'", "'\\x00ff'", "'a' || char(10) || char(13) || '\\.'", "'t'"],
    ),
    ("varchar(9)", &["'\\N'", "' NULL '", "','"]),
    ("blob", &["x''", "x'00ff5c'", "x'5c783431'"]),
    ("", &["5", "-5.0", "0.1 + 0.2", "9e999", "'abc'", "'007'", "x'00ff'", "x''", "''", "1e300"]),
    ("any", &["'abc'", "'\\x'"]),
    ("date", &["'2026-01-31'", "5"]),
    ("datetime", &["'2026-01-31 12:00:00'", "1.5"]),
    ("json", &["'{\"a\":1}'"]),
    ("uuid", &["'00000000-0000-0000-0000-0000000000ff'"]),
    ("bytea", &["x'00ff'"]),
];

fn copy(service: &Service, arguments: &[&str]) -> Output {
    let address = format!("http://{}", service.server.grpc());
    let arguments = [&["copy", "--address", &address], arguments].concat();
    run(service.server.directory(), &arguments, &[])
}

#[track_caller]
fn copied(service: &Service, arguments: &[&str]) {
    let output = copy(service, arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
}

/// Runs statements as the database's own client does, and returns the values of the last one.
fn own(service: &Service, backend: Backend, sql: &str) -> String {
    match backend {
        Backend::Postgres => service.postgres().psql(sql),
        Backend::Mariadb => service.mariadb().sql(sql),
        Backend::Sqlite => {
            let path = service.server.directory().join("test.db");
            let connection = rusqlite::Connection::open(path).expect("it is there");
            connection.busy_timeout(std::time::Duration::from_secs(20)).expect("it is a number");
            let mut rows = String::new();
            for statement in sql.split(';').filter(|part| !part.trim().is_empty()) {
                let mut statement = connection.prepare(statement).expect(sql);
                let mut found = statement.query([]).expect(sql);
                rows.clear();
                while let Some(row) = found.next().expect(sql) {
                    rows += &row.get::<_, String>(0).expect("text");
                    rows.push('\n');
                }
            }
            rows
        }
    }
}

/// Copies a table with all types out and in by each format, and compares the values as the database's own client shows them.
async fn every_value_comes_back(backend: Backend, types: &[Stored], formats: &[&str], show: &str) {
    let settings = match backend {
        // Instants are those of the columns, whatever the zone of the session.
        Backend::Mariadb => "time_zone = \"+05:30\"",
        Backend::Postgres | Backend::Sqlite => "",
    };
    let service = Service::with(backend, settings).await;
    for (declared, values) in types {
        let define =
            |name: &str| format!("create table {name} (id integer primary key, c {declared})");
        let insert = |(index, value): (usize, &&str)| {
            format!("insert into v values ({}, {value})", index + 1)
        };
        let rows: Vec<_> = values.iter().enumerate().map(insert).collect();
        let null = format!("insert into v values ({}, null)", values.len() + 1);
        own(&service, backend, &format!("{}; {}; {null}", define("v"), rows.join("; ")));
        // A geometry is no number.
        let show = if *declared == "geometry" { &show.replace("c + 0e0", "''") } else { show };
        let read = |table: &str| {
            own(&service, backend, &format!("select {show} from {table} order by id"))
        };
        let before = read("v");
        for format in formats {
            own(&service, backend, &define("w"));
            let out = ["v", "--to", "file", "--force", "--format", format];
            copied(&service, &out);
            copied(&service, &["w", "--from", "file", "--format", format]);
            assert_eq!(read("w"), before, "{declared} by {format}");
            own(&service, backend, "drop table w");
        }
        own(&service, backend, "drop table v");
    }
}

#[tokio::test]
async fn every_type_of_postgresql_comes_back() {
    let show = "id || ' ' || coalesce(c::text, 'none')";
    every_value_comes_back(Backend::Postgres, &POSTGRES, &["csv", "text"], show).await;
}

#[tokio::test]
async fn every_type_of_mariadb_comes_back() {
    let show = "concat(id, ' ', ifnull(hex(c), 'none'), ' ', ifnull(c + 0e0, ''))";
    every_value_comes_back(Backend::Mariadb, &MARIADB, &["csv", "text"], show).await;
}

#[tokio::test]
async fn every_type_of_sqlite_comes_back() {
    let show = "id || ' ' || typeof(c) || ' ' || quote(c)";
    every_value_comes_back(Backend::Sqlite, &SQLITE, &["csv", "text"], show).await;
}

#[tokio::test]
async fn a_value_of_sqlite_that_its_text_does_not_bring_back_is_refused_by_name() {
    let service = Service::start(Backend::Sqlite).await;
    for (declared, value, what) in [
        ("text", "x'00ff'", "a blob"),
        ("integer", "x'00ff'", "a blob"),
        ("real", "'Infinity'", "such a text"),
        ("boolean", "'True'", "such a text"),
        ("blob", "'\\x4142'", "a value that is no blob"),
        ("blob", "5", "a value that is no blob"),
        ("", "'5'", "a text that looks like a number or a blob"),
        ("", "'\\x00ff'", "a text that looks like a number or a blob"),
        ("any", "5", "a value that is no text"),
    ] {
        let insert = format!("insert into v values (null), ({value})");
        own(&service, Backend::Sqlite, &format!("create table v (c {declared}); {insert}"));
        for format in ["csv", "text"] {
            let refused = copy(&service, &["v", "--to", "file", "--format", format]);
            let err = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{declared} {value}: {err}");
            assert!(err.contains(&format!("row 2, column \"c\": {what} in a column")), "{err}");
            assert!(!service.server.directory().join("file").exists());
        }
        // The rows of a query need not come back.
        copied(&service, &["--query", "select * from v", "--to", "file"]);
        std::fs::remove_file(service.server.directory().join("file")).expect("it was made");
        own(&service, Backend::Sqlite, "drop table v");
    }
}

#[tokio::test]
async fn a_key_of_zero_is_kept_and_the_session_is_as_before() {
    let service = Service::with(Backend::Mariadb, "pool.max = 1").await;
    let mariadb = service.mariadb();
    mariadb.sql(
        "create table v (id int auto_increment primary key, name text); create table w like v; \
         set sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; insert into v values (0, 'root'), (1, 'a'), (2, 'b')",
    );
    let read = |table: &str| mariadb.sql(&format!("select id, name from {table} order by id"));
    for format in ["csv", "text", "arrow"] {
        copied(&service, &["v", "--to", "file", "--force", "--format", format]);
        copied(&service, &["w", "--from", "file", "--format", format]);
        assert_eq!(read("w"), read("v"), "{format}");
        mariadb.sql("truncate w");
    }
    // The one connection of the pool numbers as ever.
    service.client.must("insert into w (id, name) values (0, 'next')", &[]).await;
    assert_eq!(read("w"), "1\tnext");
}
