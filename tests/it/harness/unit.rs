//! Batches and interactive transactions, as a client writes them.

use std::time::Duration;

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{
    BatchStatement, Begin, Commit, ExecuteBatchRequest, ExecuteBatchResponse,
    GetTransactionOutcomeRequest, QueryOptions, ResultSet, Rollback, RollbackTo, Savepoint,
    TransactBatch, TransactQuery, TransactRequest, TransactResponse, TransactionState, Value,
};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use super::client::{Client, Failure, PATIENCE, with_deadline};

/// A statement of a batch.
pub(crate) fn statement(sql: &str, parameters: &[Value]) -> BatchStatement {
    BatchStatement { sql: sql.to_owned(), parameters: parameters.to_vec(), expect: None }
}

/// A batch of statements without parameters.
pub(crate) fn batch(statements: &[&str]) -> ExecuteBatchRequest {
    ExecuteBatchRequest {
        statements: statements.iter().map(|sql| statement(sql, &[])).collect(),
        ..ExecuteBatchRequest::default()
    }
}

/// Options with an idempotency key.
pub(crate) fn keyed(key: &str) -> QueryOptions {
    QueryOptions { idempotency_key: key.to_owned(), ..QueryOptions::default() }
}

impl Client {
    /// Runs a batch.
    pub(crate) async fn batch(
        &self,
        request: ExecuteBatchRequest,
    ) -> Result<ExecuteBatchResponse, Failure> {
        let answer = self.raw().execute_batch(with_deadline(request, PATIENCE)).await;
        answer.map(tonic::Response::into_inner).map_err(Failure::from)
    }

    /// Asks what became of a unit.
    pub(crate) async fn outcome(&self, handle: Handle) -> Result<TransactionState, Failure> {
        self.outcome_within(handle, PATIENCE).await
    }

    /// The same with a deadline of the client's.
    pub(crate) async fn outcome_within(
        &self,
        handle: Handle,
        deadline: Duration,
    ) -> Result<TransactionState, Failure> {
        let request = GetTransactionOutcomeRequest { handle: Some(handle), ..Default::default() };
        let answer = self.raw().get_transaction_outcome(with_deadline(request, deadline)).await;
        answer.map(|answer| answer.into_inner().state()).map_err(Failure::from)
    }

    /// Opens a transaction without options.
    pub(crate) async fn begin(&self) -> Transaction {
        self.transact().await.begun().await
    }

    /// Opens the stream of a transaction and sends nothing.
    pub(crate) async fn transact(&self) -> Transaction {
        self.transact_within(PATIENCE).await
    }

    /// The same with a deadline of the client's, sent as `grpc-timeout`.
    pub(crate) async fn transact_within(&self, deadline: Duration) -> Transaction {
        self.transact_with(|commands| with_deadline(commands, deadline)).await
    }

    /// The same with metadata of the client's.
    pub(crate) async fn transact_with(
        &self,
        request: impl FnOnce(
            ReceiverStream<TransactRequest>,
        ) -> Request<ReceiverStream<TransactRequest>>,
    ) -> Transaction {
        let (commands, receiver) = channel(64);
        let request = request(ReceiverStream::new(receiver));
        let replies = self.raw().transact(request).await.expect("headers come at once");
        Transaction { commands: Some(commands), replies: replies.into_inner(), sequence: 0 }
    }
}

/// The stream of a transaction.
pub(crate) struct Transaction {
    commands: Option<Sender<TransactRequest>>,
    replies: Streaming<TransactResponse>,
    /// Of the last command.
    pub(crate) sequence: u32,
}

impl Transaction {
    /// Begins it without options.
    pub(crate) async fn begun(mut self) -> Self {
        self.send(Command::Begin(Begin::default())).await;
        assert_eq!(self.reply().await.expect("it opens"), Some(Reply::Begun(Default::default())));
        self
    }

    /// Begins it without options; it may fail.
    pub(crate) async fn try_begun(mut self) -> Result<Self, Failure> {
        self.send(Command::Begin(Begin::default())).await;
        self.reply().await?;
        Ok(self)
    }

    /// Sends a command.
    pub(crate) async fn send(&mut self, command: Command) {
        self.sequence += 1;
        let request = TransactRequest { sequence: self.sequence, command: Some(command) };
        // A stream that has ended already says so with its next reply.
        drop(self.commands.as_ref().expect("not closed").send(request).await);
    }

    /// Sends commands from another task; the caller's side is not closed while it is there.
    pub(crate) fn sender(&self) -> Sender<TransactRequest> {
        self.commands.clone().expect("not closed")
    }

