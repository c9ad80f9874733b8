//! A backup or a restoration, its result, and its refusal.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Environment;
use crate::error::{Error, ErrorKind};

/// A backup or a restoration to make.
#[derive(Debug)]
pub struct FileJob {
    /// The logical name of the database.
    pub database: String,
    /// The file of the backup.
    pub file: PathBuf,
    /// Replaces what exists already.
    pub replaces: bool,
    /// Leaves out the owners of objects and the rights on them; PostgreSQL only.
    pub without_owners: bool,
    /// The environment in which programs are found.
    pub environment: Environment,
}

/// The result of a backup or of a restoration.
#[derive(Debug)]
pub struct Summary {
    /// The size of the backup's file.
    pub bytes: u64,
    /// The time that it took.
    pub took: Duration,
    /// Remarks for people: the program that was used, and warnings.
    pub notes: Vec<String>,
}

/// The result of one backend's part: the size of the file, and remarks.
pub(super) struct Done {
    pub(super) bytes: u64,
    pub(super) notes: Vec<String>,
}

/// The error of something that cannot be done as things are.
pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::FailedPrecondition, message.into())
}
