//! A file that has a partial name until it is whole: `FILE.partial-PID`.
//!
//! It is locked for as long as its process lives, so that the next one tells what a killed one has left from what
//! is still being written.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::file_job::refused;
use crate::error::{Error, ErrorKind, Result};

/// Between the file's name and the process's id.
const PARTIAL: &str = ".partial-";

/// The files that SQLite makes beside a database.
pub(super) const BESIDE: [&str; 3] = ["-journal", "-wal", "-shm"];

/// A file that is being written. Dropped before its end, it is removed.
#[derive(Debug)]
pub(crate) struct PartialFile {
    path: PathBuf,
    target: PathBuf,
    replaces: bool,
    file: File,
}

impl PartialFile {
    /// Creates a file for the owner alone.
    pub(super) fn create(target: &Path, replaces: bool) -> Result<Self> {
        Self::create_with(target, replaces, 0o600)
    }

    /// Creates a file with the rights that the process gives to new ones.
    pub(crate) fn create_for_all(target: &Path, replaces: bool) -> Result<Self> {
        Self::create_with(target, replaces, 0o666)
    }

    /// Creates a file, and removes what killed processes have left of the same.
    fn create_with(target: &Path, replaces: bool, mode: u32) -> Result<Self> {
        check_target(target, replaces)?;
        remove_stale(target)?;
        survive_size_limits();
        let path = with_suffix(target, &format!("{PARTIAL}{}", std::process::id()));
        let cannot = |error| cannot("create", &path, error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(mode).open(&path);
        let file = file.map_err(cannot)?;
        file.try_lock().map_err(|error| cannot(error.into()))?;
        Ok(Self { path, target: target.to_owned(), replaces, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file once more, for a program that writes it. Not the same opening: its lock ends with this process.
    pub(crate) fn for_writer(&self) -> Result<File> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.path);
        opened.map_err(|error| cannot("open", &self.path, error))
    }

    /// The size as it is now.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// The error of a program that has not written it to its end: names the file, which the program does not know.
    pub(super) fn not_made(&self, error: Error) -> Error {
        let target = self.target.display();
        // The words of the system, whoever prints them.
        let is_full = ["No space left", "Disk quota exceeded", "File too large"];
        let is_full = is_full.iter().any(|words| error.message().contains(words));
        let why = if is_full { ": there is no space left for it" } else { "" };
        let version = error.hint().map(|hint| format!(" {hint}")).unwrap_or_default();
        error.with_hint(format!("{target} was not made{why}.{version}"))
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes everything to the disk and gives the file its name; returns its size.
    pub(crate) fn finish(self) -> Result<u64> {
        let size = self.size();
        self.file.sync_all().map_err(|error| cannot("write", &self.path, error))?;
        check_target(&self.target, self.replaces)?;
        fs::rename(&self.path, &self.target)
            .map_err(|error| cannot("create", &self.target, error))?;
        let directory = directory_of(&self.target);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| {
            let message = format!(
                "{} is whole and in its place, but a power failure may undo that: its directory {} cannot be synced",
                self.target.display(),
                directory.display()
            );
            refused(message).with_cause(error)
        })?;
        Ok(size)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // It has another name once it is whole.
        drop(remove_with_those_beside(&self.path));
    }
}

/// Makes a write beyond the limit on the size of files (`ulimit -f`) an error. Otherwise its signal ends the process, and the
/// partial file stays. The programs that it starts are ended by it as before.
fn survive_size_limits() {
    if tokio::runtime::Handle::try_current().is_ok() {
        // The handler stays behind this, which nobody waits for.
        drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())));
    }
}

/// Checks that a file may be made: that there is none, or one that may be replaced.
fn check_target(target: &Path, replaces: bool) -> Result<()> {
    let shown = target.display();
    match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot("look at", target, error)),
        Ok(existing) if existing.is_dir() => Err(refused(format!("{shown} is a directory"))
            .with_hint("Name a file, which may be in it.")),
        Ok(_existing) if !replaces => {
            Err(refused(format!("{shown} exists already")).with_hint("Replace it with --force."))
        }
        Ok(existing) if existing.is_file() => Ok(()),
        Ok(_other) => Err(refused(format!("{shown} is not a regular file"))
            .with_hint("Name a file that can be replaced.")),
    }
}

