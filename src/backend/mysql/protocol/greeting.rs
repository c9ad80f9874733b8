//! The greeting of a server: what it is and what it can do.

use std::fmt;

use mysql_common::constants::{CapabilityFlags, MariadbCapabilities};
use mysql_common::io::ParseBuf;
use mysql_common::packets::HandshakePacket;
use mysql_common::proto::MyDeserialize;

use super::packet_stream::StreamFailure;
use super::server_error::ServerError;

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    MariaDb,
    MySql,
}

impl Flavor {
    /// OpenTelemetry's `db.system.name`.
    pub(crate) fn system_name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
        }
    }
}

/// A server's version, as its greeting tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerVersion {
    pub(crate) flavor: Flavor,
    /// Major, minor, patch.
    pub(crate) number: (u16, u16, u16),
    /// The whole text.
    pub(crate) text: String,
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.number;
        let name = match self.flavor {
            Flavor::MariaDb => "MariaDB",
            Flavor::MySql => "MySQL",
        };
        write!(f, "{name} {major}.{minor}.{patch}")
    }
}

impl ServerVersion {
    /// Returns true for the versions that are supported: from MariaDB 10.6 and MySQL 8.0.22 on.
    pub(crate) fn is_supported(&self) -> bool {
        match self.flavor {
            Flavor::MariaDb => self.number >= (10, 6, 0),
            Flavor::MySql => self.number >= (8, 0, 22),
        }
    }
}

/// The greeting of a server.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) version: ServerVersion,
    pub(crate) thread_id: u32,
    pub(crate) capabilities: CapabilityFlags,
    pub(crate) mariadb_capabilities: MariadbCapabilities,
    pub(crate) nonce: Vec<u8>,
    /// The way of authentication that the server begins with.
    pub(crate) auth_plugin: Vec<u8>,
}

/// The answer to a new connection.
pub(crate) enum Welcome {
    Greeting(Box<Greeting>),
    /// It takes no connection: it is full, or blocks the host.
    Refused(ServerError),
}

impl Welcome {
    /// Reads the first packet of a connection.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, StreamFailure> {
        if packet.first() == Some(&0xFF) {
            let error = ServerError::parse(packet);
            return error.map(Self::Refused).ok_or(StreamFailure::Malformed("the refusal"));
        }
        let malformed = |_| StreamFailure::Malformed("the greeting");
        let parsed = HandshakePacket::deserialize((), &mut ParseBuf(packet)).map_err(malformed)?;
        let text = parsed.server_version_str().into_owned();
        let maria = parsed.maria_db_server_version_parsed();
        let flavor = if maria.is_some() || text.contains("MariaDB") {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        };
        let number = maria.or_else(|| parsed.server_version_parsed());
        let number = number.ok_or(StreamFailure::Malformed("the version in the greeting"))?;
        Ok(Self::Greeting(Box::new(Greeting {
            version: ServerVersion { flavor, number, text },
            thread_id: parsed.connection_id(),
            capabilities: parsed.capabilities(),
            mariadb_capabilities: parsed.mariadb_ext_capabilities(),
            nonce: parsed.nonce(),
            auth_plugin: parsed.auth_plugin_name_ref().unwrap_or_default().to_vec(),
        })))
    }
}
