//! Units of work: batches, and the keys under which they run once.
//!
//! There is one writer, so a unit that has its transaction has the database: a key that is not there
//! then is nobody's, and two units under one key simply queue. The table of keys is made when it is
//! first needed; this is the database that needs nothing installed.

use std::sync::Arc;
use std::time::Duration;

use super::transaction::Open;
use crate::backend::keys::{Claimed, quoted, stored};
use crate::backend::{
    Batch, BatchResult, BatchStatement, Completion, Fill, IdempotencyKey, RowSink, Statement,
    Transaction, fill,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::Borrower;
use crate::sql::Analysis;
use crate::value::proto::ResultSet;
use crate::value::{Kind, Row, Value};

/// Rows are taken from the thread in portions of this size, in bytes.
const PORTION: usize = 64 << 10;

/// The statements that work on the table of keys. Times are seconds since 1970.
#[derive(Debug)]
pub(super) struct KeyTable {
    create: String,
    pub(super) read: String,
    forget: String,
    claim: String,
    store: String,
    pub(super) expire: String,
    retention: Duration,
}

impl KeyTable {
    pub(super) fn new(table: &str, retention: Duration) -> Self {
        let table = quoted(table);
        let row = "where caller = $1 and \"key\" = $2";
        Self {
            create: format!(
                "create table if not exists {table} (caller text not null, \"key\" text not null, \
                 request_hash blob not null, response blob, \
                 created_at integer not null default (unixepoch()), expires_at integer not null, \
                 primary key (caller, \"key\")) without rowid"
            ),
            read: format!(
                "select request_hash, response, expires_at < unixepoch() from {table} {row}"
            ),
            forget: format!("delete from {table} {row}"),
            claim: format!(
                "insert into {table} (caller, \"key\", request_hash, expires_at) \
                 values ($1, $2, $3, unixepoch() + $4)"
            ),
            store: format!("update {table} set response = $3 {row}"),
            expire: format!("delete from {table} where expires_at < unixepoch()"),
            retention,
        }
    }
}

/// What a unit of one or several statements is bounded by.
struct Room {
    max_rows: u64,
    max_bytes: u64,
    rows: u64,
    bytes: u64,
}

/// Runs a unit in an open transaction, and ends it.
pub(super) async fn run(batch: &Batch, mut open: Open, keys: &KeyTable) -> Result<BatchResult> {
    if let Some(key) = &batch.key
        && let Some(claimed) = claim(&mut open, keys, key, batch.deadline).await?
    {
        return claimed.replay(key);
    }
    let (max_rows, max_bytes) = (batch.max_rows, batch.max_bytes);
    let mut room = Room { max_rows, max_bytes, rows: 0, bytes: 0 };
    let mut results = Vec::with_capacity(batch.statements.len());
    for (index, one) in batch.statements.iter().enumerate() {
        let result = statement(&mut open, one, &mut room, batch.deadline).await;
        results.push(result.map_err(|error| within(error).with_failed_statement(index))?);
    }
    if let Some(key) = &batch.key {
        let mut values = naming(&key.caller, &key.key);
        values.push(Value::bytes(stored(&results)));
        own(&mut open, &keys.store, values, batch.deadline).await?;
    }
    if batch.dry_run {
        Box::new(open).rollback().await;
    } else {
        Box::new(open).commit(batch.deadline).await?;
    }
    Ok(BatchResult { results, replayed: false })
}

/// Claims a key in an open transaction; returns the row of the unit that has it.
pub(super) async fn claim(
    open: &mut Open,
    keys: &KeyTable,
    key: &IdempotencyKey,
    deadline: Deadline,
) -> Result<Option<Claimed>> {
    own(open, &keys.create, Vec::new(), deadline).await?;
    let name = || naming(&key.caller, &key.key);
    let rows = own(open, &keys.read, name(), deadline).await?;
    if let Some(claimed) = rows.into_iter().next().map(claimed) {
        if !claimed.expired {
            return Ok(Some(claimed));
        }
        own(open, &keys.forget, name(), deadline).await?;
    }
    let mut values = name();
    values.push(Value::bytes(key.request_hash.to_vec()));
    values.push(Value::int64(i64::try_from(keys.retention.as_secs()).unwrap_or(i64::MAX)));
    own(open, &keys.claim, values, deadline).await?;
    Ok(None)
}

/// The values that name a key's row.
pub(super) fn naming(caller: &str, key: &str) -> Vec<Value> {
    vec![Value::text(caller), Value::text(key)]
}

/// A row of the table.
pub(super) fn claimed(row: Row) -> Claimed {
    let mut values = row.values.into_iter().map(|value| value.kind);
    let mut bytes = || match values.next().flatten() {
        Some(Kind::BytesValue(bytes)) => Some(bytes),
        Some(_) | None => None,
    };
    let (request_hash, response) = (bytes().unwrap_or_default(), bytes());
    let expired = !matches!(values.next().flatten(), Some(Kind::Int64Value(0)));
    Claimed { request_hash, response, expired }
}

/// A statement of this server's own.
pub(super) fn own_statement(
    sql: &str,
    parameters: Vec<Value>,
    deadline: Deadline,
    borrower: Arc<Borrower>,
) -> Statement {
    Statement {
        sql: sql.to_owned(),
        parameters,
        analysis: Arc::new(Analysis::unknown()),
        read_only: false,
        deadline,
        borrower,
    }
}

async fn own(
    open: &mut Open,
    sql: &str,
    parameters: Vec<Value>,
    deadline: Deadline,
) -> Result<Vec<Row>> {
    let mut room = Room { max_rows: u64::MAX, max_bytes: u64::MAX, rows: 0, bytes: 0 };
    let statement = own_statement(sql, parameters, deadline, Arc::clone(&open.borrower));
    let result = collect(open, statement, &mut room).await?;
    Ok(result.rows)
}

async fn statement(
    open: &mut Open,
    one: &BatchStatement,
    room: &mut Room,
    deadline: Deadline,
) -> Result<ResultSet> {
    let statement = Statement {
        sql: one.sql.clone(),
        parameters: one.parameters.clone(),
        analysis: Arc::clone(&one.analysis),
        read_only: false,
        deadline,
        borrower: Arc::clone(&open.borrower),
    };
    let result = collect(open, statement, room).await?;
    if let Some(expect) = one.expect {
        expect.check(result.rows_affected)?;
    }
    Ok(result)
}

/// Runs a statement and takes its rows.
async fn collect(open: &mut Open, statement: Statement, room: &mut Room) -> Result<ResultSet> {
    let mut stream = open.query(Arc::new(statement)).await?;
    let columns = stream.columns().map(<[_]>::to_vec);
    let mut sink = RowSink::new(PORTION);
    let mut rows = Vec::new();
    while columns.is_some() {
        let filled = fill(&mut *stream, &mut sink).await?;
        room.rows += u64::try_from(sink.len()).unwrap_or(u64::MAX);
        room.bytes += u64::try_from(sink.bytes()).unwrap_or(u64::MAX);
        rows.append(&mut sink.take());
        room.check()?;
        if filled == Fill::Done {
            break;
        }
    }
    let Completion { rows_affected, command } = stream.finish().await?;
    let has_columns = columns.is_some();
    Ok(ResultSet {
        has_columns,
        columns: columns.unwrap_or_default(),
        rows,
        rows_affected,
        command,
    })
}

impl Room {
    fn check(&self) -> Result<()> {
        let message = if self.rows > self.max_rows {
            format!("the results have more than {} rows", self.max_rows)
        } else if self.bytes > self.max_bytes {
            format!("the results are larger than {} bytes", self.max_bytes)
        } else {
            return Ok(());
        };
        let hint = "Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.";
        Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(hint))
    }
}

/// Nothing of a unit is applied before its commit, whatever an error of a single statement may mean.
fn within(error: Error) -> Error {
    error.with_outcome(Outcome::NotApplied)
}
