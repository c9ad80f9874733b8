//! The state of a prompt: its connection, its open transaction, its output.

use std::sync::Arc;

use super::catalog_questions::names;
use super::name_cache::{NameCache, NameSource};
use super::output::Output;
use super::server_connection::Connection;
use crate::app::{ConsoleSignal, ConsoleSignals};
use crate::cli::console::visible;
use crate::grpc::client::TransactionStream;
use crate::value::proto::TransactionOptions;

/// The prompt without its terminal.
pub(super) struct SqlSession {
    pub(super) connection: Connection,
    pub(super) transaction: Option<OpenTransaction>,
    /// True behind a BEGIN that failed: what was meant for its transaction must not commit by itself.
    pub(super) begin_failed: bool,
    pub(super) output: Output,
    pub(super) signals: ConsoleSignals,
    pub(super) names: Arc<NameCache>,
    /// The last statement, for `\watch`.
    pub(super) last: Option<String>,
}

/// A transaction over several statements.
pub(super) struct OpenTransaction {
    pub(super) stream: TransactionStream,
    /// The options for another one, with AND CHAIN.
    pub(super) options: TransactionOptions,
    /// True after an error: only a rollback does anything.
    pub(super) is_aborted: bool,
}

/// The result of a piece of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    /// It failed, and was told.
    Failed,
    Quit,
}

impl SqlSession {
    /// A session on a connection, in the runtime of now.
    pub(super) fn new(connection: Connection) -> Self {
        let names = NameCache::new(name_source(&connection));
        Self {
            connection,
            transaction: None,
            begin_failed: false,
            output: Output::new(),
            signals: ConsoleSignals::listen(),
            names,
            last: None,
        }
    }

    /// The prompt before a line; `sign` tells what the line continues.
    pub(super) fn prompt(&self, sign: char) -> String {
        let name = &self.connection.database.name;
        let name = if name.is_empty() { "rowgate".to_owned() } else { visible(name) };
        let state = match &self.transaction {
            None if self.begin_failed => "!",
            None => "",
            Some(transaction) if transaction.is_aborted => "!",
            Some(_) => "*",
        };
        format!("{name}{state}{sign}> ")
    }
}

/// The way to read the names of the database of now.
pub(super) fn name_source(connection: &Connection) -> NameSource {
    let dialect = connection.database.dialect;
    NameSource {
        client: connection.client().clone(),
        request: connection.question(names(dialect), &[]),
        dialect,
        databases: Arc::clone(&connection.databases),
    }
}

/// Does some work unless a signal comes first; the work is dropped then.
pub(super) async fn until_signalled<T>(
    signals: &mut ConsoleSignals,
    work: impl Future<Output = T>,
) -> Result<T, ConsoleSignal> {
    signals.forget_interrupt();
    tokio::select! {
        biased;
        signal = signals.next() => Err(signal),
        done = work => Ok(done),
    }
}
