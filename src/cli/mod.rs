//! The command line: one file per command.
//!
//! A command reads its arguments, calls the module that does the work, and prints the results. Standard output has
//! results, standard error everything else.

mod backup_command;
mod claims_command;
mod command_error;
mod completions_command;
mod config_command;
mod config_flags;
mod console;
mod copy;
mod descriptor_command;
mod health_command;
mod idempotency_command;
mod listen_command;
mod maintain_command;
mod migrate_command;
mod pool;
mod progress_line;
mod query;
mod reset_command;
mod schema_command;
mod secret_command;
mod serve_command;
mod server_flag;
mod sql;
#[cfg(test)]
mod tests;
mod token_command;

use std::io::{self, IsTerminal as _};

use clap::{CommandFactory as _, Parser, Subcommand};

pub use console::Exit;

use command_error::{CommandError, unwritable};
use console::Console;

const EXAMPLES: &str = "\
Examples:
  rowgate                                        serve; the default database is a SQLite file here
  DATABASE_URL=postgres://me@db/shop rowgate     serve a PostgreSQL database
  DATABASE_URL=mysql://me@db/shop rowgate        serve a database of MySQL or MariaDB
  rowgate query 'select * from orders where id = $1' -p 42
  rowgate sql                                    prompt for SQL
  rowgate copy orders --from orders.csv --header load a file into a table
  rowgate pool watch                             watch the connections, live
  rowgate config check                           check the configuration
  rowgate migrate up                             run the migrations that did not run yet

Exit status: 0 success; 1 a call failed, or the server is not serving; 2 wrong usage of a command; \
78 the configuration has problems; 141 standard output was closed before all was done, as by `| head`.";

/// Pooled, deadline-bound, observable SQL over gRPC.
///
/// Without a command it serves, as `rowgate serve` does.
#[derive(Debug, Parser)]
#[command(name = "rowgate", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    serve: serve_command::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve_command::Args),
    Config(config_command::Args),
    Secret(secret_command::Args),
    Query(query::Args),
    Sql(sql::Args),
    Copy(copy::Args),
    Health(health_command::Args),
    Listen(listen_command::Args),
    Pool(pool::Args),
    Idempotency(idempotency_command::Args),
    Claims(claims_command::Args),
    Migrate(migrate_command::Args),
    Schema(schema_command::Args),
    Reset(reset_command::Args),
    Backup(backup_command::BackupArgs),
    Restore(backup_command::RestoreArgs),
    Maintain(maintain_command::Args),
    Token(token_command::Args),
    Descriptor(descriptor_command::Args),
    Completions(completions_command::Args),
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    // Not locked: other threads log to standard error while a command runs.
    let mut out = io::BufWriter::new(io::stdout());
    let mut err = io::stderr();
    let mut console =
        Console { out: &mut out, is_terminal: io::stdout().is_terminal(), err: &mut err };
    let ended = dispatch(cli, &mut console);
    let is_lost = matches!(ended, Err(CommandError::Unprinted(..)));
    let ended = ended.or_else(|error| error.print(&mut console)).and_then(|exit| {
        // It was tried, and the error is told.
        if is_lost { Ok(exit) } else { console.out.flush().map(|()| exit) }
    });
    match ended {
        Ok(exit) => exit,
        // The reader has closed the pipe, as in `rowgate query … | head`. What was not done by then is not done.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::ClosedOutput,
        Err(error) => {
            // Standard error may be closed, too.
            writeln!(console.err, "error: {}", unwritable(&error)).unwrap_or(());
            Exit::Failure
        }
    }
}

fn dispatch(cli: Cli, console: &mut Console<'_>) -> Result<Exit, CommandError> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve_command::run(&args, console),
        Command::Config(args) => config_command::run(&args, console),
        Command::Secret(args) => secret_command::run(&args, console),
        Command::Query(args) => query::run(args, console),
        Command::Sql(args) => sql::run(&args, console),
        Command::Copy(args) => copy::run(&args, console),
        Command::Health(args) => health_command::run(&args, console),
        Command::Listen(args) => listen_command::run(args, console),
        Command::Pool(args) => pool::run(&args, console),
        Command::Idempotency(args) => idempotency_command::run(&args, console),
        Command::Backup(args) => backup_command::back_up(args, console),
        Command::Restore(args) => backup_command::restore(args, console),
        Command::Maintain(args) => maintain_command::run(&args, console),
        Command::Claims(args) => claims_command::run(&args, console),
        Command::Migrate(args) => migrate_command::run(&args, console),
        Command::Schema(args) => schema_command::run(args, console),
        Command::Reset(args) => reset_command::run(&args, console),
        Command::Token(args) => token_command::run(&args, console),
        Command::Descriptor(args) => descriptor_command::run(&args, console),
        Command::Completions(args) => completions_command::run(&args, Cli::command(), console),
    }
}
