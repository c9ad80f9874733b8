//! The key that signs the claims of a database's callers, read again when its file changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::backend::postgres::connection::claim_signature::SigningKey;
use crate::clock::now;
use crate::config::{ClaimsSettings, Problems};

/// The age at which the key is read again; 5 s are documented.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The key of one database.
pub(crate) struct ClaimKeys {
    database: String,
    in_force: Mutex<Arc<KeyInForce>>,
    /// The time of the last look at its file.
    checked: Mutex<Instant>,
    /// The problem with the file that was logged last.
    logged: Mutex<Option<String>>,
}

/// A key, and the settings that it is of.
#[derive(Debug)]
pub(crate) struct KeyInForce {
    pub(crate) key: SigningKey,
    pub(crate) settings: ClaimsSettings,
}

impl KeyInForce {
    fn new(settings: ClaimsSettings) -> Option<Self> {
        let key = SigningKey::new(settings.key.as_ref()?);
        Some(Self { key, settings })
    }
}

impl ClaimKeys {
    /// Returns the key of a configuration; `None` where callers have no claims.
    pub(crate) fn new(settings: &ClaimsSettings) -> Option<Self> {
        Some(Self {
            database: settings.database.clone(),
            in_force: Mutex::new(Arc::new(KeyInForce::new(settings.clone())?)),
            checked: Mutex::new(now()),
            logged: Mutex::default(),
        })
    }

    /// The key, as it was last read.
    pub(crate) fn latest(&self) -> Arc<KeyInForce> {
        Arc::clone(&self.in_force.lock())
    }

    /// The key, read again if it is older than [`MAX_AGE`].
    pub(crate) async fn fresh(&self) -> Arc<KeyInForce> {
        if self.is_due() {
            self.reread().await;
        }
        self.latest()
    }

    fn is_due(&self) -> bool {
        let mut checked = self.checked.lock();
        let is_due = now().saturating_duration_since(*checked) >= MAX_AGE;
        if is_due {
            *checked = now();
        }
        is_due
    }

    /// Reads the file on a blocking thread, as the disk may be slow. If it cannot be used, the key stays.
    async fn reread(&self) {
        let before = self.latest();
        let settings = before.settings.clone();
        let read = tokio::task::spawn_blocking(move || settings.reread()).await;
        let Ok(read) = read else { return };
        let renewed = match read.map(KeyInForce::new) {
            Ok(Some(renewed)) => renewed,
            Ok(None) => return self.log("the key is missing".to_owned()),
            Err(problems) => return self.log(in_one_line(&problems)),
        };
        *self.logged.lock() = None;
        let mut in_force = self.in_force.lock();
        let is_same = renewed.settings.key == in_force.settings.key;
        // Another task may have replaced it meanwhile.
        if !is_same && Arc::ptr_eq(&in_force, &before) {
            *in_force = Arc::new(renewed);
            tracing::info!(database = &self.database, "key of claims reloaded");
        }
    }

    /// Logs a problem with the file, unless it was the last one that was logged.
    fn log(&self, why: String) {
        let mut logged = self.logged.lock();
        if logged.as_ref() != Some(&why) {
            let database = &self.database;
            tracing::warn!(
                database,
                why,
                "cannot reload the key of claims, keeping the current one"
            );
            *logged = Some(why);
        }
    }
}

fn in_one_line(problems: &Problems) -> String {
    problems.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
