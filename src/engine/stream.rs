//! StreamQuery: one statement, an unbounded result in constant memory.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::Engine;
use super::admit::Bounds;
use crate::backend::{Fill, RowSink, RowStream, Statement, encoded_row_size};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{Column, QueryRequest, Row};

/// A batch is sent when it has this size, in bytes.
const BATCH: usize = 64 << 10;
/// A batch that is not full is sent when it is this old.
const LINGER: Duration = Duration::from_millis(20);

/// A part of a streamed result.
#[derive(Debug)]
pub enum Part {
    /// The columns; `None` when the statement returns no rows at all.
    Header(Option<Vec<Column>>),
    /// Some rows.
    Rows(Vec<Row>),
    /// The end of a complete result.
    Summary(Summary),
}

/// The end of a complete result.
#[derive(Debug)]
pub struct Summary {
    /// Rows inserted, updated, deleted or merged.
    pub rows_affected: u64,
    /// The command as the database names it.
    pub command: String,
    /// Rows streamed.
    pub row_count: u64,
}

impl Engine {
    /// Starts one statement; its parts come through the channel, an error as the last of them.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn stream(
        self: &Arc<Self>,
        request: QueryRequest,
        grpc_timeout: Option<Duration>,
    ) -> Result<Receiver<Result<Part>>> {
        let database = self.database(&request.database)?;
        let unbounded = Bounds { rows: u64::MAX, bytes: u64::MAX };
        // A stream without a deadline of its caller's gets the longest one.
        let grpc_timeout = grpc_timeout.or(Some(database.limits.cap.saturating_mul(2)));
        let (statement, bounds) = database.prepare(request, grpc_timeout, unbounded)?;
        let (parts, receiver) = channel(1);
        let deadline = statement.deadline;
        let backend = Arc::clone(&database.backend);
        let outlet = Outlet {
            parts,
            bounds,
            stall_timeout: self.stall_timeout,
            response_limit: self.response_limit,
            deadline: Instant::from_std(deadline.instant()),
        };
        tokio::spawn(async move { outlet.serve(&*backend, statement).await });
        Ok(receiver)
    }
}

/// Where the parts go.
struct Outlet {
    parts: Sender<Result<Part>>,
    bounds: Bounds,
    stall_timeout: Duration,
    response_limit: usize,
    deadline: Instant,
}

/// How sending a part can fail.
enum Unsent {
    /// The reader has gone.
    Gone,
    /// The reader takes nothing.
    Stalled,
}

impl Outlet {
    /// Runs the statement; a reader that goes away ends it at whatever it is waiting for.
    async fn serve(self, backend: &dyn crate::backend::Backend, statement: Statement) {
        let parts = self.parts.clone();
        tokio::select! {
            ended = self.run(backend, statement) => {
                if let Err(error) = ended {
                    drop(tokio::time::timeout(self.stall_timeout, parts.send(Err(error))).await);
                }
            }
            () = parts.closed() => {}
        }
    }

    async fn run(&self, backend: &dyn crate::backend::Backend, statement: Statement) -> Result<()> {
        let stream = backend.execute(Arc::new(statement)).await?;
        let columns = stream.columns().map(<[_]>::to_vec);
        let has_columns = columns.is_some();
        let Some(mut stream) = self.send(stream, Part::Header(columns)).await? else {
            return Ok(());
        };
        let (mut count, mut bytes) = (0, 0);
        let mut sink = RowSink::new(BATCH);
        let mut linger = Duration::ZERO;
        let mut open = has_columns;
        while open {
            let filled = batch(&mut *stream, &mut sink, linger).await?;
            linger = LINGER;
            count += u64::try_from(sink.len()).unwrap_or(u64::MAX);
            bytes += u64::try_from(sink.bytes()).unwrap_or(u64::MAX);
            if let Some(error) = self.bounds.exceeded(count, bytes) {
                return Err(error.with_outcome(stream.abandon().await));
            }
            let messages = match messages(sink.take(), self.response_limit) {
                Ok(messages) => messages,
                Err(error) => return Err(error.with_outcome(stream.abandon().await)),
            };
            for rows in messages {
                let Some(same) = self.send(stream, Part::Rows(rows)).await? else {
                    return Ok(());
                };
                stream = same;
            }
            open = filled != Some(Fill::Done);
        }
        let end = stream.finish().await?;
        let (rows_affected, command) = (end.rows_affected, end.command);
        let summary = Summary { rows_affected, command, row_count: count };
        drop(self.parts.send(Ok(Part::Summary(summary))).await);
        Ok(())
    }

    /// Sends a part while the stream waits; `None` when the reader has gone.
    async fn send(
        &self,
        stream: Box<dyn RowStream>,
        part: Part,
    ) -> Result<Option<Box<dyn RowStream>>> {
        match self.offer(part).await {
            Ok(()) => Ok(Some(stream)),
            Err(Unsent::Gone) => Ok(None),
            Err(Unsent::Stalled) => {
                let outcome = stream.abandon().await;
                Err(self.stalled().with_outcome(outcome))
            }
        }
    }

    async fn offer(&self, part: Part) -> Result<(), Unsent> {
        let until = self.deadline.min(Instant::now() + self.stall_timeout);
        match tokio::time::timeout_at(until, self.parts.send(Ok(part))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(Unsent::Gone),
            Err(_elapsed) => Err(Unsent::Stalled),
        }
    }

    fn stalled(&self) -> Error {
        if Instant::now() >= self.deadline {
            let message = "the deadline passed while the reader took nothing";
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        let limit = humantime::format_duration(self.stall_timeout);
        Error::new(ErrorKind::StreamStalled, format!("the reader took nothing for {limit}"))
    }
}

/// Fills a batch: until it is full, or `linger` has passed and it has rows. `None`: there may be more.
async fn batch(
    stream: &mut dyn RowStream,
    sink: &mut RowSink,
    linger: Duration,
) -> Result<Option<Fill>> {
    let mut timer = std::pin::pin!(tokio::time::sleep(linger));
    std::future::poll_fn(|cx| match stream.poll_rows(cx, sink) {
        Poll::Ready(filled) => Poll::Ready(filled.map(Some)),
        Poll::Pending if sink.is_empty() => Poll::Pending,
        Poll::Pending => timer.as_mut().poll(cx).map(|()| Ok(None)),
    })
    .await
}

/// Rows by message: none is over `limit` bytes.
fn messages(rows: Vec<Row>, limit: usize) -> Result<Vec<Vec<Row>>> {
    // The message around the rows: two tags and two lengths.
    let limit = limit.saturating_sub(32);
    let mut messages = Vec::with_capacity(1);
    let (mut message, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let size = encoded_row_size(&row);
        if size > limit {
            let text = format!("a row has {size} bytes, more than a message may have");
            return Err(Error::new(ErrorKind::RowTooLarge, text)
                .with_hint("Select less of it, or raise grpc.max_response_size."));
        }
        if bytes + size > limit {
            messages.push(std::mem::take(&mut message));
            bytes = 0;
        }
        bytes += size;
        message.push(row);
    }
    if !message.is_empty() {
        messages.push(message);
    }
    Ok(messages)
}
