//! Rowgate: one binary between services in any language and their databases.
//!
//! The modules, from the top. Each uses only those below it; neighbours in one group never use each other (`tests/it/tidy`
//! checks it):
//!
//! 1. [`cli`]: the command line.
//! 2. [`app`]: the composition root: workers, signals, shutdown.
//! 3. [`grpc`], [`ops`]: the transports: gRPC for services, HTTP for operators.
//! 4. [`engine`]: the calls, independent of transport and database.
//! 5. [`backend`]: the databases behind one trait.
//! 6. [`pool`], [`resilience`], [`sql`]: connections, decisions after failures, the analysis of statements.
//! 7. [`telemetry`]: logs, traces and metrics.
//! 8. [`error`], [`deadline`], [`wire_size`]: the shared types of a call.
//! 9. [`value`], [`config`], [`clock`], [`planted_bug`]: the foundation.

pub mod app;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod engine;
pub mod error;
pub mod grpc;
pub mod ops;
pub mod planted_bug;
pub mod pool;
pub mod resilience;
pub mod sql;
pub mod telemetry;
pub mod value;
pub mod wire_size;
