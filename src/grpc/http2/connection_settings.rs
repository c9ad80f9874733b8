//! The settings of connections.

use std::time::Duration;

use super::transport::ServedVersions;
use crate::config::{Config, Grpc};

/// The settings of connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    pub(super) grpc: Grpc,
    pub(super) versions: ServedVersions,
    /// The time for the head of a request over HTTP/1.1.
    pub(super) header_timeout: Duration,
    /// The time for which a reader over HTTP/1.1 may take nothing.
    pub(super) stall_timeout: Duration,
}

impl ConnectionSettings {
    pub(crate) fn new(config: &Config) -> Self {
        let versions = if config.web.enabled { ServedVersions::All } else { ServedVersions::Http2 };
        Self {
            grpc: config.grpc.clone(),
            versions,
            header_timeout: config.web.header_timeout,
            stall_timeout: config.stream.stall_timeout,
        }
    }
}
