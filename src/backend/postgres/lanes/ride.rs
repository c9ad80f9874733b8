//! The run of one statement on a lane.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;

use super::candidate::Candidate;
use super::lane::{Lane, LaneFailure, Place};
use crate::backend::Statement;
use crate::backend::postgres::connection::prepared::Prepared;
use crate::clock::now;
use crate::pool::LaneDemotion;
use crate::value::{EncodedRows, RowEncoder, RowsField};

/// The largest result, in encoded bytes.
const LARGEST: usize = 64 << 10;

/// The rows of a statement that ran on a lane.
pub(super) struct LaneResult {
    pub(super) prepared: Arc<Prepared>,
    pub(super) rows: EncodedRows,
}

/// A request in the pipeline of a lane. When it is dropped without an answer, its caller did not wait for that.
struct Request<'a> {
    lane: &'a Lane,
    candidate: &'a Candidate,
    sent_at: Instant,
    is_answered: bool,
}

impl Request<'_> {
    /// Notes the end of its answer.
    fn answered(&mut self) {
        self.is_answered = true;
        let now = now();
        let (took, usual) = self.lane.answered(self.sent_at, now);
        self.candidate.ran_on_lane(took, usual, now);
    }

    /// Notes that the database refused it, or is lost.
    fn failed(&mut self) {
        self.is_answered = true;
        self.lane.answered(self.sent_at, now());
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let now = now();
            let (stood, usual) = self.lane.stood(self.sent_at, now);
            self.candidate.given_up(stood, usual, now);
        }
    }
}

/// Runs a statement, which is prepared first unless it is already.
///
/// # Cancel safety
/// May be dropped at any await: the statement runs to its end, and its rows are dropped.
pub(super) async fn run(
    Place(lane): &Place,
    statement: &Statement,
    candidate: &Candidate,
    sent_at: Instant,
    prepared: Option<Arc<Prepared>>,
) -> Result<LaneResult, LaneFailure> {
    let Statement { sql, parameters, .. } = statement;
    let mut request = Request { lane, candidate, sent_at, is_answered: false };
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => match Box::pin(lane.prepare(sql)).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                request.failed();
                return Err(failure);
            }
        },
    };
    let rows = rows(&mut request, sql, &prepared, parameters).await?;
    Ok(LaneResult { prepared, rows })
}

async fn rows(
    request: &mut Request<'_>,
    sql: &str,
    prepared: &Prepared,
    parameters: &[crate::value::Value],
) -> Result<EncodedRows, LaneFailure> {
    let Ok(parameters) = prepared.encode(parameters) else {
        request.is_answered = true;
        return Err(LaneFailure::Alone);
    };
    let lane = request.lane;
    let started = lane.connection.client.query_raw(&prepared.statement, parameters).await;
    let mut rows = RowEncoder::new(RowsField::OfResult);
    let read = async {
        let mut stream = std::pin::pin!(started?);
        while let Some(row) = stream.next().await {
            if prepared.encode_row(&row?, &mut rows).is_err() {
                return Ok(Err(LaneFailure::Demoted(LaneDemotion::Error)));
            }
            rows.end_row();
            if rows.size() > LARGEST {
                return Ok(Err(LaneFailure::Demoted(LaneDemotion::Large)));
            }
        }
        Ok(Ok(()))
    };
    match read.await {
        Ok(Ok(())) => {
            request.answered();
            Ok(rows.take())
        }
        Ok(Err(failure)) => {
            request.is_answered = true;
            Err(failure)
        }
        Err(error) => {
            request.failed();
            Err(lane.failure(sql, &error))
        }
    }
}
