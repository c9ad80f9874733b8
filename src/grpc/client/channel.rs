//! The connection to a server, and the limit on the time of its calls.

use std::time::Duration;

use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::address::Address;
use super::call_error::{CallError, CallResult, root_cause};
use super::other_service::explain;
use super::security::{Bearer, Security};
use crate::error::Outcome;

/// The limit on connecting: TCP and HTTP/2 to a running server take milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval of keepalive; an unreachable server is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message that is read. The server's own `grpc.max_response_size` is the effective bound.
pub(crate) const MAX_MESSAGE_SIZE: usize = 1 << 30;

/// The hint for a call without a token that the server does not let in.
const NO_TOKEN: &str =
    "No token was sent: name the file of yours with --token-file, or set ROWGATE_TOKEN.";

/// The flow-control window of a stream: HTTP/2's default of 64 KiB would stall the server on each batch.
const WINDOW: u32 = 1 << 20;

/// A connection on which every call has the token.
pub(crate) type Wire = InterceptedService<Channel, Bearer>;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: Address,
    pub(crate) channel: Wire,
    pub(crate) limit: CallLimit,
    sends_token: bool,
}

/// The limit on the time of calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallLimit {
    after: Duration,
    /// The moment at which calls are given up; `None` without a limit.
    at: Option<Instant>,
}

impl CallLimit {
    pub(crate) async fn within<T>(
        self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> CallResult<T> {
        let answer = match self.at {
            None => call.await,
            Some(at) => tokio::time::timeout_at(at, call).await.map_err(|_elapsed| {
                let message = format!("the server did not answer within {:?}", self.after);
                CallError::new("DEADLINE_EXCEEDED", message, Outcome::Unknown)
            })?,
        };
        answer.map_err(|status| CallError::from_status(&status))
    }
}

impl Client {
    pub(crate) async fn connect(address: &Address, security: &Security) -> CallResult<Self> {
        let limit = CallLimit { after: Duration::MAX, at: None };
        let connected = async {
            let endpoint = endpoint(address)?
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(2 * WINDOW);
            let endpoint = if address.is_encrypted() {
                endpoint.tls_config(security.tls().timeout(CONNECT_TIMEOUT))?
            } else {
                endpoint
            };
            endpoint.connect().await
        };
        match connected.await {
            Ok(channel) => {
                let bearer = security.bearer();
                let sends_token = bearer.has_token();
                let channel = InterceptedService::new(channel, bearer);
                Ok(Self { address: address.clone(), channel, limit, sends_token })
            }
            Err(error) => {
                let cause = root_cause(&error).unwrap_or_else(|| error.to_string());
                Err(explain(address, cannot_connect(address, &cause)).await)
            }
        }
    }

    /// Bounds all later calls, counted from now, for a server that has stopped answering. A working one keeps
    /// `QueryOptions.timeout` by itself, and returns more details.
    pub(crate) fn with_limit(mut self, after: Duration) -> Self {
        // A limit beyond the clock's range is none.
        self.limit = CallLimit { after, at: Instant::now().checked_add(after) };
        self
    }

    /// Waits for the response of a call within the limit.
    pub(crate) async fn response<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> CallResult<T> {
        match self.limit.within(call).await {
            Ok(response) => Ok(response.into_inner()),
            Err(error) if error.is_of_connecting() => {
                let error = cannot_connect(&self.address, &error.message);
                Err(explain(&self.address, error).await)
            }
            Err(error) if error.may_be_of_transport() => Err(explain(&self.address, error).await),
            Err(error) if error.code == "UNAUTHENTICATED" && !self.sends_token => {
                Err(error.with_hint(NO_TOKEN))
            }
            Err(error) => Err(error),
        }
    }
}

/// The error of a call for which no connection was made: it was not sent.
fn cannot_connect(address: &Address, cause: &str) -> CallError {
    let message = format!("cannot connect to {address}: {cause}");
    CallError::new("UNAVAILABLE", message, Outcome::NotApplied)
        .with_hint("Start a server with `rowgate serve`, or name one with --address.")
}

fn endpoint(address: &Address) -> Result<Endpoint, tonic::transport::Error> {
    match address {
        Address::Tcp(uri) => Ok(Endpoint::from(uri.clone())),
        Address::Unix(path) => Endpoint::from_shared(format!("unix:{path}")),
    }
}
