//! Opening a connection: which server, its addresses, TLS, authentication, the session's baseline.

pub(crate) mod connect_errors;
pub(crate) mod credentials;
pub(crate) mod socket;
pub(crate) mod tls;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_postgres::config::{SslMode, SslNegotiation};

use crate::backend::postgres::protocol::session_attrs::SessionAttrs;
use crate::backend::postgres::protocol::state::ProtocolState;
use crate::backend::postgres::protocol::tap::Tap;
use crate::config::{Database, Host, PostgresTarget, Server, TargetSession};
use crate::error::Result;
use connect_errors::{ConnectErrors, ConnectFailure};
use credentials::{Credentials, Login};
use socket::{Peer, Ready, Socket};

/// Protocol 3.0, CancelRequest, before the key.
const CANCEL_REQUEST: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];
/// What is left of `pool.connect_timeout` to say which server failed how.
const RESERVE: Duration = Duration::from_millis(50);
/// What has kept an attempt waiting for this long without an answer is tried last…
const SLOW: Duration = Duration::from_millis(500);
/// …for this long: else each new connection would wait for it again.
const AVOIDED: Duration = Duration::from_secs(30);

/// Where to connect, and as whom.
pub(crate) struct Connector {
    database: String,
    servers: Vec<Server>,
    session: TargetSession,
    balance: bool,
    credentials: Credentials,
    driver: tokio_postgres::Config,
    max_row_size: usize,
    timeout: Duration,
    /// What did not answer, and since when.
    slow: Mutex<HashMap<Spot, Instant>>,
    /// The server of the last connection.
    last: Mutex<Option<String>>,
    /// The login that was refused, since no other was let in.
    refused: Mutex<Option<Arc<Login>>>,
}

/// A connection that was opened.
pub(crate) struct Opened {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) driver: tokio::task::JoinHandle<()>,
    pub(crate) wire: Arc<ProtocolState>,
    /// What its session must remain, or the connection is given up.
    pub(crate) kept: TargetSession,
}

impl Connector {
    pub(crate) fn new(name: &str, config: &Database, target: &PostgresTarget) -> Result<Self> {
        Ok(Self {
            database: name.to_owned(),
            servers: target.servers.clone(),
            session: target.session,
            balance: target.balance,
            credentials: Credentials::new(name, target)?,
            driver: driver_config(config, target),
            max_row_size: config.max_row_size,
            timeout: config.pool.connect_timeout,
            slow: Mutex::default(),
            last: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// Whether whoever writes here expects to be let: what is meant for reading refuses it for good.
    pub(crate) fn takes_writes(&self) -> bool {
        match self.session {
            TargetSession::Any | TargetSession::ReadWrite | TargetSession::Primary => true,
            TargetSession::ReadOnly | TargetSession::Standby | TargetSession::PreferStandby => {
                false
            }
        }
    }

    /// Opens a connection within `pool.connect_timeout` to the first server that will do; its driver
    /// runs on the calling runtime. Names are resolved anew, and secrets read again that have changed.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let end = Instant::now() + self.timeout.saturating_sub(RESERVE.min(self.timeout / 10));
        let login = self.credentials.fresh().await;
        let mut opened = self.try_servers(&login, end).await;
        // The password may have been replaced a moment ago.
        if let Err(tried) = &opened
            && tried.refused_login()
        {
            let renewed = self.credentials.renewed(&login).await;
            *self.refused.lock() = Some(Arc::clone(renewed.as_ref().unwrap_or(&login)));
            if let Some(renewed) = renewed {
                opened = self.try_servers(&renewed, end).await;
            }
        }
        opened.map_err(|tried| tried.into_error(&self.database, self.session))
    }

    /// Whether the login that was last refused is another one by now: it is worth an attempt.
    pub(crate) async fn login_has_changed(&self) -> bool {
        let Some(refused) = self.refused.lock().clone() else { return false };
        let changed = !Arc::ptr_eq(&refused, &self.credentials.fresh().await);
        if changed {
            *self.refused.lock() = None;
        }
        changed
    }

    /// AttemptBudget one server after the other; each gets an equal share of the time that is left.
    async fn try_servers(
        &self,
        login: &Login,
        end: Instant,
    ) -> std::result::Result<Opened, ConnectErrors> {
        let order = self.order();
        let mut tried = ConnectErrors::new(self.servers.len());
        let mut spare = None;
        for (position, number) in order.iter().enumerate() {
            let until = share(end, order.len() - position);
            let mut whole = Attempt::at(self, Spot::Server(*number));
            for (peer, until) in self.addresses(*number, until, &mut tried).await {
                let mut attempt = Attempt::at(self, Spot::Address(peer.clone()));
                let opened =
                    tokio::time::timeout_at(until, self.log_in(login, *number, &peer)).await;
                attempt.answered = opened.is_ok();
                whole.answered |= opened.is_ok();
                match opened.unwrap_or_else(|_elapsed| Err(ConnectFailure::timed_out())) {
                    Ok((opened, true)) => return Ok(self.taken(opened, *number)),
                    Ok((opened, false)) => {
                        spare.get_or_insert((opened, *number));
                    }
                    Err(why) => {
                        let is_final = why.refuses_login();
                        tried.add(&self.servers[*number], Some(&peer), why);
                        if is_final {
                            break;
                        }
                    }
                }
            }
        }
        match spare {
            Some((opened, number)) => Ok(self.taken(opened, number)),
            None => Err(tried),
        }
    }

    /// The order in which servers are tried this time, by their numbers.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        if self.balance {
            fastrand::shuffle(&mut order);
        }
        order.sort_by_key(|number| self.is_slow(&Spot::Server(*number)));
        order
    }

