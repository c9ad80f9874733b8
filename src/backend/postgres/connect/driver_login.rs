//! The login of a PostgreSQL database, for the driver.

use crate::backend::network::{Login, LoginTarget};
use crate::config::{PostgresTarget, Problems, Server, Tls};

impl LoginTarget for PostgresTarget {
    fn servers(&self) -> &[Server] {
        &self.servers
    }

    fn is_balanced(&self) -> bool {
        self.balance
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn tls(&self) -> &Tls {
        &self.tls
    }

    fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        Self::reread(self)
    }

    fn is_same_database(&self, other: &Self) -> bool {
        let rest = |target: &Self| {
            let Self { dbname, application_name, session, balance, channel_binding, .. } = target;
            let choices = (*session, *balance, *channel_binding);
            (choices, dbname.clone(), application_name.clone())
        };
        rest(self) == rest(other)
    }
}

/// Writes role and password for one of the servers, by its index, to the driver's configuration.
pub(super) fn write(
    login: &Login<PostgresTarget>,
    driver: &mut tokio_postgres::Config,
    server: usize,
) {
    driver.user(login.user());
    if let Some(password) = login.password(server) {
        driver.password(password.expose());
    }
}
