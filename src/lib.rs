//! Rowgate: one binary between services in any language and their databases.
//!
//! The modules, in the order in which a reader meets them. Each may use only those below it;
//! neighbours in one group never use each other (`tests/it/tidy.rs` checks it):
//!
//! 1. [`cli`]: the command line, a client of everything else.
//! 2. [`app`]: puts the parts together; workers, signals, shutdown.
//! 3. [`grpc`], [`ops`]: the transports: gRPC for services, HTTP for operators.
//! 4. [`engine`]: what a call does, whatever the transport and the database.
//! 5. [`backend`]: the databases behind one trait.
//! 6. [`pool`], [`resilience`], [`sql`]: connections, decisions after failures, statements as text.
//! 7. [`telemetry`][]: logs.
//! 8. [`error`], [`value`], [`config`], [`deadline`]: the vocabulary.

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
