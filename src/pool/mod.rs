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
mod queue;
mod refill;
mod shard;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

pub use acquire::Pool;
pub use admin::{PoolAdmin, PoolBounds};
pub use call_context::{CallContext, CheckoutHolder};
pub use checkout::Checkout;
pub use checkout_registry::{CheckoutInfo, ConnectionActivity};
pub use manager::Manager;
pub use snapshot::{CloseReason, PoolSnapshot};
