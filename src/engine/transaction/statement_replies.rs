//! A statement in a transaction: its rows in replies of bounded size.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::ReplyBody;
use super::begin::Limits;
use super::errors::late;
use super::task::{Broken, Open, TransactionTask, Unsent};
use crate::backend::{Fill, RowSink, RowStream, Statement};
use crate::engine::query::over_response_limit;
use crate::engine::stream::{BATCH, LINGER, batch, messages};
use crate::engine::validate::{Bounds, Place, check_tag, timeout};
use crate::engine::{Database, widen};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CallContext;
use crate::value::proto::{Column, QueryOptions, ResultSet, Row, TransactQuery};
use crate::wire_size::encoded_row_size;

/// Around the rows and columns of a reply: the sequence, tags and lengths, the counts, the command.
const AROUND: usize = 256;

impl TransactionTask {
    /// Runs a statement and replies with its result, in as many parts as it takes.
    pub(crate) async fn query(
        &mut self,
        query: TransactQuery,
        open: &mut Open<'_>,
    ) -> Result<(), Broken> {
        let Open { database, transaction, limits, context, .. } = open;
        let limits = *limits;
        let admitted = admit(query, database, limits, context);
        let (statement, bounds) = admitted.map_err(Broken::Command)?;
        let deadline = statement.deadline.instant();
        let started = transaction.query(Arc::new(statement)).await;
        let mut stream = started.map_err(Broken::Command)?;
        let mut parts = match Parts::new(stream.columns(), self.engine.response_limit) {
            Ok(parts) => parts,
            Err(error) => return Err(abandon(stream, error).await),
        };
        let mut taken = Taken { bounds, rows: 0, bytes: 0 };
        let mut sink = RowSink::new(BATCH);
        let mut linger = Duration::ZERO;
        let mut last = None;
        let turn = self.engine.turns.here();
        while parts.has_columns && last.is_none() {
            turn.pass(deadline.into()).await;
            let filled = batch(&mut *stream, &mut sink, linger).await.map_err(Broken::Command)?;
            linger = LINGER;
            let mut split = match taken.count(&sink).and_then(|()| parts.split(sink.take())) {
                Ok(split) => split,
                Err(error) => return Err(abandon(stream, error).await),
            };
            if filled == Some(Fill::Done) {
                last = Some(split.pop().unwrap_or_else(|| parts.part(Vec::new())));
            }
            for result_set in split {
                let body = ReplyBody::Result { result_set, more: true };
                // A reader that is slow must not hold the statement longer than its deadline.
                match self.offer(body, Some(deadline)).await {
                    Ok(()) => {}
                    Err(Unsent::Late) => return Err(abandon(stream, late()).await),
                    Err(unsent) => {
                        return Err(Broken::Stream(self.undelivered(&unsent, limits)));
                    }
                }
            }
        }
        let end = stream.finish().await.map_err(Broken::Command)?;
        let (rows_affected, command) = (end.rows_affected, end.command);
        let last = last.unwrap_or_else(|| parts.part(Vec::new()));
        let result_set = ResultSet { rows_affected, command, ..last };
        let body = ReplyBody::Result { result_set, more: false };
        self.reply(body, limits).await.map_err(Broken::Stream)
    }
}

/// Ends a statement whose result the caller cannot have.
async fn abandon(stream: Box<dyn RowStream + '_>, error: Error) -> Broken {
    // Whatever became of it: the transaction is aborted, and applies nothing of it.
    stream.abandon().await;
    Broken::Command(error)
}

/// What was taken of a result, against its bounds.
struct Taken {
    bounds: Bounds,
    rows: u64,
    bytes: u64,
}

impl Taken {
    fn count(&mut self, sink: &RowSink) -> Result<()> {
        self.rows += widen(sink.len());
        self.bytes += widen(sink.bytes());
        self.bounds.exceeded(self.rows, self.bytes).map_or(Ok(()), Err)
    }
}

/// A result in parts, each of which fits into a message.
struct Parts {
    has_columns: bool,
    /// Until the first part takes them.
    columns: Vec<Column>,
    columns_size: usize,
    limit: usize,
}

impl Parts {
    fn new(columns: Option<&[Column]>, response_limit: usize) -> Result<Self> {
        let has_columns = columns.is_some();
        let columns = columns.unwrap_or_default().to_vec();
        let header = ResultSet { columns, ..ResultSet::default() };
        let columns_size = header.encoded_len();
        if let Some(error) = over_response_limit(widen(columns_size + AROUND), response_limit) {
            return Err(error);
        }
        let limit = response_limit - AROUND;
        Ok(Self { has_columns, columns: header.columns, columns_size, limit })
    }

    /// Rows by part; none for no rows.
    fn split(&mut self, rows: Vec<Row>) -> Result<Vec<ResultSet>> {
        let chunks = messages(rows, self.limit)?;
        let mut parts = Vec::with_capacity(1);
        for rows in chunks {
            if self.columns_size > 0 {
                let size: usize = rows.iter().map(encoded_row_size).sum();
                if size + self.columns_size > self.limit {
                    parts.push(self.part(Vec::new()));
                }
            }
            parts.push(self.part(rows));
        }
        Ok(parts)
    }

    fn part(&mut self, rows: Vec<Row>) -> ResultSet {
        self.columns_size = 0;
        let columns = std::mem::take(&mut self.columns);
        ResultSet { has_columns: self.has_columns, columns, rows, ..ResultSet::default() }
    }
}

fn admit(
    query: TransactQuery,
    database: &Database,
    limits: Limits,
    context: &Arc<CallContext>,
) -> Result<(Statement, Bounds)> {
    let TransactQuery { sql, parameters, options } = query;
    let analysis = database.admit_statement(&sql, &parameters, Place::Transaction)?;
    let options = options.unwrap_or_default();
    check_options(&options)?;
    let deadline = database.command_deadline(timeout(&options)?, limits);
    // Large results come in several replies, so that the server needs no cap.
    let bounds = Bounds { rows: u64::MAX, bytes: u64::MAX }.lowered(&options);
    context.runs(&analysis.summary);
    let context = Arc::clone(context);
    // The transaction itself has its mode.
    let read_only = false;
    Ok((Statement { sql, parameters, analysis, read_only, deadline, context }, bounds))
}

fn check_options(options: &QueryOptions) -> Result<()> {
    check_tag(&options.tag, "options.tag")?;
    let foreign = [
        ("access_mode", options.access_mode != 0, "the access mode is begin's"),
        ("idempotent", options.idempotent, "a transaction is never repeated by the server"),
        ("idempotency_key", !options.idempotency_key.is_empty(), "the key is begin's"),
    ];
    match foreign.into_iter().find(|(_, set, _)| *set) {
        None => Ok(()),
        Some((name, _, why)) => {
            Err(Error::field(ErrorKind::InvalidOption, format!("options.{name}"), why))
        }
    }
}
