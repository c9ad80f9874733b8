//! The services of the contract, one file each.

pub(crate) mod database_service;
pub(crate) mod health_service;
pub(crate) mod pool_service;
pub(crate) mod server_service;
pub(crate) mod transact_streams;