/// Removes partial files whose process has ended; fails if one is still being written.
fn remove_stale(target: &Path) -> Result<()> {
    let directory = directory_of(target);
    let start = with_suffix(Path::new(target.file_name().unwrap_or_default()), PARTIAL);
    let start = start.into_os_string().into_encoded_bytes();
    let entries = fs::read_dir(directory)
        .map_err(|error| cannot("look for unfinished files in", directory, error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_partial = name
            .strip_prefix(start.as_slice())
            .is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit));
        if !is_partial {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let shown = path.display();
            return Err(refused(format!("{shown} is being written by another process"))
                .with_hint("Wait for its end, or choose another file."));
        }
        remove_with_those_beside(&path).map_err(|error| cannot("remove", &path, error))?;
    }
    Ok(())
}

fn remove_with_those_beside(path: &Path) -> io::Result<()> {
    remove_beside(path)?;
    remove_if_there(path)
}

/// Removes the files that SQLite has made beside a database.
pub(super) fn remove_beside(path: &Path) -> io::Result<()> {
    BESIDE.iter().try_for_each(|suffix| remove_if_there(&with_suffix(path, suffix)))
}

/// The first of the files beside a database that holds something: the database is open, or was not closed.
pub(super) fn beside(path: &Path) -> Option<PathBuf> {
    let holds = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    ["-journal", "-wal"].iter().map(|suffix| with_suffix(path, suffix)).find(holds)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The directory that a file is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The error of a file.
pub(super) fn cannot(action: &str, path: &Path, cause: io::Error) -> Error {
    let message = format!("cannot {action} {}", path.display());
    Error::new(ErrorKind::FailedPrecondition, message).with_cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_leaves_nothing_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("shop.db");
        let partial = PartialFile::create(&target, false).unwrap();
        assert_eq!(names(directory.path()).len(), 1);
        assert!(!target.exists());
        fs::write(with_suffix(partial.path(), "-wal"), "x").unwrap();
        drop(partial);
        assert_eq!(names(directory.path()), [""; 0]);
        let partial = PartialFile::create(&target, false).unwrap();
        fs::write(partial.path(), "whole").unwrap();
        assert_eq!(partial.finish().unwrap(), 5);
        assert_eq!(names(directory.path()), ["shop.db"]);
        let error = PartialFile::create(&target, false).unwrap_err();
        assert!(error.message().ends_with("shop.db exists already"), "{error}");
        drop(PartialFile::create(&target, true).unwrap());
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_being_written_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("shop.db");
        let stale = directory.path().join("shop.db.partial-4000000");
        let other = directory.path().join("other.db.partial-4000000");
        fs::write(&stale, "half").unwrap();
        fs::write(&other, "half").unwrap();
        drop(PartialFile::create(&target, false).unwrap());
        assert_eq!(names(directory.path()), ["other.db.partial-4000000"]);
        fs::write(&stale, "half").unwrap();
        let writer = File::open(&stale).unwrap();
        writer.try_lock().unwrap();
        let error = PartialFile::create(&target, false).unwrap_err();
        assert!(error.message().contains("is being written by another process"), "{error}");
        assert!(stale.exists());
    }

    #[test]
    fn the_error_of_a_program_names_the_file_that_it_did_not_make() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("shop.dump");
        let partial = PartialFile::create(&target, false).unwrap();
        let hint = |text: &str| {
            let failed = refused(text).with_hint("Its version is 15.");
            partial.not_made(failed).hint().unwrap_or_default().to_owned()
        };
        let name = target.display().to_string();
        let full = hint("could not write to output file: No space left on device");
        let expected = "was not made: there is no space left for it. Its version is 15.";
        assert_eq!(full, format!("{name} {expected}"));
        assert_eq!(hint("it failed"), format!("{name} was not made. Its version is 15."));
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        fs::create_dir(&target).unwrap();
        assert!(PartialFile::create(&target, true).is_err());
        fs::remove_dir(&target).unwrap();
        std::os::unix::fs::symlink("/dev/null", &target).unwrap();
        assert!(PartialFile::create(&target, true).is_err());
    }
}
