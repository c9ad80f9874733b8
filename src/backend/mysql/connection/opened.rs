//! A connection as the connector hands it on, and the facts of its server.

use std::sync::Arc;

use super::connection_state::ConnectionState;
use crate::backend::mysql::protocol::greeting::ServerVersion;
use crate::backend::mysql::protocol::packet_stream::PacketStream;

pub(crate) struct OpenedConnection {
    pub(crate) packets: PacketStream,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) server: Arc<ServerFacts>,
    /// The statement that sets the baseline of the session, after a reset.
    pub(crate) baseline: Arc<str>,
    pub(crate) schema: Option<Arc<str>>,
    /// Columns are described with MariaDB's extended types.
    pub(crate) has_extended_types: bool,
}

/// The facts of a server, as a new connection finds them.
#[derive(Debug, Clone)]
pub(crate) struct ServerFacts {
    pub(crate) version: ServerVersion,
    /// The largest packet that the server takes; a larger one costs the connection.
    pub(crate) max_allowed_packet: usize,
    /// It takes writes.
    pub(crate) takes_writes: bool,
    /// It is a node of a Galera cluster.
    pub(crate) is_galera: bool,
    /// The name that the server has for itself; empty if it has none.
    pub(crate) uuid: String,
    /// The role that the login has: no reset brings it back after a SET ROLE.
    pub(crate) role: String,
    /// It has engines with transactions beside InnoDB, of which it is not known what a rollback leaves.
    pub(crate) has_other_transactions: bool,
    /// The second of its start since 1970, by its own clock; a second more or less.
    pub(crate) started: u64,
}
