//! A table or a query into a file.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::copy_args::{Args, is_standard};
use super::progress::Progress;
use crate::app::{PartialFile, signalled};
use crate::cli::command_error::{CommandError, Result};
use crate::cli::console::{Console, Exit, counted};
use crate::cli::server_flag::block_on;
use crate::value::proto::copy_out_response::Part;
use crate::wire_size::widen;

/// The bytes that are written at a time.
const BUFFER: usize = 256 << 10;

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let name = args.to.as_deref().unwrap_or(Path::new("-"));
    if is_standard(name) {
        return block_on(copy(args, None, console));
    }
    block_on(async {
        tokio::select! {
            // In this order the signals are listened for before there is a file.
            biased;
            () = signalled() => {
                Err(CommandError::Failed("interrupted by a signal".to_owned()))
            }
            copied = async {
                // Before anything is asked: the file may be there, as one that was meant for --from.
                let file = OutFile::create(name, args.force)?;
                copy(args, Some(file), console).await
            } => copied,
        }
    })
}

/// Copies into a file, or to standard output.
async fn copy(
    args: &Args,
    mut file: Option<OutFile<'_>>,
    console: &mut Console<'_>,
) -> Result<Exit> {
    let client = args.connect().await?;
    let mut parts = client.copy_out(args.request()).await?;
    let mut progress = Progress::new(None);
    let mut bytes = 0;
    let rows = loop {
        let part = parts.next().await;
        if part.is_err() {
            progress.clear(console.err)?;
        }
        match part? {
            Part::Header(_) | Part::Rows(_) => {}
            Part::Data(data) => {
                bytes += widen(data.len());
                match &mut file {
                    Some(file) => file.write(&data)?,
                    None => console.out.write_all(&data)?,
                }
            }
            Part::Summary(summary) => break summary.row_count,
        }
        if progress.is_due() {
            progress.show(bytes, console.err)?;
        }
    };
    progress.clear(console.err)?;
    match file {
        Some(file) => file.finish()?,
        None => console.out.flush()?,
    }
    let rows = counted(rows, "row");
    writeln!(console.err, "{rows} copied {}", progress.summary(bytes))?;
    Ok(Exit::Success)
}

/// A file that is being written. Dropped before its end, it is removed.
struct OutFile<'a> {
    name: &'a Path,
    writer: io::BufWriter<File>,
    partial: PartialFile,
}

impl<'a> OutFile<'a> {
    fn create(name: &'a Path, replaces: bool) -> Result<Self> {
        let partial = PartialFile::create_for_all(name, replaces)?;
        let writer = io::BufWriter::with_capacity(BUFFER, partial.for_writer()?);
        Ok(Self { name, writer, partial })
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        let written = self.writer.write_all(data);
        written.map_err(|error| self.failed(&error))
    }

    /// Gives the file its name, once all of it is stored.
    fn finish(mut self) -> Result<()> {
        let flushed = self.writer.flush();
        flushed.map_err(|error| self.failed(&error))?;
        self.partial.finish()?;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> CommandError {
        CommandError::Failed(format!("{} cannot be written: {error}", self.name.display()))
    }
}
