//! The failures of MariaDB and MySQL after which programs used to try again, one by one: what their callers are told,
//! by each way of the API, and that nothing is applied twice.
//!
//! | message | tests |
//! |---|---|
//! | 2006, server has gone away; 4031, disconnected because of inactivity | `idle_connections` |
//! | 2013, lost connection during query | `lost_connections` |
//! | 1053, server shutdown in progress; connection refused | `stopped_servers` |
//! | 1927, connection was killed; 1317, query execution was interrupted | `killed_statements` |
//! | 1205, lock wait timeout exceeded; 1213, deadlock found | `locks` |
//!
//! Beside them `refused_commits`, `refused_marks`, `failed_definitions`, `tables_without_transactions` and
//! `keys_without_transactions`: what makes an outcome known, or leaves it unknown.

mod failed_definitions;
mod idle_connections;
mod keys_without_transactions;
mod killed_statements;
mod locks;
mod lost_connections;
mod refused_commits;
mod refused_marks;
mod stopped_servers;
mod tables_without_transactions;

use rowgate::value::proto::{ExecuteBatchRequest, Value};

use crate::harness::Service;
use crate::harness::client::{Client, Failure, request};
use crate::harness::mariadb::Mariadb;
use crate::harness::unit::{Transaction, keyed, statement};

/// The ways to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A statement that commits by itself.
    Autocommit,
    /// The same under a key.
    Keyed,
    Batch,
    KeyedBatch,
    /// An interactive transaction.
    Transact,
}

const WAYS: [Way; 5] = [Way::Autocommit, Way::Keyed, Way::Batch, Way::KeyedBatch, Way::Transact];

/// A service whose table `t` has the rows 1 and 2 with `n` 0, with a table of keys.
async fn service(settings: &str) -> Service {
    on(Mariadb::start(), settings).await
}

async fn on(mariadb: Mariadb, settings: &str) -> Service {
    mariadb.sql(TABLE);
    let service = Service::on_mariadb(mariadb, settings, &[]).await;
    service.install_keys();
    service
}

const TABLE: &str = "create table t (id int primary key, n int not null); \
                     insert into t values (1, 0), (2, 0)";

/// Adds 1 to row 1; returns how many attempts the server made.
async fn increment(client: &Client, way: Way) -> Result<u32, Failure> {
    write(client, way, "update t set n = n + $1 where id = 1", &Value::int64(1)).await
}

/// Runs a statement by one of the ways, under a key of its own.
async fn write(client: &Client, way: Way, sql: &str, value: &Value) -> Result<u32, Failure> {
    let values = std::slice::from_ref(value);
    let key = || Some(keyed(&format!("key-{:016x}", fastrand::u64(..))));
    match way {
        Way::Autocommit | Way::Keyed => {
            let values = if sql.contains('$') { values } else { &[] };
            let mut request = request(sql, values);
            request.options = if way == Way::Keyed { key() } else { None };
            Ok(client.call(request, crate::harness::client::PATIENCE).await?.attempts)
        }
        Way::Batch | Way::KeyedBatch => {
            let request = ExecuteBatchRequest {
                statements: vec![statement(sql, values)],
                options: if way == Way::KeyedBatch { key() } else { None },
                ..ExecuteBatchRequest::default()
            };
            Ok(client.batch(request).await?.attempts)
        }
        Way::Transact => {
            let mut transaction = client.transact().await.try_begun().await?;
            transaction.query(sql, values).await?;
            transaction.commit().await.map(|()| 1)
        }
    }
}

/// The number in row 1, as the database has it.
fn number(mariadb: &Mariadb) -> u32 {
    mariadb.sql("select n from t where id = 1").parse().expect("a number")
}

/// Compares what the caller was told with what became of row 1.
#[track_caller]
fn must_be_true(answer: &Result<u32, Failure>, before: u32, after: u32, case: &str) {
    let possible = match answer {
        Ok(_) => before + 1..=before + 1,
        Err(failure) if failure.outcome == "UNKNOWN" => before..=before + 1,
        Err(failure) if failure.outcome == "APPLIED" => before + 1..=before + 1,
        Err(_) => before..=before,
    };
    assert!(possible.contains(&after), "{case}: {answer:?}: {before} before, {after} after");
}

/// Shows an answer as `applied` or as the code, the reason and the outcome.
fn told(answer: &Result<u32, Failure>) -> String {
    match answer {
        Ok(1) => "applied".to_owned(),
        Ok(_) => "applied, after more than one attempt".to_owned(),
        Err(failure) => format!("{:?} {} {}", failure.code, failure.reason, failure.outcome),
    }
}

/// Locks row 1 until the transaction ends.
async fn lock(client: &Client) -> Transaction {
    let mut holder = client.begin().await;
    holder.query("select n from t where id = 1 for update", &[]).await.expect("it is free");
    holder
}

/// The ids of the connections that run a statement with this text, besides the one that asks.
fn running(mariadb: &Mariadb, text: &str) -> Vec<u64> {
    let ids = mariadb.sql(&format!(
        "select id from information_schema.processlist \
         where info like '%{text}%' and id <> connection_id() and command <> 'Sleep'"
    ));
    ids.lines().map(|id| id.parse().expect("a number")).collect()
}
