//! The reasons why migrations do not run.

use super::finding::Finding;
use crate::error::Error;

/// The reason why migrations did not run, or not to their end.
#[derive(Debug)]
pub(crate) enum MigrationError {
    /// The files, or the ledger, forbid it: nothing has run.
    Refused(Vec<Finding>),
    /// A statement of a file failed.
    Failed(Box<FailedStatement>),
    /// The database, or the directory, cannot be used.
    Error(Error),
}

/// The step of a file that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedStep {
    /// The note in the ledger that the file begins.
    Start,
    Statement,
    Commit,
}

/// A step of a file that failed.
#[derive(Debug)]
pub(crate) struct FailedStatement {
    /// The name of the file.
    pub(crate) file: String,
    pub(crate) step: FailedStep,
    /// The statement as it was sent; empty for another step.
    pub(crate) sql: String,
    /// The line on which its text begins, with the comments before it.
    pub(crate) first_line: usize,
    /// The line of its first word.
    pub(crate) line: usize,
    pub(crate) error: Error,
    /// The state in which the file is now, and what to do.
    pub(crate) advice: String,
}

impl From<Error> for MigrationError {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl MigrationError {
    /// Returns an error if there are findings.
    pub(crate) fn refuse(findings: Vec<Finding>) -> Result<(), Self> {
        if findings.is_empty() { Ok(()) } else { Err(Self::Refused(findings)) }
    }
}
