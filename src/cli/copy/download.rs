//! A table or a query into a file.

use std::io;
use std::path::Path;

use super::copy_args::{Args, is_standard};
use super::part_file::PartFile;
use super::progress::Progress;
use crate::cli::command_error::{CommandError, Result};
use crate::cli::console::{Console, Exit, counted};
use crate::cli::server_flag::block_on;
use crate::value::proto::copy_out_response::Part;
use crate::wire_size::widen;

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let name = args.to.as_deref().unwrap_or(Path::new("-"));
    let failed = |error: io::Error| {
        CommandError::Failed(format!("{} cannot be written: {error}", name.display()))
    };
    block_on(async {
        let client = args.connect().await?;
        let mut parts = client.copy_out(args.request()).await?;
        // A table that is not there leaves the file of before.
        let mut file =
            if is_standard(name) { None } else { Some(PartFile::create(name).map_err(failed)?) };
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
                        Some(file) => file.write(&data).map_err(failed)?,
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
            Some(file) => file.finish().map_err(failed)?,
            None => console.out.flush()?,
        }
        let rows = counted(rows, "row");
        writeln!(console.err, "{rows} copied {}", progress.summary(bytes))?;
        Ok(Exit::Success)
    })
}
