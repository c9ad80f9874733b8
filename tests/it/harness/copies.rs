//! CopyIn and CopyOut, as clients call them.

use std::time::Duration;

use rowgate::value::proto::copy_in_request::Part;
use rowgate::value::proto::copy_out_response::Part as OutPart;
use rowgate::value::proto::{
    Column, CopyFormat, CopyInEnd, CopyInRequest, CopyInResponse, CopyInStart, CopyOutRequest,
    CopyTextOptions, Row, RowBatch,
};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::client::{Client, Failure, PATIENCE, with_deadline};

/// The start of a CSV without a header into all columns of a table.
pub(crate) fn csv_into(table: &str) -> CopyInStart {
    into_as(table, CopyFormat::Csv)
}

/// The start of data in a format into all columns of a table.
pub(crate) fn into_as(table: &str, format: CopyFormat) -> CopyInStart {
    CopyInStart { table: table.to_owned(), format: format.into(), ..CopyInStart::default() }
}

/// All rows of a table in a format.
pub(crate) fn out_of(table: &str, format: CopyFormat) -> CopyOutRequest {
    CopyOutRequest { table: table.to_owned(), format: format.into(), ..CopyOutRequest::default() }
}

/// Text with a header.
pub(crate) fn with_header() -> Option<CopyTextOptions> {
    Some(CopyTextOptions { header: true, ..CopyTextOptions::default() })
}

/// The rows that came out.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CopiedOut {
    /// The columns, where the database does not write the data itself.
    pub(crate) columns: Vec<Column>,
    /// The text, or the Arrow stream.
    pub(crate) data: Vec<u8>,
    /// The rows, where they were asked for.
    pub(crate) rows: Vec<Row>,
    /// As the summary counts.
    pub(crate) row_count: u64,
}

impl CopiedOut {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.data).expect("it is text")
    }
}

/// A CopyIn whose data is still to be sent. Dropped, the call is cancelled.
pub(crate) struct OpenCopy {
    parts: Option<Sender<CopyInRequest>>,
    call: Option<JoinHandle<Result<CopyInResponse, Failure>>>,
}

impl OpenCopy {
    /// Sends a part; returns false if the call has ended.
    pub(crate) async fn send(&self, part: Part) -> bool {
        let parts = self.parts.as_ref().expect("not closed");
        parts.send(CopyInRequest { part: Some(part) }).await.is_ok()
    }

    /// Sends text.
    pub(crate) async fn text(&self, text: &str) -> bool {
        self.send(Part::Data(text.as_bytes().to_vec())).await
    }

    /// Sends the end, and waits for the answer.
    pub(crate) async fn end(mut self) -> Result<CopyInResponse, Failure> {
        self.send(Part::End(CopyInEnd {})).await;
        self.answer().await
    }

    /// Closes the stream without an end, and waits for the answer.
    pub(crate) async fn close(mut self) -> Result<CopyInResponse, Failure> {
        self.parts = None;
        self.answer().await
    }

    /// Waits for the answer while the stream stays open.
    pub(crate) async fn answer(&mut self) -> Result<CopyInResponse, Failure> {
        self.call.take().expect("it was not asked before").await.expect("the call does not panic")
    }
}

impl Drop for OpenCopy {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            // The stream of parts must not end before the call does: that would be another event.
            call.abort();
        }
    }
}

impl Client {
    /// Starts to copy in.
    pub(crate) async fn open_copy(
        &self,
        start: CopyInStart,
        deadline: Option<Duration>,
    ) -> OpenCopy {
        let (sender, parts) = channel(4);
        let mut client = self.raw();
        let call = tokio::spawn(async move {
            let requests = ReceiverStream::new(parts);
            let answer = match deadline {
                Some(deadline) => client.copy_in(with_deadline(requests, deadline)).await,
                None => client.copy_in(requests).await,
            };
            answer.map(tonic::Response::into_inner).map_err(Failure::from)
        });
        let open = OpenCopy { parts: Some(sender), call: Some(call) };
        open.send(Part::Start(start)).await;
        open
    }

    /// Copies text in, cut into pieces of this many bytes.
    pub(crate) async fn copy_text(
        &self,
        start: CopyInStart,
        text: &str,
        piece: usize,
    ) -> Result<CopyInResponse, Failure> {
        self.copy_bytes(start, text.as_bytes(), piece).await
    }

    /// Copies bytes in, cut into pieces of this many.
    pub(crate) async fn copy_bytes(
        &self,
        start: CopyInStart,
        bytes: &[u8],
        piece: usize,
    ) -> Result<CopyInResponse, Failure> {
        let open = self.open_copy(start, Some(PATIENCE)).await;
        for piece in bytes.chunks(piece) {
            if !open.send(Part::Data(piece.to_vec())).await {
                break;
            }
        }
        open.end().await
    }

    /// Copies rows in, a message for each of these lists.
    pub(crate) async fn copy_rows(
        &self,
        start: CopyInStart,
        batches: Vec<Vec<Row>>,
    ) -> Result<CopyInResponse, Failure> {
        let open = self.open_copy(start, Some(PATIENCE)).await;
        for rows in batches {
            if !open.send(Part::Rows(RowBatch::new(rows))).await {
                break;
            }
        }
        open.end().await
    }

    /// Copies out to the end.
    pub(crate) async fn copy_out(&self, request: CopyOutRequest) -> Result<CopiedOut, Failure> {
        let mut parts = self.raw().copy_out(with_deadline(request, PATIENCE)).await?.into_inner();
        let mut copied = CopiedOut::default();
        let mut is_complete = false;
        let mut number = 0;
        while let Some(message) = parts.message().await? {
            assert!(!is_complete, "nothing follows the summary");
            match message.part.expect("a message has a part") {
                OutPart::Header(header) => {
                    assert_eq!(number, 0, "the header is first");
                    copied.columns = header.columns;
                }
                OutPart::Rows(batch) => copied.rows.extend(batch.rows),
                OutPart::Data(data) => copied.data.extend(data),
                OutPart::Summary(summary) => {
                    is_complete = true;
                    copied.row_count = summary.row_count;
                }
            }
            number += 1;
        }
        assert!(is_complete, "a stream that ended well has a summary");
        Ok(copied)
    }
}
