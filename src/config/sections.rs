//! The sections that do not belong to a database.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::otel::Otel;

/// `grpc.*`: the listener for services.
#[derive(Debug, Clone)]
pub struct Grpc {
    /// `grpc.listen`
    pub listen: SocketAddr,
    /// `grpc.max_request_size`, in bytes.
    pub max_request_size: usize,
    /// `grpc.max_response_size`, in bytes.
    pub max_response_size: usize,
    /// `grpc.max_concurrent_streams`, for one connection.
    pub max_concurrent_streams: u32,
    /// `grpc.max_connections`
    pub max_connections: usize,
    /// `grpc.keepalive_interval`
    pub keepalive_interval: Duration,
    /// `grpc.keepalive_timeout`
    pub keepalive_timeout: Duration,
    /// `grpc.preface_timeout`: for the first bytes of a connection.
    pub preface_timeout: Duration,
    /// `grpc.max_connection_age`: after it, give or take a tenth, a client is told to connect anew.
    pub max_connection_age: Duration,
    /// `grpc.max_header_size`: of one request, in bytes.
    pub max_header_size: u32,
    /// `grpc.reflection`
    pub reflection: bool,
    /// `grpc.workers`: single-threaded runtimes.
    pub workers: NonZeroUsize,
}

/// `ops.*`: the HTTP listener for operators.
#[derive(Debug, Clone)]
pub struct Ops {
    /// `ops.listen`
    pub listen: SocketAddr,
    /// `ops.max_connections`
    pub max_connections: usize,
    /// `ops.header_timeout`: for the head of a request, from when one may be sent.
    pub header_timeout: Duration,
}

/// `shutdown.*`
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// `shutdown.grace`: from the signal to the exit, whatever clients do.
    pub grace: Duration,
    /// `shutdown.delay`: NOT_SERVING before the listener closes; part of the grace.
    pub delay: Duration,
}

/// `stream.*`
#[derive(Debug, Clone)]
pub struct Stream {
    /// `stream.stall_timeout`: a reader that takes nothing for this long loses its stream.
    pub stall_timeout: Duration,
}

/// `health.*`
#[derive(Debug, Clone)]
pub struct Health {
    /// `health.interval`: between two probes of a database.
    pub interval: Duration,
    /// `health.timeout`: for one probe.
    pub timeout: Duration,
    /// `health.require`: the databases without which the server is not ready.
    pub require: Vec<String>,
}

/// `telemetry.*`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// `telemetry.log_format`; `None`: text on a terminal, else JSON.
    pub log_format: Option<LogFormat>,
    /// `telemetry.log_filter`, in the syntax of `RUST_LOG`.
    pub log_filter: String,
    /// `telemetry.slow_query`: a statement that runs for this long is logged; zero: none is.
    pub slow_query: Duration,
    /// `OTEL_*`
    pub otel: Otel,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
