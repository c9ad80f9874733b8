//! The server that a client command asks.

use std::io;

use crate::grpc::client::Address;

/// Which server.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// The server to ask, in plain text: `http://host:port`
    #[arg(
        long,
        value_name = "URL",
        env = "ROWGATE_ADDRESS",
        hide_env_values = true,
        default_value = "http://127.0.0.1:50051"
    )]
    pub(crate) address: Address,
}

/// What a client command runs on: one connection needs no more than one thread.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
