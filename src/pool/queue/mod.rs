//! The queue of callers that wait for a connection.

pub(crate) mod admission;
pub(crate) mod fair_queue;
pub(crate) mod wait_estimate;
