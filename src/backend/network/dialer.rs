//! The dialer of a database: it tries its servers and addresses in order, and lets its backend log in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::connect_failures::{AttemptFailure, ConnectFailures};
use super::credentials::Credentials;
use super::login::{Login, LoginTarget};
use super::server_address::ServerAddress;
use super::slow_servers::{SlowServers, Target};
use crate::config::{Database, Host, Server};
use crate::error::{Error, Result};

/// The part of `pool.connect_timeout` that is left to report the failure of each server.
const RESERVE: Duration = Duration::from_millis(50);

/// The protocol of a backend: how it logs in at an address.
pub(crate) trait LogIn<T: LoginTarget>: Sync {
    /// A connection that is logged in.
    type Opened: Send;

    /// The failure of one address.
    type Failure: AttemptFailure;

    /// Returns the path of the socket that a target names with [`Host::Unix`].
    fn socket_path(&self, named: &Path, port: u16) -> PathBuf;

    /// Logs in at one address of a server, which is given by its index.
    ///
    /// # Cancel safety
    /// It is dropped when the share of its time is over.
    fn log_in(
        &self,
        login: &Login<T>,
        server: usize,
        address: &ServerAddress,
    ) -> impl Future<Output = Result<Self::Opened, Self::Failure>> + Send;

    /// Returns false for a connection that is taken only if there is no better one.
    fn is_preferred(&self, opened: &Self::Opened) -> bool;

    /// Returns the error of an attempt that failed at all servers.
    fn error(&self, failures: ConnectFailures<Self::Failure>) -> Error;
}

/// The servers of one database, and the login at them.
pub(crate) struct Dialer<T> {
    database: String,
    servers: Vec<Server>,
    balance: bool,
    credentials: Credentials<T>,
    timeout: Duration,
    slow: SlowServers,
    /// The server of the last connection.
    last: Mutex<Option<String>>,
    /// The login that was rejected, since no other was accepted.
    rejected: Mutex<Option<Arc<Login<T>>>>,
}

impl<T: LoginTarget> Dialer<T> {
    pub(crate) fn new(name: &str, config: &Database, target: &T) -> Result<Self> {
        let timeout = config.pool.connect_timeout;
        Ok(Self {
            database: name.to_owned(),
            servers: target.servers().to_vec(),
            balance: target.is_balanced(),
            credentials: Credentials::new(name, target, &config.credentials)?,
            timeout,
            slow: SlowServers::new(timeout, target.servers().len()),
            last: Mutex::default(),
            rejected: Mutex::default(),
        })
    }

    /// The server of an index.
    pub(crate) fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// `pool.connect_timeout`
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the current login without reading files.
    pub(crate) fn latest_login(&self) -> Arc<Login<T>> {
        self.credentials.latest()
    }

    /// Opens a connection within `pool.connect_timeout` to the first suitable server. Names are resolved anew, and
    /// changed secrets are read again.
    pub(crate) async fn open<L: LogIn<T>>(&self, protocol: &L) -> Result<L::Opened> {
        let end = Instant::now() + self.timeout.saturating_sub(RESERVE.min(self.timeout / 10));
        let login = self.credentials.fresh().await?;
        let mut opened = self.try_servers(protocol, &login, end).await;
        // The password may have been replaced a moment ago.
        if let Err(failures) = &opened
            && failures.rejects_login()
        {
            let renewed = self.credentials.renewed(&login).await;
            *self.rejected.lock() = Some(Arc::clone(renewed.as_ref().unwrap_or(&login)));
            if let Some(renewed) = renewed {
                opened = self.try_servers(protocol, &renewed, end).await;
            }
        }
        opened.map_err(|failures| protocol.error(failures))
    }

    /// Returns true if the login that was last rejected has been replaced, so that an attempt is
    /// worthwhile.
    pub(crate) async fn login_has_changed(&self) -> bool {
        let Some(rejected) = self.rejected.lock().clone() else { return false };
        let fresh = self.credentials.fresh().await;
        let changed = fresh.is_ok_and(|fresh| !Arc::ptr_eq(&rejected, &fresh));
        if changed {
            *self.rejected.lock() = None;
        }
        changed
    }

