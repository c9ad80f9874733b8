//! Every type of PostgreSQL, compared with `psql`: what is read is what it prints, and what was read
//! can be written back, as text and as the value itself.

mod families;
mod mariadb_arrow;
mod mariadb_families;
mod mariadb_parameters;
mod mariadb_render;
mod mariadb_types;
mod parameters;
mod records;
mod render;
mod settings;

use families::{EXPRESSIONS, FAMILIES, Family, SETUP};
use render::{NULL, render};
use rowgate::value::proto::{Column, DataType, Value};

use crate::harness::Service;
use crate::harness::postgres::Postgres;

/// Defaults of a server on which canonical text must not depend.
const HOSTILE: [&str; 6] = [
    "datestyle=German",
    "intervalstyle=iso_8601",
    "timezone=Asia/Kathmandu",
    "extra_float_digits=0",
    "bytea_output=escape",
    "client_encoding=LATIN1",
];

/// Between the answers of one run of `psql`.
const MARK: &str = "-- the next --";

async fn service() -> Service {
    let postgres = Postgres::with(&HOSTILE);
    postgres.psql(SETUP);
    Service::on(postgres, "").await
}

/// A literal of a type.
fn literal(value: &str, declared: &str) -> String {
    format!("$v${value}$v$::{declared}")
}

/// Returns what `psql` prints for each expression.
fn psql(postgres: &Postgres, expressions: &[String]) -> Vec<String> {
    let script: String =
        expressions.iter().map(|e| format!("select {e};\n\\echo '{MARK}'\n")).collect();
    let output = postgres.psql(&format!("\\pset null '{NULL}'\n{script}"));
    let mut answers: Vec<_> = output.split(&format!("\n{MARK}")).map(str::to_owned).collect();
    assert_eq!(answers.pop().as_deref(), Some(""), "the last mark ends the output");
    for answer in answers.iter_mut().skip(1) {
        assert_eq!(answer.remove(0), '\n');
    }
    assert_eq!(answers.len(), expressions.len());
    answers
}

/// Reads one expression: its value, its column.
async fn read(service: &Service, expression: &str) -> Result<(Value, Column), String> {
    let result = service.client.query(&format!("select {expression}"), &[]).await;
    let mut result = result.map_err(|failure| format!("{expression}: {failure:?}"))?;
    Ok((result.rows.remove(0).values.remove(0), result.columns.remove(0)))
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_are_at_least_sixty_families() {
    let mut names: Vec<_> = FAMILIES.iter().copied().flatten().map(|f| f.declared).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 60, "only {}", names.len());
}

#[tokio::test]
async fn every_value_reads_as_psql_prints_it_and_writes_back_equal() {
    let service = service().await;
    let version = service.postgres().major();
    let families = FAMILIES.iter().copied().flatten().filter(|family| family.since <= version);
    let families: Vec<&Family> = families.collect();
    let literals = families.iter().flat_map(|f| f.values.iter().map(|v| literal(v, f.declared)));
    let printed = psql(service.postgres(), &literals.collect::<Vec<_>>());
    let mut printed = printed.iter();
    let mut wrong = Vec::new();
    for (number, family) in families.iter().enumerate() {
        let table = format!("family_{number}");
        service.client.must(&format!("create table {table} (v {})", family.declared), &[]).await;
        for value in family.values {
            let printed = printed.next().expect("one for each value");
            let literal = literal(value, family.declared);
            match check(&service, &table, &literal, printed).await {
                Ok(()) => {}
                Err(why) => wrong.push(why),
            }
        }
    }
    assert_none(&wrong);
}

