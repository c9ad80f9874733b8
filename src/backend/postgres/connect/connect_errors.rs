//! The failures of an attempt to connect to any of the servers.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use tokio_postgres::error::SqlState;

use crate::backend::network::{AttemptFailure, ConnectFailures};
use crate::backend::postgres::error::{ErrorReply, report};
use crate::backend::postgres::protocol::auth_guard::AuthRefused;
use crate::backend::postgres::protocol::session_attrs::SessionAttrs;
use crate::config::{ErrorDetails, TargetSession};
use crate::error::{Error, ErrorKind};

/// The failure of one address.
#[derive(Debug)]
pub(crate) enum ConnectFailure {
    /// It is unreachable, or the connection broke.
    Unreachable(Box<dyn StdError + Send + Sync>),
    /// It rejected the login.
    Rejected(tokio_postgres::Error),
    /// It accepted the login, and does not have the required attributes.
    Unsuitable(SessionAttrs),
    /// It asks for the password in a way that is not allowed.
    Auth(AuthRefused),
    /// It is a pooler's, which is not to be used.
    Pooler,
    /// It accepted the login, and sessions cannot begin with these settings.
    Baseline { names: String, cause: Option<Box<ConnectFailure>> },
    /// It accepted the login, and sessions cannot begin with what this key of `databases.NAME` gives them.
    Settings { key: String, cause: Option<Box<ConnectFailure>> },
}

impl ConnectFailure {
    /// Classifies an error of the driver during the login.
    pub(crate) fn of_login(error: tokio_postgres::Error) -> Self {
        if let Some(refused) = auth_refused(&error) {
            Self::Auth(refused)
        } else if error.as_db_error().is_some() || is_of_credentials(&error) {
            Self::Rejected(error)
        } else {
            Self::Unreachable(error.into())
        }
    }

    /// Returns the SQLSTATE of a rejected login, empty if the driver itself gave up.
    fn rejection(&self) -> Option<&str> {
        let Self::Rejected(error) = self else { return None };
        Some(error.code().map_or("", SqlState::code))
    }

    /// Returns true if the startup parameter `options` may be why the login was rejected: poolers have no
    /// SQLSTATE of their own for it. Role, password, database and a server that is full or stopping are
    /// other reasons.
    pub(crate) fn may_reject_options(&self) -> bool {
        let reasons = ["28", "3D", "53", "57"];
        self.rejection()
            .is_some_and(|code| code.get(..2).is_some_and(|class| !reasons.contains(&class)))
    }
}

impl AttemptFailure for ConnectFailure {
    fn unreachable(error: io::Error) -> Self {
        Self::Unreachable(error.into())
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    fn is_permanent(&self) -> bool {
        match self {
            Self::Rejected(error) => rejects_permanently(error),
            Self::Auth(_) | Self::Baseline { .. } | Self::Settings { .. } | Self::Pooler => true,
            Self::Unreachable(_) | Self::Unsuitable(_) => false,
        }
    }

    fn rejects_login(&self) -> bool {
        self.rejection().is_some_and(|code| code.is_empty() || code.starts_with("28"))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 0,
            Self::Unsuitable(_) => 1,
            Self::Rejected(_)
            | Self::Auth(_)
            | Self::Baseline { .. }
            | Self::Settings { .. }
            | Self::Pooler => 2 + u8::from(self.is_permanent()),
        }
    }
}

