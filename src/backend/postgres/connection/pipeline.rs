//! Requests that are sent together and answered in order, in one round trip.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use super::Connection;
use super::prepared::Prepared;
use crate::backend::postgres::codec::Parameter;
use crate::backend::postgres::connect::capabilities::lacks_ability;
use crate::backend::postgres::protocol::requests::{Exchange, RequestKind};
use crate::backend::postgres::protocol::simple_query::first_value;
use crate::backend::result_quota::ResultQuota;
use crate::error::Error;
use crate::value::{EncodedRows, RowEncoder, RowsField};

pub(crate) enum PipelineStep<'a> {
    /// Statements of our own, without parameters.
    Script(String),
    /// A prepared statement of the caller, with its parameters.
    Statement(Arc<Prepared>, Vec<Parameter<'a>>),
    /// A prepared statement of our own, with its parameters.
    OwnStatement(Arc<Prepared>, Vec<Parameter<'a>>),
}

impl<'a> PipelineStep<'a> {
    pub(crate) fn script(sql: impl Into<String>) -> Self {
        Self::Script(sql.into())
    }

    /// The kind of request that the protocol state must see.
    pub(crate) fn kind(&self) -> RequestKind {
        match self {
            Self::Script(_) => RequestKind::Script,
            Self::Statement(prepared, _) | Self::OwnStatement(prepared, _) => {
                RequestKind::Statement(prepared.name.clone())
            }
        }
    }

    fn send(self, connection: &'a Connection, quota: &'a ResultQuota) -> BoxFuture<'a, StepResult> {
        let is_callers = matches!(self, Self::Statement(..));
        match self {
            Self::Script(sql) => Box::pin(async move {
                let messages = connection.client.simple_query(&sql).await?;
                Ok(StepOutput::Script(first_value(&messages)))
            }),
            Self::Statement(prepared, parameters) | Self::OwnStatement(prepared, parameters) => {
                let takes = move |size| !is_callers || quota.take(size);
                Box::pin(async move {
                    let rows = connection.client.query_raw(&prepared.statement, parameters).await?;
                    let mut rows = Box::pin(rows);
                    let mut kept = RowEncoder::new(RowsField::OfResult);
                    while let Some(row) = rows.next().await {
                        match prepared.encode_row(&row?, &mut kept) {
                            Ok(()) if takes(kept.row_size()) => kept.end_row(),
                            Ok(()) => {}
                            Err(error) => quota.refuse(error),
                        }
                    }
                    Ok(StepOutput::Rows(kept.take()))
                })
            }
        }
    }
}

/// The effect of a pipeline's last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipelineEnd {
    /// It commits a transaction.
    Commit,
    /// It leaves the transaction open, or rolls it back.
    NoCommit,
}

pub(crate) type StepResult = Result<StepOutput, StepError>;

#[derive(Debug)]
pub(crate) enum StepOutput {
    /// The first value of a script's first row.
    Script(Option<String>),
    /// The rows of a statement, as far as the quota allowed.
    Rows(EncodedRows),
}

#[derive(Debug)]
pub(crate) enum StepError {
    /// An error reply, or the loss of the connection.
    Driver(tokio_postgres::Error),
    /// An answer that did not match its request.
    Response(Error),
}

impl StepError {
    /// Returns the code of the database's error reply, when there is one.
    pub(crate) fn reply_code(&self) -> Option<&tokio_postgres::error::SqlState> {
        if let Self::Driver(error) = self { error.code() } else { None }
    }

    /// Returns true if it is the reply of a server that cannot answer a question.
    pub(crate) fn is_inability(&self) -> bool {
        matches!(self, Self::Driver(error) if lacks_ability(error))
    }

    fn is_connection_loss(&self) -> bool {
        matches!(self, Self::Driver(error) if error.as_db_error().is_none())
    }
}

impl From<tokio_postgres::Error> for StepError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

/// The answers to a pipeline, as far as they came before the deadline.
pub(crate) struct PipelineResponses {
    results: VecDeque<StepResult>,
    /// The same requests, as the protocol state saw them.
    exchanges: Vec<Exchange>,
}

impl PipelineResponses {
    pub(crate) fn new(results: Vec<StepResult>, exchanges: Vec<Exchange>) -> Self {
        Self { results: results.into(), exchanges }
    }

    /// The next result; `None` when it did not come before the deadline.
    pub(crate) fn next(&mut self) -> Option<StepResult> {
        self.results.pop_front()
    }

    /// Takes out the error at a position, when there is one.
    pub(crate) fn take_error(&mut self, index: usize) -> Option<StepError> {
        if self.results.get(index)?.is_err() { self.results.remove(index)?.err() } else { None }
    }

    /// The end of the transaction, whose commit is the last request.
    pub(crate) fn transaction_end(&self) -> TransactionEnd {
        match self.exchanges.as_slice() {
            [.., before, _] if before.status == b'I' => TransactionEnd::Earlier,
            [.., last] if last.tag == "COMMIT" => TransactionEnd::Committed,
            _ => TransactionEnd::RolledBack,
        }
    }

    /// The last command tag of the request at a position; empty when it has none.
    pub(crate) fn tag(&self, index: usize) -> String {
        self.exchanges.get(index).map(|exchange| exchange.tag.clone()).unwrap_or_default()
    }
}

/// The end of the transaction that a pipeline was to commit, by what the server says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionEnd {
    Committed,
    RolledBack,
    /// It was not open any more.
    Earlier,
}

/// Tells whether a pipeline lost its connection.
pub(crate) fn lost_connection(results: &[StepResult]) -> bool {
    results.iter().any(|result| matches!(result, Err(error) if error.is_connection_loss()))
}

/// Sends all requests, then reads the answers in order; those that came are in `results` even when
/// this is dropped.
///
/// Each request ends with a Sync of its own: its results are received before the next runs. A request
/// that could not be sent holds back those behind it: a commit must not go where a statement did not.
pub(crate) async fn send<'a>(
    connection: &'a Connection,
    steps: Vec<PipelineStep<'a>>,
    quota: &'a ResultQuota,
    results: &mut Vec<StepResult>,
) {
    let mut requests: Vec<_> = steps.into_iter().map(|step| step.send(connection, quota)).collect();
    let mut early: Vec<Option<StepResult>> = Vec::new();
    // The driver queues a request when its future is polled for the first time.
    for request in &mut requests {
        let result = request.now_or_never();
        let is_unsent = matches!(&result, Some(Err(error)) if error.is_connection_loss());
        early.push(result);
        if is_unsent {
            break;
        }
    }
    for (request, early) in requests.into_iter().zip(early) {
        results.push(match early {
            Some(result) => result,
            None => request.await,
        });
    }
}
