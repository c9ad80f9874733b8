//! The client's side of the protocol of MySQL and MariaDB: messages, and what they hold.
//!
//! Nothing that a server sends can make a reader panic: each is bounds-checked and fuzzed.

pub(crate) mod column_definition;
pub(crate) mod length_encoded;
pub(crate) mod server_error;
