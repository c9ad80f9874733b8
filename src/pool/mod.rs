//! A connection pool: connections are opened once and checked out many times.
//!
//! Generic over the connection; knows no SQL. The worker that opened a connection drives it, so there is one
//! shard (a deadpool pool) per worker. One fair queue and one bound stand over all shards: a worker takes its
//! own idle connection first, opens one while the bound allows it, and else takes one of another worker's. A
//! maintenance task on each worker evicts idle connections and keeps `pool.min` open.

mod acquire;
mod admin;
mod call_context;
mod checkout;
mod checkout_registry;
mod counters;
mod lifetime;
mod maintenance;
mod manager;
mod pool_state;
mod queue;
mod rebalance;
mod refill;
mod shard;
mod shard_manager;
mod snapshot;
mod surplus;
#[cfg(test)]
mod tests;

pub(crate) use acquire::Pool;
pub(crate) use admin::{PoolAdmin, PoolBounds};
pub(crate) use call_context::{CallContext, Termination};
pub(crate) use checkout::Checkout;
pub(crate) use checkout_registry::{CheckoutInfo, ConnectionActivity};
pub(crate) use manager::Manager;
pub(crate) use snapshot::{CloseReason, LaneCounts, LaneDemotion, PoolSnapshot};
