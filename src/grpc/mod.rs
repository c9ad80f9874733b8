//! The gRPC transport.

pub mod client;
