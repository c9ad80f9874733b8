//! The failures of an attempt to connect to any of the servers.

use std::fmt::Display;
use std::io;

use super::server_address::ServerAddress;
use crate::config::Server;

/// The failure of one address, of a backend's own kind; its text is for logs.
pub(crate) trait AttemptFailure: Display + Send + Sized {
    /// The address is unreachable, or the connection broke.
    fn unreachable(error: io::Error) -> Self;

    fn is_unreachable(&self) -> bool;

    /// Returns true if the login will be rejected until the configuration changes.
    fn is_permanent(&self) -> bool;

    /// Returns true if user or password are rejected: another attempt at the same server would only lock the
    /// account.
    fn rejects_login(&self) -> bool;

    /// Returns the rank of the failure: of several, the highest is reported.
    fn rank(&self) -> u8;

    /// The address did not answer in its share of the time.
    fn timed_out() -> Self {
        Self::unreachable(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
    }
}

#[derive(Debug)]
pub(crate) struct ConnectFailures<F> {
    servers: usize,
    failures: Vec<FailedAttempt<F>>,
}

#[derive(Debug)]
struct FailedAttempt<F> {
    server: String,
    failure: F,
}

impl<F: AttemptFailure> ConnectFailures<F> {
    pub(crate) fn new(servers: usize) -> Self {
        Self { servers, failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, server: &Server, address: Option<&ServerAddress>, failure: F) {
        let mut server = server.to_string();
        if let Some(ServerAddress::Tcp(address, name)) = address
            && address.ip().to_string() != *name
        {
            server = format!("{server} ({})", address.ip());
        }
        self.failures.push(FailedAttempt { server, failure });
    }

    /// Returns true if any server rejected user or password.
    pub(crate) fn rejects_login(&self) -> bool {
        self.failures.iter().any(|each| each.failure.rejects_login())
    }

    /// Returns each server with its failure, for logs; `None` if there is only one to speak of.
    pub(crate) fn list(&self) -> Option<String> {
        let is_several = self.servers > 1 || self.failures.len() > 1;
        let list = self.failures.iter().map(|each| format!("{}: {}", each.server, each.failure));
        is_several.then(|| list.collect::<Vec<_>>().join("; "))
    }

    /// Returns the failure to report. A permanent rejection is reported only if every server was reached: one that is
    /// unreachable may be the suitable one.
    pub(crate) fn reported(self) -> Option<F> {
        let failures = self.failures.into_iter().map(|each| each.failure).collect::<Vec<_>>();
        let all_reached = !failures.iter().any(F::is_unreachable);
        let reported = failures.into_iter().filter(|each| all_reached || !each.is_permanent());
        // Of equal ranks the first, as its server is preferred.
        reported.reduce(|first, next| if next.rank() > first.rank() { next } else { first })
    }
}
