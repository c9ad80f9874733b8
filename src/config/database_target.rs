//! The target of a database: which backend, where it is, and how the connection is secured.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use super::entries::Entries;
use super::problem::ValueError;
use super::secrets::secret::Secret;
use super::source::{self, Environment};

/// The backend of a database, and where it is.
#[derive(Debug, Clone)]
pub enum Target {
    /// `postgres://…`
    Postgres(Box<PostgresTarget>),
    /// `mysql://…`
    Mysql(Box<MysqlTarget>),
    /// `sqlite:path`
    Sqlite(SqliteTarget),
}

/// PostgreSQL servers, a database on them, and the role and credentials to use.
#[derive(Debug, Clone)]
pub struct PostgresTarget {
    /// The servers to try, in this order; at least one.
    pub servers: Vec<Server>,
    /// `target_session_attrs`: the kind of server to accept. Default: read-write when there are several.
    pub session: TargetSession,
    /// `channel_binding`: the binding of the password's proof to the TLS connection.
    pub channel_binding: ChannelBinding,
    /// `load_balance_hosts`: try the servers in random order.
    pub balance: bool,
    /// The role.
    pub user: String,
    /// The database's name on the server.
    pub dbname: String,
    /// `application_name`, as `pg_stat_activity` shows it.
    pub application_name: String,
    /// `tls.*`
    pub tls: Tls,
    /// The configuration that the target was read from, to be read again when files change.
    pub source: Option<Arc<TargetSource>>,
}

/// Servers of MySQL or MariaDB, a schema on them, and the account and credentials to use.
#[derive(Debug, Clone)]
pub struct MysqlTarget {
    /// The servers to try, in this order; at least one.
    pub servers: Vec<Server>,
    /// `target_session_attrs`: any, or read-write, the default when there are several.
    pub session: TargetSession,
    /// `load_balance_hosts`: try the servers in random order.
    pub balance: bool,
    /// The account's name.
    pub user: String,
    /// The schema that sessions begin in; `None`: none.
    pub dbname: Option<String>,
    /// `tls.*`
    pub tls: Tls,
    /// The configuration that the target was read from, to be read again when files change.
    pub source: Option<Arc<TargetSource>>,
}

impl Target {
    /// The servers; none of a file.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        match self {
            Self::Postgres(target) => &target.servers,
            Self::Mysql(target) => &target.servers,
            Self::Sqlite(_) => &[],
        }
    }

    /// The encryption of connections; `None` for a file.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Postgres(target) => Some(&target.tls),
            Self::Mysql(target) => Some(&target.tls),
            Self::Sqlite(_) => None,
        }
    }
}

/// One server of a database.
#[derive(Debug, Clone)]
pub struct Server {
    /// The host.
    pub host: Host,
    /// The port; also names the socket in a directory. 0 for a socket that is named itself.
    pub port: u16,
    /// The role's password there: the password file may have another for each.
    pub password: Option<Secret>,
}

impl Server {
    /// Returns true if both have the same address.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// Returns true if it is on this machine: a socket, or an address of loopback.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.host {
            Host::Unix(_) => true,
            Host::Tcp(host) => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "{host}:{}", self.port),
            Host::Unix(socket) if self.port == 0 => write!(f, "{}", socket.display()),
            Host::Unix(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

/// The kind of server to accept: libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSession {
    /// Any.
    Any,
    /// A server whose sessions may write: not a standby, and transactions are not read-only by default.
    ReadWrite,
    /// A server whose sessions may not write.
    ReadOnly,
    /// A server that is not a standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or any when there is none.
    PreferStandby,
}

impl fmt::Display for TargetSession {
    // The name that libpq uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The binding of SCRAM's proof to the certificate of the connection (RFC 5929, `tls-server-end-point`): libpq's
/// `channel_binding`. It shows a server in between that has a certificate of its own, but not the password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Over TLS, if the server offers it.
    #[default]
    Prefer,
    /// A login without it fails.
    Require,
}

impl fmt::Display for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A way in which PostgreSQL authenticates a login: libpq's `require_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMethod {
    /// It does not reveal the password (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// It reveals a hash that is as good as the password.
    Md5,
    /// It reveals the password.
    Password,
    /// Nothing is asked for.
    None,
}

/// The address of a server, without its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or address.
    Tcp(String),
    /// The directory of a unix socket of PostgreSQL, or the path of one of MySQL.
    Unix(PathBuf),
}

/// `databases.NAME.tls.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `tls.mode`
    pub mode: TlsMode,
    /// `tls.ca`: PEM certificates; `None`: the system's.
    pub ca: Option<PemFile>,
    /// `tls.cert`: the client's certificate chain, PEM.
    pub cert: Option<PemFile>,
    /// `tls.key`: its private key, PEM.
    pub key: Option<PemFile>,
}

/// A PEM file, read together with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PemFile {
    /// Its path, for messages; empty when the text was given instead.
    pub path: PathBuf,
    /// Its text.
    pub pem: Secret,
}

/// The start of PEM text.
pub(crate) const PEM_START: &str = "-----BEGIN ";

impl PemFile {
    /// Reads a PEM file.
    pub(crate) fn read(path: impl AsRef<Path>) -> Result<Self, ValueError> {
        let path = path.as_ref().to_owned();
        let pem = source::read_text(&path).map_err(|why| {
            ValueError::new(why)
                .instead("Write the path of a PEM file that this process is allowed to read.")
        })?;
        if !pem.contains(PEM_START) {
            return Err(ValueError::new("this file is not PEM: no line starts with -----BEGIN")
                .instead("Convert it to PEM, as `openssl x509 -in FILE -outform pem` does."));
        }
        Ok(Self { path, pem: Secret::new(pem) })
    }

    /// Returns the certificates, at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
        self.all()
    }

    /// Returns the first private key, which must not be encrypted.
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, pem::Error> {
        PrivateKeyDer::from_pem_slice(self.pem.expose().as_bytes())
    }

    /// Returns everything of one kind, at least one.
    pub(crate) fn all<T: PemObject>(&self) -> Result<Vec<T>, pem::Error> {
        let found: Vec<T> =
            T::pem_slice_iter(self.pem.expose().as_bytes()).collect::<Result<_, _>>()?;
        if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) }
    }
}

/// libpq's `sslmode`, without the modes that fall back to plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// Encrypted, the server's certificate unchecked.
    Require,
    /// The certificate's chain is checked.
    VerifyCa,
    /// The chain and the host name are checked.
    VerifyFull,
}

/// The `url` and `tls.*` of a database as they were written, references to files not yet followed.
pub struct TargetSource {
    pub(crate) database: String,
    pub(crate) entries: Arc<Entries>,
    pub(crate) environment: Arc<Environment>,
}

impl fmt::Debug for TargetSource {
    // It leads to secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TargetSource")
    }
}

/// A SQLite database.
#[derive(Debug, Clone)]
pub struct SqliteTarget {
    /// The file; it is created when it does not exist.
    pub path: PathBuf,
}