    /// Tries one server after the other; each gets an equal share of the time that is left.
    async fn try_servers<L: LogIn<T>>(
        &self,
        protocol: &L,
        login: &Login<T>,
        end: Instant,
    ) -> Result<L::Opened, ConnectFailures<L::Failure>> {
        let order = self.order();
        let mut failures = ConnectFailures::new(self.servers.len());
        let mut fallback = None;
        for (position, index) in order.iter().enumerate() {
            let server = &self.servers[*index];
            let until = share(end, order.len() - position, 1);
            let mut server_attempt = self.slow.attempt(Target::Server(*index));
            let addresses = tokio::time::timeout_at(until, self.addresses(protocol, server)).await;
            let addresses = addresses
                .unwrap_or_else(|_elapsed| Err(L::Failure::timed_out()))
                .unwrap_or_else(|failure| {
                    failures.add(server, None, failure);
                    Vec::new()
                });
            let count = addresses.len();
            let ends: Vec<_> = (1..=count).map(|shares| share(until, count, shares)).collect();
            for (address, until) in addresses.into_iter().zip(ends) {
                let mut attempt = self.slow.attempt(Target::Address(address.clone()));
                let opened =
                    tokio::time::timeout_at(until, protocol.log_in(login, *index, &address)).await;
                attempt.answered = opened.is_ok();
                server_attempt.answered |= opened.is_ok();
                match opened.unwrap_or_else(|_elapsed| Err(L::Failure::timed_out())) {
                    Ok(opened) if protocol.is_preferred(&opened) => {
                        self.note_connected(*index);
                        return Ok(opened);
                    }
                    Ok(opened) => drop(fallback.get_or_insert((opened, *index))),
                    Err(failure) => {
                        let rejects_login = failure.rejects_login();
                        failures.add(server, Some(&address), failure);
                        if rejects_login {
                            break;
                        }
                    }
                }
            }
        }
        let (opened, index) = fallback.ok_or(failures)?;
        self.note_connected(index);
        Ok(opened)
    }

    /// Returns the order in which the servers are tried this time, by their indexes.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        if self.balance {
            fastrand::shuffle(&mut order);
        }
        order.sort_by_key(|index| self.slow.contains(&Target::Server(*index)));
        order
    }

    /// Resolves a server's addresses, in the order in which they are tried.
    async fn addresses<L: LogIn<T>>(
        &self,
        protocol: &L,
        server: &Server,
    ) -> Result<Vec<ServerAddress>, L::Failure> {
        let host = match &server.host {
            Host::Unix(named) => {
                return Ok(vec![ServerAddress::Unix(protocol.socket_path(named, server.port))]);
            }
            Host::Tcp(host) => host,
        };
        let found = tokio::net::lookup_host((host.as_str(), server.port)).await;
        let found = found.map_err(L::Failure::unreachable)?;
        let mut addresses: Vec<_> =
            found.map(|address| ServerAddress::Tcp(address, host.clone())).collect();
        if addresses.is_empty() {
            let error = io::Error::other("the host name has no address");
            return Err(L::Failure::unreachable(error));
        }
        if self.balance {
            fastrand::shuffle(&mut addresses);
        }
        addresses.sort_by_key(|address| self.slow.contains(&Target::Address(address.clone())));
        Ok(addresses)
    }

    /// Logs a change of servers.
    fn note_connected(&self, server: usize) {
        let server = self.servers[server].to_string();
        let last = self.last.lock().replace(server.clone());
        if last.is_some_and(|last| last != server) {
            tracing::info!(database = %self.database, server, "connected to another server");
        }
    }
}

/// Returns the end of the first `shares` of equal parts of the time up to `end`.
fn share(end: Instant, parts: usize, shares: usize) -> Instant {
    let now = Instant::now();
    let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
    let shares = u32::try_from(shares).unwrap_or(u32::MAX).min(parts);
    now + end.saturating_duration_since(now) / parts * shares
}
