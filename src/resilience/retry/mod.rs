//! Retries: which failures are retried, and the budget that bounds them.

pub(crate) mod budget;
pub(crate) mod classify;
