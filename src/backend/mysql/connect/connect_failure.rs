//! The failures of an attempt to connect, and their meaning.

use std::fmt;
use std::io;

use crate::backend::mysql::protocol::login::LoginFailure;
use crate::backend::mysql::protocol::packet_stream::StreamFailure;
use crate::backend::mysql::protocol::server_error::ServerError;
use crate::backend::network::{AttemptFailure, ConnectFailures};
use crate::error::{DatabaseReport, Error, ErrorKind};

/// The SQLSTATE of PostgreSQL's for a server at its limit of connections, by which the pool knows it.
pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";

/// The failure of one address.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// It is unreachable, or the connection broke.
    Unreachable(io::Error),
    /// It rejected the login.
    Rejected(ServerError),
    /// It accepted the login, and sessions cannot begin with the baseline.
    Baseline(ServerError),
    /// It cannot be used as it is.
    Unsuitable(String),
    /// It takes no writes.
    ReadOnly,
}

/// The meaning of a rejected login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rejection {
    /// User or password are wrong, or the user may not come from here.
    Login,
    /// The database does not exist, or the user may not use it.
    Database,
    /// The server, or the user, is at its limit of connections.
    Full,
    Other,
}

/// The meaning of an error number at the login (MySQL and MariaDB, "Server Error Message Reference").
fn rejection(errno: u16) -> Rejection {
    match errno {
        // ACCESS_DENIED, HOST_NOT_PRIVILEGED, HOST_IS_BLOCKED, ACCESS_DENIED_NO_PASSWORD, MUST_CHANGE_PASSWORD_LOGIN,
        // ACCOUNT_HAS_BEEN_LOCKED and MariaDB's.
        1045 | 1130 | 1129 | 1698 | 1862 | 3118 | 3955 | 4151 => Rejection::Login,
        // DBACCESS_DENIED, BAD_DB
        1044 | 1049 => Rejection::Database,
        // CON_COUNT, TOO_MANY_USER_CONNECTIONS, USER_LIMIT_REACHED
        1040 | 1203 | 1226 => Rejection::Full,
        _ => Rejection::Other,
    }
}

impl ConnectFailure {
    pub(crate) fn of_io(error: io::Error) -> Self {
        Self::Unreachable(error)
    }

    pub(crate) fn of_name(error: rustls::pki_types::InvalidDnsNameError) -> Self {
        Self::Unreachable(io::Error::other(error))
    }

    pub(crate) fn of_login(failure: LoginFailure) -> Self {
        match failure {
            LoginFailure::Stream(failure) => failure.into(),
            LoginFailure::Refused(error) => Self::Rejected(error),
            LoginFailure::Unsuitable(why) => Self::Unsuitable(why),
        }
    }

    /// The failure of a server that does not say what it is.
    pub(crate) fn no_facts() -> Self {
        Self::Unsuitable("the server does not answer what it is".to_owned())
    }

    fn rejection(&self) -> Option<Rejection> {
        if let Self::Rejected(error) = self { Some(rejection(error.errno)) } else { None }
    }
}

impl From<StreamFailure> for ConnectFailure {
    fn from(failure: StreamFailure) -> Self {
        Self::Unreachable(match failure {
            StreamFailure::Lost(error) => error,
            StreamFailure::TooLarge => io::Error::other("an answer to the login is too large"),
            StreamFailure::Malformed(what) => {
                io::Error::other(format!("{what} is not as in MySQL's protocol"))
            }
        })
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "{error}"),
            Self::Rejected(error) => write!(f, "{} ({})", error.message, error.errno),
            Self::Baseline(error) => {
                write!(f, "cannot set the session's settings: {} ({})", error.message, error.errno)
            }
            Self::Unsuitable(why) => f.write_str(why),
            Self::ReadOnly => f.write_str("the server is read-only"),
        }
    }
}

impl AttemptFailure for ConnectFailure {
    fn unreachable(error: io::Error) -> Self {
        Self::Unreachable(error)
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    fn is_permanent(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::ReadOnly => false,
            Self::Baseline(_) | Self::Unsuitable(_) => true,
            Self::Rejected(_) => {
                matches!(self.rejection(), Some(Rejection::Login | Rejection::Database))
            }
        }
    }

    fn rejects_login(&self) -> bool {
        self.rejection() == Some(Rejection::Login)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 0,
            Self::ReadOnly => 1,
            Self::Rejected(_) | Self::Baseline(_) | Self::Unsuitable(_) => {
                2 + u8::from(self.is_permanent())
            }
        }
    }
}

/// The error of an attempt that failed at all servers.
pub(crate) fn connect_error(failures: ConnectFailures<ConnectFailure>, database: &str) -> Error {
    let list = failures.list();
    let error = match failures.reported() {
        None => unreachable(database),
        Some(ConnectFailure::Unreachable(error)) => unreachable(database).with_cause(error),
        Some(ConnectFailure::ReadOnly) => {
            let message = format!("no server of database \"{database}\" takes writes");
            Error::new(ErrorKind::NotPrimary, message)
        }
        Some(failure @ ConnectFailure::Rejected(_)) => rejected(failure, database),
        Some(failure @ (ConnectFailure::Baseline(_) | ConnectFailure::Unsuitable(_))) => {
            let message = format!("the server of database \"{database}\" cannot be used");
            Error::new(ErrorKind::BackendMisconfigured, message).with_cause(failure.to_string())
        }
    };
    match list {
        Some(list) => error.with_cause(list),
        None => error,
    }
}

fn unreachable(database: &str) -> Error {
    let message = format!("database \"{database}\" is unreachable");
    Error::new(ErrorKind::DatabaseUnavailable, message)
}

fn rejected(failure: ConnectFailure, database: &str) -> Error {
    let (kind, what) = match failure.rejection() {
        Some(Rejection::Login) => (ErrorKind::BackendMisconfigured, "rejects the login"),
        Some(Rejection::Database) => {
            (ErrorKind::BackendMisconfigured, "has no such database for this user")
        }
        Some(Rejection::Full) => (ErrorKind::DatabaseUnavailable, "is at its limit of connections"),
        Some(Rejection::Other) | None => {
            (ErrorKind::DatabaseUnavailable, "does not accept connections")
        }
    };
    let message = format!("the server of database \"{database}\" {what}");
    let error = Error::new(kind, message).with_cause(failure.to_string());
    let report = DatabaseReport { sqlstate: TOO_MANY_CONNECTIONS.to_owned(), ..Default::default() };
    match failure.rejection() {
        Some(Rejection::Login) => error.with_hint(format!(
            "Correct user and password in databases.{database}.url or its credentials, and let the user come from \
             this host."
        )),
        Some(Rejection::Database) => error.with_hint(format!(
            "Correct the name in databases.{database}.url, or create the database and grant the user its rights."
        )),
        Some(Rejection::Full) => error
            .with_report(report)
            .with_hint(format!("Lower databases.{database}.pool.max, or raise the limit.")),
        Some(Rejection::Other) | None => error,
    }
}
