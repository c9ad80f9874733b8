//! The server that a client command calls.

use std::time::Duration;

use tokio::runtime::Builder;

use super::command_error::Result;
use crate::grpc::client::{Address, CallError, Client};

/// The address of the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// The server to call, in plain text: `http://host:port`, or `unix:/path`
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    #[arg(env = "ROWGATE_ADDRESS", hide_env_values = true)]
    address: Address,
}

/// The address of the server, and the limit of a call.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    server: Server,
    /// The time limit of the response
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Server {
    pub(crate) async fn connect(&self) -> Result<Client, CallError> {
        Client::connect(&self.address).await
    }
}

impl Target {
    pub(crate) fn call<T>(
        &self,
        call: impl AsyncFnOnce(Client) -> Result<T, CallError>,
    ) -> Result<T> {
        block_on(async { Ok(call(self.server.connect().await?.with_limit(self.timeout)).await?) })
    }
}

/// Runs a client: one connection needs one thread.
pub(crate) fn block_on<T>(client: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(client)
}
