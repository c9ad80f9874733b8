//! Runtimes of tokio, and the errors of what the system refuses at start.

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// Starts a single-threaded runtime.
pub(crate) fn single_threaded() -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| cannot("start a runtime", error))
}

/// The error of a system call.
pub(crate) fn cannot(action: &str, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("cannot {action}")).with_cause(cause)
}
