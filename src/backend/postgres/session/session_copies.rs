//! The COPYs of a session, from the client and to it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::{CopyInSink, CopyOutStream};

use super::Session;
use super::reset::SessionConnection;
use crate::backend::copy::at_line;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::error::copy_place;
use crate::backend::postgres::protocol::own_copies::CopyDirection;
use crate::backend::postgres::protocol::requests::RequestKind;
use crate::error::{Error, Result};

/// A COPY from the client that runs. Dropped before it is finished, it fails.
pub(crate) type CopySink = Pin<Box<CopyInSink<Bytes>>>;

impl Session {
    /// Starts a prepared COPY from the client; from here on the session is busy until it is finished.
    pub(crate) async fn start_copy_in(
        &mut self,
        sql: &str,
        prepared: &Prepared,
    ) -> Result<CopySink> {
        let start = async |on: &mut Connection| {
            on.protocol.copies().announce(CopyDirection::In);
            on.client.copy_in(&prepared.statement).await
        };
        Ok(Box::pin(self.start_copy(sql, prepared, start).await?))
    }

    /// Starts a prepared COPY to the client; from here on the session is busy until its data is over.
    pub(crate) async fn start_copy_out(
        &mut self,
        sql: &str,
        prepared: &Prepared,
    ) -> Result<CopyOutStream> {
        let start = async |on: &mut Connection| {
            on.protocol.copies().announce(CopyDirection::Out);
            on.client.copy_out(&prepared.statement).await
        };
        self.start_copy(sql, prepared, start).await
    }

    async fn start_copy<T>(
        &mut self,
        sql: &str,
        prepared: &Prepared,
        start: impl AsyncFnOnce(&mut Connection) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let number = self.connection().protocol.last_sent() + 1;
        let kinds = vec![RequestKind::Statement(prepared.name.clone())];
        let database = Arc::clone(&self.database);
        database.statements.fetch_add(1, Relaxed);
        let started = self.request_as(kinds, sql, start).await?;
        self.work.has_begun = true;
        self.in_flight.reads_rows(number);
        Ok(started)
    }

    /// Sends data of a COPY; waits while the server is behind. Returns false if the server takes no more, as it has
    /// failed: why, its end tells.
    pub(crate) async fn send_copy(&mut self, sink: &mut CopySink, data: Bytes) -> Result<bool> {
        let deadline = self.deadline;
        let SessionConnection { checkout, cancel } = self.parts();
        match cancel.watch(deadline, sink.feed(data)).await {
            Some(Ok(())) => Ok(!checkout.protocol.copies().has_failed()),
            Some(Err(error)) => Err(self.failed(error, "")),
            None => Err(self.deadline_passed()),
        }
    }

    /// Ends a COPY into a table; returns the number of its rows.
    pub(crate) async fn finish_copy(&mut self, mut sink: CopySink, table: &str) -> Result<u64> {
        let deadline = self.deadline;
        let SessionConnection { checkout, cancel } = self.parts();
        let protocol = Arc::clone(&checkout.protocol);
        let ending = async {
            let ended = sink.as_mut().finish().await;
            // The count of the rows may come before the answer is complete.
            protocol.quiesce().await;
            ended
        };
        match cancel.watch(deadline, ending).await {
            Some(Ok(rows)) => {
                self.rows_ended()?;
                Ok(rows)
            }
            Some(Err(error)) => {
                let place =
                    error.as_db_error().and_then(|reply| copy_place(reply.where_()?, table));
                let error: Error = self.failed(error, "");
                Err(match place {
                    Some(place) => at_line(error, place.line, place.column.as_deref()),
                    None => error,
                })
            }
            None => Err(self.deadline_passed()),
        }
    }
}