    fn is_slow(&self, spot: &Spot) -> bool {
        self.slow.lock().get(spot).is_some_and(|since| since.elapsed() < AVOIDED)
    }

    /// A server's addresses now, each with the end of its share of the time.
    async fn addresses(
        &self,
        number: usize,
        until: Instant,
        tried: &mut ConnectErrors,
    ) -> Vec<(Peer, Instant)> {
        let server = &self.servers[number];
        let host = match &server.host {
            Host::Unix(directory) => {
                let path = directory.join(format!(".s.PGSQL.{}", server.port));
                return vec![(Peer::Unix(path), until)];
            }
            Host::Tcp(host) => host,
        };
        let found = tokio::net::lookup_host((host.as_str(), server.port));
        let mut addresses: Vec<_> = match tokio::time::timeout_at(until, found).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => {
                tried.add(server, None, ConnectFailure::unreachable(error));
                return Vec::new();
            }
            Err(_elapsed) => {
                tried.add(server, None, ConnectFailure::timed_out());
                return Vec::new();
            }
        };
        if addresses.is_empty() {
            tried.add(
                server,
                None,
                ConnectFailure::unreachable(io::Error::other("the name has no address")),
            );
        }
        if self.balance {
            fastrand::shuffle(&mut addresses);
        }
        let peers = addresses.into_iter().map(|address| Peer::Tcp(address, host.clone()));
        let mut peers: Vec<Peer> = peers.collect();
        peers.sort_by_key(|peer| self.is_slow(&Spot::Address(peer.clone())));
        let count = peers.len();
        let ends = (0..count).map(|position| share_of(until, count, position));
        peers.into_iter().zip(ends).collect()
    }

    /// Logs in at one address; says whether the session is all that is asked for: one that is not may
    /// still do where a standby is only preferred.
    async fn log_in(
        &self,
        login: &Login,
        number: usize,
        peer: &Peer,
    ) -> std::result::Result<(Opened, bool), ConnectFailure> {
        let socket = Socket::to(peer, login.tls()).await.map_err(ConnectFailure::unreachable)?;
        let wire = Arc::new(ProtocolState::default());
        wire.connected_to(peer.clone());
        let tap = Tap::new(socket, Arc::clone(&wire), self.max_row_size);
        let mut driver = self.driver.clone();
        login.write_to(&mut driver, number);
        let (client, connection) =
            driver.connect_raw(tap, Ready).await.map_err(ConnectFailure::of_login)?;
        let driver = tokio::spawn(async move {
            // How it ended is seen by whoever uses the connection.
            drop(connection.await);
        });
        let is_only_preferred = self.session == TargetSession::PreferStandby;
        let wanted = if is_only_preferred { TargetSession::Standby } else { self.session };
        let mut role = wire.role();
        if role.fits(wanted).is_none() {
            role = SessionAttrs::ask(&client).await.map_err(ConnectFailure::of_login)?;
        }
        let fits = role.fits(wanted) == Some(true);
        let opened = Opened { client, driver, wire, kept: role.kept(self.session) };
        if fits || is_only_preferred {
            Ok((opened, fits))
        } else {
            Err(ConnectFailure::Unfit(role))
        }
    }

    /// Tells of a change of servers.
    fn taken(&self, opened: Opened, number: usize) -> Opened {
        let server = self.servers[number].to_string();
        let mut last = self.last.lock();
        if last.as_ref() != Some(&server) {
            if last.is_some() {
                tracing::info!(database = %self.database, server, "connected to another server");
            }
            *last = Some(server);
        }
        opened
    }

    /// Cancels what a connection runs, at the very address that it was opened to: its name may lead to
    /// another server by now. Returns once the server has acted on it, or did not within
    /// `pool.connect_timeout`.
    pub(crate) async fn cancel(&self, wire: &ProtocolState) -> io::Result<()> {
        let peer = wire.peer().ok_or(io::ErrorKind::NotConnected)?;
        let cancelled = tokio::time::timeout(self.timeout, self.request_cancel(peer, wire.key()));
        cancelled.await.map_err(io::Error::from)?
    }

    async fn request_cancel(&self, peer: &Peer, key: [u8; 8]) -> io::Result<()> {
        let mut socket = Socket::to(peer, self.credentials.latest().tls()).await?;
        socket.write_all(&[CANCEL_REQUEST, key].concat()).await?;
        socket.flush().await?;
        // Read to the end: a cancel that is still on its way would hit the next statement. Over TLS
        // the server ends without a word, which is an error to TLS and the end to us. A reset is no
        // end: whoever sent it may not be the server.
        let mut rest = [0; 16];
        loop {
            match socket.read(&mut rest).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What can be slow: a server as a whole, or one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Spot {
    Server(usize),
    Address(Peer),
}

/// An attempt, which may be dropped at any moment: what has not answered by then is avoided for a while.
struct Attempt<'a> {
    connector: &'a Connector,
    spot: Spot,
    began: Instant,
    answered: bool,
}

impl<'a> Attempt<'a> {
    fn at(connector: &'a Connector, spot: Spot) -> Self {
        Self { connector, spot, began: Instant::now(), answered: false }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let connector = self.connector;
        let servers = u32::try_from(connector.servers.len()).unwrap_or(u32::MAX);
        let mut slow = connector.slow.lock();
        if self.answered {
            slow.remove(&self.spot);
        } else if self.began.elapsed() >= SLOW.min(connector.timeout / (2 * servers)) {
            slow.retain(|_, since| since.elapsed() < AVOIDED);
            slow.insert(self.spot.clone(), Instant::now());
        }
    }
}

/// The end of the next part, when the time up to `end` is divided into equal parts.
fn share(end: Instant, parts: usize) -> Instant {
    share_of(end, parts, 0)
}

/// The end of one of equal parts of the time up to `end`.
fn share_of(end: Instant, parts: usize, position: usize) -> Instant {
    let now = Instant::now();
    let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
    let ended = u32::try_from(position + 1).unwrap_or(u32::MAX).min(parts);
    now + end.saturating_duration_since(now) / parts * ended
}

fn driver_config(config: &Database, target: &PostgresTarget) -> tokio_postgres::Config {
    let mut driver = tokio_postgres::Config::new();
    let backstops = format!(
        "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=1 \
         -c bytea_output=hex -c statement_timeout={} -c lock_timeout={}",
        config.statement_timeout.as_millis(),
        config.lock_timeout.as_millis()
    );
    driver
        .dbname(&target.dbname)
        .application_name(&target.application_name)
        .options(&backstops)
        // The stream is ready, encrypted or not, when the driver gets it.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
    driver
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::socket::SSL_REQUEST;
    use super::*;
    use crate::config::{Target, load_from};
    use crate::error::{Error, ErrorKind};

    /// A connector to a port of this machine that gives up after a while.
    fn connector(port: u16, user: &str, query: &str, timeout: &str) -> Connector {
        let url = format!("postgres://{user}@127.0.0.1:{port}/shop?{query}");
        let pairs = [
            ("databases.main.url", url.as_str()),
            ("databases.main.pool.connect_timeout", timeout),
        ];
        let config = load_from(&pairs).expect("it is valid");
        let database = config.databases.get("main").expect("it is in it");
        let Target::Postgres(target) = &database.target else { panic!("not PostgreSQL's URL") };
        Connector::new("main", database, target).expect("no certificate is asked for")
    }

    /// What is known of a connection that was opened there.
    fn wire(port: u16, key: [u8; 8]) -> ProtocolState {
        let wire = ProtocolState::default();
        wire.connected_to(Peer::Tcp(([127, 0, 0, 1], port).into(), "127.0.0.1".to_owned()));
        wire.received(b'K', &key);
        wire
    }

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        (listener, port)
    }

    /// Reads a packet without a type, whole.
    async fn packet(stream: &mut TcpStream) -> Vec<u8> {
        let length = stream.read_u32().await.expect("a length comes");
        let mut body = vec![0; usize::try_from(length).expect("it is small") - 4];
        stream.read_exact(&mut body).await.expect("the body comes");
        body
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("it is small").to_be_bytes();
        [kind].into_iter().chain(length).chain(body.iter().copied()).collect()
    }

    /// What a server gets as the first packet, and how a login ends that it answers with these bytes.
    async fn answer_login(user: &str, answer: Vec<u8>) -> (Vec<u8>, Error) {
        let (listener, port) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            let startup = packet(&mut stream).await;
            stream.write_all(&answer).await.expect("it is sent");
            startup
        };
        let connector = connector(port, user, "", "5s");
        let (startup, opened) = tokio::join!(server, connector.open());
        (startup, opened.map(drop).expect_err("nobody was let in"))
    }

    fn refusal(code: &str) -> Vec<u8> {
        let text = "password authentication failed for user \"keeper\"";
        message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
    }

    #[tokio::test]
    async fn the_session_begins_at_its_baseline() {
        let (startup, _) = answer_login("keeper", refusal("57P03")).await;
        let startup = String::from_utf8(startup).expect("it is text");
        let pairs: Vec<_> = startup[4..].trim_end_matches('\0').split('\0').collect();
        let value = |key| pairs.iter().position(|each| *each == key).map(|at| pairs[at + 1]);
        assert_eq!(value("client_encoding"), Some("UTF8"));
        assert_eq!((value("user"), value("database")), (Some("keeper"), Some("shop")));
        let options = value("options").expect("they are set");
        for setting in ["TimeZone=UTC", "statement_timeout=305000", "lock_timeout=5000"] {
            assert!(options.contains(&format!("-c {setting}")), "{options}");
        }
    }

    #[tokio::test]
    async fn a_refused_login_is_a_misconfiguration_or_a_matter_of_time() {
        let cases = [
            ("28P01", ErrorKind::BackendMisconfigured),
            ("28000", ErrorKind::BackendMisconfigured),
            ("3D000", ErrorKind::BackendMisconfigured),
            ("42501", ErrorKind::BackendMisconfigured),
            ("22023", ErrorKind::BackendMisconfigured),
            ("53300", ErrorKind::DatabaseUnavailable),
            ("57P01", ErrorKind::DatabaseUnavailable),
            ("57P02", ErrorKind::DatabaseUnavailable),
            ("57P03", ErrorKind::DatabaseUnavailable),
            ("08P01", ErrorKind::DatabaseUnavailable),
            ("XX000", ErrorKind::DatabaseUnavailable),
        ];
        for (code, kind) in cases {
            let (_, error) = answer_login("keeper:s3cret", refusal(code)).await;
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.outcome(), crate::error::Outcome::NotApplied, "{code}");
            let may_retry = kind == ErrorKind::DatabaseUnavailable;
            assert_eq!(error.retry_after().is_some(), may_retry, "{code}");
            assert_eq!(error.report().map(|report| report.sqlstate.as_str()), Some(code));
            assert!(error.message().contains(code), "{error}");
            assert!(!format!("{error}{:?}", error.hint()).contains("keeper"), "{error}");
            let cause = error.source().expect("logs tell why").to_string();
            assert!(cause.contains("failed for user \"keeper\""), "{cause}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn a_login_that_cannot_be_answered_is_a_misconfiguration() {
        let cleartext = message(b'R', &[0, 0, 0, 3]);
        let md5 = message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
        let scram = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let other_sasl = message(b'R', b"\0\0\0\x0aOTHER\0\0");
        let gss = message(b'R', &[0, 0, 0, 7]);
        let cases = [
            ("keeper", cleartext),
            ("keeper", md5),
            ("keeper", scram),
            ("keeper:s3cret", other_sasl),
            ("keeper:s3cret", gss),
        ];
        for (user, answer) in cases {
            let (_, error) = answer_login(user, answer.clone()).await;
            assert_eq!(error.kind(), ErrorKind::BackendMisconfigured, "{answer:?}");
            assert_eq!(error.retry_after(), None, "{answer:?}");
            assert!(error.source().is_some(), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_postgresql_is_unavailable() {
        for answer in [Vec::new(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![0; 64]] {
            let (_, error) = answer_login("keeper:s3cret", answer.clone()).await;
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{answer:?}");
            assert!(error.retry_after().is_some() && error.source().is_some());
        }
    }

    /// What a client that insists on TLS sends before and after this answer to its question.
    async fn answer_tls(answer: &[u8]) -> (Vec<u8>, Error) {
        let (listener, port) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            assert_eq!(packet(&mut stream).await, SSL_REQUEST[4..]);
            stream.write_all(answer).await.expect("it is sent");
            let mut rest = Vec::new();
            // It may be reset.
            drop(stream.read_to_end(&mut rest).await);
            rest
        };
        let connector = connector(port, "keeper:s3cret", "sslmode=require", "5s");
        let (rest, opened) = tokio::join!(server, connector.open());
        (rest, opened.map(drop).expect_err("nothing is encrypted"))
    }

    #[tokio::test]
    async fn nothing_is_said_in_plain_text_to_a_server_that_does_not_encrypt() {
        // Words put behind the answer by whoever is between: the login is granted, all is well.
        let granted = [b"S".to_vec(), message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        let failed = [b"E".to_vec(), refusal("53300")].concat();
        for (answer, why) in [
            (&b"N"[..], "no TLS"),
            (&failed, "does not answer"),
            (b"X", "does not answer"),
            (&granted, ""),
        ] {
            let (rest, error) = answer_tls(answer).await;
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{why}");
            let cause = error.source().expect("logs tell why").to_string();
            assert!(cause.contains(why) && !cause.contains("keeper"), "{cause}");
            assert!(!rest.windows(6).any(|bytes| bytes == b"keeper"), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn the_cause_of_an_unreachable_server_is_kept() {
        let (listener, port) = listen().await;
        drop(listener);
        let opened = connector(port, "keeper", "", "5s").open().await;
        let error = opened.map(drop).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        // Its connections wait to be accepted, for ever.
        let (_listener, port) = listen().await;
        for query in ["sslmode=disable", "sslmode=require"] {
            let connector = connector(port, "keeper", query, "100ms");
            let wire = wire(port, [7; 8]);
            let both = async { tokio::join!(connector.open(), connector.cancel(&wire)) };
            let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
            let (opened, cancelled) = ended.expect("both end by themselves");
            let error = opened.map(drop).expect_err("nobody answers");
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
            let cancelled = cancelled.expect_err("nobody answers");
            assert_eq!(cancelled.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn a_cancel_waits_until_the_server_has_read_it() {
        let (listener, port) = listen().await;
        let (release, released) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            let request = packet(&mut stream).await;
            released.await.expect("it is told");
            request
        });
        let connector = connector(port, "keeper", "", "5s");
        let wire = wire(port, [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut cancel = std::pin::pin!(connector.cancel(&wire));
        let early = tokio::time::timeout(Duration::from_millis(100), cancel.as_mut()).await;
        early.expect_err("the server has not acted on it");
        release.send(()).expect("it waits");
        cancel.await.expect("it was read");
        let request = server.await.expect("it does not panic");
        assert_eq!(request, [&CANCEL_REQUEST[4..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat());
    }

    #[tokio::test]
    async fn a_cancel_goes_where_its_connection_leads_whatever_the_name_says_now() {
        let (listener, port) = listen().await;
        let (elsewhere, other_port) = listen().await;
        drop(elsewhere);
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            packet(&mut stream).await
        };
        let (connector, wire) = (connector(other_port, "keeper", "", "5s"), wire(port, [9; 8]));
        let (request, cancelled) = tokio::join!(server, connector.cancel(&wire));
        cancelled.expect("somebody listens there");
        assert_eq!(request, [&CANCEL_REQUEST[4..], &[9; 8]].concat());
    }

    /// What a server of a version before 14 says of itself.
    const SILENT: &str = "";
    const PRIMARY: &str = "off";
    const STANDBY: &str = "on";

    /// A server that lets everybody in, and says whether it is a standby when it logs somebody in, or
    /// when it is asked; returns its port, and counts who comes.
    async fn server(standby: &'static str) -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
        let (listener, port) = listen().await;
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let serve = move |mut stream: TcpStream| async move {
            packet(&mut stream).await;
            let mut hello = message(b'R', &[0; 4]);
            if standby != SILENT {
                for name in ["in_hot_standby", "default_transaction_read_only"] {
                    let value = if name == "in_hot_standby" { standby } else { "off" };
                    hello.extend(message(b'S', format!("{name}\0{value}\0").as_bytes()));
                }
            }
            hello.extend([message(b'K', &[1; 8]), message(b'Z', b"I")].concat());
            stream.write_all(&hello).await.expect("it is sent");
            while let Ok(b'Q') = stream.read_u8().await {
                packet(&mut stream).await;
                // Two columns of text, and one row: a primary that takes writes.
                let column = b"x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
                let columns = [&[0, 2], &column[..], &column[..]].concat();
                let row = b"\0\x02\0\0\0\x01f\0\0\0\x03off";
                let answer = [message(b'T', &columns), message(b'D', row)].concat();
                let end = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
                stream.write_all(&[answer, end].concat()).await.expect("it is sent");
            }
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        (port, count)
    }

    /// A connector to several ports of this machine.
    fn connector_to(ports: &[u16], query: &str, timeout: &str) -> Connector {
        let places: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let url = format!("postgres://keeper@{}/shop?{query}", places.join(","));
        let pairs = [
            ("databases.main.url", url.as_str()),
            ("databases.main.pool.connect_timeout", timeout),
        ];
        let config = load_from(&pairs).expect("it is valid");
        let Target::Postgres(target) = &config.databases["main"].target else { panic!("no") };
        Connector::new("main", &config.databases["main"], target).expect("it is valid")
    }

    fn port_of(opened: &Opened) -> u16 {
        match opened.wire.peer() {
            Some(Peer::Tcp(address, _)) => address.port(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_server_that_will_do_is_taken() {
        let ((standby, _), (primary, _), (old, _)) =
            (server(STANDBY).await, server(PRIMARY).await, server(SILENT).await);
        let cases: [(&[u16], &str, u16); 9] = [
            (&[standby, primary], "", primary),
            (&[standby, primary], "target_session_attrs=any", standby),
            (&[standby, primary], "target_session_attrs=primary", primary),
            (&[primary, standby], "target_session_attrs=standby", standby),
            (&[primary, standby], "target_session_attrs=read-only", standby),
            (&[primary, standby], "target_session_attrs=prefer-standby", standby),
            (&[primary, primary], "target_session_attrs=prefer-standby", primary),
            (&[standby, old], "", old),
            (&[old, standby], "target_session_attrs=standby", standby),
        ];
        for (ports, query, expected) in cases {
            let opened = connector_to(ports, query, "5s").open().await;
            let opened = opened.unwrap_or_else(|error| panic!("{query}: {}", error.cause()));
            assert_eq!(port_of(&opened), expected, "{query}");
        }
    }

    #[tokio::test]
    async fn servers_are_tried_at_random_where_that_is_asked_for() {
        let ((one, _), (other, _)) = (server(PRIMARY).await, server(PRIMARY).await);
        let mut taken = std::collections::BTreeSet::new();
        let connector = connector_to(&[one, other], "load_balance_hosts=random", "5s");
        for _ in 0..40 {
            taken.insert(port_of(&connector.open().await.expect("both take writes")));
        }
        assert_eq!(taken.len(), 2);
    }

    #[tokio::test]
    async fn a_server_that_hangs_takes_its_share_of_the_time_once() {
        let (hung, hung_port) = listen().await;
        let (primary, _) = server(PRIMARY).await;
        let connector = connector_to(&[hung_port, primary], "", "1s");
        let start = Instant::now();
        assert_eq!(port_of(&connector.open().await.expect("the second answers")), primary);
        let first = start.elapsed();
        assert!(first >= Duration::from_millis(400), "{first:?}");
        let start = Instant::now();
        assert_eq!(port_of(&connector.open().await.expect("the second answers")), primary);
        assert!(start.elapsed() < first / 2, "{:?} after {first:?}", start.elapsed());
        drop(hung);
    }

    #[tokio::test]
    async fn none_of_several_servers_is_the_fault_of_the_configuration_unless_one_says_so() {
        let (standby, asked) = server(STANDBY).await;
        let (nobody, nobody_port) = listen().await;
        drop(nobody);
        let refusing = |code: &'static str| async move {
            let (listener, port) = listen().await;
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    packet(&mut stream).await;
                    drop(stream.write_all(&refusal(code)).await);
                }
            });
            port
        };
        let (wrong, full) = (refusing("28P01").await, refusing("53300").await);
        let away = ErrorKind::DatabaseUnavailable;
        let cases: [(&[u16], ErrorKind, &str); 5] = [
            (&[standby, standby], away, "takes writes"),
            (&[nobody_port, standby], away, "takes writes"),
            (&[standby, wrong], ErrorKind::BackendMisconfigured, "28P01"),
            (&[wrong, nobody_port], away, "cannot connect"),
            (&[full, standby], away, "53300"),
        ];
        for (ports, kind, message) in cases {
            let opened = connector_to(ports, "", "5s").open().await;
            let error = opened.map(drop).expect_err("none will do");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(message), "{error}");
            let cause = error.cause();
            for port in ports {
                assert!(cause.contains(&format!("127.0.0.1:{port}: ")), "{cause}");
                assert!(!error.message().contains(&port.to_string()), "{error}");
            }
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 5, "each attempt asks once");
    }
}
