//! The places and the forms of results.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use terminal_size::{Width, terminal_size_of};

use super::meta_command::Expansion;
use crate::cli::console::Console;
use crate::cli::query::{Layout, Table};

/// The output of a prompt.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) expansion: Expansion,
    /// True if each statement is followed by the time that it took.
    pub(super) is_timing: bool,
    /// The file that gets results in the place of standard output.
    file: Option<BufWriter<File>>,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { expansion: Expansion::Automatic, is_timing: false, file: None }
    }

    /// Sends results to a new file.
    pub(super) fn open_file(&mut self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        self.close_file()?;
        self.file = Some(BufWriter::new(file));
        Ok(())
    }

    /// Sends results to standard output; those in a file are written before.
    pub(super) fn close_file(&mut self) -> io::Result<()> {
        self.file.take().map_or(Ok(()), |mut file| file.flush())
    }

    /// The printer of the next result.
    pub(super) fn printer(&self, console: &Console<'_>) -> Table {
        let width = if console.is_terminal && self.file.is_none() { width() } else { None };
        Table::new(match (self.expansion, width) {
            (Expansion::Always, width) => Layout::Expanded(width),
            (Expansion::Automatic, Some(width)) => Layout::Automatic(width),
            (Expansion::Never, Some(width)) => Layout::Fitting(width),
            (Expansion::Automatic | Expansion::Never, None) => Layout::Natural,
        })
    }

    /// The writer of results.
    pub(super) fn writer<'a>(&'a mut self, console: &'a mut Console<'_>) -> &'a mut dyn Write {
        match &mut self.file {
            Some(file) => file,
            None => console.out,
        }
    }
}

/// The width of the terminal on standard output, if it tells it.
fn width() -> Option<u16> {
    terminal_size_of(io::stdout()).map(|(Width(width), _)| width).filter(|width| *width > 0)
}
