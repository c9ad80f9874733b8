//! Migrations of a configured database (`rowgate migrate`).

use futures_util::future::LocalBoxFuture;

use super::admin_connections::{administer, open_admin};
use super::backends::configured;
use crate::backend::AdminConnection;
use crate::config::{Config, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::migrations::{
    MigrationError, MigrationFiles, MigrationPlan, Migrator, PendingFile, UpOptions, UpStep,
    UpSummary,
};

/// Runs the files that are pending. Blocks; must not be called from a runtime.
pub(crate) fn migrate_up(
    config: &Config,
    name: &str,
    files: &MigrationFiles,
    options: UpOptions,
    progress: &mut dyn FnMut(UpStep<'_>),
) -> Result<UpSummary, MigrationError> {
    with_migrator(config, name, files, async |migrator| migrator.up(options, progress).await)
}

/// Compares the files with the ledger. Blocks; must not be called from a runtime.
pub(crate) fn migration_plan(
    config: &Config,
    name: &str,
    files: &MigrationFiles,
) -> Result<MigrationPlan, MigrationError> {
    with_migrator(config, name, files, async |migrator| Ok(migrator.plan(false).await?.0))
}

/// Reads the statements that [`migrate_up`] would run. Blocks; must not be called from a runtime.
pub(crate) fn pending_migrations(
    config: &Config,
    name: &str,
    files: &MigrationFiles,
    (target, new_ledger): (Option<i64>, bool),
) -> Result<Vec<PendingFile>, MigrationError> {
    with_migrator(config, name, files, async |migrator| migrator.pending(target, new_ledger).await)
}

/// Drops everything in a database of this machine, and runs all files. Blocks; must not be called from a runtime.
pub(crate) fn reset_database(
    config: &Config,
    name: &str,
    files: &MigrationFiles,
    options: UpOptions,
    progress: &mut dyn FnMut(UpStep<'_>),
) -> Result<UpSummary, MigrationError> {
    let database = configured(config, name)?;
    let targets = [Some(&database.target), database.admin.as_ref()];
    let servers = targets.into_iter().flatten().flat_map(Target::servers);
    if let Some(server) = servers.into_iter().find(|server| !server.is_local()) {
        let message = format!("database \"{name}\" is at {server}, which is not this machine");
        return Err(Error::new(ErrorKind::FailedPrecondition, message)
            .with_hint(
                "It is reset only over a socket or loopback: nobody should destroy the wrong one.",
            )
            .into());
    }
    with_migrator(config, name, files, async |migrator| migrator.reset(options, progress).await)
}

fn with_migrator<T>(
    config: &Config,
    name: &str,
    files: &MigrationFiles,
    work: impl AsyncFnOnce(Migrator<'_>) -> Result<T, MigrationError>,
) -> Result<T, MigrationError> {
    let database = configured(config, name)?;
    let target = database.admin.as_ref().unwrap_or(&database.target);
    let is_new_file = matches!(target, Target::Sqlite(file) if !file.path.exists());
    administer(async |interruption| {
        let open = || -> LocalBoxFuture<'_, Result<Box<dyn AdminConnection>>> {
            Box::pin(open_admin(name, database, &interruption))
        };
        Box::pin(work(Migrator { files, open: &open, is_new_file })).await
    })
}
