//! Transact: an interactive transaction.
//!
//! One task owns the transaction from `begin` to its end. Anything else that ends the stream (the caller
//! disconnects, is idle for too long or takes no replies, the transaction takes too long, the server shuts
//! down) rolls back at once, also while a statement runs. A COMMIT that was sent is finished.

mod begin;
mod errors;
mod limits;
pub(super) mod replies;
mod run_batch;
mod run_statement;
#[cfg(test)]
mod tests;
mod transaction_task;

use std::sync::Arc;

use futures_util::Stream;

use super::database::Caller;
use super::databases::Engine;
use super::task_stream;
use crate::error::Result;
use limits::TransactionLimits;
use replies::{CallerEvents, Replies, TransactReply};
use transaction_task::TransactionTask;

impl Engine {
    /// Serves one transaction in a task of its own until it ends. Replies come in the order of the
    /// commands; a stream that does not end with an error was committed or rolled back by command.
    /// Dropping the stream rolls back, unless a COMMIT was sent.
    pub(crate) fn transact(
        self: &Arc<Self>,
        events: Box<dyn CallerEvents>,
        caller: Caller,
    ) -> impl Stream<Item = Result<TransactReply>> + Send + use<> {
        let engine = Arc::clone(self);
        task_stream::spawn(self.stall_timeout, |sender| async move {
            let stream_limits =
                TransactionLimits::before_begin(engine.stall_timeout, caller.time_left);
            let replies = Replies { sender, sequence: None };
            let tokens = Arc::clone(&engine.transaction_tokens);
            let identity = Arc::clone(&caller.identity);
            let task = TransactionTask { engine, replies, caller, stream_limits };
            let error = Box::pin(task.run(events)).await.err()?;
            Some(Err(tokens.bind(&identity, error)))
        })
    }
}
