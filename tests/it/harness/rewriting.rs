//! A proxy before a database that reads the texts of all statements, and replaces some: what is behind it
//! looks like another engine, or fails as it is told.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::mariadb::Mariadb;
use super::postgres::Postgres;

/// A statement that no server knows: it fails as one of ours does on an engine that lacks a function.
pub(crate) const UNKNOWN: &str = "select rowgate_look_alike_lacks_this(1)";

/// The text that ends the connection in place of the run of a statement that is prepared (MySQL).
pub(crate) const CUT: &str = "rowgate: cut";

/// Returns the text that is sent in place of another; `None` leaves it.
pub(crate) type Rewrite = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The codes of first messages after which another first message comes: of TLS and of GSSAPI.
const ASKING: [u32; 2] = [80_877_103, 80_877_104];

/// The codes of MySQL's commands that have a text: COM_QUERY, COM_STMT_PREPARE.
const COMMANDS_WITH_TEXT: [u8; 2] = [0x03, 0x16];

/// The code of COM_STMT_EXECUTE.
const EXECUTE: u8 = 0x17;

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Postgres,
    Mysql,
}

/// A running proxy; dropped, it accepts no more.
pub(crate) struct Rewriting {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    acceptor: AbortHandle,
}

impl Rewriting {
    /// A proxy on a free port before a PostgreSQL.
    pub(crate) async fn start(postgres: &Postgres, rewrite: Rewrite) -> Self {
        Self::before(postgres.port(), Protocol::Postgres, rewrite).await
    }

    /// A proxy on a free port before a MariaDB or MySQL, to which connections go without TLS.
    pub(crate) async fn start_mysql(mariadb: &Mariadb, rewrite: Rewrite) -> Self {
        Self::before(mariadb.port(), Protocol::Mysql, rewrite).await
    }

    async fn before(port: u16, protocol: Protocol, rewrite: Rewrite) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let texts = Arc::clone(&seen);
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                let (mut answers, requests) = server.into_split();
                let (from, mut back) = client.into_split();
                let session = Session {
                    rewrite: Arc::clone(&rewrite),
                    seen: Arc::clone(&texts),
                    from,
                    to: requests,
                };
                tokio::spawn(async move {
                    drop(match protocol {
                        Protocol::Postgres => session.run().await,
                        Protocol::Mysql => session.run_mysql().await,
                    });
                });
                tokio::spawn(async move {
                    drop(tokio::io::copy(&mut answers, &mut back).await);
                    drop(back.shutdown().await);
                });
            }
        };
        let acceptor = tokio::spawn(accepting).abort_handle();
        Self { address, seen, acceptor }
    }

    /// The URL of a database with the proxy in its place.
    pub(crate) fn url(&self, postgres: &Postgres) -> String {
        let direct = format!("127.0.0.1:{}", postgres.port());
        postgres.url().replace(&direct, &self.address.to_string())
    }

    /// The URL of a MariaDB with the proxy in its place.
    pub(crate) fn mysql_url(&self, mariadb: &Mariadb) -> String {
        let direct = format!("127.0.0.1:{}", mariadb.port());
        mariadb.url().replace(&direct, &self.address.to_string())
    }

    /// The texts that were sent so far, before they were replaced.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Rewriting {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

struct Session {
    rewrite: Rewrite,
    seen: Arc<Mutex<Vec<String>>>,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
}

impl Session {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let body = self.body().await?;
            let code = body.first_chunk::<4>().map_or(0, |code| u32::from_be_bytes(*code));
            self.send(&[], &body).await?;
            if !ASKING.contains(&code) {
                break;
            }
        }
        loop {
            let kind = self.from.read_u8().await?;
            let body = self.body().await?;
            let body = match kind {
                b'Q' => self.replaced(&[], &body),
                b'P' => {
                    let name = body.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1);
                    self.replaced(&body[..name], &body[name..])
                }
                _ => body,
            };
            self.send(&[kind], &body).await?;
        }
    }

    /// Passes MySQL's packets on: a length of three bytes, a number, which is 0 for the first of a command, and the body.
    async fn run_mysql(mut self) -> io::Result<()> {
        let mut is_cut = false;
        loop {
            let length = [self.from.read_u8().await?, self.from.read_u8().await?];
            let length =
                u32::from(u16::from_le_bytes(length)) | u32::from(self.from.read_u8().await?) << 16;
            let number = self.from.read_u8().await?;
            let mut body = vec![0; usize::try_from(length).expect("it is small")];
            self.from.read_exact(&mut body).await?;
            if let [command, text @ ..] = &body[..]
                && number == 0
                && COMMANDS_WITH_TEXT.contains(command)
            {
                let other = self.replaced(&[], text);
                let is_meant = other == CUT.as_bytes();
                is_cut |= is_meant;
                let text = if is_meant { text } else { &other };
                body = [&[*command][..], text].concat();
            } else if is_cut && number == 0 && body.first() == Some(&EXECUTE) {
                return Ok(());
            }
            let length = u32::try_from(body.len()).expect("it is small").to_le_bytes();
            self.to.write_all(&[&length[..3], &[number], &body].concat()).await?;
        }
    }

    async fn body(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.from.read_u32().await?).unwrap_or(4);
        let mut body = vec![0; length.saturating_sub(4)];
        self.from.read_exact(&mut body).await?;
        Ok(body)
    }

    /// Replaces the text that is the first of these bytes.
    fn replaced(&self, before: &[u8], text: &[u8]) -> Vec<u8> {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let sql = String::from_utf8_lossy(&text[..end]).into_owned();
        let other = (self.rewrite)(&sql);
        self.seen.lock().expect("nobody panics with it").push(sql.clone());
        [before, other.unwrap_or(sql).as_bytes(), &text[end..]].concat()
    }

    async fn send(&mut self, kind: &[u8], body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 4).expect("it came with such a length");
        self.to.write_all(&[kind, &length.to_be_bytes(), body].concat()).await
    }
}
