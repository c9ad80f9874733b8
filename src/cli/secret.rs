//! `rowgate secret`
use std::io;

use super::Exit;
use super::console::Console;

/// To be written
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _console: &mut Console<'_>) -> io::Result<Exit> {
    Ok(Exit::Config)
}
