//! PostgreSQL, over `tokio-postgres`.

pub mod codec;
pub mod error;
mod redact;
pub mod sqlstate;
