//! A client of any Rowgate server, for the command line.
//!
//! It turns tonic's types into plain ones, so that its callers never name them.

mod address;
mod call_error;
mod calls;
mod channel;
mod other_service;
mod security;
#[cfg(test)]
pub(crate) mod tests;
mod transaction_stream;

pub(crate) use address::Address;
pub(crate) use call_error::CallError;
pub(crate) use calls::{Health, ResultStream};
pub(crate) use channel::Client;
pub(crate) use security::Security;
pub(crate) use transaction_stream::{CommandFailure, TransactionStream};
