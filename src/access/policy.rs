//! The rights of a caller: what is not listed is denied.

use std::time::Duration;

use crate::config::{CallerSettings, setting_names};
use crate::error::{Error, ErrorKind, FieldViolation, Result};

/// The rights of a caller.
#[derive(Debug)]
pub(crate) enum Policy {
    /// Callers are not authenticated.
    Everything,
    Nothing,
    Listed(Box<Rights>),
}

/// The rights that a section of the configuration lists.
#[derive(Debug)]
pub(crate) struct Rights {
    section: String,
    settings: CallerSettings,
}

impl Rights {
    /// The error of what a key does not allow.
    fn denied(&self, message: &str, instead: &str) -> Error {
        denied(message).with_hint(instead.replace("NAME", &self.section))
    }
}

impl Policy {
    pub(crate) fn new(section: &str, settings: CallerSettings) -> Self {
        Self::Listed(Box::new(Rights { section: section.to_owned(), settings }))
    }

    /// The section of the configuration that lists the rights; `None` where callers are not authenticated.
    pub(crate) fn section(&self) -> Option<&str> {
        match self {
            Self::Everything => None,
            Self::Nothing => Some(""),
            Self::Listed(rights) => Some(&rights.section),
        }
    }

    /// Returns the rights that are listed, `None` for all.
    fn rights(&self) -> Result<Option<&Rights>> {
        match self {
            Self::Everything => Ok(None),
            Self::Nothing => Err(denied("this caller has no right")),
            Self::Listed(rights) => Ok(Some(rights)),
        }
    }

    /// Returns an error unless the caller may call a method: `rowgate.v1.DatabaseService/Query`.
    pub(crate) fn check_rpc(&self, method: &str) -> Result<()> {
        let Some(rights) = self.rights()? else { return Ok(()) };
        let name = method.rsplit('/').next().unwrap_or_default();
        if rights.settings.rpcs.iter().any(|listed| listed == name) {
            return Ok(());
        }
        let message = format!("this caller may not call {name}");
        Err(rights.denied(&message, "An operator can list it in callers.NAME.rpcs."))
    }

    /// The database of a request that names none; `default` is the server's.
    pub(crate) fn default_database<'a>(&'a self, default: &'a str) -> &'a str {
        let Ok(Some(rights)) = self.rights() else { return default };
        rights.settings.databases.first().map_or("", String::as_str)
    }

    pub(crate) fn permits_database(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => false,
            Self::Listed(rights) => rights.settings.databases.iter().any(|listed| listed == name),
        }
    }

    /// Returns an error if the caller may only read, and a request would write.
    pub(crate) fn check_access_mode(&self, read_only: bool, field: &str) -> Result<()> {
        let Some(rights) = self.rights()? else { return Ok(()) };
        if read_only || !rights.settings.read_only {
            return Ok(());
        }
        let message = format!("this caller may only read, and {field} is not READ_ONLY");
        let instead = "Send READ_ONLY as the access mode, or ask an operator to set callers.NAME.read_only = false.";
        Err(rights.denied(&message, instead))
    }

    /// Returns an error unless the caller may set a setting for its transaction, whose name is this field.
    pub(crate) fn check_setting(&self, name: &str, field: &str) -> Result<()> {
        let Some(rights) = self.rights()? else { return Ok(()) };
        if setting_names::are_listed(&rights.settings.settings, name) {
            return Ok(());
        }
        let description = format!("this caller may not set {name}");
        let violation = FieldViolation { field: field.to_owned(), description };
        let message = format!("{}: {}", violation.field, violation.description);
        let error = rights.denied(&message, "An operator can list it in callers.NAME.settings.");
        Err(error.with_violation(violation))
    }

    /// True for a caller that administers the pools of its databases.
    pub(crate) fn administers_pools(&self) -> bool {
        self.check_pool_admin().is_ok()
    }

    /// Returns an error unless the caller administers pools.
    pub(crate) fn check_pool_admin(&self) -> Result<()> {
        let Some(rights) = self.rights()? else { return Ok(()) };
        if rights.settings.pool_admin {
            return Ok(());
        }
        let message = "this caller does not administer pools";
        Err(rights.denied(message, "An operator can set callers.NAME.pool_admin = true."))
    }

    /// The most statements of a batch, of which the database allows `max`.
    pub(crate) fn max_batch(&self, max: usize) -> usize {
        self.lowered(max, |settings| settings.max_batch)
    }

    /// The most rows of a unary result, of which the database allows `max`.
    pub(crate) fn max_rows(&self, max: u64) -> u64 {
        self.lowered(max, |settings| settings.max_rows)
    }

    /// The longest deadline, of which the database allows `max`.
    pub(crate) fn max_deadline(&self, max: Duration) -> Duration {
        self.lowered(max, |settings| settings.max_deadline)
    }

    fn lowered<T: Ord>(&self, max: T, own: impl Fn(&CallerSettings) -> Option<T>) -> T {
        match self {
            Self::Listed(rights) => match own(&rights.settings) {
                Some(own) => own.min(max),
                None => max,
            },
            Self::Everything | Self::Nothing => max,
        }
    }
}

fn denied(message: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, message.to_owned()).with_condition("ACCESS_DENIED")
}
