//! The callers of Rowgate.

use crate::contract::rowgate::v1 as rpc;
use crate::grpc::{Connection, Method, frame};
use crate::load::Caller;
use crate::sql::{ACCOUNTS, POINT, ROW_COUNT, ROWS, SLOW, TRANSFER, Transfer};
use crate::{Result, fail};
use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use rpc::transact_request::Command;
use rpc::transact_response::Reply;
use rpc::value::Kind;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

pub fn integer(value: i32) -> rpc::Value {
    rpc::Value { kind: Some(Kind::Int64Value(i64::from(value))) }
}

pub fn query(sql: &str, parameters: &[i32]) -> rpc::QueryRequest {
    let parameters = parameters.iter().copied().map(integer).collect();
    rpc::QueryRequest { sql: sql.into(), parameters, ..Default::default() }
}

/// Runs one statement.
pub async fn run(connection: &Connection, sql: &str) -> Result<rpc::ResultSet> {
    let answer = connection.unary(&Method::new("Query")?, &query(sql, &[])).await?;
    match rpc::QueryResponse::decode(answer)?.result {
        Some(result) => Ok(result),
        None => fail("an answer without a result"),
    }
}

/// The first integer of a result.
pub fn first(result: &rpc::ResultSet) -> Option<i64> {
    match result.rows.first()?.values.first()?.kind {
        Some(Kind::Int64Value(value)) => Some(value),
        _ => None,
    }
}

/// Reads a random account by its key.
pub struct Select {
    connection: Connection,
    method: Method,
    keys: i32,
}

impl Select {
    pub fn new(connection: Connection) -> Result<Self> {
        Self::among(connection, ACCOUNTS)
    }

    pub fn among(connection: Connection, keys: i32) -> Result<Self> {
        Ok(Self { connection, method: Method::new("Query")?, keys })
    }
}

impl Caller for Select {
    async fn call(&mut self) -> Result<u64> {
        let key = fastrand::i32(1..=self.keys);
        let answer = self.connection.unary(&self.method, &query(POINT, &[key])).await?;
        let result = rpc::QueryResponse::decode(answer)?.result.unwrap_or_default();
        if result.rows.len() == 1 && first(&result) == Some(i64::from(key)) {
            Ok(1)
        } else {
            fail(format!("another row than that of key {key}"))
        }
    }
}

/// Runs one statement again and again, which returns one row or changes one: the slow one, or an INSERT.
pub struct Repeat {
    connection: Connection,
    method: Method,
    sql: &'static str,
    done: Rc<Cell<u64>>,
}

impl Repeat {
    pub fn new(connection: Connection, sql: &'static str, done: Rc<Cell<u64>>) -> Result<Self> {
        Ok(Self { connection, method: Method::new("Query")?, sql, done })
    }

    pub fn slow(connection: Connection) -> Result<Self> {
        Self::new(connection, SLOW, Rc::default())
    }
}

impl Caller for Repeat {
    async fn call(&mut self) -> Result<u64> {
        let answer = self.connection.unary(&self.method, &query(self.sql, &[])).await?;
        let result = rpc::QueryResponse::decode(answer)?.result.unwrap_or_default();
        self.done.set(self.done.get() + 1);
        if result.rows.len() == 1 || result.rows_affected == 1 {
            Ok(1)
        } else {
            fail("neither one row nor one change")
        }
    }
}

/// Runs TPC-B transactions, each as one batch.
pub struct Batch {
    connection: Connection,
    method: Method,
    committed: Rc<Cell<u64>>,
}

impl Batch {
    pub fn new(connection: Connection, committed: Rc<Cell<u64>>) -> Result<Self> {
        Ok(Self { connection, method: Method::new("ExecuteBatch")?, committed })
    }
}

impl Caller for Batch {
    async fn call(&mut self) -> Result<u64> {
        let statement = |(sql, parameters): (&str, Vec<i32>)| rpc::BatchStatement {
            sql: sql.into(),
            parameters: parameters.into_iter().map(integer).collect(),
            expect: None,
        };
        let statements =
            TRANSFER.into_iter().zip(Transfer::random().parameters()).map(statement).collect();
        let request = rpc::ExecuteBatchRequest { statements, ..Default::default() };
        let answer = rpc::ExecuteBatchResponse::decode(
            self.connection.unary(&self.method, &request).await?,
        )?;
        self.committed.set(self.committed.get() + 1);
        let touched = |result: &rpc::ResultSet| result.rows_affected == 1 || result.rows.len() == 1;
        if answer.results.len() == TRANSFER.len() && answer.results.iter().all(touched) {
            Ok(1)
        } else {
            fail("a batch did not touch one row with each statement")
        }
    }
}

/// Runs TPC-B transactions, each as a stream with one round trip a command.
pub struct Stream {
    connection: Connection,
    method: Method,
    committed: Rc<Cell<u64>>,
}

impl Stream {
    pub fn new(connection: Connection, committed: Rc<Cell<u64>>) -> Result<Self> {
        Ok(Self { connection, method: Method::new("Transact")?, committed })
    }
}

