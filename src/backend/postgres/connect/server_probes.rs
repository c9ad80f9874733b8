//! The trial of a server: its first session shows what it can do.

use std::time::Duration;

use tokio_postgres::Client;

use super::baseline::Baseline;
use super::capabilities::{Ability, Capabilities, Expected, Learned, Probe};
use super::connect_errors::ConnectFailure;
use super::server_traits::ServerTraits;
use super::{pooler, role_settings};
use crate::config::Server;

/// The divisor of `pool.connect_timeout` that gives the time for the probes of a new server.
const PART: u32 = 4;

/// The probes of a database's servers.
pub(super) struct ServerProbes {
    database: String,
    probes: Vec<Probe>,
    limit: Duration,
}

impl ServerProbes {
    /// Adds the probes of what a login asks to those of its callers.
    pub(super) fn new(
        database: &str,
        connect_timeout: Duration,
        baseline: &Baseline,
        mut probes: Vec<Probe>,
    ) -> Self {
        probes.extend([
            Probe::new(Ability::RoleSettings, role_settings::ENTRIES, Expected::Answered),
            Probe::new(Ability::RoleSettings, role_settings::VALUES, Expected::Answered),
            Probe::new(Ability::Identity, baseline.question(), Expected::Answered),
            Probe::new(Ability::Identity, pooler::NAMES, Expected::Answered),
        ]);
        Self { database: database.to_owned(), probes, limit: connect_timeout / PART }
    }

    /// Returns the capabilities of a server, which the first session that can tell shows.
    pub(super) async fn capabilities(
        &self,
        client: &Client,
        server: &Server,
        traits: &ServerTraits,
    ) -> Result<Capabilities, ConnectFailure> {
        if let Some(known) = traits.known_capabilities() {
            return Ok(known);
        }
        // What follows a BEGIN that is refused would be applied at once.
        pooler::check_transactions(client).await?;
        let Learned { capabilities, is_certain } =
            Learned::of(client, &self.probes, self.limit).await?;
        if is_certain && traits.found_capabilities(&capabilities) {
            capabilities.log(&self.database, &server.to_string());
        }
        Ok(capabilities)
    }
}
