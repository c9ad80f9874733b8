//! The console of a command: its output streams and its exit status.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};

use crate::error::Error;
use crate::printable::{Notation, escaped};

/// The exit status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Success = 0,
    /// A call failed, or the server is not serving.
    Failure = 1,
    /// Wrong usage of a command; clap's own, too.
    Usage = 2,
    /// The configuration has problems: EX_CONFIG of sysexits.h.
    Config = 78,
    /// Nobody reads standard output any more: 128 and the number of SIGPIPE, as of programs that this signal ends.
    ClosedOutput = 141,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Standard output and standard error, or their substitutes in a test.
pub(crate) struct Console<'a> {
    /// Results.
    pub(crate) out: &'a mut dyn Write,
    /// True if results are read by people, on a terminal.
    pub(crate) is_terminal: bool,
    /// Everything else.
    pub(crate) err: &'a mut dyn Write,
}

impl Console<'_> {
    /// Prints the error of a command, after its results.
    pub(crate) fn fail(&mut self, why: &dyn Display) -> io::Result<Exit> {
        self.out.flush()?;
        writeln!(self.err, "error: {}", visible(&why.to_string()))?;
        Ok(Exit::Failure)
    }
}

/// Escapes control characters but line breaks, and those that change the look of other text: text from a database
/// or a server must not control the terminal.
pub(crate) fn visible(text: &str) -> String {
    escaped(text, Notation::Text)
}

/// Returns an error on one line: what failed, why, and the hint.
pub(crate) fn one_line(error: &Error) -> String {
    let mut line = error.to_string();
    if let Some(cause) = std::error::Error::source(error).map(ToString::to_string)
        && !line.contains(&cause)
    {
        let words = cause.split(" (os error").next().unwrap_or_default();
        line = format!("{line}: {words}");
    }
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    line + &hint
}

/// Returns `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn text_cannot_control_the_terminal() {
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(visible("\u{1b}[2J\tx\u{9b}\na"), "\\u{1b}[2J\\tx\\u{9b}\na");
    }

    #[test]
    fn an_error_is_one_line() {
        let error = Error::new(ErrorKind::Internal, "cannot listen on 127.0.0.1:50051")
            .with_cause(io::Error::from(io::ErrorKind::AddrInUse))
            .with_hint("Choose another address with --listen.");
        assert_eq!(
            one_line(&error),
            "cannot listen on 127.0.0.1:50051: address in use (Choose another address with --listen.)"
        );
    }
}
