//! Statements from a file or from standard input, in order up to the first error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::thread;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::input_buffer::{InputBuffer, Piece};
use super::meta_command::{self, MetaCommand};
use super::run_command::run_command;
use super::run_sql::run_statement;
use super::sql_session::{Flow, SqlSession, until_signalled};
use crate::cli::command_error::{Result, Text};
use crate::cli::console::Console;
use crate::wire_size::widen;

/// The size limit of a line, in bytes.
const MAX_LINE: u64 = 1 << 26;

/// The lines that are read ahead.
const READ_AHEAD: usize = 64;

/// The most files that may include one another.
const MAX_DEPTH: usize = 16;

/// The input of a script.
pub(super) struct Script {
    /// Empty for standard input.
    name: String,
    lines: Receiver<io::Result<String>>,
    depth: usize,
}

impl Script {
    /// Reads standard input.
    pub(super) fn of_standard_input() -> io::Result<Self> {
        Self::of(String::new(), io::stdin(), 0)
    }

    /// Reads a file.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        Self::at_depth(path, 1)
    }

    fn at_depth(path: &Path, depth: usize) -> io::Result<Self> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "more than {MAX_DEPTH} files include one another"
            )));
        }
        Self::of(path.display().to_string(), File::open(path)?, depth)
    }

    /// Reads on a thread, so that the connection lives while input is slow.
    fn of(name: String, source: impl Read + Send + 'static, depth: usize) -> io::Result<Self> {
        let (sender, lines) = channel(READ_AHEAD);
        thread::Builder::new().name("script".to_owned()).spawn(move || read(source, &sender))?;
        Ok(Self { name, lines, depth })
    }

    /// Prints an error with its place.
    fn fail(&self, line: usize, why: &str, console: &mut Console<'_>) -> Result<Flow> {
        console.fail(&format!("{}line {line}: {why}", self.place()))?;
        Ok(Flow::Failed)
    }

    /// The name in front of a line.
    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}, ", self.name) }
    }
}

fn read(source: impl Read, lines: &Sender<io::Result<String>>) {
    let mut source = BufReader::new(source);
    let mut is_first = true;
    loop {
        let mut line = Vec::new();
        let read = source.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => return,
            Ok(_) if widen(line.len()) == MAX_LINE && !line.ends_with(b"\n") => {
                Err(io::Error::other("a line is larger than 64 MiB"))
            }
            Ok(_) => {
                String::from_utf8(line).map_err(|_invalid| io::Error::other("it is not UTF-8"))
            }
            Err(error) => Err(error),
        };
        let line = line.map(|line| {
            let line = line.trim_end_matches('\n').trim_end_matches('\r');
            let mark = if std::mem::take(&mut is_first) { "\u{feff}" } else { "" };
            line.strip_prefix(mark).unwrap_or(line).to_owned()
        });
        let is_last = line.is_err();
        if lines.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

/// Runs a script to its end, or to its first error.
pub(super) async fn run_script(
    session: &mut SqlSession,
    mut script: Script,
    console: &mut Console<'_>,
) -> Result<Flow> {
    let mut input = InputBuffer::new(session.connection.database.dialect);
    loop {
        let line = match until_signalled(&mut session.signals, script.lines.recv()).await {
            Ok(line) => line,
            Err(_signal) => {
                console.fail(&"the input was given up")?;
                return Ok(Flow::Failed);
            }
        };
        let last = line.is_none();
        let pushed = match line {
            None => input.finish(),
            Some(Ok(line)) => input.push(&line),
            Some(Err(error)) => return script.fail(input.line() + 1, &error.to_string(), console),
        };
        let mut piece = match pushed {
            Ok(piece) => piece,
            Err(why) => return script.fail(input.line(), &why, console),
        };
        while let Some(next) = piece.take().or_else(|| input.next()) {
            match run_piece(session, &script, (next, &mut input), console).await? {
                Flow::Continue => {}
                ended @ (Flow::Failed | Flow::Quit) => return Ok(ended),
            }
        }
        if last {
            return Ok(Flow::Continue);
        }
    }
}

async fn run_piece(
    session: &mut SqlSession,
    script: &Script,
    (piece, input): (Piece, &mut InputBuffer),
    console: &mut Console<'_>,
) -> Result<Flow> {
    let command = match piece {
        Piece::Statement { sql, first_line } => {
            let flow = run_statement(session, Text { sql: &sql, first_line }, console).await?;
            if flow == Flow::Failed {
                writeln!(console.err, "  at {}line {first_line}", script.place())?;
            }
            return Ok(flow);
        }
        Piece::Command(text) => match meta_command::parse(&text) {
            Ok(command) => command,
            Err(why) => return script.fail(input.line(), &why, console),
        },
    };
    match command {
        MetaCommand::Include(file) => match Script::at_depth(Path::new(&file), script.depth + 1) {
            Ok(inner) => Box::pin(run_script(session, inner, console)).await,
            Err(error) => {
                script.fail(input.line(), &format!("{file} cannot be read: {error}"), console)
            }
        },
        MetaCommand::Reset => {
            input.clear();
            Ok(Flow::Continue)
        }
        MetaCommand::Session(command) => {
            let flow = run_command(session, command, console).await?;
            input.set_dialect(session.connection.database.dialect);
            Ok(flow)
        }
    }
}
