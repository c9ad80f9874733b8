//! Outcomes and counts that PostgreSQL's answers alone do not tell: what is refused, what only reads, and
//! how many rows a command counts.

mod refused;

use rowgate::value::proto::{ResultSet, Value};

use crate::harness::client::Client;

/// The first value of a result.
fn first(result: &ResultSet) -> &Value {
    &result.rows[0].values[0]
}

/// The number of rows of a table.
async fn count(client: &Client, table: &str) -> Value {
    let result = client.must(&format!("select count(*) from {table}"), &[]).await;
    first(&result).clone()
}
