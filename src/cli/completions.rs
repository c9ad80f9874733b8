//! `rowgate completions`

use std::io;

use clap::CommandFactory as _;

use super::console::Console;
use super::{Cli, Exit};

const EXAMPLES: &str = "\
Examples:
  rowgate completions bash > /etc/bash_completion.d/rowgate
  rowgate completions zsh > \"${fpath[1]}/_rowgate\"
  rowgate completions fish > ~/.config/fish/completions/rowgate.fish";

/// Print a shell's completion script for this command line
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell that is to complete `rowgate …`
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    // The generator panics when its output fails; a Vec does not.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rowgate", &mut script);
    console.out.write_all(&script)?;
    Ok(Exit::Success)
}
