//! Every type of MariaDB and MySQL, compared with the servers' own client: what is read is what it prints, and what was
//! read can be written back, as text and as the value itself.

use rowgate::value::Kind;
use rowgate::value::proto::{Column, Value};

use super::assert_none;
use super::mariadb_families::{MARIADB_EXPRESSIONS, MARIADB_FAMILIES, MariadbFamily};
use super::mariadb_render::render_mariadb;
use crate::harness::Service;
use crate::harness::mariadb::{Mariadb, is_mysql};

/// Between the answers of one run of the client.
const MARK: &str = "-- the next --";

/// Modes in which dates that no calendar has can be written.
const MODES: &str = "sql_mode = \"STRICT_TRANS_TABLES\"";

/// The numbers of the rows that are written back, as text and as the value itself.
const COPIES: [(i64, Form); 2] = [(1_000, Form::Text), (2_000, Form::Itself)];

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Itself,
}

/// The families that the server has.
fn families() -> Vec<&'static MariadbFamily> {
    let families = MARIADB_FAMILIES.iter().copied().flatten();
    families.filter(|family| !family.is_mariadb_only || !is_mysql()).collect()
}

/// Returns what the client prints for each query, with bytes in hexadecimal digits.
fn printed(mariadb: &Mariadb, setup: &str, queries: &[String]) -> Vec<String> {
    let queries: String =
        queries.iter().map(|query| format!("{query};\nselect '{MARK}';\n")).collect();
    let script =
        format!("set time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES';\n{setup}\n{queries}");
    let output = mariadb.sql_in_hex(&script) + "\n";
    let mark = format!("\n{MARK}\n");
    output.split_terminator(&mark).map(str::to_owned).collect()
}

/// Reads one value and its column.
async fn read(
    service: &Service,
    sql: &str,
    parameters: &[Value],
) -> Result<(Value, Column), String> {
    let result = service.client.query(sql, parameters).await;
    let mut result = result.map_err(|failure| format!("{sql}: {failure:?}"))?;
    Ok((result.rows.remove(0).values.remove(0), result.columns.remove(0)))
}

/// The value as text, in a form that loses nothing; `None` of bytes, which are no text.
fn as_text(value: &Value, printed: &str) -> Option<Value> {
    match value.kind.as_ref()? {
        Kind::BoolValue(_)
        | Kind::BytesValue(_)
        | Kind::NullValue(_)
        | Kind::ResultReference(_) => None,
        // The client prints six digits of a FLOAT.
        Kind::Float64Value(number) => Some(Value::text(format!("{number:e}"))),
        Kind::Int64Value(_)
        | Kind::TextValue(_)
        | Kind::TimestampValue(_)
        | Kind::ArrayValue(_)
        | Kind::RecordValue(_) => Some(Value::text(printed)),
    }
}

/// Reads one value, and writes it back in both forms.
async fn check(
    service: &Service,
    (table, declared): (&str, &str),
    id: i64,
    printed: &str,
) -> Result<(), String> {
    let sql = format!("select v from {table} where id = $1");
    let (value, column) = read(service, &sql, &[Value::int64(id)]).await?;
    let rendered = render_mariadb(&value, &column, declared);
    if rendered != printed {
        return Err(format!("read {rendered:.99?}, the client prints {printed:.99?}"));
    }
    let text = as_text(&value, printed).unwrap_or_else(|| value.clone());
    for (first, form) in COPIES {
        let (copy, written) = match form {
            Form::Text => (first + id, text.clone()),
            Form::Itself => (first + id, value.clone()),
        };
        let insert = format!("insert into {table} (id, v) values ($1, $2)");
        let inserted = service.client.query(&insert, &[Value::int64(copy), written]).await;
        inserted.map_err(|failure| format!("written as {form:?}: {failure:?}"))?;
        // A collation may find different texts equal, their bytes never are.
        let compare = format!(
            "select a.v <=> b.v and cast(a.v as binary) <=> cast(b.v as binary) \
             from {table} as a, {table} as b where a.id = $1 and b.id = $2"
        );
        let ids = [Value::int64(id), Value::int64(copy)];
        if read(service, &compare, &ids).await?.0 != Value::int64(1) {
            return Err(format!("written as {form:?} it is another value"));
        }
    }
    Ok(())
}

#[test]
fn there_are_at_least_eighty_families_of_mariadb() {
    let mut names: Vec<_> = families().iter().map(|family| family.declared).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 80, "only {}", names.len());
}

#[tokio::test]
async fn every_value_reads_as_the_client_of_mariadb_prints_it_and_writes_back_equal() {
    let service = Service::on_mariadb(Mariadb::start(), MODES, &[]).await;
    let families = families();
    let mut setup = String::new();
    let mut queries = Vec::new();
    for (number, family) in families.iter().enumerate() {
        let declared = family.declared;
        setup += &format!("create table family_{number} (id int primary key, v {declared});\n");
        for (id, value) in family.values.iter().enumerate() {
            setup += &format!("insert into family_{number} values ({id}, {value});\n");
            queries.push(format!("select v from family_{number} where id = {id}"));
        }
    }
    let printed = printed(service.mariadb(), &setup, &queries);
    assert_eq!(printed.len(), queries.len());
    let mut printed = printed.iter();
    let mut wrong = Vec::new();
    for (number, family) in families.iter().enumerate() {
        let table = format!("family_{number}");
        for (id, value) in (0..).zip(family.values) {
            let printed = printed.next().expect("one for each value");
            let checked = check(&service, (&table, family.declared), id, printed).await;
            if let Err(why) = checked {
                wrong.push(format!("{} {value:.40}: {why}", family.declared));
            }
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn a_value_that_was_read_finds_its_row() {
    let service = Service::on_mariadb(Mariadb::start(), MODES, &[]).await;
    let mut wrong = Vec::new();
    for (number, family) in families().iter().enumerate() {
        // BIT compares as a number, which its bytes are not.
        if family.declared.starts_with("bit") {
            continue;
        }
        let table = format!("family_{number}");
        let mut setup = format!("create table {table} (id int primary key, v {})", family.declared);
        for (id, value) in family.values.iter().enumerate() {
            setup += &format!("; insert into {table} values ({id}, {value})");
        }
        service.mariadb().sql(&format!("set sql_mode = 'STRICT_TRANS_TABLES'; {setup}"));
        for (id, value) in (0..).zip(family.values) {
            let id = Value::int64(id);
            let sql = format!("select v from {table} where id = $1");
            let (found, _) =
                read(&service, &sql, std::slice::from_ref(&id)).await.expect("it is read");
            let sql = format!("select v <=> $1 from {table} where id = $2");
            match read(&service, &sql, &[found.clone(), id]).await {
                Ok((equal, _)) if equal == Value::int64(1) => {}
                answer => wrong.push(format!("{} {value:.40}: {answer:?}", family.declared)),
            }
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn expressions_read_as_the_client_of_mariadb_prints_them() {
    let service = Service::on_mariadb(Mariadb::start(), MODES, &[]).await;
    let queries: Vec<_> = MARIADB_EXPRESSIONS.iter().map(|it| format!("select {it}")).collect();
    let printed = printed(service.mariadb(), "", &queries);
    assert_eq!(printed.len(), queries.len());
    let mut wrong = Vec::new();
    for (query, printed) in queries.iter().zip(&printed) {
        match read(&service, query, &[]).await {
            Ok((value, column)) => {
                let rendered = render_mariadb(&value, &column, "");
                if rendered != *printed {
                    wrong.push(format!("{query}: read {rendered:.99?}, printed {printed:.99?}"));
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    assert_none(&wrong);
}
