//! Where commands write.

use std::fmt::Display;
use std::io::{self, Write};

use super::Exit;
use crate::error::Error;

/// Standard output and standard error, or what stands in for them in a test.
pub(crate) struct Console<'a> {
    /// Results.
    pub(crate) out: &'a mut dyn Write,
    /// Everything else.
    pub(crate) err: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err }
    }

    /// Hands on what was written as a result.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Says why a command failed, in the order in which things happened.
    pub(crate) fn fail(&mut self, why: &dyn Display) -> io::Result<Exit> {
        self.out.flush()?;
        writeln!(self.err, "error: {why}")?;
        Ok(Exit::Failure)
    }
}

/// Control characters but line breaks as escapes: what a database or a server says must not be able to
/// drive the terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// One line: what failed, why the system says so, what to do.
pub(crate) fn one_line(error: &Error) -> String {
    let mut line = error.to_string();
    if let Some(cause) = std::error::Error::source(error).map(ToString::to_string)
        && !line.contains(&cause)
    {
        // The system's number tells people nothing that its words do not.
        let words = cause.split(" (os error").next().unwrap_or_default();
        line = format!("{line}: {words}");
    }
    if let Some(hint) = error.hint() {
        line = format!("{line} ({hint})");
    }
    line
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Runs a command; returns how it ended and what it wrote.
    pub(in super::super) fn on_console(
        command: impl FnOnce(&mut Console<'_>) -> io::Result<Exit>,
    ) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = command(&mut Console::new(&mut out, &mut err)).unwrap();
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn what_is_shown_cannot_drive_the_terminal() {
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
