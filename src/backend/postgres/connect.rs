//! Opening a connection: socket, TLS, authentication, the session's baseline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tap::Tap;
use super::wire::Wire;
use crate::config::{Database, ErrorDetails, Host, PostgresTarget, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// Protocol 3.0, SSLRequest.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Protocol 3.0, CancelRequest, before the key.
const CANCEL_REQUEST: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];
/// When a caller may try again while the database cannot be reached.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A socket, encrypted or not.
pub(super) struct Socket(Box<dyn Bound>);

/// Where to connect, and as whom.
pub(super) struct Connector {
    database: String,
    target: PostgresTarget,
    tls: Option<MakeRustlsConnect>,
    driver: tokio_postgres::Config,
    max_row_size: usize,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(name: &str, config: &Database, target: &PostgresTarget) -> Result<Self> {
        let tls = match target.tls.mode {
            TlsMode::Disable => None,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                Some(MakeRustlsConnect::new(super::tls::client_config(&target.tls)?))
            }
        };
        Ok(Self {
            database: name.to_owned(),
            target: target.clone(),
            tls,
            driver: driver_config(config, target),
            max_row_size: config.max_row_size,
            timeout: config.pool.connect_timeout,
        })
    }

    /// Opens a connection within `pool.connect_timeout`; its driver runs on the calling runtime.
    pub(super) async fn open(
        &self,
    ) -> Result<(tokio_postgres::Client, tokio::task::JoinHandle<()>, Arc<Wire>)> {
        let opened = tokio::time::timeout(self.timeout, self.log_in()).await;
        opened.unwrap_or_else(|elapsed| Err(self.unreachable(elapsed)))
    }

    async fn log_in(
        &self,
    ) -> Result<(tokio_postgres::Client, tokio::task::JoinHandle<()>, Arc<Wire>)> {
        let socket = self.socket().await.map_err(|error| self.unreachable(error))?;
        let wire = Arc::new(Wire::default());
        let tap = Tap::new(socket, Arc::clone(&wire), self.max_row_size);
        let opened = self.driver.connect_raw(tap, Ready).await;
        let (client, connection) = opened.map_err(|error| self.refused(error))?;
        let driver = tokio::spawn(async move {
            // How it ended is seen by whoever uses the connection.
            drop(connection.await);
        });
        Ok((client, driver, wire))
    }

    /// Cancels what the connection with this key runs; returns once the server has acted on it, or
    /// did not within `pool.connect_timeout`.
    pub(super) async fn cancel(&self, key: [u8; 8]) -> io::Result<()> {
        let cancelled = tokio::time::timeout(self.timeout, self.request_cancel(key)).await;
        cancelled.map_err(io::Error::from)?
    }

    async fn request_cancel(&self, key: [u8; 8]) -> io::Result<()> {
        let mut socket = self.socket().await?;
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

    async fn socket(&self) -> io::Result<Socket> {
        let port = self.target.port;
        match &self.target.host {
            Host::Unix(directory) => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                Ok(Socket(Box::new(Plain(UnixStream::connect(path).await?))))
            }
            Host::Tcp(host) => {
                // Each address of a name in turn, until one answers or the time is up.
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                tune(&stream)?;
                match &self.tls {
                    None => Ok(Socket(Box::new(Plain(stream)))),
                    Some(tls) => encrypt(tls, host, stream).await,
                }
            }
        }
    }

    fn unreachable(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let message = format!("cannot connect to database \"{}\"", self.database);
        Error::new(ErrorKind::DatabaseUnavailable, message)
            .with_retry_after(RETRY_AFTER)
            .with_cause(cause)
    }

    /// What it means that the driver could not log in. The server's own words name roles, hosts and
    /// databases, which are no business of callers: they are the cause, which is for logs.
    fn refused(&self, error: tokio_postgres::Error) -> Error {
        let database = &self.database;
        let Some(refusal) = error.as_db_error() else {
            if !is_of_credentials(&error) {
                return self.unreachable(error);
            }
            let message = format!("database \"{database}\" wants another way to log in");
            return Error::new(ErrorKind::BackendMisconfigured, message).with_cause(error);
        };
        let code = refusal.code().code();
        let refused = match is_permanent(code) {
            true => {
                let message =
                    format!("database \"{database}\" refuses the login (SQLSTATE {code})");
                Error::new(ErrorKind::BackendMisconfigured, message)
            }
            false => {
                let message =
                    format!("database \"{database}\" takes no connections (SQLSTATE {code})");
                Error::new(ErrorKind::DatabaseUnavailable, message).with_retry_after(RETRY_AFTER)
            }
        };
        let refused = match super::error::from_db(refusal, ErrorDetails::Safe).report() {
            Some(report) => refused.with_report(report.clone()),
            None => refused,
        };
        refused.with_cause(refusal.clone())
    }
}

