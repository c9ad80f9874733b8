//! The error of a command.

use std::io;

use super::call_failure;
use super::console::{Console, Exit};
use crate::grpc::client::CallError;

/// The error that ends a command.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The output cannot be written.
    Output(io::Error),
    /// A call failed.
    Call(Box<CallError>),
    /// The command failed, for this reason.
    Failed(String),
    /// The configuration has these problems.
    Config(String),
}

impl CommandError {
    /// Prints the error, unless the output cannot be written.
    pub(crate) fn print(self, console: &mut Console<'_>) -> io::Result<Exit> {
        match self {
            Self::Output(error) => Err(error),
            Self::Call(error) => console.fail(&call_failure::describe(&error, None)),
            Self::Failed(why) => console.fail(&why),
            Self::Config(problems) => console.fail(&problems).map(|_failure| Exit::Config),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}
