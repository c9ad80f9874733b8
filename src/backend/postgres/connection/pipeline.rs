//! Requests that are sent together and answered in order: one round trip for all of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::{Connection, Prepared};
use crate::backend::postgres::codec::Parameter;
use crate::backend::postgres::execute::row_stream::decode;
use crate::backend::postgres::protocol::requests::{Exchange, RequestKind};
use crate::error::Error;
use crate::value::proto::Row;
use crate::wire_size::encoded_row_size;

/// One request.
pub(crate) enum Step<'a> {
    /// Statements without parameters, of our own making.
    Script(String),
    /// A prepared statement.
    Statement(Arc<Prepared>, Vec<Parameter<'a>>),
}

impl Step<'_> {
    /// What it is on the wire.
    pub(crate) fn kind(&self) -> RequestKind {
        match self {
            Self::Script(_) => RequestKind::Script,
            Self::Statement(prepared, _) => RequestKind::Statement(prepared.name.clone()),
        }
    }
}

/// Requests to send together.
pub(crate) struct Pipeline<'a> {
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) room: &'a ResultQuota,
    /// Whether the last one commits.
    pub(crate) commits: bool,
}

/// What came back.
pub(crate) struct PipelineResponses {
    answers: VecDeque<Result<Answer, Failure>>,
    exchanges: Vec<Exchange>,
}

impl PipelineResponses {
    /// `answers` as far as they came before the deadline; `exchanges` are the same requests, as the wire
    /// saw them.
    pub(crate) fn new(answers: Vec<Result<Answer, Failure>>, exchanges: Vec<Exchange>) -> Self {
        Self { answers: answers.into(), exchanges }
    }

    /// The next answer; `None` when it did not come before the deadline.
    pub(crate) fn next(&mut self) -> Option<Result<Answer, Failure>> {
        self.answers.pop_front()
    }

    /// Takes out the failure at a place, when there is one.
    pub(crate) fn fail_at(&mut self, index: usize) -> Option<Failure> {
        match self.answers.get(index) {
            Some(Err(_)) => self.answers.remove(index)?.err(),
            Some(Ok(_)) | None => None,
        }
    }

    /// The last command tag of a request, by its place; empty when it has none.
    pub(crate) fn tag(&self, index: usize) -> String {
        self.exchanges.get(index).map(|exchange| exchange.tag.clone()).unwrap_or_default()
    }
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To a script: the first value of its first row.
    Script(Option<String>),
    /// To a statement: its rows, as far as there was room.
    Rows(Vec<Row>),
}

/// ConnectFailure a request was not answered.
#[derive(Debug)]
pub(crate) enum Failure {
    /// By the database, or by nobody.
    Driver(tokio_postgres::Error),
    /// Its answer could not be read.
    Ours(Error),
}

impl Failure {
    /// Whether the database has not said so.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Driver(error) if error.as_db_error().is_none())
    }
}

/// How much the rows of all statements may take.
pub(crate) struct ResultQuota {
    max_rows: u64,
    max_bytes: u64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl ResultQuota {
    pub(crate) fn new(max_rows: u64, max_bytes: u64) -> Self {
        Self { max_rows, max_bytes, rows: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Takes up room for a row, whether there is any or not.
    fn take(&self, row: &Row) -> bool {
        let size = u64::try_from(encoded_row_size(row)).unwrap_or(u64::MAX);
        let rows = self.rows.fetch_add(1, Relaxed) + 1;
        let bytes = self.bytes.fetch_add(size, Relaxed) + size;
        rows <= self.max_rows && bytes <= self.max_bytes
    }

    /// What there was no room for.
    pub(crate) fn exceeded(&self) -> Option<String> {
        if self.rows.load(Relaxed) > self.max_rows {
            return Some(format!("the results have more than {} rows", self.max_rows));
        }
        (self.bytes.load(Relaxed) > self.max_bytes)
            .then(|| format!("the results are larger than {} bytes", self.max_bytes))
    }
}

/// Sends all requests, then reads the answers in order; those that came are in `answers` even when
/// this is dropped.
///
/// Each request ends its own protocol sequence (a Sync of its own): what one has answered is on the
/// wire before the next runs. One that could not be sent keeps back those behind it: a commit must not
/// go where a statement did not.
pub(crate) async fn send_pipeline<'a>(
    connection: &'a Connection,
    steps: Vec<Step<'a>>,
    room: &'a ResultQuota,
    answers: &mut Vec<Result<Answer, Failure>>,
) {
    let mut requests: Vec<BoxFuture<'_, _>> =
        steps.into_iter().map(|step| request(connection, step, room)).collect();
    let mut early: Vec<Option<Result<Answer, Failure>>> = Vec::new();
    // The driver queues a request when its future is polled for the first time.
    poll_fn(|cx| {
        for request in &mut requests {
            let answer = match request.as_mut().poll(cx) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            };
            let is_unsent = matches!(&answer, Some(Err(failure)) if failure.is_lost());
            early.push(answer);
            if is_unsent {
                break;
            }
        }
        Poll::Ready(())
    })
    .await;
    for (request, early) in requests.into_iter().zip(early) {
        answers.push(match early {
            Some(answer) => answer,
            None => request.await,
        });
    }
}

/// The rows among the answers to a script.
pub(crate) fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| {
        if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None }
    })
}

/// The first value of a script's first row.
pub(crate) fn first_value(messages: &[SimpleQueryMessage]) -> Option<String> {
    rows(messages).next().and_then(|row| row.get(0)).map(str::to_owned)
}

fn request<'a>(
    connection: &'a Connection,
    step: Step<'a>,
    room: &'a ResultQuota,
) -> BoxFuture<'a, Result<Answer, Failure>> {
    match step {
        Step::Script(sql) => Box::pin(async move {
            let messages = connection.client.simple_query(&sql).await.map_err(Failure::Driver)?;
            Ok(Answer::Script(first_value(&messages)))
        }),
        Step::Statement(prepared, parameters) => Box::pin(async move {
            let rows = connection.client.query_raw(&prepared.statement, parameters).await;
            let mut rows = Box::pin(rows.map_err(Failure::Driver)?);
            let mut kept = Vec::new();
            while let Some(row) = rows.next().await {
                let row =
                    decode(&prepared, &row.map_err(Failure::Driver)?).map_err(Failure::Ours)?;
                if room.take(&row) {
                    kept.push(row);
                }
            }
            Ok(Answer::Rows(kept))
        }),
    }
}
