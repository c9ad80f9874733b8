//! The backup and the restoration of a SQLite database.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use super::file_job::{Done, FileJob, refused};
use super::named_file::check_not_beside;
use super::partial_file::{PartialFile, beside, cannot, remove_beside};
use super::supervision::Control;
use crate::backend::sqlite::{Claim, Copied, check_copy, claim_file, copy_database};
use crate::config::SqliteTarget;
use crate::error::{Error, ErrorKind, Result};

/// Copies the database while it is in use.
pub(super) async fn backup(target: &SqliteTarget, job: &FileJob, control: Control) -> Result<Done> {
    let source = target.path.clone();
    let file = job.file.clone();
    let replaces = job.replaces;
    on_thread(move || {
        check_not_in_use(&source, &file)?;
        let partial = PartialFile::create(&file, replaces)?;
        copy_database(&source, partial.path(), &mut |done, total| {
            control.reached(done, total);
            !control.is_stopped()
        })?;
        let Copied { damage, orphans, is_bare } = look_at(partial.path(), &control)?;
        if let Some(damage) = damage {
            let message = format!("the copy is damaged: {damage}");
            return Err(Error::new(ErrorKind::DataLoss, message)
                .with_hint("The database itself is: restore an earlier backup."));
        }
        if is_bare {
            let message = format!("the database {} has no table", source.display());
            return Err(refused(message)
                .with_hint("No backup was made: look whether it is the database that you mean."));
        }
        control.check()?;
        Ok(Done { bytes: partial.finish()?, notes: warnings(orphans) })
    })
    .await
}

/// Fails where a backup would take the place of the database itself, or of one that has a log beside it.
fn check_not_in_use(source: &Path, file: &Path) -> Result<()> {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let of_file = identity(file);
    if of_file.is_some() && of_file == identity(source) {
        let message = format!("{} is the database itself", file.display());
        return Err(refused(message).with_hint("Name another file."));
    }
    check_not_beside(source, file)?;
    if let Some(log) = beside(file) {
        let message =
            format!("{} is a database in use, as {} shows", file.display(), log.display());
        return Err(refused(message).with_hint("Name another file, or remove both."));
    }
    Ok(())
}

/// Puts a backup in the place of the database.
pub(super) async fn restore(
    target: &SqliteTarget,
    job: &FileJob,
    control: Control,
) -> Result<Done> {
    let target = target.path.clone();
    let file = job.file.clone();
    let replaces = job.replaces;
    on_thread(move || {
        if let Some(log) = beside(&file) {
            // It may be a log of another file of the name, which SQLite would take for this one's.
            let message =
                format!("{} is a database in use, as {} shows", file.display(), log.display());
            return Err(refused(message).with_hint("Make a backup of it with `rowgate backup`."));
        }
        let partial = PartialFile::create(&target, replaces)?;
        // As a backup is made: others may have the file open, with an empty log.
        copy_database(&file, partial.path(), &mut |done, total| {
            control.reached(done, total);
            !control.is_stopped()
        })?;
        let Copied { damage, orphans, is_bare } = look_at(partial.path(), &control)?;
        if let Some(damage) = damage {
            let message = format!("the backup {} is damaged: {damage}", file.display());
            return Err(Error::new(ErrorKind::DataLoss, message)
                .with_hint("Nothing was changed. Restore another backup."));
        }
        if is_bare {
            let message = format!("{} has no table: it is no backup", file.display());
            return Err(refused(message).with_hint("Nothing was changed. Restore another backup."));
        }
        control.check()?;
        let bytes = replace(partial, &target)?;
        Ok(Done { bytes, notes: warnings(orphans) })
    })
    .await
    .map_err(|error| {
        // Once the file is replaced no signal is looked at.
        let is_interruption = error.kind() == ErrorKind::Cancelled;
        if is_interruption { error.with_hint("Nothing was changed.") } else { error }
    })
}

/// Gives the new file its name while no process has the one before open.
fn replace(partial: PartialFile, target: &Path) -> Result<u64> {
    let claim = match fs::metadata(target) {
        Ok(before) => {
            let claim = claim_file(target)?;
            let owned = fchown(partial.file(), Some(before.uid()), Some(before.gid()));
            owned
                .and_then(|()| partial.file().set_permissions(before.permissions()))
                .map_err(|error| cannot("give its owner to", target, error))?;
            claim
        }
        Err(_none) => Claim::Free,
    };
    // A log of the database before would be read as one of the new database's.
    remove_beside(target).map_err(|error| cannot("remove the log of", target, error))?;
    let bytes = partial.finish()?;
    drop(claim);
    Ok(bytes)
}

fn look_at(path: &Path, control: &Control) -> Result<Copied> {
    let watch = control.clone();
    check_copy(path, move || watch.is_stopped())
}

fn warnings(orphans: Option<String>) -> Vec<String> {
    let warning = |orphans| {
        format!("warning: foreign keys point to nothing in {orphans}; the database is the same")
    };
    orphans.map(warning).into_iter().collect()
}

/// Runs work that blocks.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "the task has failed").with_cause(error))?
}
