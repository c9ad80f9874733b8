//! Query: one statement, a bounded result.

use std::sync::Arc;
use std::time::Duration;

use super::admit::Bounds;
use super::{Database, Engine};
use crate::backend::{Fill, RowSink, fill};
use crate::error::Result;
use crate::value::proto::{QueryRequest, QueryResponse, ResultSet};

/// Rows are taken from the backend in portions of this size, in bytes.
const PORTION: usize = 64 << 10;

impl Engine {
    /// Runs one statement and returns its whole result.
    ///
    /// # Errors
    /// Why it did not run, or `ResultTooLarge`; the outcome is in the error.
    pub async fn query(
        &self,
        request: QueryRequest,
        grpc_timeout: Option<Duration>,
    ) -> Result<QueryResponse> {
        let database = self.database(&request.database)?;
        let result = database.query(request, grpc_timeout).await?;
        Ok(QueryResponse { result: Some(result), attempts: 1, replayed: false })
    }
}

impl Database {
    async fn query(
        &self,
        request: QueryRequest,
        grpc_timeout: Option<Duration>,
    ) -> Result<ResultSet> {
        let server = Bounds { rows: self.max_rows, bytes: self.max_bytes };
        let (statement, bounds) = self.prepare(request, grpc_timeout, server)?;
        let mut stream = self.backend.execute(Arc::new(statement)).await?;
        let mut sink = RowSink::new(PORTION);
        let mut rows = Vec::new();
        let mut bytes: u64 = 0;
        let columns = stream.columns().map(<[_]>::to_vec);
        while columns.is_some() {
            let filled = fill(&mut *stream, &mut sink).await?;
            bytes += u64::try_from(sink.bytes()).unwrap_or(u64::MAX);
            rows.append(&mut sink.take());
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            if let Some(error) = bounds.exceeded(count, bytes) {
                return Err(error.with_outcome(stream.abandon().await));
            }
            if filled == Fill::Done {
                break;
            }
        }
        let end = stream.finish().await?;
        Ok(ResultSet {
            has_columns: columns.is_some(),
            columns: columns.unwrap_or_default(),
            rows,
            rows_affected: end.rows_affected,
            command: end.command,
        })
    }
}
