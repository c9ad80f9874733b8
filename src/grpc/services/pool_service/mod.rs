//! rowgate.v1.PoolService: the pools for operators.
//!
//! Knows pools only by [`crate::pool::PoolAdmin`], and nothing about their connections.

mod pool_commands;
pub(crate) mod pool_handler;
mod pool_lookup;
mod stats_message;
mod watch_stream;
