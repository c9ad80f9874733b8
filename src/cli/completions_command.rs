//! `rowgate completions`.

use super::command_error::Result;
use super::console::{Console, Exit};

const EXAMPLES: &str = "\
Examples:
  rowgate completions bash > /etc/bash_completion.d/rowgate
  rowgate completions zsh > \"${fpath[1]}/_rowgate\"
  rowgate completions fish > ~/.config/fish/completions/rowgate.fish";

/// Print a shell's completion script for this command line
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell that completes `rowgate …`
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, mut cli: clap::Command, console: &mut Console<'_>) -> Result<Exit> {
    // The generator panics when writing fails; a Vec never fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "rowgate", &mut script);
    console.out.write_all(&script)?;
    Ok(Exit::Success)
}
