//! The line that is typed: editing, history and completion.
//!
//! It has a thread of its own, so that the connection to the server lives while nobody types.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustyline::completion::{Completer, FilenameCompleter};
use rustyline::config::{Behavior, BellStyle};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::completion::{Cursor, complete};
use super::history_file::{HISTORY_ENTRIES, HistoryFile};
use super::meta_command;
use super::name_cache::NameCache;

/// A line, or the key that was pressed in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Text, which has several lines where some were pasted.
    Text(String),
    /// Ctrl-C.
    Cleared,
    /// Ctrl-D.
    End,
    /// The terminal cannot be read.
    Failed(String),
}

enum EditorRequest {
    Read {
        prompt: String,
        /// The lines of the statement before.
        before: String,
    },
    /// An entry of the history, and who waits until it is kept.
    Remember(String, SyncSender<()>),
}

/// The prompt on a terminal.
pub(super) struct LineEditor {
    requests: SyncSender<EditorRequest>,
    lines: mpsc::Receiver<Line>,
    /// Prints above the line that is being typed.
    notices: Option<Box<dyn FnMut(String) + Send>>,
    /// True once the transaction that the prompt shows has ended.
    is_outdated: Arc<AtomicBool>,
}

impl LineEditor {
    /// Starts to use the terminal.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn start(names: Arc<NameCache>, history: HistoryFile) -> io::Result<Self> {
        let (requests, received) = sync_channel(1);
        let (answers, lines) = mpsc::channel(1);
        let (made, notices) = sync_channel(1);
        let is_outdated = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_outdated);
        let run = move || match editor(names, history.path(), shared) {
            Ok(mut editor) => {
                let printer = editor.create_external_printer().ok().map(|mut printer| {
                    Box::new(move |text| printer.print(text).unwrap_or(()))
                        as Box<dyn FnMut(String) + Send>
                });
                made.send(Ok(printer)).unwrap_or(());
                serve(&mut editor, &history, &received, &answers);
            }
            Err(error) => made.send(Err(io::Error::other(error))).unwrap_or(()),
        };
        thread::Builder::new().name("prompt".to_owned()).spawn(run)?;
        let notices = notices.recv().map_err(io::Error::other)??;
        Ok(Self { requests, lines, notices, is_outdated })
    }

    /// Starts to read a line behind a prompt; `before` has the lines of the statement that it continues.
    pub(super) fn ask(&mut self, prompt: String, before: &str) {
        let before = before.to_owned();
        self.is_outdated.store(false, Ordering::Relaxed);
        self.requests.send(EditorRequest::Read { prompt, before }).unwrap_or(());
    }

    /// Waits for the line.
    ///
    /// # Cancel safety
    /// No line is lost by a cancellation.
    pub(super) async fn line(&mut self) -> Line {
        let stopped = || Line::Failed("the thread of the prompt has ended".to_owned());
        self.lines.recv().await.unwrap_or_else(stopped)
    }

    /// Keeps an entry in the history, between two lines: behind it the program may end.
    pub(super) fn remember(&mut self, entry: &str) {
        let (done, kept) = sync_channel(1);
        self.requests.send(EditorRequest::Remember(entry.to_owned(), done)).unwrap_or(());
        // A thread that has ended keeps nothing.
        kept.recv().unwrap_or(());
    }

    /// Prints above the line that is being typed that the transaction of its prompt has ended, and draws the prompt
    /// without it; returns false on a terminal that cannot.
    pub(super) fn transaction_ended(&mut self, text: &str) -> bool {
        let Some(print) = &mut self.notices else { return false };
        self.is_outdated.store(true, Ordering::Relaxed);
        print(format!("{text}\n"));
        true
    }
}

type PromptEditor = Editor<PromptHelper, FileHistory>;

fn editor(
    names: Arc<NameCache>,
    history: Option<&Path>,
    is_outdated: Arc<AtomicBool>,
) -> rustyline::Result<PromptEditor> {
    // The prompt is not part of results that go to a file.
    let behavior = if io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
    let config = Config::builder()
        .behavior(behavior)
        .bell_style(BellStyle::None)
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY_ENTRIES)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(PromptHelper {
        names,
        before: String::new(),
        files: FilenameCompleter::new(),
        is_outdated,
    }));
    if let Some(path) = history {
        // There is none before the first statement.
        editor.load_history(path).unwrap_or(());
    }
    Ok(editor)
}

