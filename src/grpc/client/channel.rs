//! The address of a server, the connection to it, and the limit on the time of its calls.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::call_error::{CallError, CallResult, root_cause};
use crate::error::Outcome;

/// The limit on connecting: TCP and HTTP/2 to a running server take milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval of keepalive; an unreachable server is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message that is read. The server's own `grpc.max_response_size` is the effective bound.
pub(crate) const MAX_MESSAGE_SIZE: usize = 1 << 30;

/// The flow-control window of a stream: HTTP/2's default of 64 KiB would stall the server on each batch.
const WINDOW: u32 = 1 << 20;

/// The address of a server: `http://host:port`; the scheme may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(http::Uri);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri =
            full.parse().map_err(|error| format!("{error}; write it as http://127.0.0.1:50051"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("this client does not speak TLS yet; use http://".to_owned());
            }
            Some(_) | None => return Err("the scheme must be http://".to_owned()),
        }
        if uri.port().is_none() {
            return Err(format!("it needs a port, as in {full}:50051"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it must end after the port".to_owned());
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_string().trim_end_matches('/'))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    pub(crate) limit: CallLimit,
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
    pub(crate) async fn connect(address: &Address) -> CallResult<Self> {
        let endpoint = Endpoint::from(address.0.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        let limit = CallLimit { after: Duration::MAX, at: None };
        endpoint.connect().await.map(|channel| Self { channel, limit }).map_err(|error| {
            let cause = root_cause(&error).unwrap_or_else(|| error.to_string());
            let message = format!("cannot connect to {address}: {cause}");
            CallError::new("UNAVAILABLE", message, Outcome::NotApplied)
                .with_hint("Start a server with `rowgate serve`, or name one with --address.")
        })
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
        self.limit.within(call).await.map(Response::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_http_with_a_port() {
        let cases = [
            ("127.0.0.1:50051", Ok("http://127.0.0.1:50051")),
            ("http://[::1]:1/", Ok("http://[::1]:1")),
            ("https://db:1", Err("TLS")),
            ("ftp://db:1", Err("http://")),
            ("db", Err("needs a port")),
            ("http://db:1/path", Err("end after the port")),
            ("", Err("")),
        ];
        for (text, expected) in cases {
            match (text.parse::<Address>(), expected) {
                (Ok(address), Ok(shown)) => assert_eq!(address.to_string(), shown),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        }
    }
}
