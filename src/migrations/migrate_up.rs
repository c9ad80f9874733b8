//! The migrator: it brings a database to the state of its files.

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

use super::destruction::{before_destruction, destroy};
use super::ledger_place::LedgerPlace;
use super::migration_error::MigrationError;
use super::migration_files::{MigrationFile, MigrationFiles};
use super::migration_ledger::Ledger;
use super::migration_plan::MigrationPlan;
use super::migration_run::{FileRun, LedgerWriter};
use super::migration_script::MigrationScript;
use super::migrator_lock::MigratorLock;
use super::script_parts::ScriptStatement;
use crate::backend::AdminConnection;
use crate::error::Result;
use crate::sql::Dialect;

/// Opens a connection to the database that is migrated.
pub(crate) type OpenAdmin<'a> =
    dyn Fn() -> LocalBoxFuture<'a, Result<Box<dyn AdminConnection>>> + 'a;

/// The files of a database, and the way to it.
pub(crate) struct Migrator<'a> {
    pub(crate) files: &'a MigrationFiles,
    pub(crate) open: &'a OpenAdmin<'a>,
    /// True for a file of SQLite that is not there yet: a connection would create it.
    pub(crate) is_new_file: bool,
}

/// A file that would run.
#[derive(Debug)]
pub(crate) struct PendingFile {
    pub(crate) name: String,
    pub(crate) script: MigrationScript,
}

/// The options of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpOptions {
    /// The last version to run.
    pub(crate) target: Option<i64>,
    /// The longest wait for another migrator.
    pub(crate) wait: Duration,
    /// A ledger is made although another schema has one.
    pub(crate) new_ledger: bool,
}

