//! A unit of work in one or two flights: everything is sent at once, and one round trip brings it back.
//!
//! Without a key and without expectations one flight is enough: BEGIN, the statements, the number of the
//! transaction, the commit. With either, the commit waits until the results are known.

use std::sync::Arc;

use super::codec;
use super::commit::{COMMIT, begin, controls_transaction, was_controlled};
use super::connection::Prepared;
use super::flight::{Answer, Failure, Flight, Room, Step};
use super::keys;
use super::lease::Lease;
use super::run::completion;
use super::token::CURRENT;
use crate::backend::{Batch, BatchResult, IdempotencyKey};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::proto::ResultSet;

type Answered = std::result::Result<Answer, Failure>;

/// A unit at work on a connection.
pub(super) struct Unit<'a> {
    batch: &'a Batch,
    lease: Lease,
    prepared: Vec<Arc<Prepared>>,
    claim: Option<Arc<Prepared>>,
    incarnation: String,
}

impl<'a> Unit<'a> {
    /// Runs a unit; an error says whether another connection may do better.
    pub(super) async fn run(
        batch: &'a Batch,
        lease: Lease,
    ) -> std::result::Result<BatchResult, (Error, bool)> {
        let mut unit =
            Self { batch, lease, prepared: Vec::new(), claim: None, incarnation: String::new() };
        match unit.prepare().await {
            Ok(true) => {}
            // A statement that needs what an earlier one makes cannot be prepared before that has run.
            Ok(false) => return super::sequence::run(batch, unit.lease).await.map_err(|error| (error, false)),
            Err(error) => return Err((error, unit.lease.blameless)),
        }
        let parameters = match unit.parameters() {
            Ok(parameters) => parameters,
            Err(error) => return Err((error, false)),
        };
        let waits = batch.key.is_some() || batch.statements.iter().any(|one| one.expect.is_some());
        if waits { unit.in_two(parameters).await } else { unit.in_one(parameters).await }
    }
}
