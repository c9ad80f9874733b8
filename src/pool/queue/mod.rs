//! The queue of callers that wait for a connection.

pub(crate) mod admission;
mod fair_queue;
mod wait_estimate;
