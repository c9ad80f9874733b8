//! The settings that the configuration gives to every session.

use tokio_postgres::Client;

use super::connect_errors::ConnectFailure;
use super::role_settings::set_config;
use crate::backend::postgres::protocol::statement_names::Route;
use crate::config::SessionOptions;

/// The statements for `databases.NAME.options`.
#[derive(Debug)]
pub(crate) struct OptionsScript {
    script: String,
    names: String,
}

impl OptionsScript {
    pub(crate) fn new(options: &SessionOptions) -> Self {
        let SessionOptions(settings) = options;
        let script = settings.iter().map(|(name, value)| set_config(name, value)).collect();
        let names: Vec<_> = settings.iter().map(|(name, _)| name.as_str()).collect();
        Self { script, names: names.join(", ") }
    }

    /// Gives the settings to a session. Returns the statements for it, to be run again after each `RESET ALL`.
    pub(crate) async fn give(&self, client: &Client, route: Route) -> Result<&str, ConnectFailure> {
        if self.script.is_empty() {
            return Ok("");
        }
        let options = |cause| ConnectFailure::Options { names: self.names.clone(), cause };
        if route == Route::Pooler {
            // The next transaction may be another session's.
            return Err(options(None));
        }
        match client.batch_execute(&self.script).await {
            Ok(()) => Ok(&self.script),
            Err(error) if error.as_db_error().is_none() => Err(ConnectFailure::of_login(error)),
            Err(error) => Err(options(Some(Box::new(ConnectFailure::of_login(error))))),
        }
    }
}
