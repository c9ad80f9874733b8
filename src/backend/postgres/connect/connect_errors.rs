//! ConnectFailure no server was taken.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use super::socket::Peer;
use crate::backend::postgres::protocol::session_attrs::SessionAttrs;
use crate::config::{ErrorDetails, Server, TargetSession};
use crate::error::{Error, ErrorKind};

/// ConnectFailure one address was not taken.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// It cannot be reached, or breaks off.
    Unreachable(Box<dyn StdError + Send + Sync>),
    /// It does not let us in.
    Refused(tokio_postgres::Error),
    /// It lets us in, and is not what is asked for.
    Unfit(SessionAttrs),
}

impl ConnectFailure {
    pub(crate) fn unreachable(error: io::Error) -> Self {
        Self::Unreachable(error.into())
    }

    pub(crate) fn timed_out() -> Self {
        Self::unreachable(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
    }

    /// ConnectFailure the driver could not log in.
    pub(crate) fn of_login(error: tokio_postgres::Error) -> Self {
        if error.as_db_error().is_none() && !is_of_credentials(&error) {
            return Self::Unreachable(error.into());
        }
        Self::Refused(error)
    }

    /// Whether the same will be refused again until somebody changes the configuration.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(error) => match error.as_db_error() {
                Some(refusal) => is_permanent(refusal.code().code()),
                None => true,
            },
            Self::Unreachable(_) | Self::Unfit(_) => false,
        }
    }

    /// Whether role and password are what is refused: trying them elsewhere on the same server would
    /// only lock the account.
    pub(crate) fn refuses_login(&self) -> bool {
        match self {
            Self::Refused(error) => match error.as_db_error() {
                Some(refusal) => refusal.code().code().starts_with("28"),
                None => true,
            },
            Self::Unreachable(_) | Self::Unfit(_) => false,
        }
    }

    /// Which of several reasons tells most.
    fn weight(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 0,
            Self::Unfit(_) => 1,
            Self::Refused(_) if !self.is_permanent() => 2,
            Self::Refused(_) => 3,
        }
    }
}

/// The servers that were tried, and why none was taken.
#[derive(Debug)]
pub(crate) struct ConnectErrors {
    servers: usize,
    misses: Vec<(String, ConnectFailure)>,
}

impl ConnectErrors {
    /// Of so many servers none was tried yet.
    pub(crate) fn new(servers: usize) -> Self {
        Self { servers, misses: Vec::new() }
    }

    pub(crate) fn add(&mut self, server: &Server, peer: Option<&Peer>, why: ConnectFailure) {
        let place = match peer {
            Some(Peer::Tcp(address, name)) if address.ip().to_string() != *name => {
                format!("{server} ({})", address.ip())
            }
            Some(Peer::Tcp(..) | Peer::Unix(_)) | None => server.to_string(),
        };
        self.misses.push((place, why));
    }

    /// Whether any refused role or password.
    pub(crate) fn refused_login(&self) -> bool {
        self.misses.iter().any(|(_, why)| why.refuses_login())
    }

    /// The error of them all. An operator must act when those that were reached refuse us for good;
    /// while one is away, it may be the one that will do, and will tell when it is back.
    pub(crate) fn into_error(self, database: &str, session: TargetSession) -> Error {
        let is_several = self.servers > 1 || self.misses.len() > 1;
        let list = List(self.to_string());
        let is_away =
            |(_, why): &(String, ConnectFailure)| matches!(why, ConnectFailure::Unreachable(_));
        let is_final = !self.misses.iter().any(is_away);
        let misses = self.misses.into_iter().map(|(_, why)| why);
        let telling = misses.filter(|why| is_final || !why.is_permanent());
        // Of equal reasons the first, as its server is preferred.
        let telling = telling.reduce(|first, next| match next.weight() > first.weight() {
            true => next,
            false => first,
        });
        let error = match telling {
            Some(ConnectFailure::Unreachable(cause)) => unreachable(database).with_cause(cause),
            Some(ConnectFailure::Refused(error)) => refused(database, error),
            Some(ConnectFailure::Unfit(_)) => unfit(database, session),
            None => unreachable(database),
        };
        if is_several { error.with_cause(list) } else { error }
    }
}

