//! The data of a CopyIn, as its caller sends it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::timeout_at;

use super::request_hash::DataHash;
use crate::backend::copy::CopyData;
use crate::clock::now;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::proto::copy_in_request::Part;

/// The parts of a caller's request. It ends with `None`, or with the error of a part that cannot be read.
pub(crate) type CopyParts = BoxStream<'static, Result<Part>>;

/// The data of a caller.
pub(super) struct CallerData {
    pub(super) parts: CopyParts,
    pub(super) stall_timeout: Duration,
    /// The data is bytes, not rows.
    pub(super) has_bytes: bool,
    /// The hash of the data so far, where there is a key.
    pub(super) hash: Option<DataHash>,
}

impl CallerData {
    /// The next data; `None` at its end. Fails when the caller goes away, or sends nothing in time.
    pub(super) async fn next(&mut self, deadline: Deadline) -> Result<Option<CopyData>> {
        let stall = now() + self.stall_timeout;
        let until = deadline.instant().min(stall);
        let part = match timeout_at(until.into(), self.parts.next()).await {
            Ok(Some(part)) => part?,
            Ok(None) => return Err(not_ended()),
            Err(_elapsed) if until == stall => return Err(stalled(self.stall_timeout)),
            Err(_elapsed) => {
                let message = "the deadline passed before all data was received";
                return Err(Error::new(ErrorKind::DeadlineExceeded, message));
            }
        };
        match part {
            Part::Data(bytes) if self.has_bytes => {
                self.hash.iter_mut().for_each(|hash| hash.bytes(&bytes));
                Ok(Some(CopyData::Bytes(bytes)))
            }
            Part::Rows(batch) if !self.has_bytes => {
                self.hash
                    .iter_mut()
                    .for_each(|hash| batch.rows.iter().for_each(|row| hash.row(row)));
                Ok(Some(CopyData::Rows(batch.rows)))
            }
            Part::End(_) => Ok(None),
            Part::Start(_) => Err(wrong_part("start", "it is the first message alone")),
            Part::Data(_) => Err(wrong_part("data", "COPY_FORMAT_ROWS has rows")),
            Part::Rows(_) => Err(wrong_part("rows", "only COPY_FORMAT_ROWS has rows")),
        }
    }
}

pub(super) fn wrong_part(field: &str, description: &str) -> Error {
    Error::field(ErrorKind::InvalidCommand, field, description)
}

fn not_ended() -> Error {
    let message = "the stream was closed before the end of the data, and was rolled back";
    Error::new(ErrorKind::NotCommitted, message).with_hint(
        "Send end as the last message; some clients close the stream when their iterator fails.",
    )
}

pub(super) fn stalled(limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    let message = format!("the caller sent nothing for {limit}");
    Error::new(ErrorKind::StreamStalled, message).with_outcome(Outcome::NotApplied)
}
