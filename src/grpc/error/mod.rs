//! Errors as gRPC statuses.

pub(crate) mod respond;
pub(crate) mod status;
pub(crate) mod tonic_status;
