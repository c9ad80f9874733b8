//! Begins, commits and rolls back the transaction of a prompt.

use std::io;

use super::prompt_hints::with_prompt_hint;
use super::sql_session::{Flow, OpenTransaction, SqlSession, until_signalled};
use super::transaction_word::{Next, TransactionWord};
use crate::app::ConsoleSignal;
use crate::cli::command_error::{Result, Text, describe};
use crate::cli::console::Console;
use crate::error::Outcome;
use crate::grpc::client::{CallError, CommandFailure};
use crate::value::proto::transact_request::Command;
use crate::value::proto::{Commit, Release, Rollback, RollbackTo, Savepoint, TransactionOptions};

/// Does what a word says.
pub(super) async fn control(
    session: &mut SqlSession,
    word: TransactionWord,
    text: Text<'_>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let (tag, command) = match word {
        TransactionWord::Begin(options) => return begin(session, options, text, console).await,
        TransactionWord::Commit(next) => {
            return end(session, Ending::Commit, next, (text, console)).await;
        }
        TransactionWord::Rollback(next) => {
            return end(session, Ending::Rollback, next, (text, console)).await;
        }
        TransactionWord::RollbackTo(name) => ("ROLLBACK", Command::RollbackTo(RollbackTo { name })),
        TransactionWord::Release(name) => ("RELEASE", Command::Release(Release { name })),
        TransactionWord::Savepoint(name) => ("SAVEPOINT", Command::Savepoint(Savepoint { name })),
    };
    savepoint(session, (tag, command), text, console).await
}

/// The last command of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Commit,
    Rollback,
}

impl Ending {
    fn command(self) -> Command {
        match self {
            Self::Commit => Command::Commit(Commit {}),
            Self::Rollback => Command::Rollback(Rollback {}),
        }
    }

    /// The name of the command, and the outcome where its answer is not waited for.
    fn about(self) -> (&'static str, Outcome) {
        match self {
            Self::Commit => ("COMMIT", Outcome::Unknown),
            Self::Rollback => ("ROLLBACK", Outcome::NotApplied),
        }
    }
}

async fn begin(
    session: &mut SqlSession,
    options: TransactionOptions,
    text: Text<'_>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    if session.transaction.is_some() {
        console.fail(&"a transaction is open already\n  hint: COMMIT or ROLLBACK ends it.")?;
        return Ok(Flow::Failed);
    }
    let request = session.connection.begin(options);
    let client = session.connection.client().clone();
    match until_signalled(&mut session.signals, client.begin(request)).await {
        Ok(Ok(stream)) => {
            session.transaction = Some(OpenTransaction { stream, options, is_aborted: false });
            session.begin_failed = false;
            writeln!(console.out, "BEGIN")?;
            Ok(Flow::Continue)
        }
        Ok(Err(error)) => {
            let flow = failed(&error, text, console)?;
            begin_failed(session, console)?;
            Ok(flow)
        }
        Err(signal) => {
            console.fail(&"the command was cancelled")?;
            begin_failed(session, console)?;
            Ok(ended_by(signal))
        }
    }
}

/// The error of a statement behind a BEGIN that failed.
pub(super) const NOT_BEGUN: &str = "this was not run: the transaction that it was typed for was not begun\n  \
    hint: Write BEGIN again, or ROLLBACK to go on without a transaction.";

/// Tells that no transaction is open behind a BEGIN, and runs nothing until BEGIN, COMMIT or ROLLBACK.
pub(super) fn begin_failed(session: &mut SqlSession, console: &mut Console<'_>) -> io::Result<()> {
    session.begin_failed = true;
    writeln!(
        console.err,
        "  no transaction was begun: nothing is run until BEGIN, or ROLLBACK to go on without one"
    )
}

