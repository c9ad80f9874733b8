//! `rowgate idempotency`.

use std::io;

use clap::Subcommand;

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit, visible};
use crate::app;
use crate::backend::Installed;
use crate::config::Config;

const INSTALL: &str = "\
Calls with an idempotency key need one table in their database, `idempotency.table`. This command \
creates it, as the role of the database's URL; it may be repeated at any time. Where a migration tool creates \
the tables, --print prints the SQL for it. SQLite needs nothing: its table is created with the first key. \
The command needs the server's configuration, as the SQL is that of the database's kind; without one, only --print \
works, for PostgreSQL.

Examples:
  rowgate idempotency install                        in the default database
  rowgate idempotency install --database reports
  rowgate idempotency install --print > migrations/0042_rowgate_keys.sql
  DATABASE_URL=mysql://me@db/shop rowgate idempotency install --print

Exit status: 0 when the table exists; 1 when it cannot be created; 78 when the configuration has \
problems.";

/// Prepare databases for idempotency keys
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the table of idempotency keys, unless it exists
    #[command(after_help = INSTALL)]
    Install {
        #[command(flatten)]
        settings: Settings,
        /// The logical name of the database; the default one if omitted
        #[arg(long, value_name = "NAME")]
        database: Option<String>,
        /// Print the SQL without connecting
        #[arg(long)]
        print: bool,
    },
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let Command::Install { settings, database, print } = &args.command;
    let loaded = settings.load_without_listeners(console)?;
    let is_guess = database.is_none() && !loaded.names_a_database();
    let config = loaded.config;
    let name = database.as_ref().unwrap_or(&config.default_database);
    if *print && is_guess {
        let sql = app::postgres_key_table_sql(&config, name).unwrap_or_default();
        console.out.write_all(sql.as_bytes())?;
        let note = "no database is configured here: this is the SQL for PostgreSQL (For MySQL or MariaDB set \
                    DATABASE_URL=mysql://….)";
        writeln!(console.err, "{note}")?;
    } else if *print {
        print_sql(name, app::key_table_sql(&config, name)?.as_deref(), console)?;
    } else if is_guess {
        // The server may have another database, whose calls with a key would still fail.
        return Err(CommandError::Config(NOT_CONFIGURED.to_owned()));
    } else {
        let text = installed_text(&config, name, app::install_keys(&config, name)?);
        writeln!(console.out, "{}", visible(&text))?;
    }
    Ok(Exit::Success)
}

const NOT_CONFIGURED: &str = "no database is configured here, so this cannot be the server's own: name the \
    server's configuration with --config, --database-url or DATABASE_URL. A server that has none either uses \
    SQLite, which creates its table with the first key";

const NOTHING_TO_DO: &str = "nothing to do, SQLite creates its table with the first key";

fn print_sql(name: &str, sql: Option<&str>, console: &mut Console<'_>) -> io::Result<()> {
    match sql {
        Some(sql) => console.out.write_all(sql.as_bytes()),
        // A comment: a file of migrations must not be empty.
        None => writeln!(console.out, "-- database {name}: {NOTHING_TO_DO}"),
    }
}

fn installed_text(config: &Config, name: &str, installed: Installed) -> String {
    let table = config.databases.get(name).map_or("", |own| own.idempotency.table.as_str());
    let result = match installed {
        Installed::Created => format!("table {table} created"),
        Installed::Existed => format!("table {table} exists already"),
        Installed::NotNeeded => NOTHING_TO_DO.to_owned(),
    };
    format!("database {name}: {result}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::on_console;
    use crate::config;

    #[test]
    fn the_result_names_the_table() {
        let pairs =
            [("databases.main.url", "postgres://me@db/shop"), ("idempotency.table", "infra.keys")];
        let config = config::load_from(&pairs).unwrap();
        for (installed, expected) in [
            (Installed::Created, "database main: table infra.keys created"),
            (Installed::Existed, "database main: table infra.keys exists already"),
        ] {
            assert_eq!(installed_text(&config, "main", installed), expected);
        }
    }

    #[test]
    fn sql_is_all_that_is_printed_as_sql() {
        let printed =
            |sql| on_console(|console| print_sql("main", sql, console).map(|()| Exit::Success));
        let (_, out, err) = printed(Some("CREATE …\n"));
        assert_eq!((out.as_str(), err.as_str()), ("CREATE …\n", ""));
        let (_, out, err) = printed(None);
        assert_eq!(err, "");
        assert!(out.starts_with("-- database main: nothing to do"), "{out}");
    }
}
