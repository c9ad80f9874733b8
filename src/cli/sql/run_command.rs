//! Runs the commands of the prompt that do not concern its input.

use std::path::Path;

use super::describe_run::{describe_relation, list_databases, list_tables};
use super::meta_command::{Expansion, HELP, SessionCommand};
use super::run_sql::run_statement;
use super::server_connection::Connection;
use super::sql_session::{Flow, SqlSession, name_source, until_signalled};
use crate::app::ConsoleSignal;
use crate::cli::command_error::{CommandError, Result, Text};
use crate::cli::console::{Console, visible};

/// Runs a command.
pub(super) async fn run_command(
    session: &mut SqlSession,
    command: SessionCommand,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let flow = match command {
        SessionCommand::Quit => Flow::Quit,
        SessionCommand::Help => {
            write!(console.out, "{HELP}")?;
            Flow::Continue
        }
        SessionCommand::Describe(name) => {
            describe_relation(session, name.as_deref(), console).await?
        }
        SessionCommand::Tables(name) => list_tables(session, name.as_deref(), console).await?,
        SessionCommand::Databases => list_databases(session, console).await?,
        SessionCommand::Connect(None) => {
            writeln!(console.out, "{}", about(&session.connection))?;
            Flow::Continue
        }
        SessionCommand::Connect(Some(name)) => connect(session, &name, console).await?,
        SessionCommand::Expanded(word) => expand(session, word, console)?,
        SessionCommand::Timing(word) => {
            let is_on = word.unwrap_or(!session.output.is_timing);
            session.output.is_timing = is_on;
            writeln!(console.out, "timing is {}", if is_on { "on" } else { "off" })?;
            Flow::Continue
        }
        SessionCommand::Output(file) => redirect(session, file.as_deref(), console)?,
        SessionCommand::Watch(pause) => watch(session, pause, console).await?,
    };
    console.out.flush()?;
    Ok(flow)
}

/// The database of now, for people.
pub(super) fn about(connection: &Connection) -> String {
    let database = &connection.database;
    let name = if database.name.is_empty() { "the default one" } else { &database.name };
    let engine = if database.engine.is_empty() { "unknown engine" } else { &database.engine };
    let mode = if connection.is_read_only() { ", read only" } else { "" };
    visible(&format!("database {name}: {engine}{mode}"))
}

async fn connect(session: &mut SqlSession, name: &str, console: &mut Console<'_>) -> Result<Flow> {
    if session.transaction.is_some() {
        console.fail(&"a transaction is open\n  hint: COMMIT or ROLLBACK ends it.")?;
        return Ok(Flow::Failed);
    }
    match session.connection.use_database(name).await {
        Ok(()) => session.names.read_from(name_source(&session.connection)),
        Err(CommandError::Output(error)) => return Err(error.into()),
        Err(error) => {
            error.print(console)?;
            return Ok(Flow::Failed);
        }
    }
    writeln!(console.out, "{}", about(&session.connection))?;
    Ok(Flow::Continue)
}

fn expand(
    session: &mut SqlSession,
    word: Option<Expansion>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let expansion = word.unwrap_or(match session.output.expansion {
        Expansion::Always => Expansion::Never,
        Expansion::Never | Expansion::Automatic => Expansion::Always,
    });
    session.output.expansion = expansion;
    let told = match expansion {
        Expansion::Always => "expanded output is on",
        Expansion::Never => "expanded output is off",
        Expansion::Automatic => "expanded output is used where a table would not fit",
    };
    writeln!(console.out, "{told}")?;
    Ok(Flow::Continue)
}

fn redirect(
    session: &mut SqlSession,
    file: Option<&str>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let done = match file {
        Some(file) => session.output.open_file(Path::new(file)),
        None => session.output.close_file(),
    };
    if let Err(error) = done {
        let name = file.unwrap_or("the file of results");
        console.fail(&format!("{name} cannot be written: {error}"))?;
        return Ok(Flow::Failed);
    }
    Ok(Flow::Continue)
}

/// Repeats the last statement until it fails or somebody stops it.
async fn watch(
    session: &mut SqlSession,
    pause: std::time::Duration,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let Some(sql) = session.last.clone() else {
        console.fail(&"there is no statement to repeat")?;
        return Ok(Flow::Failed);
    };
    loop {
        let flow = run_statement(session, Text::alone(&sql), console).await?;
        if flow != Flow::Continue {
            return Ok(flow);
        }
        match until_signalled(&mut session.signals, tokio::time::sleep(pause)).await {
            Ok(()) => {}
            Err(ConsoleSignal::Interrupt) => return Ok(Flow::Continue),
            Err(ConsoleSignal::Terminate) => return Ok(Flow::Quit),
        }
    }
}
