//! The credentials for the servers: user, passwords and certificates, read again when files change.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::credentials_command::{CredentialsCommand, GivenCredentials};
use super::login::{Login, LoginTarget};
use crate::config::CredentialsCommandSettings;
use crate::error::{Error, Result};

/// The maximum age of credentials when a connection is opened; 5 s are documented.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The current login of one database.
pub(crate) struct Credentials<T> {
    database: String,
    command: Option<CredentialsCommand>,
    login: Mutex<Arc<Login<T>>>,
    /// The time of the last look at the files.
    checked: Mutex<Instant>,
    /// The problem with the files that was logged last.
    logged: Mutex<Option<String>>,
}

impl<T: LoginTarget> Credentials<T> {
    /// Starts with the login that the configuration was loaded with.
    pub(crate) fn new(
        database: &str,
        target: &T,
        command: &CredentialsCommandSettings,
    ) -> Result<Self> {
        Ok(Self {
            database: database.to_owned(),
            command: CredentialsCommand::new(database, command),
            login: Mutex::new(Arc::new(Login::new(target.clone(), None)?)),
            checked: Mutex::new(Instant::now()),
            logged: Mutex::default(),
        })
    }

    /// Returns the current login without reading files.
    pub(crate) fn latest(&self) -> Arc<Login<T>> {
        Arc::clone(&self.login.lock())
    }

    /// Returns the login, read again if it is older than [`MAX_AGE`], with the credentials of the command.
    pub(crate) async fn fresh(&self) -> Result<Arc<Login<T>>> {
        if self.is_due() {
            self.reread().await;
        }
        if let Some(command) = &self.command {
            self.take(command.fresh().await?)?;
        }
        Ok(self.latest())
    }

    /// Makes the login of the credentials that the command has printed.
    fn take(&self, given: Arc<GivenCredentials>) -> Result<()> {
        let mut login = self.login.lock();
        if login.given.as_ref().is_none_or(|current| !Arc::ptr_eq(current, &given)) {
            *login = Arc::new(Login::new(login.target.clone(), Some(given))?);
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let mut checked = self.checked.lock();
        let is_due = checked.elapsed() >= MAX_AGE;
        if is_due {
            *checked = Instant::now();
        }
        is_due
    }

    /// Reads the files and returns the login that has replaced a rejected one, if any has.
    pub(crate) async fn renewed(&self, rejected: &Arc<Login<T>>) -> Option<Arc<Login<T>>> {
        self.reread().await;
        if let (Some(command), Some(rejected)) = (&self.command, &rejected.given) {
            let renewed = command.renewed(rejected).await.and_then(|given| self.take(given));
            if let Err(error) = renewed {
                self.log(&error);
            }
        }
        Some(self.latest()).filter(|latest| !Arc::ptr_eq(latest, rejected))
    }

    /// Reads the files on a blocking thread, as the disk may be slow. If they cannot be used, the login
    /// stays.
    async fn reread(&self) {
        let before = self.latest();
        let login = Arc::clone(&before);
        let read = tokio::task::spawn_blocking(move || login.reread()).await;
        let Ok(read) = read else { return };
        let renewed = match read {
            Ok(renewed) => renewed,
            Err(error) => return self.log(&error),
        };
        *self.logged.lock() = None;
        let mut login = self.login.lock();
        // Another task may have replaced it meanwhile.
        if let Some(renewed) = renewed.filter(|_| Arc::ptr_eq(&login, &before)) {
            *login = Arc::new(renewed);
            tracing::info!(database = &self.database, "credentials reloaded");
        }
    }

    /// Logs a problem with the files, unless it was the last one that was logged.
    fn log(&self, error: &Error) {
        let cause = error.cause();
        let why = format!("{}: {cause}", error.message()).trim_end_matches(": ").to_owned();
        let mut logged = self.logged.lock();
        if logged.as_ref() != Some(&why) {
            let database = &self.database;
            tracing::warn!(database, why, "cannot reload credentials, keeping the current ones");
            *logged = Some(why);
        }
    }
}
