//! Outcomes and counts that PostgreSQL's answers alone do not tell: what is refused, what only reads, and
//! how many rows a command counts.

mod counts;
mod read_only;
mod refused;
mod snapshots;

use rowgate::value::proto::{AccessMode, IsolationLevel, ResultSet, TransactionOptions, Value};

use crate::harness::client::Client;
use crate::harness::unit::Transaction;

const LEVELS: [IsolationLevel; 4] = [
    IsolationLevel::Unspecified,
    IsolationLevel::ReadCommitted,
    IsolationLevel::RepeatableRead,
    IsolationLevel::Serializable,
];

/// The options of a transaction that only reads.
fn reading(level: IsolationLevel) -> TransactionOptions {
    TransactionOptions {
        isolation_level: level.into(),
        access_mode: AccessMode::ReadOnly.into(),
        ..TransactionOptions::default()
    }
}

/// Opens a transaction with options.
async fn begin(client: &Client, options: TransactionOptions) -> Transaction {
    use rowgate::value::proto::Begin;
    use rowgate::value::proto::transact_request::Command;
    use rowgate::value::proto::transact_response::Reply;

    let mut transaction = client.transact().await;
    let begin = Begin { transaction: Some(options), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Begun(_)))));
    transaction
}

/// The first value of a result.
fn first(result: &ResultSet) -> &Value {
    &result.rows[0].values[0]
}

/// The number of rows of a table.
async fn count(client: &Client, table: &str) -> Value {
    let result = client.must(&format!("select count(*) from {table}"), &[]).await;
    first(&result).clone()
}
