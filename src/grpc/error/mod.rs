//! Errors as gRPC statuses.

pub(crate) mod grpc_status;
pub(crate) mod respond;
