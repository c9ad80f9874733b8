//! CopyIn and CopyOut: the parts of their streams.

use std::error::Error as _;

use futures_util::StreamExt;
use tonic::{Status, Streaming};

use crate::engine::CopyParts;
use crate::error::{Error, ErrorKind};
use crate::grpc::respond::request_error;
use crate::value::proto::copy_in_request::Part as InPart;
use crate::value::proto::copy_out_response::Part as OutPart;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{CopyInRequest, CopyOutResponse, CopyOutSummary};

/// The parts of a CopyIn, none of which is read ahead: HTTP/2's flow control stops the caller.
pub(crate) fn parts(requests: Streaming<CopyInRequest>, max_request_size: usize) -> CopyParts {
    requests.map(move |request| part(request, max_request_size)).boxed()
}

fn part(request: Result<CopyInRequest, Status>, max_request_size: usize) -> Result<InPart, Error> {
    let missing = || Error::field(ErrorKind::InvalidCommand, "part", "no part is set");
    match request {
        Ok(request) => request.part.ok_or_else(missing),
        Err(status) => {
            // Errors of the transport have a source; errors of the message have none.
            let own = request_error(&status, max_request_size);
            Err(own.filter(|_| status.source().is_none()).unwrap_or_else(disconnected))
        }
    }
}

fn disconnected() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller disconnected, and its rows were rolled back")
}

/// The part of a CopyOut for a part of a stream.
pub(crate) fn response(part: Part) -> CopyOutResponse {
    let part = match part {
        Part::Header(header) => OutPart::Header(header),
        Part::Rows(rows) => OutPart::Rows(rows),
        Part::Arrow(bytes) => OutPart::Data(bytes),
        // No form of a CopyOut has them.
        Part::Json(_) => OutPart::Data(Vec::new()),
        Part::Summary(summary) => {
            // What the database itself has written is counted by it: there may be a header among the lines.
            let is_written = summary.command == "COPY";
            let row_count = if is_written { summary.rows_affected } else { summary.row_count };
            OutPart::Summary(CopyOutSummary { row_count })
        }
    };
    CopyOutResponse { part: Some(part) }
}
