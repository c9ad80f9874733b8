//! The credentials for the servers: role, passwords and certificates, read again when files change.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::credentials_command::{CredentialsCommand, GivenCredentials};
use super::tls::client_config;
use crate::config::{CredentialsCommandSettings, PostgresTarget, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// The maximum age of credentials when a connection is opened; 5 s are documented.
const MAX_AGE: Duration = Duration::from_secs(1);

pub(crate) struct Login {
    target: PostgresTarget,
    /// The credentials of a command; they are used instead of the target's own.
    given: Option<Arc<GivenCredentials>>,
    /// The TLS connector; `None` if TLS is disabled.
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Login {
    fn new(target: PostgresTarget, given: Option<Arc<GivenCredentials>>) -> Result<Self> {
        let is_encrypted = target.tls.mode != TlsMode::Disable;
        let tls = is_encrypted.then(|| client_config(&target.tls)).transpose()?;
        Ok(Self { target, given, tls: tls.map(MakeRustlsConnect::new) })
    }

    /// Writes role and password for one of the servers, by its index, to the driver's configuration.
    pub(crate) fn write_to(&self, driver: &mut tokio_postgres::Config, server: usize) {
        driver.user(&self.target.user);
        if let Some(given) = &self.given {
            driver.user(given.user.as_ref().unwrap_or(&self.target.user));
            driver.password(given.password.expose());
        } else if let Some(password) = &self.target.servers[server].password {
            driver.password(password.expose());
        }
    }

    /// Reads the files again. Returns `None` if nothing has changed.
    fn reread(&self) -> Result<Option<Self>> {
        let (target, warnings) =
            self.target.reread().map_err(|problems| unusable(&problems.to_string()))?;
        if !is_same_target(&target, &self.target) {
            return Err(unusable("the target of the connection has changed: restart to use it"));
        }
        let passwords = |target: &PostgresTarget| -> Vec<_> {
            target.servers.iter().map(|server| server.password.clone()).collect()
        };
        let before = passwords(&self.target);
        let now = passwords(&target);
        if before.iter().zip(&now).any(|(before, now)| before.is_some() && now.is_none()) {
            let warning = warnings.first().map_or("the password is missing", String::as_str);
            return Err(unusable(warning));
        }
        let is_same =
            before == now && target.user == self.target.user && target.tls == self.target.tls;
        if is_same { Ok(None) } else { Self::new(target, self.given.clone()).map(Some) }
    }
}

/// Returns true if only role, passwords and certificates differ, as they may between the connections
/// of one pool.
fn is_same_target(one: &PostgresTarget, other: &PostgresTarget) -> bool {
    let servers = one.servers.len() == other.servers.len()
        && one.servers.iter().zip(&other.servers).all(|(one, other)| one.is_at(other));
    let rest = |target: &PostgresTarget| {
        let PostgresTarget { dbname, application_name, tls, .. } = target;
        let PostgresTarget { session, balance, channel_binding, .. } = target;
        let choices = (*session, *balance, *channel_binding, tls.mode);
        (choices, dbname.clone(), application_name.clone())
    };
    servers && rest(one) == rest(other)
}

/// The login of one database.
pub(crate) struct Credentials {
    database: String,
    command: Option<CredentialsCommand>,
    login: Mutex<Arc<Login>>,
    /// The time of the last look at the files.
    checked: Mutex<Instant>,
    /// The problem with the files that was logged last.
    logged: Mutex<Option<String>>,
}

impl Credentials {
    /// Starts with the login that the configuration was loaded with.
    pub(crate) fn new(
        database: &str,
        target: &PostgresTarget,
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
    pub(crate) fn latest(&self) -> Arc<Login> {
        Arc::clone(&self.login.lock())
    }

    /// Returns the login, read again if it is older than [`MAX_AGE`], with the credentials of the command.
    pub(crate) async fn fresh(&self) -> Result<Arc<Login>> {
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
    pub(crate) async fn renewed(&self, rejected: &Arc<Login>) -> Option<Arc<Login>> {
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

/// Returns an error whose message is on one line, for the log.
fn unusable(why: &str) -> Error {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::new(ErrorKind::BackendMisconfigured, line)
}