/// Returns the error of an attempt that failed at all servers.
pub(crate) fn error(
    failures: ConnectFailures<ConnectFailure>,
    database: &str,
    session: TargetSession,
) -> Error {
    let list = failures.list();
    let error = match failures.reported() {
        Some(ConnectFailure::Unreachable(cause)) => unreachable(database).with_cause(cause),
        Some(ConnectFailure::Rejected(error)) => rejected(database, error),
        Some(ConnectFailure::Unsuitable(_)) => unsuitable(database, session),
        Some(ConnectFailure::Auth(refused)) => auth_not_allowed(database, refused),
        Some(ConnectFailure::Pooler) => behind_pooler(database),
        Some(ConnectFailure::Baseline { names, cause }) => {
            let error = off_baseline(database, &names);
            if let Some(cause) = cause { error.with_cause(cause.to_string()) } else { error }
        }
        Some(ConnectFailure::Settings { key, cause }) => {
            let error = settings_refused(database, &key);
            if let Some(cause) = cause { error.with_cause(cause.to_string()) } else { error }
        }
        None => unreachable(database),
    };
    if let Some(list) = list { error.with_cause(list) } else { error }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write_chain(f, &**error),
            Self::Rejected(error) => match error.as_db_error() {
                Some(reply) => write!(f, "{reply}"),
                None => write_chain(f, error),
            },
            Self::Unsuitable(attrs) => write!(f, "{attrs}"),
            Self::Auth(refused) => write!(f, "{refused}"),
            Self::Pooler => f.write_str("a pooler is between"),
            Self::Baseline { names, .. } => write!(f, "sessions begin with another {names}"),
            Self::Settings { key, .. } => write!(f, "sessions cannot begin with {key}"),
        }
    }
}

/// Writes an error and its sources, each once: the driver's own message says little.
fn write_chain(f: &mut fmt::Formatter<'_>, error: &(dyn StdError + 'static)) -> fmt::Result {
    let mut text = error.to_string();
    for link in std::iter::successors(error.source(), |&link| link.source()) {
        let words = link.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    f.write_str(&text)
}

fn unavailable(message: String) -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, message)
}

fn unreachable(database: &str) -> Error {
    unavailable(format!("cannot connect to database \"{database}\""))
}

fn unsuitable(database: &str, session: TargetSession) -> Error {
    let required = match session {
        TargetSession::ReadWrite => "accepts writes",
        TargetSession::ReadOnly => "is read-only",
        TargetSession::Primary => "is a primary",
        TargetSession::Standby => "is a standby",
        TargetSession::Any | TargetSession::PreferStandby => "is suitable",
    };
    unavailable(format!("no server of database \"{database}\" {required}"))
}

fn behind_pooler(database: &str) -> Error {
    let message = format!("database \"{database}\" is behind a pooler, which is refused here");
    Error::new(ErrorKind::BackendMisconfigured, message).with_hint(
        "Name the server itself in databases.NAME.url, or set databases.NAME.pooler to allow.",
    )
}

fn off_baseline(database: &str, names: &str) -> Error {
    let message = format!("sessions of database \"{database}\" begin with another {names}");
    Error::new(ErrorKind::BackendMisconfigured, message).with_hint(
        "Have the role begin with what docs/OPERATIONS.md lists (ALTER ROLE … SET …), or connect \
         without the pooler.",
    )
}

fn settings_refused(database: &str, key: &str) -> Error {
    let message = format!("sessions of database \"{database}\" cannot begin with its {key}");
    let hint = format!(
        "Correct databases.{database}.{key}: the server must know it, the role be allowed to set it, and no \
         pooler be between."
    );
    Error::new(ErrorKind::BackendMisconfigured, message).with_hint(hint)
}

/// Returns the error of a rejected login. The server's own words name roles, hosts and databases, which
/// are not disclosed to callers: they are the cause, which is logged.
fn rejected(database: &str, error: tokio_postgres::Error) -> Error {
    let Some(reply) = error.as_db_error() else {
        let message =
            format!("database \"{database}\" requires an unsupported authentication method");
        return Error::new(ErrorKind::BackendMisconfigured, message).with_cause(error);
    };
    let code = reply.code().code();
    let rejected = if rejects_permanently(&error) {
        let message = format!("database \"{database}\" rejects the login (SQLSTATE {code})");
        let rejected = Error::new(ErrorKind::BackendMisconfigured, message);
        match pooler_refusal(reply.message()) {
            Some(hint) => rejected.with_hint(hint),
            None => rejected,
        }
    } else {
        unavailable(format!("database \"{database}\" accepts no connections (SQLSTATE {code})"))
    };
    rejected
        .with_report(report(&ErrorReply::new(reply), ErrorDetails::Safe))
        .with_cause(reply.clone())
}

/// Returns true if the login will be rejected until the configuration changes, here or there.
fn rejects_permanently(error: &tokio_postgres::Error) -> bool {
    let Some(reply) = error.as_db_error() else { return true };
    is_permanent(reply.code().code())
        || (reply.code().code() == POOLER_REFUSAL && pooler_refusal(reply.message()).is_some())
}