impl fmt::Display for ConnectErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (place, why)) in self.misses.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{place}: {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write_chain(f, &**error),
            Self::Refused(error) => match error.as_db_error() {
                Some(refusal) => write!(f, "{refusal}"),
                None => write_chain(f, error),
            },
            Self::Unfit(role) => write!(f, "{role}"),
        }
    }
}

/// An error and those beneath it, each once: the driver's own words say little.
fn write_chain(f: &mut fmt::Formatter<'_>, error: &(dyn StdError + 'static)) -> fmt::Result {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(link) = next {
        let words = link.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = link.source();
    }
    f.write_str(&text)
}

/// Each server and why it was not taken: for logs, as it names them.
#[derive(Debug)]
struct List(String);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for List {}

fn unreachable(database: &str) -> Error {
    let message = format!("cannot connect to database \"{database}\"");
    Error::new(ErrorKind::DatabaseUnavailable, message)
}

fn unfit(database: &str, session: TargetSession) -> Error {
    let wanted = match session {
        TargetSession::ReadWrite => "takes writes",
        TargetSession::ReadOnly => "is read-only",
        TargetSession::Primary => "is a primary",
        TargetSession::Standby => "is a standby",
        TargetSession::Any | TargetSession::PreferStandby => "is there",
    };
    let message = format!("no server of database \"{database}\" {wanted}");
    Error::new(ErrorKind::DatabaseUnavailable, message)
}

/// What it means that the driver could not log in. The server's own words name roles, hosts and
/// databases, which are no business of callers: they are the cause, which is for logs.
fn refused(database: &str, error: tokio_postgres::Error) -> Error {
    let Some(refusal) = error.as_db_error() else {
        let message = format!("database \"{database}\" wants another way to log in");
        return Error::new(ErrorKind::BackendMisconfigured, message).with_cause(error);
    };
    let code = refusal.code().code();
    let refused = match is_permanent(code) {
        true => {
            let message = format!("database \"{database}\" refuses the login (SQLSTATE {code})");
            Error::new(ErrorKind::BackendMisconfigured, message)
        }
        false => {
            let message = format!("database \"{database}\" takes no connections (SQLSTATE {code})");
            Error::new(ErrorKind::DatabaseUnavailable, message)
        }
    };
    let refused =
        match crate::backend::postgres::error::from_db(refusal, ErrorDetails::Safe).report() {
            Some(report) => refused.with_report(report.clone()),
            None => refused,
        };
    refused.with_cause(refusal.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Server {
        Server { host: crate::config::Host::Tcp(host.to_owned()), port: 5432, password: None }
    }

    fn unfit_role() -> ConnectFailure {
        ConnectFailure::Unfit(SessionAttrs { standby: Some(true), read_only: None })
    }

    #[test]
    fn each_server_is_named_with_its_reason_in_the_private_cause_alone() {
        let mut tried = ConnectErrors::new(2);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let peer = Peer::Tcp(([10, 0, 0, 1], 5432).into(), "a.example".to_owned());
        tried.add(&server("a.example"), Some(&peer), ConnectFailure::unreachable(refused));
        tried.add(&server("b.example"), None, unfit_role());
        let error = tried.into_error("main", TargetSession::ReadWrite);
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
        assert_eq!(error.message(), "no server of database \"main\" takes writes");
        assert_eq!(
            error.cause(),
            "a.example:5432 (10.0.0.1): connection refused; b.example:5432: it is a standby"
        );
        assert!(error.retry_after().is_some());
    }

    #[test]
    fn a_single_server_keeps_its_own_cause() {
        let mut tried = ConnectErrors::new(1);
        tried.add(&server("a"), None, ConnectFailure::timed_out());
        let error = tried.into_error("main", TargetSession::Any);
        assert_eq!(error.message(), "cannot connect to database \"main\"");
        assert_eq!(error.cause(), "no answer in time");
    }
}
