//! Retries: which failures are retried, how often and when.

mod budget;
mod classify;
pub(crate) mod policy;
