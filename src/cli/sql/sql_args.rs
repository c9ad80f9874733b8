//! The arguments of `rowgate sql`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;

use crate::cli::query;
use crate::cli::server_flag::Server;
use crate::value::proto::Setting;

const HELP: &str = "\
A statement ends with a semicolon, and may have several lines. BEGIN, COMMIT, ROLLBACK and SAVEPOINT make a transaction over \
several statements; the server ends it when it is idle for longer than databases.NAME.transaction.idle_timeout. \\? lists the \
commands of the prompt, TAB completes keywords and names, Ctrl-C cancels the statement that runs.

The history is in $XDG_STATE_HOME/rowgate/history or ~/.local/state/rowgate/history; ROWGATE_HISTORY names another file, and \
none when it is empty. What begins with a blank, and what has a word PASSWORD or IDENTIFIED, is not kept.

Without a terminal the statements of standard input run in order, and the first error ends them: an open transaction is rolled \
back.

Examples:
  rowgate sql
  rowgate sql shop --read-only
  rowgate sql shop < report.sql

Exit status: 0 success; 1 the server cannot be reached, or without a terminal a statement failed; 2 wrong usage.";

/// Prompt for SQL and run it on a server
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The logical name of the database; the server's default one if omitted
    #[arg(value_name = "DATABASE", value_parser = NonEmptyStringValueParser::new())]
    pub(super) database: Option<String>,
    #[command(flatten)]
    pub(super) server: Server,
    /// The time limit of each statement, as in `500ms` or `1m 30s`; the server's own limits if omitted
    #[arg(long, value_name = "DURATION", value_parser = query::timeout)]
    pub(super) timeout: Option<Duration>,
    /// A setting of PostgreSQL's for each statement and transaction; repeat it for more. The server must allow it
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = query::setting)]
    pub(super) settings: Vec<Setting>,
    /// As psql has it, to be told of `rowgate query`
    #[arg(short = 'c', long = "command", value_name = "SQL", hide = true)]
    pub(super) command: Option<String>,
    /// Have the database refuse writes
    #[arg(long)]
    pub(super) read_only: bool,
}
