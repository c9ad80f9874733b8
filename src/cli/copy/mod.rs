//! `rowgate copy`: loads a file into a table through a Rowgate server, or a table into a file.

mod copy_args;
mod download;
mod progress;
mod upload;

pub(crate) use copy_args::Args;

use super::command_error::Result;
use super::console::{Console, Exit};

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    args.check()?;
    match &args.from {
        Some(file) => upload::run(args, file, console),
        None => download::run(args, console),
    }
}
