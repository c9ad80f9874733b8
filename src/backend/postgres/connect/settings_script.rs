//! The settings that the configuration gives to every session.

use tokio_postgres::Client;

use super::connect_errors::ConnectFailure;
use super::role_settings::{literal, set_config};
use crate::backend::postgres::protocol::statement_names::Route;
use crate::config::setting_names::{CLAIMS_SETTING, custom_names};
use crate::config::{Database, InitialSettings};

/// The statements for `databases.NAME.settings`, and for the custom settings that begin empty: those of
/// `settings_allowed`, and the one of claims.
#[derive(Debug)]
pub(crate) struct SettingsScript {
    settings: Vec<(String, String)>,
    script: String,
}

impl SettingsScript {
    pub(crate) fn new(config: &Database) -> Self {
        let InitialSettings(settings) = &config.settings;
        let claims = config.claims.key.is_some().then_some(CLAIMS_SETTING);
        let empty = custom_names(&config.settings_allowed).chain(claims);
        let script: String = settings.iter().map(|(name, value)| set_config(name, value)).collect();
        let empty: String = empty.map(begin_empty).collect();
        Self { settings: settings.clone(), script: script + &empty }
    }

    /// Gives the settings to a session. Returns the statements for it, to be run again after each `RESET ALL`.
    pub(crate) async fn give(&self, client: &Client, route: Route) -> Result<&str, ConnectFailure> {
        if self.script.is_empty() {
            return Ok("");
        }
        if route == Route::Pooler {
            // The next transaction may be another session's.
            let first = self.settings.first().map(|(name, _)| name.clone());
            return match first {
                Some(name) => Err(ConnectFailure::Settings { key: key(&name), cause: None }),
                None => Ok(""),
            };
        }
        match client.batch_execute(&self.script).await {
            Ok(()) => Ok(&self.script),
            Err(error) if error.as_db_error().is_none() => Err(ConnectFailure::of_login(error)),
            Err(error) => Err(self.refused(client, error).await),
        }
    }

    /// The failure of the first setting that the server refuses.
    async fn refused(&self, client: &Client, error: tokio_postgres::Error) -> ConnectFailure {
        let settings = self.settings.iter().map(|(name, value)| (name, set_config(name, value)));
        for (name, statement) in settings {
            if let Err(error) = client.batch_execute(&statement).await {
                let cause = Some(Box::new(ConnectFailure::of_login(error)));
                return ConnectFailure::Settings { key: key(name), cause };
            }
        }
        let cause = Some(Box::new(ConnectFailure::of_login(error)));
        ConnectFailure::Settings { key: "settings_allowed".to_owned(), cause }
    }
}

/// The statement that begins a custom setting empty, unless the session has it. After a call that sets it, it would read
/// as empty for good, and in other sessions as NULL.
fn begin_empty(name: &str) -> String {
    let name = literal(name);
    format!(
        "SELECT pg_catalog.set_config({name}, '', false) WHERE pg_catalog.current_setting({name}, true) IS NULL; "
    )
}

fn key(name: &str) -> String {
    format!("settings.{name}")
}
