//! The dialogue on a terminal.

use std::collections::VecDeque;
use std::io::{Write, stdin};
use std::path::Path;
use std::sync::Arc;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::history_file::HistoryFile;
use super::input_buffer::{InputBuffer, Piece};
use super::line_editor::{Line, LineEditor};
use super::meta_command::{self, MetaCommand};
use super::run_command::{about, run_command};
use super::run_sql::run_statement;
use super::script::{Script, run_script};
use super::sql_session::{Flow, SqlSession};
use crate::app::ConsoleSignal;
use crate::cli::command_error::{CommandError, Result, Text, describe};
use crate::cli::console::Console;
use crate::config::Environment;
use crate::grpc::client::CallError;

/// The modes of the terminal, which are set again at the end: a signal may come while a line is edited.
struct SavedModes(Option<Termios>);

impl Drop for SavedModes {
    fn drop(&mut self) {
        if let Some(modes) = &self.0 {
            tcsetattr(stdin(), OptionalActions::Now, modes).unwrap_or(());
        }
    }
}

/// Runs what is typed until the end of the dialogue.
pub(super) async fn converse(session: &mut SqlSession, console: &mut Console<'_>) -> Result<()> {
    let saved = SavedModes(tcgetattr(stdin()).ok());
    let history = HistoryFile::of_user(&Environment::of_process());
    let editor = LineEditor::start(Arc::clone(&session.names), history);
    let editor = editor
        .map_err(|error| CommandError::Failed(format!("the terminal cannot be used: {error}")))?;
    let greeting = about(&session.connection);
    let version = env!("CARGO_PKG_VERSION");
    // It is no part of results that go to a file or a program.
    let to: &mut dyn Write = if console.is_terminal { console.out } else { console.err };
    writeln!(to, "rowgate {version}, {greeting}\n\\? lists the commands, \\q quits")?;
    to.flush()?;
    let input = InputBuffer::new(session.connection.database.dialect);
    let mut dialogue = Dialogue { editor, input, entry: String::new() };
    let ended = dialogue.run(session, console).await;
    drop(saved);
    ended
}

struct Dialogue {
    editor: LineEditor,
    input: InputBuffer,
    /// The lines of the statement so far, for the history.
    entry: String,
}

/// The event that follows the prompt.
enum Event {
    Line(Line),
    Signal(ConsoleSignal),
    /// The server ended the transaction of the prompt.
    TransactionEnded(Box<CallError>),
}

impl Dialogue {
    async fn run(&mut self, session: &mut SqlSession, console: &mut Console<'_>) -> Result<()> {
        loop {
            let prompt = session.prompt(self.input.sign());
            let was_open = session.transaction.is_some();
            self.editor.ask(prompt, self.input.text());
            let line = match self.line(session, console).await? {
                Line::Text(text) => text,
                Line::Cleared => {
                    self.forget();
                    continue;
                }
                Line::End => return Ok(()),
                Line::Failed(why) => {
                    return Err(CommandError::Failed(format!(
                        "the terminal cannot be read: {why}"
                    )));
                }
            };
            if was_open && session.transaction.is_none() {
                self.forget();
                console.fail(
                    &"this line was not run: the transaction that it was typed for has ended",
                )?;
                continue;
            }
            if self.run_text(&line, session, console).await? == Flow::Quit {
                return Ok(());
            }
        }
    }

    /// Waits for the line that was asked for.
    async fn line(&mut self, session: &mut SqlSession, console: &mut Console<'_>) -> Result<Line> {
        loop {
            let error = match self.event(session).await {
                Event::Line(line) => return Ok(line),
                Event::Signal(ConsoleSignal::Terminate) => return Ok(Line::End),
                // While a line is edited, Ctrl-C is a key; a simple terminal clears its line itself.
                Event::Signal(ConsoleSignal::Interrupt) => {
                    self.forget();
                    continue;
                }
                Event::TransactionEnded(error) => error,
            };
            session.transaction = None;
            let why = describe(&error, None);
            let text = format!("error: {why}\n  the transaction has ended, and was not committed");
            if !self.editor.transaction_ended(&text) {
                writeln!(console.err, "{text}")?;
            }
        }
    }

    async fn event(&mut self, session: &mut SqlSession) -> Event {
        let ended = async {
            match &mut session.transaction {
                Some(transaction) => transaction.stream.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = session.signals.next() => Event::Signal(signal),
            line = self.editor.line() => Event::Line(line),
            error = ended => Event::TransactionEnded(Box::new(error)),
        }
    }

    fn forget(&mut self) {
        self.input.clear();
        self.entry.clear();
    }

    /// Runs the lines of a text; the first that fails ends it.
    async fn run_text(
        &mut self,
        text: &str,
        session: &mut SqlSession,
        console: &mut Console<'_>,
    ) -> Result<Flow> {
        let mut lines: VecDeque<_> = text.split('\n').collect();
        while let Some(line) = lines.pop_front() {
            if !self.entry.is_empty() {
                self.entry.push('\n');
            }
            self.entry.push_str(line);
            let flow = self.run_line(line, session, console).await?;
            if self.input.is_empty() {
                self.editor.remember(&std::mem::take(&mut self.entry));
            }
            match flow {
                Flow::Continue => {}
                Flow::Failed if lines.iter().all(|line| line.trim().is_empty()) => return Ok(flow),
                Flow::Failed => {
                    self.forget();
                    writeln!(console.err, "  the lines behind it were not run")?;
                    return Ok(flow);
                }
                Flow::Quit => return Ok(flow),
            }
        }
        Ok(Flow::Continue)
    }

    async fn run_line(
        &mut self,
        line: &str,
        session: &mut SqlSession,
        console: &mut Console<'_>,
    ) -> Result<Flow> {
        let mut piece = match self.input.push(line) {
            Ok(piece) => piece,
            Err(why) => {
                console.fail(&why)?;
                return Ok(Flow::Failed);
            }
        };
        while let Some(next) = piece.take().or_else(|| self.input.next()) {
            match self.run_piece(next, session, console).await? {
                Flow::Continue => {}
                Flow::Failed => {
                    self.input.clear();
                    return Ok(Flow::Failed);
                }
                Flow::Quit => return Ok(Flow::Quit),
            }
        }
        Ok(Flow::Continue)
    }

    /// Runs a piece; the failure of a call is told, and does not end the dialogue.
    async fn run_piece(
        &mut self,
        piece: Piece,
        session: &mut SqlSession,
        console: &mut Console<'_>,
    ) -> Result<Flow> {
        let ran = match piece {
            Piece::Statement { sql, .. } => {
                run_statement(session, Text::alone(&sql), console).await
            }
            Piece::Command(text) => match meta_command::parse(&text) {
                Err(why) => Err(CommandError::Failed(why)),
                Ok(MetaCommand::Reset) => {
                    self.forget();
                    Ok(Flow::Continue)
                }
                Ok(MetaCommand::Include(file)) => match Script::of_file(Path::new(&file)) {
                    Ok(script) => run_script(session, script, console).await,
                    Err(error) => {
                        Err(CommandError::Failed(format!("{file} cannot be read: {error}")))
                    }
                },
                Ok(MetaCommand::Session(command)) => run_command(session, command, console).await,
            },
        };
        self.input.set_dialect(session.connection.database.dialect);
        match ran {
            Err(error) => {
                error.print(console).map(|_exit| Flow::Failed).map_err(CommandError::from)
            }
            Ok(flow) => Ok(flow),
        }
    }
}
