//! A client of any Rowgate server, for the command line.
//!
//! It turns tonic's types into plain ones, so that its callers never name them. It has no TLS yet.

mod address;
mod call_error;
mod channel;
mod database_calls;
mod pool_calls;
#[cfg(test)]
pub(crate) mod tests;

pub use address::Address;
pub use call_error::CallError;
pub use channel::Client;
pub use database_calls::{Health, ResultStream};
pub use pool_calls::PoolWatch;
