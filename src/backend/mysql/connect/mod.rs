//! Opening connections: the login, the settings that every session begins with, and the facts of the server.

mod baseline;
mod connect_failure;
pub(crate) mod connector;
pub(crate) mod server_questions;
mod writable_servers;

pub(crate) use connect_failure::TOO_MANY_CONNECTIONS;
pub(crate) use connector::Connector;
