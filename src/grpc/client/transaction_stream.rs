//! An interactive transaction: a Transact whose commands are sent one by one.

use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::call_error::{CallError, CallResult};
use super::channel::Client;
use crate::error::Outcome;
use crate::value::proto::transact_request::Command;
use crate::value::proto::transact_response::Reply;
use crate::value::proto::{
    Begin, TransactQuery, TransactRequest, TransactResponse, TransactResult,
};

/// The commands that are on their way: each is sent once the one before it is answered.
const AHEAD: usize = 1;

/// An open transaction. Dropped, it is rolled back.
#[derive(Debug)]
pub(crate) struct TransactionStream {
    commands: Sender<TransactRequest>,
    replies: Streaming<TransactResponse>,
    sequence: u32,
}

/// The failure of a command in a transaction.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    /// The command failed alone: the transaction is open.
    Command(Box<CallError>),
    /// The transaction has ended.
    Ended(Box<CallError>),
}

impl From<CallError> for CommandFailure {
    fn from(error: CallError) -> Self {
        Self::Ended(Box::new(error))
    }
}

impl Client {
    /// Opens a transaction.
    pub(crate) async fn begin(&self, begin: Begin) -> CallResult<TransactionStream> {
        let (commands, requests) = channel(AHEAD);
        let first = TransactRequest { sequence: 1, command: Some(Command::Begin(begin)) };
        // There is room for the first.
        drop(commands.try_send(first));
        let mut service = self.databases();
        let replies = self.response(service.transact(ReceiverStream::new(requests))).await?;
        let mut stream = TransactionStream { commands, replies, sequence: 1 };
        match stream.reply().await {
            Ok(Reply::Begun(_)) => Ok(stream),
            Ok(_) => Err(unexpected()),
            Err(CommandFailure::Command(error) | CommandFailure::Ended(error)) => Err(*error),
        }
    }
}

impl TransactionStream {
    /// Starts a statement, whose parts follow.
    pub(crate) async fn start(&mut self, query: TransactQuery) -> Result<(), CommandFailure> {
        self.send(Command::Query(query)).await
    }

    /// Returns the next part of the result of the statement.
    pub(crate) async fn next_part(&mut self) -> Result<TransactResult, CommandFailure> {
        let Reply::Result(result) = self.reply().await? else { return Err(unexpected().into()) };
        Ok(result)
    }

    /// Runs a command that returns nothing: of a savepoint, or the last one.
    pub(crate) async fn run(&mut self, command: Command) -> Result<(), CommandFailure> {
        self.send(command).await?;
        match self.reply().await? {
            Reply::Done(_) | Reply::Committed(_) | Reply::RolledBack(_) => Ok(()),
            Reply::Begun(_) | Reply::Result(_) | Reply::BatchResult(_) | Reply::Error(_) => {
                Err(unexpected().into())
            }
        }
    }

    /// Waits for the end of the transaction while no command runs.
    ///
    /// # Cancel safety
    /// Nothing is lost by a cancellation.
    pub(crate) async fn ended(&mut self) -> CallError {
        match self.reply().await {
            Ok(_) => unexpected(),
            Err(CommandFailure::Command(error) | CommandFailure::Ended(error)) => *error,
        }
    }

    async fn send(&mut self, command: Command) -> Result<(), CommandFailure> {
        self.sequence += 1;
        let request = TransactRequest { sequence: self.sequence, command: Some(command) };
        if self.commands.send(request).await.is_err() {
            // The stream tells why.
            return Err(self.ended().await.into());
        }
        Ok(())
    }

    async fn reply(&mut self) -> Result<Reply, CommandFailure> {
        let reply = self.replies.message().await;
        match reply.map_err(|status| CallError::from_status(&status))? {
            Some(TransactResponse { reply: Some(Reply::Error(status)), .. }) => {
                Err(CommandFailure::Command(Box::new(CallError::from_reply(&status))))
            }
            Some(TransactResponse { reply: Some(reply), .. }) => Ok(reply),
            Some(TransactResponse { reply: None, .. }) => Err(unexpected().into()),
            None => {
                let message = "the server ended the transaction without a reason";
                Err(CallError::new("UNKNOWN", message, Outcome::Unknown).into())
            }
        }
    }
}

fn unexpected() -> CallError {
    let message = "the server sent a reply that this client does not know";
    CallError::new("INTERNAL", message, Outcome::Unknown)
        .with_hint("Use the client of the server's own version.")
}
