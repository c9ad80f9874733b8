//! Rowgate: one binary between services in any language and their databases.
//!
//! The modules, from the top. Each uses only those below it; neighbours in one group never use each other (`tests/it/tidy`
//! checks it):
//!
//! 1. [`cli`]: the command line; above it `fuzzing`, the doors of `fuzz/`, which no other build has.
//! 2. [`app`]: the composition root: workers, signals, shutdown.
//! 3. [`grpc`], [`ops`]: the transports: gRPC for services, HTTP for operators.
//! 4. [`engine`]: the calls, independent of transport and database; [`migrations`], [`schema_dump`]: definitions that
//!    files change, and their text.
//! 5. [`backend`]: the databases behind one trait.
//! 6. [`pool`], [`resilience`], [`sql`], [`access`]: connections, decisions after failures, the analysis of statements, the
//!    rights of callers.
//! 7. [`telemetry`], [`last_read`]: logs, traces and metrics; files that are watched.
//! 8. [`error`], [`deadline`], [`wire_size`]: the shared types of a call.
//! 9. [`value`], [`config`], [`clock`], [`printable`], [`planted_bug`]: the foundation.

pub mod access;
pub mod app;
mod backend;
pub mod cli;
mod clock;
pub mod config;
mod deadline;
mod engine;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grpc;
mod last_read;
mod migrations;
mod ops;
mod planted_bug;
mod pool;
mod printable;
mod resilience;
mod schema_dump;
mod sql;
pub mod telemetry;
pub mod value;
mod wire_size;
