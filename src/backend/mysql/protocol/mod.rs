//! The client's side of the protocol of MySQL and MariaDB: packets, the login, and the answers to commands.
//!
//! Nothing that a server sends can make a reader panic: each is bounds-checked and fuzzed.

pub(crate) mod answers;
pub(crate) mod column_definition;
pub(crate) mod commands;
pub(crate) mod greeting;
pub(crate) mod length_encoded;
pub(crate) mod login;
pub(crate) mod ok_packet;
pub(crate) mod packet_stream;
pub(crate) mod server_error;