    /// Closes the caller's side.
    pub(crate) fn half_close(&mut self) {
        self.commands = None;
    }

    /// The next reply; `None` at the end.
    pub(crate) async fn reply(&mut self) -> Result<Option<Reply>, Failure> {
        Ok(self.raw_reply().await?)
    }

    /// The same; an error may be another's than the server's.
    pub(crate) async fn raw_reply(&mut self) -> Result<Option<Reply>, tonic::Status> {
        let message = self.replies.message().await?;
        Ok(message.map(|message| message.reply.expect("a message has a reply")))
    }

    /// Sends a statement without parameters.
    pub(crate) async fn send_query(&mut self, sql: &str) {
        self.send(Command::Query(query(sql, &[]))).await;
    }

    /// Runs a statement; an error is the reply's, or the stream's.
    pub(crate) async fn query(
        &mut self,
        sql: &str,
        parameters: &[Value],
    ) -> Result<ResultSet, Failure> {
        self.send(Command::Query(query(sql, parameters))).await;
        self.result().await
    }

    /// The result of the statement that was sent first of those without one.
    pub(crate) async fn result(&mut self) -> Result<ResultSet, Failure> {
        let mut whole: Option<ResultSet> = None;
        loop {
            let (part, more) = match self.reply().await? {
                Some(Reply::Result(part)) => (part.result_set.expect("it has one"), part.more),
                Some(Reply::Error(error)) => return Err(Failure::of_reply(&error)),
                other => panic!("no result but {other:?}"),
            };
            whole = Some(match whole {
                None => part,
                Some(mut before) => {
                    assert!(part.columns.is_empty(), "only the first part has the columns");
                    before.rows.extend(part.rows);
                    before.rows_affected = part.rows_affected;
                    before.command = part.command;
                    before
                }
            });
            if !more {
                return Ok(whole.expect("it was just set"));
            }
        }
    }

    /// Runs statements in one command, without options.
    pub(crate) async fn batch(
        &mut self,
        statements: Vec<BatchStatement>,
    ) -> Result<Vec<ResultSet>, Failure> {
        self.send(Command::Batch(TransactBatch { statements, options: None })).await;
        self.batch_results().await
    }

    /// The results of the batch that was sent first of those without any.
    pub(crate) async fn batch_results(&mut self) -> Result<Vec<ResultSet>, Failure> {
        match self.reply().await? {
            Some(Reply::BatchResult(done)) => Ok(done.results),
            Some(Reply::Error(error)) => Err(Failure::of_reply(&error)),
            other => panic!("no results but {other:?}"),
        }
    }

    /// Runs a command that answers `done`.
    pub(crate) async fn done(&mut self, command: Command) -> Result<(), Failure> {
        self.send(command).await;
        match self.reply().await? {
            Some(Reply::Done(_)) => Ok(()),
            Some(Reply::Error(error)) => Err(Failure::of_reply(&error)),
            other => panic!("not done but {other:?}"),
        }
    }

    /// Sets a savepoint.
    pub(crate) async fn savepoint(&mut self, name: &str) -> Result<(), Failure> {
        self.done(Command::Savepoint(Savepoint { name: name.to_owned() })).await
    }

    /// Goes back to a savepoint.
    pub(crate) async fn rollback_to(&mut self, name: &str) -> Result<(), Failure> {
        self.done(Command::RollbackTo(RollbackTo { name: name.to_owned() })).await
    }

    /// Commits. The stream ends though the caller's side is open.
    pub(crate) async fn commit(mut self) -> Result<(), Failure> {
        self.send(Command::Commit(Commit {})).await;
        match self.reply().await? {
            Some(Reply::Committed(_)) => {}
            other => panic!("not committed but {other:?}"),
        }
        self.end().await
    }

    /// Rolls back. The stream ends though the caller's side is open.
    pub(crate) async fn rollback(mut self) -> Result<(), Failure> {
        self.send(Command::Rollback(Rollback {})).await;
        match self.reply().await? {
            Some(Reply::RolledBack(_)) => {}
            other => panic!("not rolled back but {other:?}"),
        }
        self.end().await
    }

    /// Waits for the end of the stream, which must come without another reply.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        match self.reply().await? {
            None => Ok(()),
            Some(reply) => panic!("another reply: {reply:?}"),
        }
    }
}

/// A statement in a transaction.
pub(crate) fn query(sql: &str, parameters: &[Value]) -> TransactQuery {
    TransactQuery { sql: sql.to_owned(), parameters: parameters.to_vec(), options: None }
}