/// Reads one value, and writes it back in both forms.
async fn check(service: &Service, table: &str, literal: &str, printed: &str) -> Result<(), String> {
    let (value, column) = read(service, literal).await?;
    let rendered = render(&value, &column);
    if rendered != printed {
        return Err(format!("{literal}: read {rendered:?}, psql prints {printed:?} ({value:?})"));
    }
    for (form, parameter) in [("text", Value::text(printed)), ("itself", value)] {
        // Not by `=`, which some types lack, nor by a cast, which is not the output function.
        let sql = format!(
            "insert into {table} values ($1) returning format('%s', v) = format('%s', {literal})"
        );
        let equal = service.client.query(&sql, &[parameter]).await;
        let equal = equal.map_err(|f| format!("{literal}: written as {form}: {f:?}"))?;
        if equal.rows[0].values != [Value::bool(true)] {
            return Err(format!("{literal}: written as {form} it is another value: {equal:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn expressions_read_as_psql_prints_them() {
    let service = service().await;
    let expressions: Vec<_> = EXPRESSIONS.iter().map(|&e| e.to_owned()).collect();
    let printed = psql(service.postgres(), &expressions);
    let mut wrong = Vec::new();
    for (expression, printed) in expressions.iter().zip(&printed) {
        match read(&service, expression).await.map(|(value, column)| render(&value, &column)) {
            Ok(rendered) if rendered == *printed => {}
            Ok(rendered) => wrong.push(format!("{expression}: {rendered:?}, psql: {printed:?}")),
            Err(why) => wrong.push(why),
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn a_column_says_what_its_type_is() {
    let service = service().await;
    let mut wrong = Vec::new();
    for (expression, data_type, element, name) in [
        ("true", DataType::Bool, DataType::Unspecified, "bool"),
        ("1::int2", DataType::Int16, DataType::Unspecified, "int2"),
        ("1", DataType::Int32, DataType::Unspecified, "int4"),
        ("1::int8", DataType::Int64, DataType::Unspecified, "int8"),
        ("1::oid", DataType::Int64, DataType::Unspecified, "oid"),
        ("1::float4", DataType::Float32, DataType::Unspecified, "float4"),
        ("1::float8", DataType::Float64, DataType::Unspecified, "float8"),
        ("1.0", DataType::Numeric, DataType::Unspecified, "numeric"),
        ("'a'::text", DataType::Text, DataType::Unspecified, "text"),
        ("'a'::varchar", DataType::Text, DataType::Unspecified, "varchar"),
        ("'\\x'::bytea", DataType::Bytes, DataType::Unspecified, "bytea"),
        ("gen_random_uuid()", DataType::Uuid, DataType::Unspecified, "uuid"),
        ("'1'::json", DataType::Json, DataType::Unspecified, "json"),
        ("'1'::jsonb", DataType::Json, DataType::Unspecified, "jsonb"),
        ("current_date", DataType::Date, DataType::Unspecified, "date"),
        ("localtime", DataType::Time, DataType::Unspecified, "time"),
        ("current_time", DataType::Timetz, DataType::Unspecified, "timetz"),
        ("localtimestamp", DataType::Timestamp, DataType::Unspecified, "timestamp"),
        ("now()", DataType::Timestamptz, DataType::Unspecified, "timestamptz"),
        ("'1 day'::interval", DataType::Interval, DataType::Unspecified, "interval"),
        ("'sad'::mood", DataType::Enum, DataType::Unspecified, "mood"),
        ("array[1]", DataType::Array, DataType::Int32, "int4[]"),
        ("array['sad'::mood]", DataType::Array, DataType::Enum, "mood[]"),
        ("'[1,2)'::int4range", DataType::Range, DataType::Unspecified, "int4range"),
        ("row(1, 'a')::pair", DataType::Record, DataType::Unspecified, "pair"),
        ("'a=>1'::hstore", DataType::Other, DataType::Unspecified, "hstore"),
        ("'a.b'::ltree", DataType::Other, DataType::Unspecified, "ltree"),
    ] {
        match read(&service, expression).await {
            Ok((_, column)) => {
                let seen = (column.r#type(), column.element_type(), column.type_name.as_str());
                if seen != (data_type, element, name) || column.type_oid == 0 {
                    wrong.push(format!("{expression}: {column:?}"));
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn native_types_come_in_their_own_kind_and_others_as_text() {
    let service = service().await;
    let mut wrong = Vec::new();
    for (expression, kind) in [
        ("true", "bool_value"),
        ("1::int2", "int64_value"),
        ("1::oid", "int64_value"),
        ("1::float4", "float64_value"),
        ("'NaN'::float8", "float64_value"),
        ("1::numeric", "text_value"),
        ("'\\x00'::bytea", "bytes_value"),
        ("'0001-01-01 00:00:00+00'::timestamptz", "timestamp_value"),
        ("'9999-12-31 23:59:59.999999+00'::timestamptz", "timestamp_value"),
        ("'0001-12-31 23:59:59.999999+00 BC'::timestamptz", "text_value"),
        ("'10000-01-01 00:00:00+00'::timestamptz", "text_value"),
        ("'infinity'::timestamptz", "text_value"),
        ("now()::timestamp", "text_value"),
        ("array[1]", "array_value"),
        ("array[]::int4[]", "array_value"),
        ("row(1)", "record_value"),
        ("row(1, 'a')::pair", "record_value"),
        ("'sad'::mood", "text_value"),
        ("1::positive", "int64_value"),
        ("null::int4", "null_value"),
        ("'a'::citext", "text_value"),
    ] {
        match read(&service, expression).await {
            Ok((value, _)) => {
                let seen = value.kind.as_ref().map(rowgate::value::Kind::name);
                if seen != Some(kind) {
                    wrong.push(format!("{expression}: {value:?}, not {kind}"));
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_never_taken_for_text() {
    let postgres = Postgres::start();
    postgres.psql("create database ascii encoding 'SQL_ASCII' template template0");
    let url = postgres.url();
    let url = format!("{}/ascii", url.rsplit_once('/').expect("a path").0);
    let settings = format!("[databases.ascii]\nurl = \"{url}\"");
    let service = Service::on(postgres, &settings).await;
    let sql = "select convert_from('\\xff61'::bytea, 'SQL_ASCII'), 'plain'::text";
    let mut request = crate::harness::client::request(sql, &[]);
    request.database = "ascii".to_owned();
    match service.client.run(request.clone()).await {
        Ok(result) => {
            let wanted = [Value::bytes([0xff, 0x61]), Value::text("plain")];
            assert_eq!(result.rows[0].values, wanted);
        }
        // The database itself refuses to send it to a client that reads UTF-8.
        Err(failure) => assert_eq!(failure.report.sqlstate, "22021", "{failure:?}"),
    }
    request.sql = "select 'plain'::text, 'also plain'::text".to_owned();
    service.client.run(request).await.expect("other text is read as ever");
}