/// The SQLSTATE of every refusal of PgBouncer's, passing or not.
const POOLER_REFUSAL: &str = "08P01";

/// The starts of a pooler's messages, which it does not translate, that no further attempt changes, and
/// what to do about each.
const POOLER_REFUSALS: [(&str, &str); 6] = [
    (
        "unsupported startup parameter",
        "Add the parameter that the log names to ignore_startup_parameters of the pooler, or connect \
         without it.",
    ),
    (
        "transaction blocks not allowed",
        "Have the pooler pool transactions or sessions (pool_mode), as statements are not enough.",
    ),
    ("no such database", "Add the database to the pooler's, or connect without the pooler."),
    ("bouncer config error", "See the log of the pooler, and mend its configuration."),
    ("no such user", "Add the role to the pooler's users, or connect without the pooler."),
    ("database does not allow connections", "Enable the database in the pooler."),
];

/// Returns the hint for a message of a pooler that no further attempt changes.
fn pooler_refusal(message: &str) -> Option<&'static str> {
    let refusal = POOLER_REFUSALS.iter().find(|(start, _)| message.starts_with(start));
    refusal.map(|(_, hint)| *hint)
}

/// Returns true if a login is rejected because of role, password, database, privilege (class 42) or a
/// setting (class 22), or by the driver itself, which has no SQLSTATE.
fn is_permanent(code: &str) -> bool {
    code.is_empty() || matches!(code.get(..2), Some("0A" | "22" | "28" | "3D" | "42"))
}

/// Returns true if the driver itself gave up on the login: it has no password, does not support the
/// method, or the server could not prove that it knows the password. Only the text tells the kind.
/// Finds our own refusal among the causes of an error of the driver.
fn auth_refused(error: &tokio_postgres::Error) -> Option<AuthRefused> {
    let of_stream = error.source()?.downcast_ref::<io::Error>()?;
    of_stream.get_ref()?.downcast_ref::<AuthRefused>().copied()
}

fn auth_not_allowed(database: &str, refused: AuthRefused) -> Error {
    let message = format!("database \"{database}\" cannot be logged in to: {refused}");
    Error::new(ErrorKind::BackendMisconfigured, message).with_hint(
        "Let its server use scram-sha-256, or allow another way with require_auth of this database.",
    )
}

fn is_of_credentials(error: &tokio_postgres::Error) -> bool {
    matches!(error.to_string().as_str(), "invalid configuration" | "authentication error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::network::ServerAddress;
    use crate::config::Server;

    fn server(host: &str) -> Server {
        Server { host: crate::config::Host::Tcp(host.to_owned()), port: 5432, password: None }
    }

    fn unsuitable() -> ConnectFailure {
        ConnectFailure::Unsuitable(SessionAttrs { standby: Some(true), read_only: None })
    }

    #[test]
    fn only_the_private_cause_names_each_server_and_its_failure() {
        let mut errors = ConnectFailures::new(2);
        let closed = io::Error::from(io::ErrorKind::ConnectionRefused);
        let address = ServerAddress::Tcp(([10, 0, 0, 1], 5432).into(), "a.example".to_owned());
        errors.add(&server("a.example"), Some(&address), ConnectFailure::unreachable(closed));
        errors.add(&server("b.example"), None, unsuitable());
        let error = error(errors, "main", TargetSession::ReadWrite);
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
        assert_eq!(error.message(), "no server of database \"main\" accepts writes");
        assert_eq!(
            error.cause(),
            "a.example:5432 (10.0.0.1): connection refused; b.example:5432: the server is a standby"
        );
        assert!(error.retry_after().is_some());
    }

    #[test]
    fn a_single_server_keeps_its_own_cause() {
        let mut errors = ConnectFailures::new(1);
        errors.add(&server("a"), None, ConnectFailure::timed_out());
        let error = error(errors, "main", TargetSession::Any);
        assert_eq!(error.message(), "cannot connect to database \"main\"");
        assert_eq!(error.cause(), "no answer in time");
    }
}
