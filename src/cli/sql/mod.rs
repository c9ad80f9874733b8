//! `rowgate sql`: a prompt for people, and scripts of its statements.
//!
//! It is a client like `rowgate query`, and knows nothing that any other client could not: the dialect and the names of
//! a database are asked for.

mod cancelled_outcome;
mod catalog_questions;
mod completion;
mod describe_run;
mod history_file;
mod input_buffer;
mod keywords;
mod line_editor;
mod meta_command;
mod name_cache;
mod output;
mod prompt;
mod prompt_hints;
mod run_command;
mod run_sql;
mod script;
mod server_connection;
mod sql_args;
mod sql_session;
mod transaction_run;
mod transaction_word;

use std::io::{IsTerminal as _, stdin};

pub(crate) use sql_args::Args;

use super::command_error::{CommandError, Result};
use super::console::{Console, Exit};
use super::server_flag::block_on;
use crate::error::Outcome;
use script::{Script, run_script};
use server_connection::Connection;
use sql_session::{Flow, SqlSession};

/// The finding about a statement on the command line.
const ONE_STATEMENT: &str = "`rowgate sql` takes no statement on its command line\n  \
    hint: `rowgate query SQL`, with --database NAME for another database than the default one, runs one.";

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    if args.command.is_some() {
        return Err(CommandError::Usage(ONE_STATEMENT.to_owned()));
    }
    let ended = block_on(async {
        let connection = Connection::open(args).await?;
        let mut session = SqlSession::new(connection);
        let is_terminal = stdin().is_terminal();
        let ended = if is_terminal {
            prompt::converse(&mut session, console).await.map(|()| Flow::Continue)
        } else {
            run_script(&mut session, Script::of_standard_input()?, console).await
        };
        let was_open = transaction_run::leave(&mut session, console).await?;
        session.output.close_file()?;
        console.out.flush()?;
        Ok(match ended? {
            Flow::Failed => Exit::Failure,
            // A script that begins and does not commit did not do what it says.
            Flow::Continue | Flow::Quit if was_open && !is_terminal => Exit::Failure,
            Flow::Continue | Flow::Quit => Exit::Success,
        })
    });
    // What ran in front of it, and committed by itself, stays.
    ended.map_err(|error: CommandError| error.behind(Outcome::Unknown))
}
