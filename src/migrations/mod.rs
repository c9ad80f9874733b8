//! Migrations: the files that change a database's definitions, each once and in order, and the ledger of those that ran.
//!
//! A file is split into its statements, and each is sent alone: so an error names its file and line. With PostgreSQL and
//! SQLite a file is one transaction together with its row in the ledger, unless its first comments say
//! `-- rowgate: no-transaction`. MySQL and MariaDB commit at each definition: there every file runs statement by statement,
//! and the ledger counts them, so that a crash in the middle is told.
//!
//! It is not refinery, which resolves with the same drivers: that takes no lock, so two migrators run the same file at once, and
//! it runs every file in a transaction, in which PostgreSQL refuses CREATE INDEX CONCURRENTLY. It keeps no content, so it can say
//! that a file has changed, and not where.
//!
//! Layers, from below: [`finding`]; names and content of files ([`migration_names`], [`migration_files`]); statements
//! ([`delimiters`], [`script_parts`], [`pragma_effect`], [`migration_script`]); the [`migration_ledger`] and its place
//! ([`ledger_place`]); the comparison of both ([`unfinished`],
//! [`migration_plan`]); runs ([`migrator_lock`], [`migration_run`], [`migrate_up`]). It knows no driver: a backend's
//! `AdminConnection` runs the SQL.

mod delimiters;
mod destruction;
mod finding;
mod ledger_place;
mod migrate_up;
mod migration_error;
mod migration_files;
mod migration_ledger;
mod migration_names;
mod migration_plan;
mod migration_run;
mod migration_script;
mod migrator_lock;
mod pragma_effect;
mod script_parts;
mod unfinished;

pub(crate) use migrate_up::{Migrator, PendingFile, UpOptions, UpStep, UpSummary};
pub(crate) use migration_error::{FailedStatement, FailedStep, MigrationError};
pub(crate) use migration_files::{MigrationFiles, new_file};
pub(crate) use migration_plan::{FileState, MigrationPlan};
pub(crate) use script_parts::ScriptMode;
