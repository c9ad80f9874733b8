//! Runs statements, alone or in the open transaction, and prints their results.

use std::io::{self, Write};
use std::time::Instant;

use super::cancelled_outcome::cancelled_outcome;
use super::prompt_hints::with_prompt_hint;
use super::sql_session::{Flow, SqlSession, until_signalled};
use super::transaction_run::{NOT_BEGUN, begin_failed, control};
use super::transaction_word::{is_begin, transaction_word};
use crate::app::ConsoleSignal;
use crate::cli::command_error::{CommandError, Result, Text, describe};
use crate::cli::console::{Console, counted};
use crate::cli::query::{Printer, Summary, print_stream};
use crate::error::Outcome;
use crate::grpc::client::{CallError, CommandFailure, TransactionStream};
use crate::sql::{Analyzer, Dialect, is_among};
use crate::value::proto::{QueryRequest, TransactQuery};

/// First words of statements after which names may be others; those that roll definitions back, too.
const DEFINING: &str = "ABORT ALTER COMMIT CREATE DROP END RENAME ROLLBACK";

/// Runs a statement that was typed or read.
pub(super) async fn run_statement(
    session: &mut SqlSession,
    text: Text<'_>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let started = Instant::now();
    let dialect = session.connection.database.dialect;
    let flow = match transaction_word(text.sql, dialect) {
        Some(Ok(word)) => control(session, word, text, console).await?,
        Some(Err(why)) => {
            console.fail(&why)?;
            if is_begin(text.sql, dialect) && session.transaction.is_none() {
                begin_failed(session, console)?;
            }
            Flow::Failed
        }
        None if session.begin_failed => {
            console.fail(&NOT_BEGUN)?;
            Flow::Failed
        }
        None if sets_transaction(text.sql, dialect) => {
            console.fail(&SET_TRANSACTION)?;
            Flow::Failed
        }
        None => {
            session.last = Some(text.sql.to_owned());
            let was_open = session.transaction.is_some();
            let mut printer = session.output.printer(console);
            let ended = if was_open {
                let query = session.connection.transact_query(text.sql, &[]);
                in_transaction(session, query, &mut printer, console).await
            } else {
                let request = session.connection.query(text.sql);
                alone(session, request, &mut printer, console).await
            };
            let flow = told(session, ended, text, console)?;
            if was_open && session.transaction.is_none() {
                writeln!(console.err, "  the transaction has ended, and was not committed")?;
            }
            flow
        }
    };
    let first = text.sql.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty());
    if first.is_some_and(|first| is_among(first, DEFINING)) {
        session.names.expire();
    }
    if session.output.is_timing {
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        writeln!(console.out, "time: {milliseconds:.3} ms")?;
    }
    console.out.flush()?;
    Ok(flow)
}

/// The finding about SET TRANSACTION, which the server would refuse.
const SET_TRANSACTION: &str = "SET TRANSACTION is not sent: a transaction has its options from its beginning\n  \
    hint: Write them behind BEGIN, as in BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY.";

fn sets_transaction(sql: &str, dialect: Dialect) -> bool {
    let control = Analyzer::new(dialect, 0).analyze(sql).transaction_control;
    matches!(control, Some("SET TRANSACTION" | "SET SESSION CHARACTERISTICS"))
}

