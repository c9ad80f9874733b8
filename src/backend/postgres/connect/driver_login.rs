//! The login of a PostgreSQL database, for the driver.

use crate::backend::network::Login;
use crate::config::PostgresTarget;

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
