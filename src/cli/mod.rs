//! The command line: one file per command.
//!
//! A command reads its arguments, calls what does the work, and says on the console what came of it.
//! Standard output carries results, standard error everything else.

mod call_failure;
mod completions;
mod config;
mod config_flags;
mod console;
mod health;
mod idempotency;
mod pool;
mod query;
mod secret;
mod serve;
mod server_address;

use std::io;
use std::process::{ExitCode, Termination};

use clap::{Parser, Subcommand};

use console::Console;

const EXAMPLES: &str = "\
Examples:
  rowgate                                        serve; the default database is a SQLite file here
  DATABASE_URL=postgres://me@db/shop rowgate     serve a PostgreSQL database
  rowgate query 'select * from orders where id = $1' -p 42
  rowgate pool watch                             what do the connections do?
  rowgate config check                           is my configuration right?

Exit status: 0 success; 1 a call failed, or the server is not serving; 2 wrong usage of a command; \
78 the configuration has problems.";

/// Pooled, deadline-bound, observable SQL over gRPC.
///
/// Without a command it serves, as `rowgate serve` does.
#[derive(Debug, Parser)]
#[command(name = "rowgate", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    serve: serve::Args,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Config(config::Args),
    Secret(secret::Args),
    Query(query::Args),
    Health(health::Args),
    Pool(pool::Args),
    Idempotency(idempotency::Args),
    Completions(completions::Args),
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well: 0.
    Success,
    /// A call failed, or the server is not serving: 1.
    Failure,
    /// The configuration has problems: 78, EX_CONFIG of sysexits.h.
    Config,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Config => 78,
        })
    }
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    // Not locked: other threads log to standard error while a command runs.
    let (mut out, mut err) = (io::BufWriter::new(io::stdout()), io::stderr());
    let mut console = Console::new(&mut out, &mut err);
    let ended = dispatch(cli, &mut console).and_then(|exit| console.flush().map(|()| exit));
    match ended {
        Ok(exit) => exit,
        // The reader has seen enough, as in `rowgate query … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            // Nothing is left to say it with when that fails too.
            writeln!(console.err, "error: the output cannot be written: {error}").unwrap_or(());
            Exit::Failure
        }
    }
}

fn dispatch(cli: Cli, console: &mut Console<'_>) -> io::Result<Exit> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(&args, console),
        Command::Config(args) => config::run(&args, console),
        Command::Secret(args) => secret::run(&args, console),
        Command::Query(args) => query::run(args, console),
        Command::Health(args) => health::run(&args, console),
        Command::Pool(args) => pool::run(&args, console),
        Command::Idempotency(args) => idempotency::run(&args, console),
        Command::Completions(args) => completions::run(&args, console),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_with_the_flags_of_serve() {
        let bare = Cli::try_parse_from(["rowgate", "--listen", "127.0.0.1:0"]).unwrap();
        assert!(bare.command.is_none());
        let named = Cli::try_parse_from(["rowgate", "serve", "--listen", "127.0.0.1:0"]).unwrap();
        let Some(Command::Serve(serve)) = named.command else { panic!("{named:?}") };
        assert_eq!(format!("{serve:?}"), format!("{:?}", bare.serve));
        let mixed = Cli::try_parse_from(["rowgate", "--insecure", "health"]);
        assert_eq!(mixed.unwrap_err().exit_code(), 2);
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn check(command: &clap::Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 10, "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{argument} has no help");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