/// The end of a statement that did not succeed.
pub(super) enum Unfinished {
    Failed { error: Box<CallError>, rows: u64 },
    Signalled { signal: ConsoleSignal, outcome: Outcome, rows: u64 },
    Output(io::Error),
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs a statement outside of a transaction.
pub(super) async fn alone(
    session: &mut SqlSession,
    request: QueryRequest,
    printer: &mut dyn Printer,
    console: &mut Console<'_>,
) -> Result<Summary, Unfinished> {
    let mut summary = Summary::default();
    let sql = request.sql.clone();
    let client = session.connection.limited();
    let out = session.output.writer(console);
    let work = async {
        let mut stream = client.stream_query(request).await?;
        print_stream(&mut stream, printer, &mut summary, out).await
    };
    match until_signalled(&mut session.signals, work).await {
        Ok(Ok(())) => Ok(summary),
        Ok(Err(CommandError::Call(error))) => {
            Err(Unfinished::Failed { error, rows: summary.row_count })
        }
        Ok(Err(CommandError::Output(error))) => Err(Unfinished::Output(error)),
        Ok(Err(other)) => Err(Unfinished::Output(io::Error::other(format!("{other:?}")))),
        Err(signal) => {
            let outcome = cancelled_outcome(&sql, &session.connection).await;
            Err(Unfinished::Signalled { signal, outcome, rows: summary.row_count })
        }
    }
}

/// Runs a statement in the open transaction.
pub(super) async fn in_transaction(
    session: &mut SqlSession,
    query: TransactQuery,
    printer: &mut dyn Printer,
    console: &mut Console<'_>,
) -> Result<Summary, Unfinished> {
    let mut summary = Summary::default();
    let Some(transaction) = &mut session.transaction else {
        return Err(io::Error::other("there is no transaction").into());
    };
    let out = session.output.writer(console);
    let work = print_parts(&mut transaction.stream, query, (printer, &mut summary), out);
    match until_signalled(&mut session.signals, work).await {
        Ok(Ok(())) => {
            transaction.is_aborted = false;
            Ok(summary)
        }
        Ok(Err(PartError::Failure(CommandFailure::Command(error)))) => {
            transaction.is_aborted = true;
            Err(Unfinished::Failed { error, rows: summary.row_count })
        }
        Ok(Err(PartError::Failure(CommandFailure::Ended(error)))) => {
            session.transaction = None;
            Err(Unfinished::Failed { error, rows: summary.row_count })
        }
        Ok(Err(PartError::Output(error))) => Err(Unfinished::Output(error)),
        Err(signal) => {
            // A statement of a transaction cannot be cancelled alone.
            session.transaction = None;
            // Without a COMMIT nothing is applied, but in tables of MySQL that know no transactions.
            let is_certain = session.connection.database.dialect != Dialect::Mysql;
            let outcome = if is_certain { Outcome::NotApplied } else { Outcome::Unknown };
            Err(Unfinished::Signalled { signal, outcome, rows: summary.row_count })
        }
    }
}

enum PartError {
    Failure(CommandFailure),
    Output(io::Error),
}

impl From<CommandFailure> for PartError {
    fn from(failure: CommandFailure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for PartError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints the parts of a result as they arrive.
async fn print_parts(
    stream: &mut TransactionStream,
    query: TransactQuery,
    (printer, summary): (&mut dyn Printer, &mut Summary),
    out: &mut dyn Write,
) -> Result<(), PartError> {
    stream.start(query).await?;
    let mut is_first = true;
    loop {
        let part = stream.next_part().await?;
        let set = part.result_set.unwrap_or_default();
        if std::mem::take(&mut is_first) {
            summary.has_columns = set.has_columns;
            if set.has_columns {
                printer.columns(set.columns, out)?;
            }
        }
        for row in &set.rows {
            printer.row(row, out)?;
            summary.row_count += 1;
        }
        if !part.more {
            summary.rows_affected = set.rows_affected;
            summary.command = set.command;
            if summary.has_columns {
                printer.finish(summary, out)?;
            }
            return Ok(());
        }
    }
}

/// Tells how a statement ended.
pub(super) fn told(
    session: &mut SqlSession,
    ended: Result<Summary, Unfinished>,
    text: Text<'_>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let rows = match ended {
        Ok(summary) => {
            let out = session.output.writer(console);
            if !summary.has_columns {
                writeln!(out, "{}", summary.without_rows())?;
            }
            out.flush()?;
            return Ok(Flow::Continue);
        }
        Err(Unfinished::Output(error)) => return Err(error.into()),
        Err(Unfinished::Failed { error, rows }) => {
            console.fail(&describe(&with_prompt_hint(*error), Some(text)))?;
            rows
        }
        Err(Unfinished::Signalled { signal, outcome, rows }) => {
            let error = CallError::new("CANCELLED", "the statement was cancelled", outcome);
            console.fail(&describe(&error, Some(text)))?;
            if signal == ConsoleSignal::Terminate {
                return Ok(Flow::Quit);
            }
            rows
        }
    };
    if rows > 0 {
        writeln!(
            console.err,
            "  the result is incomplete: it failed after {}",
            counted(rows, "row")
        )?;
    }
    Ok(Flow::Failed)
}
