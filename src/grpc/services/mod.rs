//! The services of the contract, one file or folder each.

pub(crate) mod database_service;
pub(crate) mod health_service;
pub(crate) mod pool_service;
mod proto_convert;
pub(crate) mod server_service;
mod transact_streams;