/// A step of a run.
#[derive(Debug)]
pub(crate) enum UpStep<'a> {
    /// Another migrator is at work.
    Waiting,
    /// Everything is dropped but the schemas of other roles.
    Destroyed {
        left: &'a [String],
    },
    /// A remark about the ledger.
    Note(&'a str),
    /// The database has remarked on a statement.
    Remark {
        file: &'a str,
        line: usize,
        text: &'a str,
    },
    Applied {
        file: &'a str,
        took: Duration,
    },
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpSummary {
    /// The files that ran.
    pub(crate) applied: usize,
    /// The last version that ran, ever; 0 before the first.
    pub(crate) version: i64,
}

impl Migrator<'_> {
    /// Compares the files with the ledger, which may be one that would be made. Changes nothing.
    pub(crate) async fn plan(&self, new_ledger: bool) -> Result<(MigrationPlan, Dialect)> {
        if self.is_new_file {
            let ledger = Ledger::in_schema(Dialect::Sqlite, "main");
            let plan = MigrationPlan::new(self.files, &[], &ledger, Dialect::Sqlite);
            return Ok((plan, Dialect::Sqlite));
        }
        let mut connection = (self.open)().await?;
        let dialect = connection.dialect();
        let place = LedgerPlace::find(&mut *connection).await?;
        let ledger = &place.ledger;
        let rows = if place.exists { ledger.rows(&mut *connection).await? } else { Vec::new() };
        let mut plan = MigrationPlan::new(self.files, &rows, ledger, dialect);
        if !plan.has_unfinished() {
            plan.findings.extend(place.finding().filter(|_| !new_ledger));
            plan.notes.extend(place.notes);
            return Ok((plan, dialect));
        }
        let mut plan = match connection.try_lock().await {
            Ok(false) => plan.at_work(),
            Ok(true) => {
                // A migrator may have ended meanwhile.
                let rows = ledger.rows(&mut *connection).await?;
                MigrationPlan::new(self.files, &rows, ledger, dialect)
            }
            // Where there is no lock, nobody can tell.
            Err(_error) => plan,
        };
        plan.notes.extend(place.notes);
        Ok((plan, dialect))
    }

    /// Reads the statements of the files that would run. Changes nothing.
    pub(crate) async fn pending(
        &self,
        target: Option<i64>,
        new_ledger: bool,
    ) -> Result<Vec<PendingFile>, MigrationError> {
        let (plan, dialect) = self.plan(new_ledger).await?;
        let scripts = self.scripts(plan, target, dialect)?;
        let pending = |(file, script): (&MigrationFile, MigrationScript)| PendingFile {
            name: file.name.clone(),
            script,
        };
        Ok(scripts.into_iter().map(pending).collect())
    }

    /// Runs what is pending, alone.
    pub(crate) async fn up(
        &self,
        options: UpOptions,
        progress: &mut dyn FnMut(UpStep<'_>),
    ) -> Result<UpSummary, MigrationError> {
        MigrationError::refuse(self.files.findings.clone())?;
        let mut lock = self.lock(options.wait, progress).await?;
        self.up_alone(&mut lock, options, progress).await
    }

    /// Drops everything, and runs all files.
    pub(crate) async fn reset(
        &self,
        options: UpOptions,
        progress: &mut dyn FnMut(UpStep<'_>),
    ) -> Result<UpSummary, MigrationError> {
        MigrationError::refuse(self.files.findings.clone())?;
        let lock = self.lock(options.wait, progress).await;
        let mut lock = lock.map_err(|error| match error {
            MigrationError::Error(error) => before_destruction(error).into(),
            MigrationError::Refused(_) | MigrationError::Failed(_) => error,
        })?;
        let mut connection = (self.open)().await.map_err(before_destruction)?;
        // Nothing is dropped for files that cannot run.
        let all = MigrationPlan::of_nothing(self.files);
        self.scripts(all, options.target, connection.dialect())?;
        let left = destroy(&mut *connection).await?;
        drop(connection);
        progress(UpStep::Destroyed { left: &left });
        // Schemas of others may have theirs.
        let options = UpOptions { new_ledger: true, ..options };
        self.up_alone(&mut lock, options, progress).await
    }

    async fn lock(
        &self,
        wait: Duration,
        progress: &mut dyn FnMut(UpStep<'_>),
    ) -> Result<MigratorLock, MigrationError> {
        let waiting = || progress(UpStep::Waiting);
        MigratorLock::take((self.open)().await?, wait, waiting).await
    }

    /// Runs what is pending, under the lock.
    async fn up_alone(
        &self,
        lock: &mut MigratorLock,
        options: UpOptions,
        progress: &mut dyn FnMut(UpStep<'_>),
    ) -> Result<UpSummary, MigrationError> {
        let mut connection = (self.open)().await?;
        let dialect = connection.dialect();
        let place = LedgerPlace::find(&mut *connection).await?;
        if !options.new_ledger {
            MigrationError::refuse(place.finding().into_iter().collect())?;
        }
        let LedgerPlace { ledger, exists, notes, .. } = place;
        notes.iter().for_each(|note| progress(UpStep::Note(note)));
        if !exists {
            connection.run(&ledger.create()).await?;
        }
        let rows = ledger.rows(&mut *connection).await?;
        drop(connection);
        let plan = MigrationPlan::new(self.files, &rows, &ledger, dialect);
        let mut summary = UpSummary { applied: 0, version: plan.version() };
        for (file, script) in self.scripts(plan, options.target, dialect)? {
            lock.check().await?;
            let start = Instant::now();
            let mut connection = (self.open)().await?;
            let connection = &mut *connection;
            let ledger = LedgerWriter { ledger: &ledger, connection: lock.connection() };
            let remarks = &mut |statement: &ScriptStatement, text: &str| {
                progress(UpStep::Remark { file: &file.name, line: statement.line, text });
            };
            FileRun { file, script: &script, ledger, connection, remarks }.run().await?;
            progress(UpStep::Applied { file: &file.name, took: start.elapsed() });
            summary = UpSummary { applied: summary.applied + 1, version: file.version };
        }
        Ok(summary)
    }

    /// The statements of what is pending, unless something forbids to go on.
    fn scripts(
        &self,
        plan: MigrationPlan,
        target: Option<i64>,
        dialect: Dialect,
    ) -> Result<Vec<(&MigrationFile, MigrationScript)>, MigrationError> {
        let pending = plan.pending(self.files, target);
        MigrationError::refuse(plan.findings)?;
        let mut scripts = Vec::with_capacity(pending.len());
        let mut findings = Vec::new();
        for file in pending {
            match MigrationScript::of(file, dialect) {
                Ok(script) => scripts.push((file, script)),
                Err(found) => findings.extend(found),
            }
        }
        MigrationError::refuse(findings)?;
        Ok(scripts)
    }
}
