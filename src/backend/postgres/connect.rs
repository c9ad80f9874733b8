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
use crate::config::{Database, Host, PostgresTarget, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// protocol 3.0, SSLRequest.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// protocol 3.0, CancelRequest, before the key.
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
}

impl Connector {
    pub(super) fn new(name: &str, config: &Database, target: &PostgresTarget) -> Result<Self> {
        let encrypted = target.tls.mode != TlsMode::Disable;
        let tls = match encrypted {
            true => Some(MakeRustlsConnect::new(super::tls::client_config(&target.tls)?)),
            false => None,
        };
        Ok(Self {
            database: name.to_owned(),
            target: target.clone(),
            tls,
            driver: driver_config(config, target),
            max_row_size: config.max_row_size,
        })
    }

    /// Opens a connection; its driver runs on the calling runtime.
    pub(super) async fn open(
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

    /// Cancels what the connection with this key runs; returns once the server has acted on it.
    pub(super) async fn cancel(&self, key: [u8; 8]) -> io::Result<()> {
        let mut socket = self.socket().await?;
        socket.write_all(&[CANCEL_REQUEST, key].concat()).await?;
        socket.flush().await?;
        // Read to the end: a cancel that is still on its way would hit the next statement.
        let mut rest = [0; 16];
        while socket.read(&mut rest).await? != 0 {}
        Ok(())
    }

    async fn socket(&self) -> io::Result<Socket> {
        let port = self.target.port;
        match &self.target.host {
            Host::Unix(directory) => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                Ok(Socket(Box::new(Plain(UnixStream::connect(path).await?))))
            }
            Host::Tcp(host) => {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                tune(&stream)?;
                match &self.tls {
                    None => Ok(Socket(Box::new(Plain(stream)))),
                    Some(tls) => encrypt(tls, host, stream).await,
                }
            }
        }
    }

    fn unreachable(&self, error: io::Error) -> Error {
        let database = &self.database;
        Error::new(
            ErrorKind::DatabaseUnavailable,
            format!("cannot connect to database \"{database}\""),
        )
        .with_retry_after(RETRY_AFTER)
        .with_cause(error)
    }

    fn refused(&self, error: tokio_postgres::Error) -> Error {
        let Some(refusal) = error.as_db_error() else {
            let message = format!("cannot connect to database \"{}\"", self.database);
            let kind = match self.target.password {
                None if error.to_string().contains("password missing") => {
                    ErrorKind::BackendMisconfigured
                }
                _ => ErrorKind::DatabaseUnavailable,
            };
            return Error::new(kind, message).with_retry_after(RETRY_AFTER).with_cause(error);
        };
        let error = super::error::from_db(refusal, crate::config::ErrorDetails::Safe);
        if error.kind() == ErrorKind::BackendMisconfigured {
            return error;
        }
        self.unavailable(refusal)
    }

    fn unavailable(&self, refusal: &tokio_postgres::error::DbError) -> Error {
        let (database, code) = (&self.database, refusal.code().code());
        let message = format!("database \"{database}\" takes no connections (SQLSTATE {code})");
        Error::new(ErrorKind::DatabaseUnavailable, message).with_retry_after(RETRY_AFTER)
    }
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
    ServerName::try_from(host).map_err(io::Error::other)?;
    stream.write_all(&SSL_REQUEST).await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    if answer != *b"S" {
        let message = "the server has no TLS; set tls.mode = \"disable\" to go without";
        return Err(io::Error::other(message));
    }
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host)
        .map_err(io::Error::other)?;
    let stream = connect.connect(stream).await.map_err(io::Error::other)?;
    Ok(Socket(Box::new(Encrypted(stream))))
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
