//! PostgreSQL's error replies as [`Error`]s.
//!
//! The meaning of a SQLSTATE is decided here and nowhere else, and so is what an error may disclose:
//! messages quote rows. This module sees one reply and not what was in flight: its callers know
//! whether a lost connection leaves a write in doubt, and whether a standby was expected.
//!
//! [`Error`]: crate::error::Error

mod copy_place;
mod error_reply;
mod from_reply;
pub(crate) mod redaction;
mod sqlstate_names;

pub(crate) use copy_place::copy_place;
pub(crate) use error_reply::{
    ErrorReply, ends_connection, is_lost_statement, is_misfit, is_stale_plan, is_stale_reference,
    is_terminated,
};
pub(crate) use from_reply::{from_statement, report};