/// Whether a login is refused for what it asks: role, password, database, privilege (class 42), or a
/// setting (class 22). It will be refused again until somebody changes the configuration.
fn is_permanent(code: &str) -> bool {
    matches!(code.get(..2), Some("0A" | "22" | "28" | "3D" | "42"))
}

/// Whether the driver itself gave up on the login: it has no password, knows no such method, or the
/// server could not prove that it knows the password. It tells of the kind by its text alone.
fn is_of_credentials(error: &tokio_postgres::Error) -> bool {
    matches!(error.to_string().as_str(), "invalid configuration" | "authentication error")
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
        .user(&target.user)
        .dbname(&target.dbname)
        .application_name(&target.application_name)
        .options(&backstops)
        // The stream is ready, encrypted or not, when the driver gets it.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
    if let Some(password) = &target.password {
        driver.password(password.expose());
    }
    driver
}

/// A dead peer is noticed within 10 s; with the system's defaults it takes hours.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(10)))?;
    Ok(())
}

async fn encrypt(tls: &MakeRustlsConnect, host: &str, mut stream: TcpStream) -> io::Result<Socket> {
    // Before anything is sent: TLS wants a name or an address, and a name may be malformed.
    ServerName::try_from(host).map_err(io::Error::other)?;
    stream.write_all(&SSL_REQUEST).await?;
    // Exactly one byte: whatever a man in the middle puts behind it goes into the handshake, which
    // fails, and never into the stream that is taken for encrypted.
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    match answer {
        [b'S'] => {}
        [b'N'] => {
            let message = "the server has no TLS; set tls.mode = \"disable\" to go without";
            return Err(io::Error::other(message));
        }
        // An error in plain text, perhaps: not to be read, as anyone can have sent it.
        _ => return Err(io::Error::other("the server does not answer as PostgreSQL does")),
    }
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host)
        .map_err(io::Error::other)?;
    Ok(Socket(Box::new(Encrypted(connect.connect(stream).await?))))
}

/// Hands the driver a stream that needs no handshake.
struct Ready;

impl<S: TlsStream + Unpin + Send + 'static> TlsConnect<S> for Ready {
    type Stream = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

/// Both directions of a stream.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream, and what binds its authentication to it.
trait Bound: Send + Unpin {
    fn stream(&mut self) -> Pin<&mut dyn Duplex>;
    fn binding(&self) -> ChannelBinding;
}

/// A stream without TLS, and so without channel binding.
struct Plain<S>(S);

impl<S: Duplex> Bound for Plain<S> {
    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        Pin::new(&mut self.0)
    }

    fn binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

struct Encrypted<S>(S);

impl<S: TlsStream + Send + Unpin> Bound for Encrypted<S> {
    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        Pin::new(&mut self.0)
    }

    fn binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().0.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.stream().poll_shutdown(cx)
    }
}

impl TlsStream for Socket {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.binding()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::{Target, load_from};

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
            let both = async { tokio::join!(connector.open(), connector.cancel([7; 8])) };
            let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
            let (opened, cancelled) = ended.expect("both end by themselves");
            let error = opened.map(drop).expect_err("nobody answers");
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
            let cancelled = cancelled.expect_err("nobody answers");
            assert_eq!(cancelled.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_peer_that_is_gone_is_noticed_within_ten_seconds() {
        let (listener, port) = listen().await;
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        tune(&stream).expect("it is a socket");
        let socket = SockRef::from(&stream);
        // What was sent and is not acknowledged, and a connection on which nothing is sent.
        let unacknowledged = socket.tcp_user_timeout().expect("it is asked").expect("it is set");
        let idle = socket.tcp_keepalive_time().expect("it is asked")
            + socket.tcp_keepalive_interval().expect("it is asked")
                * socket.tcp_keepalive_retries().expect("it is asked");
        assert!(unacknowledged <= Duration::from_secs(10), "{unacknowledged:?}");
        assert!(idle > Duration::ZERO && idle <= Duration::from_secs(11), "{idle:?}");
        drop(listener);
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
        let mut cancel = std::pin::pin!(connector.cancel([1, 2, 3, 4, 5, 6, 7, 8]));
        let early = tokio::time::timeout(Duration::from_millis(100), cancel.as_mut()).await;
        early.expect_err("the server has not acted on it");
        release.send(()).expect("it waits");
        cancel.await.expect("it was read");
        let request = server.await.expect("it does not panic");
        assert_eq!(request, [&CANCEL_REQUEST[4..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat());
    }
}
