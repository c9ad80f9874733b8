//! `rowgate sql` as people use it: on a terminal, and with scripts.

mod catalogs;
mod dialogue;
mod scripts;
mod transactions;

use std::process::Command;

use crate::harness::Service;
use crate::harness::server::rowgate;
use crate::harness::terminal::Terminal;

/// The command of a prompt on the service, with more arguments.
fn command(service: &Service, arguments: &[&str]) -> Command {
    let mut command = rowgate(service.server.directory());
    command.args(["sql", "--address", &service.server.grpc().to_string()]).args(arguments);
    command
}

/// A prompt on the service, which is ready.
#[track_caller]
fn prompt(service: &Service, arguments: &[&str]) -> Terminal {
    wide_prompt(service, arguments, 120)
}

/// A prompt on a terminal of so many columns.
#[track_caller]
fn wide_prompt(service: &Service, arguments: &[&str], columns: u16) -> Terminal {
    let mut terminal = Terminal::start(&command(service, arguments), columns);
    terminal.expect("\\? lists the commands, \\q quits\n");
    terminal.expect(READY);
    terminal
}

/// The prompt that waits for a statement.
const READY: &str = "main=> ";