/// Does what is requested until nobody is left who requests.
fn serve(
    editor: &mut PromptEditor,
    history: &HistoryFile,
    requests: &Receiver<EditorRequest>,
    answers: &mpsc::Sender<Line>,
) {
    while let Ok(request) = requests.recv() {
        match request {
            EditorRequest::Read { prompt, before } => {
                if let Some(helper) = editor.helper_mut() {
                    helper.before = before;
                }
                let line = match editor.readline(&prompt) {
                    Ok(text) => Line::Text(text),
                    Err(ReadlineError::Interrupted) => Line::Cleared,
                    Err(ReadlineError::Eof) => Line::End,
                    Err(error) => Line::Failed(error.to_string()),
                };
                if answers.blocking_send(line).is_err() {
                    return;
                }
            }
            EditorRequest::Remember(entry, done) => {
                keep(editor, history, entry);
                done.send(()).unwrap_or(());
            }
        }
    }
}

/// Keeps an entry for the next prompt, unless it must not be.
fn keep(editor: &mut PromptEditor, history: &HistoryFile, entry: String) {
    if !HistoryFile::keeps(&entry) {
        return;
    }
    let is_new = editor.add_history_entry(entry).unwrap_or_default();
    if let Some(path) = history.path().filter(|_| is_new) {
        // A history that cannot be written is that of this prompt alone.
        editor.append_history(path).unwrap_or(());
    }
}

/// Completes what is typed.
struct PromptHelper {
    names: Arc<NameCache>,
    before: String,
    files: FilenameCompleter,
    is_outdated: Arc<AtomicBool>,
}

impl Helper for PromptHelper {}

impl Highlighter for PromptHelper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _is_default: bool,
    ) -> Cow<'b, str> {
        if self.is_outdated.load(Ordering::Relaxed) {
            Cow::Owned(without_transaction(prompt))
        } else {
            Cow::Borrowed(prompt)
        }
    }
}

/// The prompt without its sign of a transaction, and as wide: the editor counts its columns only once.
fn without_transaction(prompt: &str) -> String {
    let mut shown: Vec<_> = prompt.chars().collect();
    // Behind it are the sign of what the line continues, and "> ".
    let at = shown.len().checked_sub(4);
    if let Some(at) = at.filter(|&at| matches!(shown[at], '*' | '!')) {
        shown.remove(at);
        shown.push(' ');
    }
    shown.into_iter().collect()
}

impl Validator for PromptHelper {}

impl Hinter for PromptHelper {
    type Hint = String;
}

impl Completer for PromptHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let (before, behind) = line.split_at(at);
        if self.before.is_empty() && before.trim_start().starts_with('\\') {
            return self.command(before);
        }
        let before = if self.before.is_empty() {
            before.to_owned()
        } else {
            format!("{}\n{before}", self.before)
        };
        let dialect = self.names.dialect();
        let (length, words) =
            complete(Cursor { before: &before, behind }, &self.names.names(), dialect);
        Ok((at - length, words))
    }
}

impl PromptHelper {
    /// Completes a command of the prompt or its argument.
    fn command(&self, line: &str) -> rustyline::Result<(usize, Vec<String>)> {
        let start = line.len() - line.trim_start().len();
        let Some((command, argument)) = line.trim_start().split_once(char::is_whitespace) else {
            let typed = line.trim_start();
            let names = meta_command::NAMES.into_iter().filter(|name| name.starts_with(typed));
            return Ok((start, names.map(str::to_owned).collect()));
        };
        let argument = argument.trim_start();
        let start = line.len() - argument.len();
        let of = |words: &[&str]| {
            let fitting = words.iter().filter(|word| word.starts_with(argument));
            (start, fitting.map(|word| (*word).to_owned()).collect())
        };
        Ok(match command {
            "\\x" => of(&["auto", "off", "on"]),
            "\\timing" => of(&["off", "on"]),
            "\\c" | "\\connect" => {
                let databases = self.names.databases();
                of(&databases.iter().map(String::as_str).collect::<Vec<_>>())
            }
            "\\d" | "\\dt" => {
                let table = format!("table {argument}");
                let cursor = Cursor { before: &table, behind: "" };
                let (length, words) = complete(cursor, &self.names.names(), self.names.dialect());
                (line.len() - length, words)
            }
            "\\i" | "\\o" => {
                let (at, files) = self.files.complete_path(line, line.len())?;
                (at, files.into_iter().map(|file| file.replacement).collect())
            }
            _ => (line.len(), Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_without_its_transaction_is_as_wide() {
        for (prompt, shown) in [
            ("main*=> ", "main=>  "),
            ("main!-> ", "main->  "),
            ("a*b=> ", "a*b=> "),
            ("main**> ", "main*>  "),
            ("", ""),
        ] {
            assert_eq!(without_transaction(prompt), shown);
        }
    }
}
