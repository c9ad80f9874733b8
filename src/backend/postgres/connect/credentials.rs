//! Who we are to the servers: role, passwords and certificates, read again when their files change.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{PostgresTarget, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// How old what the files said may be when a connection is opened: promised are 5 s.
const FRESH: Duration = Duration::from_secs(1);

/// SessionAttrs, passwords and certificates as they were at one moment.
pub(crate) struct Login {
    target: PostgresTarget,
    tls: Option<MakeRustlsConnect>,
}

impl Login {
    fn new(target: PostgresTarget) -> Result<Self> {
        let tls = match target.tls.mode {
            TlsMode::Disable => None,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                Some(MakeRustlsConnect::new(super::tls::client_config(&target.tls)?))
            }
        };
        Ok(Self { target, tls })
    }

    /// What encrypts; `None`: nothing is encrypted.
    pub(crate) fn tls(&self) -> Option<&MakeRustlsConnect> {
        self.tls.as_ref()
    }

    /// Puts role and password for one of the servers, by its number, into the driver's configuration.
    pub(crate) fn write_to(&self, driver: &mut tokio_postgres::Config, server: usize) {
        driver.user(&self.target.user);
        if let Some(password) = &self.target.servers[server].password {
            driver.password(password.expose());
        }
    }

    /// What another reading of the files makes of it. `None`: the same.
    fn renew(&self) -> Result<Option<Self>> {
        let (target, warnings) =
            self.target.reread().map_err(|problems| unusable(one_line(&problems.to_string())))?;
        if !is_same_place(&target, &self.target) {
            return Err(unusable("another database is named there: restart to use it".to_owned()));
        }
        let passwords = |target: &PostgresTarget| -> Vec<_> {
            target.servers.iter().map(|server| server.password.clone()).collect()
        };
        let (before, now) = (passwords(&self.target), passwords(&target));
        if before.iter().zip(&now).any(|(before, now)| before.is_some() && now.is_none()) {
            let missing = "the password is not there any more".to_owned();
            return Err(unusable(warnings.into_iter().next().unwrap_or(missing)));
        }
        let is_same =
            before == now && target.user == self.target.user && target.tls == self.target.tls;
        if is_same { Ok(None) } else { Self::new(target).map(Some) }
    }
}

/// Whether only role, passwords and certificates differ, which a connection that is opened next to older
/// ones may do.
fn is_same_place(one: &PostgresTarget, other: &PostgresTarget) -> bool {
    let servers = one.servers.len() == other.servers.len()
        && one.servers.iter().zip(&other.servers).all(|(one, other)| one.is_at(other));
    let rest = |target: &PostgresTarget| {
        let PostgresTarget { session, balance, dbname, application_name, tls, .. } = target;
        (*session, *balance, dbname.clone(), application_name.clone(), tls.mode)
    };
    servers && rest(one) == rest(other)
}

/// The login of one database.
pub(crate) struct Credentials {
    database: String,
    login: Mutex<Arc<Login>>,
    /// When the files were last looked at.
    looked: Mutex<Instant>,
    /// ConnectFailure the files cannot be used, as it was logged.
    told: Mutex<Option<String>>,
}

impl Credentials {
    /// The login that the configuration was loaded with.
    pub(crate) fn new(database: &str, target: &PostgresTarget) -> Result<Self> {
        Ok(Self {
            database: database.to_owned(),
            login: Mutex::new(Arc::new(Login::new(target.clone())?)),
            looked: Mutex::new(Instant::now()),
            told: Mutex::default(),
        })
    }

    /// The login as it is known, without a look at files.
    pub(crate) fn latest(&self) -> Arc<Login> {
        Arc::clone(&self.login.lock())
    }

    /// The login as the files say now, or said a moment ago.
    pub(crate) async fn fresh(&self) -> Arc<Login> {
        let is_due = {
            let mut looked = self.looked.lock();
            let is_due = looked.elapsed() >= FRESH;
            if is_due {
                *looked = Instant::now();
            }
            is_due
        };
        if is_due {
            self.reread().await;
        }
        self.latest()
    }

    /// The login that has taken the place of one that was refused, if any has.
    pub(crate) async fn renewed(&self, refused: &Arc<Login>) -> Option<Arc<Login>> {
        self.reread().await;
        Some(self.latest()).filter(|latest| !Arc::ptr_eq(latest, refused))
    }

    /// Reads the files, off the worker: they may be on a disk that is slow, or far. What cannot be used
    /// leaves things as they are.
    async fn reread(&self) {
        let before = self.latest();
        let login = Arc::clone(&before);
        let read = tokio::task::spawn_blocking(move || login.renew()).await;
        let Ok(read) = read else { return };
        let database = &self.database;
        match read {
            Ok(None) => drop(self.told.lock().take()),
            Ok(Some(renewed)) => {
                self.told.lock().take();
                let mut login = self.login.lock();
                // Whoever read at the same time was here first.
                if Arc::ptr_eq(&login, &before) {
                    *login = Arc::new(renewed);
                    tracing::info!(database, "credentials have changed");
                }
            }
            Err(error) => self.tell(&error),
        }
    }

    /// Logs once why the files cannot be used.
    fn tell(&self, error: &Error) {
        let cause = error.cause();
        let why = format!("{}: {cause}", error.message()).trim_end_matches(": ").to_owned();
        let mut told = self.told.lock();
        if told.as_ref() != Some(&why) {
            let database = &self.database;
            tracing::warn!(database, why, "credentials cannot be read again, the old ones stay");
            *told = Some(why);
        }
    }
}

fn unusable(why: String) -> Error {
    Error::new(ErrorKind::BackendMisconfigured, why)
}

/// Problems as a log takes them.
fn one_line(problems: &str) -> String {
    problems.split_whitespace().collect::<Vec<_>>().join(" ")
}