/// Ends the transaction.
async fn end(
    session: &mut SqlSession,
    ending: Ending,
    next: Next,
    (text, console): (Text<'_>, &mut Console<'_>),
) -> Result<Flow> {
    let Some(mut transaction) = session.transaction.take() else {
        return end_without_transaction(session, ending, console);
    };
    // Of an aborted transaction a COMMIT is a ROLLBACK, as the databases have it.
    let is_undone = transaction.is_aborted && ending == Ending::Commit;
    let ending = if is_undone { Ending::Rollback } else { ending };
    let (tag, unanswered) = ending.about();
    let mut work = Box::pin(transaction.stream.run(ending.command()));
    let mut ended = until_signalled(&mut session.signals, &mut work).await;
    if ended.is_err() && ending == Ending::Commit {
        // A commit that was sent is finished by the server.
        writeln!(
            console.err,
            "the commit was sent: waiting for its outcome; Ctrl-C again to give up"
        )?;
        ended = until_signalled(&mut session.signals, &mut work).await;
    }
    drop(work);
    match ended {
        Ok(Ok(())) if is_undone => {
            writeln!(console.out, "ROLLBACK: the transaction was aborted")?;
        }
        Ok(Ok(())) => writeln!(console.out, "{tag}")?,
        Ok(Err(CommandFailure::Command(error) | CommandFailure::Ended(error))) => {
            return failed(&error, text, console);
        }
        Err(signal) => {
            let message = format!("nobody waits for the end of the {tag}");
            failed(&CallError::new("CANCELLED", message, unanswered), text, console)?;
            return Ok(ended_by(signal));
        }
    }
    match next {
        // What is behind it in a paste may count on the commit.
        Next::Nothing if is_undone => Ok(Flow::Failed),
        Next::Nothing => Ok(Flow::Continue),
        Next::Transaction => begin(session, transaction.options, text, console).await,
    }
}

async fn savepoint(
    session: &mut SqlSession,
    (tag, command): (&str, Command),
    text: Text<'_>,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let Some(transaction) = &mut session.transaction else {
        if session.begin_failed {
            console.fail(&NOT_BEGUN)?;
            return Ok(Flow::Failed);
        }
        return without_transaction(console);
    };
    match until_signalled(&mut session.signals, transaction.stream.run(command)).await {
        Ok(Ok(())) => {
            transaction.is_aborted = false;
            writeln!(console.out, "{tag}")?;
            Ok(Flow::Continue)
        }
        Ok(Err(CommandFailure::Command(error))) => {
            transaction.is_aborted = true;
            failed(&error, text, console)
        }
        Ok(Err(CommandFailure::Ended(error))) => {
            session.transaction = None;
            failed(&error, text, console)
        }
        Err(signal) => {
            session.transaction = None;
            console.fail(&"the transaction was rolled back, as its command was cancelled")?;
            Ok(ended_by(signal))
        }
    }
}

/// Rolls the open transaction back because the prompt ends, and says so; returns true if there was one.
pub(super) async fn leave(session: &mut SqlSession, console: &mut Console<'_>) -> io::Result<bool> {
    let Some(mut transaction) = session.transaction.take() else { return Ok(false) };
    console.out.flush()?;
    writeln!(console.err, "the open transaction is rolled back: it was left without COMMIT")?;
    let work = transaction.stream.run(Command::Rollback(Rollback {}));
    // Whatever the answer is: it is rolled back when its stream ends, too.
    drop(until_signalled(&mut session.signals, work).await);
    Ok(true)
}

/// Goes on without a transaction behind a BEGIN that failed.
fn end_without_transaction(
    session: &mut SqlSession,
    ending: Ending,
    console: &mut Console<'_>,
) -> Result<Flow> {
    if !std::mem::take(&mut session.begin_failed) {
        return without_transaction(console);
    }
    match ending {
        Ending::Rollback => {
            writeln!(console.out, "ROLLBACK: no transaction was begun")?;
            Ok(Flow::Continue)
        }
        Ending::Commit => {
            console.fail(&"nothing is committed: no transaction was begun")?;
            Ok(Flow::Failed)
        }
    }
}

fn without_transaction(console: &mut Console<'_>) -> Result<Flow> {
    console.fail(&"no transaction is open\n  hint: BEGIN opens one.")?;
    Ok(Flow::Failed)
}

fn failed(error: &CallError, text: Text<'_>, console: &mut Console<'_>) -> Result<Flow> {
    console.fail(&describe(&with_prompt_hint(error.clone()), Some(text)))?;
    Ok(Flow::Failed)
}

fn ended_by(signal: ConsoleSignal) -> Flow {
    match signal {
        ConsoleSignal::Interrupt => Flow::Failed,
        ConsoleSignal::Terminate => Flow::Quit,
    }
}