impl Caller for Stream {
    async fn call(&mut self) -> Result<u64> {
        let command = |sequence, command| rpc::TransactRequest { sequence, command: Some(command) };
        let begin = command(1, Command::Begin(rpc::Begin::default()));
        let (mut sender, mut answers) = self.connection.talk(&self.method, &begin).await?;
        let mut reply = answers.next().await?;
        let mut sequence = 1;
        for (sql, parameters) in TRANSFER.into_iter().zip(Transfer::random().parameters()) {
            touched(reply.take())?;
            sequence += 1;
            let parameters = parameters.into_iter().map(integer).collect();
            let query = rpc::TransactQuery { sql: sql.into(), parameters, options: None };
            sender.send(&command(sequence, Command::Query(query)))?;
            reply = answers.next().await?;
        }
        touched(reply)?;
        sender.send(&command(sequence + 1, Command::Commit(rpc::Commit {})))?;
        match reply_of(answers.next().await?)? {
            Reply::Committed(_) => self.committed.set(self.committed.get() + 1),
            other => return fail(format!("not committed: {other:?}")),
        }
        // The server ends the stream with its last reply, and so there is nothing left to close.
        match answers.next().await? {
            None => Ok(1),
            Some(_) => fail("a reply after the commit's"),
        }
    }
}

fn reply_of(message: Option<Bytes>) -> Result<Reply> {
    let Some(message) = message else { return fail("a transaction's stream ended early") };
    match rpc::TransactResponse::decode(message)?.reply {
        Some(reply) => Ok(reply),
        None => fail("an empty reply"),
    }
}

fn touched(message: Option<Bytes>) -> Result<()> {
    match reply_of(message)? {
        Reply::Begun(_) => Ok(()),
        Reply::Result(result) => {
            let set = result.result_set.unwrap_or_default();
            if set.rows_affected == 1 || set.rows.len() == 1 {
                Ok(())
            } else {
                fail("a statement touched no row")
            }
        }
        other => fail(format!("unexpected reply: {other:?}")),
    }
}

/// Streams the million rows. It counts them without decoding them, so that the load generator takes little.
pub struct Rows {
    connection: Connection,
    method: Method,
    request: Bytes,
    arrow: bool,
    /// The pause after each message, of a slow reader.
    pause: Duration,
}

impl Rows {
    pub fn new(connection: Connection, arrow: Option<&[u8]>) -> Result<Self> {
        let message = rpc::StreamQueryRequest { query: Some(query(ROWS, &[])) };
        let mut request = BytesMut::from(&frame(&message)[..]);
        request.extend_from_slice(arrow.unwrap_or_default());
        let length = u32::try_from(request.len() - 5)?;
        request[1..5].copy_from_slice(&length.to_be_bytes());
        let method = Method::new("StreamQuery")?;
        Ok(Self {
            connection,
            method,
            request: request.freeze(),
            arrow: arrow.is_some(),
            pause: Duration::ZERO,
        })
    }

    pub fn slow(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Decodes every value once and compares it with what the table holds.
    pub async fn verify(&self) -> Result<()> {
        let mut answers = self.connection.stream(&self.method, self.request.clone()).await?;
        let mut seen = 0;
        let mut sum = 0;
        while let Some(message) = answers.next().await? {
            let Some(rpc::stream_query_response::Part::Rows(batch)) =
                rpc::StreamQueryResponse::decode(message)?.part
            else {
                continue;
            };
            for row in batch.rows {
                sum += row_id(&row.values)?;
                seen += 1;
            }
        }
        if seen == ROW_COUNT && sum == ROW_COUNT * (ROW_COUNT + 1) / 2 {
            Ok(())
        } else {
            fail(format!("{seen} rows with a sum of ids of {sum}"))
        }
    }
}

/// The id of a row whose other values follow from it.
fn row_id(values: &[rpc::Value]) -> Result<u64> {
    let kinds: Vec<_> = values.iter().filter_map(|value| value.kind.as_ref()).collect();
    match kinds.as_slice() {
        [
            Kind::Int64Value(id),
            Kind::Float64Value(amount),
            Kind::TextValue(label),
            Kind::TimestampValue(at),
        ] if *amount == *id as f64 / 8.0
            && *label == format!("label {id}")
            && at.seconds == 1_700_000_000 + id =>
        {
            Ok(u64::try_from(*id)?)
        }
        other => fail(format!("a row that the table does not hold: {other:?}")),
    }
}

impl Caller for Rows {
    async fn call(&mut self) -> Result<u64> {
        let mut answers = self.connection.stream(&self.method, self.request.clone()).await?;
        let mut rows = 0;
        let mut promised = None;
        while let Some(message) = answers.next().await? {
            match field(&message) {
                Some((2, batch)) if !self.arrow => rows += count(batch),
                Some((3, _)) => {
                    if let Some(rpc::stream_query_response::Part::Summary(summary)) =
                        rpc::StreamQueryResponse::decode(message)?.part
                    {
                        promised = Some(summary.row_count);
                    }
                }
                _ => {}
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        if promised == Some(ROW_COUNT) && (self.arrow || rows == ROW_COUNT) {
            Ok(ROW_COUNT)
        } else {
            fail(format!("{rows} rows came, {promised:?} were promised"))
        }
    }
}

/// The number and bytes of a message's first field, where it has a length.
fn field(mut message: &[u8]) -> Option<(u64, &[u8])> {
    let key = prost::encoding::decode_varint(&mut message).ok()?;
    let length = usize::try_from(prost::encoding::decode_varint(&mut message).ok()?).ok()?;
    Some((key >> 3, message.get(..length)?))
}

/// The number of fields with a length that stand in a row: the rows of a batch.
fn count(mut batch: &[u8]) -> u64 {
    let mut count = 0;
    while let Some((_, bytes)) = field(batch) {
        let end = bytes.as_ptr_range().end as usize - batch.as_ptr() as usize;
        batch.advance(end);
        count += 1;
    }
    count
}
