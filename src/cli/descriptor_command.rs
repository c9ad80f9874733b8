//! `rowgate descriptor`.

use std::fs;
use std::path::PathBuf;

use super::command_error::{CommandError, Result};
use super::console::{Console, Exit};
use crate::error::{Error, ErrorKind};
use crate::grpc::descriptor_set;

const ABOUT: &str = "\
It is an encoded google.protobuf.FileDescriptorSet with all imports and comments, as `protoc --include_imports \
--descriptor_set_out` writes it: of Rowgate's services, of health, and of the details of errors. grpcurl calls a server \
without reflection by it, and Envoy translates JSON by it.

Examples:
  rowgate descriptor --out rowgate.binpb
  grpcurl -plaintext -protoset rowgate.binpb -d '{\"sql\":\"select 1\"}' 127.0.0.1:50051 \
rowgate.v1.DatabaseService/Query
  rowgate descriptor | protoc --descriptor_set_in=/dev/stdin --python_out=. rowgate/v1/database.proto

Exit status: 0 success; 1 it cannot be written; 2 standard output is a terminal.";

/// Print the descriptor set of the API
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Args {
    /// The file to write; standard output if omitted
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    if args.out.is_none() && console.is_terminal {
        let why = "a descriptor set is no text: name a file with --out, or send it to a program";
        return Err(CommandError::Usage(why.to_owned()));
    }
    let set = descriptor_set().map_err(|error| {
        Error::new(ErrorKind::Internal, "the descriptors are inconsistent").with_cause(error)
    })?;
    match &args.out {
        None => console.out.write_all(&set)?,
        Some(path) => fs::write(path, &set).map_err(|error| {
            CommandError::Failed(format!("{} cannot be written: {error}", path.display()))
        })?,
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_terminal_gets_a_hint_and_no_bytes() {
        let mut out = Vec::new();
        let mut console = Console { out: &mut out, is_terminal: true, err: &mut io::sink() };
        let error = run(&Args { out: None }, &mut console).unwrap_err();
        let CommandError::Usage(why) = error else { panic!("{error:?}") };
        assert!(why.contains("--out"), "{why}");
        assert!(out.is_empty());
    }
}
