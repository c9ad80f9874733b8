//! A statement in a transaction: its rows in replies of bounded size.

use std::sync::Arc;
use std::time::Duration;

use super::ReplyBody;
use super::owner::{Broken, Open, Owner};
use crate::backend::{Fill, RowSink, Statement};
use crate::engine::admit::{Bounds, Place, check_tag, timeout};
use crate::engine::stream::{BATCH, LINGER, batch, messages};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{QueryOptions, ResultSet, Row, TransactQuery};

impl Owner {
    /// Runs a statement and replies with its result, in as many parts as it takes.
    pub(super) async fn query(
        &mut self,
        query: TransactQuery,
        open: &mut Open<'_>,
    ) -> Result<(), Broken> {
        let options = query.options.clone().unwrap_or_default();
        let statement = admit(query, &options, open).map_err(Broken::Command)?;
        let unbounded = Bounds { rows: u64::MAX, bytes: u64::MAX };
        let bounds = unbounded.lowered(&options);
        let limits = open.limits;
        let started = open.transaction.query(Arc::new(statement)).await;
        let mut stream = started.map_err(Broken::Command)?;
        let mut columns = stream.columns().map(<[_]>::to_vec);
        let has_columns = columns.is_some();
        let mut part = |rows: Vec<Row>| ResultSet {
            has_columns,
            columns: columns.take().unwrap_or_default(),
            rows,
            ..ResultSet::default()
        };
        let (mut count, mut bytes) = (0, 0);
        let mut sink = RowSink::new(BATCH);
        let mut linger = Duration::ZERO;
        let mut last = Vec::new();
        let mut more = has_columns;
        while more {
            let filled = batch(&mut *stream, &mut sink, linger).await.map_err(Broken::Command)?;
            linger = LINGER;
            more = filled != Some(Fill::Done);
            count += u64::try_from(sink.len()).unwrap_or(u64::MAX);
            bytes += u64::try_from(sink.bytes()).unwrap_or(u64::MAX);
            let split = match bounds.exceeded(count, bytes) {
                Some(error) => Err(error),
                None => messages(sink.take(), self.engine.response_limit),
            };
            let mut split = match split {
                Ok(split) => split,
                Err(error) => {
                    stream.abandon().await;
                    return Err(Broken::Command(error));
                }
            };
            if !more {
                last = split.pop().unwrap_or_default();
            }
            for rows in split {
                let body = ReplyBody::Result { result_set: part(rows), more: true };
                self.reply(body, limits).await.map_err(Broken::Stream)?;
            }
        }
        let end = stream.finish().await.map_err(Broken::Command)?;
        let (rows_affected, command) = (end.rows_affected, end.command);
        let result_set = ResultSet { rows_affected, command, ..part(last) };
        let body = ReplyBody::Result { result_set, more: false };
        self.reply(body, limits).await.map_err(Broken::Stream)
    }
}

fn admit(query: TransactQuery, options: &QueryOptions, open: &Open<'_>) -> Result<Statement> {
    let TransactQuery { sql, parameters, .. } = query;
    let analysis = open.database.admit_statement(&sql, &parameters, Place::Transaction)?;
    check_tag(&options.tag, "query.options.tag")?;
    let foreign = [
        ("access_mode", options.access_mode != 0),
        ("idempotent", options.idempotent),
        ("idempotency_key", !options.idempotency_key.is_empty()),
    ];
    if let Some((name, _)) = foreign.iter().find(|(_, set)| *set) {
        let description = "this belongs to begin";
        let field = format!("query.options.{name}");
        return Err(Error::field(ErrorKind::InvalidOption, field, description));
    }
    let deadline = open.database.command_deadline(timeout(options)?, open.limits);
    open.borrower.runs(&analysis.summary);
    let borrower = Arc::clone(&open.borrower);
    // The transaction itself has its mode.
    Ok(Statement { sql, parameters, analysis, read_only: false, deadline, borrower })
}
