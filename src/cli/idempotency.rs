//! `rowgate idempotency`

use std::io;

use clap::Subcommand;

use super::Exit;
use super::config_flags;
use super::config_flags::Settings;
use super::config_flags::report;
use super::console::{Console, one_line, visible};
use crate::app;
use crate::backend::Installed;
use crate::config::Config;
use crate::error::Error;

const INSTALL: &str = "\
Calls with an idempotency key need one table in their database, `idempotency.table`. This command \
makes it, as the role of the database's URL; it may be run again at any time. Where tables are made by \
a migration tool, --print gives it the SQL. SQLite needs nothing: its table is made when the first key \
comes.

Examples:
  rowgate idempotency install                        in the default database
  rowgate idempotency install --database reports
  rowgate idempotency install --print > migrations/0042_rowgate_keys.sql

Exit status: 0 when the table is there; 1 when it could not be made; 78 when the configuration has \
problems.";

/// Prepare databases for idempotency keys
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the table of idempotency keys, unless it is there
    #[command(after_help = INSTALL)]
    Install {
        #[command(flatten)]
        settings: Settings,
        /// The logical name of the database; the default one when left out
        #[arg(long, value_name = "NAME")]
        database: Option<String>,
        /// Print the SQL and connect to nothing
        #[arg(long)]
        print: bool,
    },
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    let Command::Install { settings, database, print } = &args.command;
    let loaded = match settings.load() {
        Ok(loaded) => loaded,
        Err(problems) => return report(&problems, console),
    };
    config_flags::warn(&loaded, console)?;
    let config = &loaded.config;
    let name = database.as_ref().unwrap_or(&config.default_database);
    let done = if *print {
        app::key_table_sql(config, name).map(|sql| print_sql(name, sql.as_deref(), console))
    } else {
        app::install_keys(config, name).map(|done| say((config, name), done, console))
    };
    done.unwrap_or_else(|error| fail(&error, console))
}

fn print_sql(name: &str, sql: Option<&str>, console: &mut Console<'_>) -> io::Result<Exit> {
    match sql {
        Some(sql) => console.out.write_all(sql.as_bytes())?,
        // Whatever takes the output takes SQL.
        None => writeln!(console.err, "database {name}: {}", nothing_to_do())?,
    }
    Ok(Exit::Success)
}

fn say(
    (config, name): (&Config, &str),
    done: Installed,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let table = config.databases.get(name).map_or("", |own| own.idempotency.table.as_str());
    let did = match done {
        Installed::Created => format!("table {table} created"),
        Installed::Existed => format!("table {table} is there already"),
        Installed::NotNeeded => nothing_to_do().to_owned(),
    };
    writeln!(console.out, "{}", visible(&format!("database {name}: {did}")))?;
    Ok(Exit::Success)
}

fn nothing_to_do() -> &'static str {
    "nothing to do, SQLite's table is made when the first key comes"
}

fn fail(error: &Error, console: &mut Console<'_>) -> io::Result<Exit> {
    console.fail(&visible(&one_line(error)))
}

#[cfg(test)]
mod tests {
    use super::super::console::tests::on_console;
    use super::*;
    use crate::config;

    #[test]
    fn what_was_done_is_said_with_the_tables_name() {
        let pairs =
            [("databases.main.url", "postgres://me@db/shop"), ("idempotency.table", "infra.keys")];
        let config = config::load_from(&pairs).unwrap();
        for (done, told) in [
            (Installed::Created, "database main: table infra.keys created\n"),
            (Installed::Existed, "database main: table infra.keys is there already\n"),
        ] {
            let (exit, out, err) = on_console(|console| say((&config, "main"), done, console));
            assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Success, told, ""));
        }
    }

    #[test]
    fn sql_is_all_that_is_printed_as_sql() {
        let (_, out, err) = on_console(|console| print_sql("main", Some("CREATE …\n"), console));
        assert_eq!((out.as_str(), err.as_str()), ("CREATE …\n", ""));
        let (exit, out, err) = on_console(|console| print_sql("main", None, console));
        assert_eq!((exit, out.as_str()), (Exit::Success, ""));
        assert!(err.contains("nothing to do"), "{err}");
    }
}
