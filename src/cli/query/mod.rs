//! `rowgate query`: runs a statement or a file of statements on a Rowgate server and prints the results.

mod args;
mod batch_file;
mod csv_output;
mod expanded_output;
mod format;
mod json_output;
mod printer;
mod single_statement;
mod table_output;
#[cfg(test)]
mod tests;

pub(crate) use args::{Args, RESPONSE_TIME, setting, timeout};
pub(crate) use batch_file::dialect_of;
pub(crate) use format::{Format, print_set};
pub(crate) use printer::{Printer, Summary};
pub(crate) use single_statement::print_stream;
pub(crate) use table_output::{Layout, Table};

use super::command_error::Result;
use super::console::{Console, Exit};

pub(crate) fn run(mut args: Args, console: &mut Console<'_>) -> Result<Exit> {
    match args.batch.take() {
        Some(file) => batch_file::run(&args, &file, console),
        None => single_statement::run(args, console),
    }
}
