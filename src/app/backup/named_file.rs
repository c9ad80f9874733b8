//! The checks of the file that a command names, before anything else is asked or made.

use std::fs;
use std::io;
use std::path::Path;

use super::file_job::refused;
use super::partial_file::{BESIDE, cannot, directory_of, with_suffix};
use crate::error::Result;

/// Fails for what cannot be a backup: it is no file, or an empty one. That is a valid SQLite database without tables, and would take the place of
/// a full one.
pub(super) fn check_source(file: &Path) -> Result<()> {
    let shown = file.display();
    let about = match fs::metadata(file) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let missing = refused(format!("there is no file {shown}"));
            let hint =
                "Nothing was changed. Name the file of a backup; standard input is not read.";
            return Err(missing.with_hint(hint));
        }
        Err(error) => return Err(cannot("look at", file, error)),
    };
    if about.is_dir() {
        let message = format!("{shown} is a directory");
        return Err(refused(message).with_hint("Nothing was changed. Name the file of a backup."));
    }
    if !about.is_file() {
        let message = format!("{shown} is not a regular file");
        return Err(refused(message).with_hint("Nothing was changed. Name the file of a backup."));
    }
    if about.len() == 0 {
        let message = format!("{shown} is empty: it is no backup");
        return Err(refused(message).with_hint("Nothing was changed. Restore another backup."));
    }
    Ok(())
}

/// Fails for a name that is meant for standard output.
pub(super) fn check_destination(file: &Path) -> Result<()> {
    if file.as_os_str() != "-" {
        return Ok(());
    }
    let message = "a backup is not written to standard output";
    Err(refused(message).with_hint("Name a file: it gets its name when it is whole."))
}

/// Fails for a name that SQLite gives to a file beside a database.
pub(super) fn check_not_beside(database: &Path, file: &Path) -> Result<()> {
    let real = fs::canonicalize(database).unwrap_or_else(|_missing| database.to_owned());
    let is_beside = [database, &real]
        .iter()
        .any(|database| BESIDE.iter().any(|suffix| is_same(&with_suffix(database, suffix), file)));
    if !is_beside {
        return Ok(());
    }
    let file = file.display();
    let database = database.display();
    let message = format!("{file} is a file that SQLite keeps beside the database {database}");
    Err(refused(message).with_hint("Name another file, as one that ends with .backup."))
}

/// Returns true for two names of one place, whether or not there is a file.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let directory = fs::canonicalize(directory_of(path)).ok()?;
        Some(directory.join(path.file_name()?))
    };
    let one = place(one);
    one.is_some() && one == place(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_that_holds_something() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.backup");
        let why = |file: &Path| check_source(file).unwrap_err().message().to_owned();
        assert!(why(&file).starts_with("there is no file"));
        fs::write(&file, "").unwrap();
        assert!(why(&file).ends_with("shop.backup is empty: it is no backup"));
        assert!(why(directory.path()).ends_with("is a directory"));
        for device in ["/dev/null", "/dev/zero"] {
            assert!(why(Path::new(device)).ends_with("is not a regular file"));
        }
        fs::write(&file, "x").unwrap();
        check_source(&file).unwrap();
    }

    #[test]
    fn the_files_of_a_database_are_known_by_any_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let database = path("shop.db");
        fs::write(&database, "x").unwrap();
        fs::create_dir(path("more")).unwrap();
        std::os::unix::fs::symlink(&database, path("link.db")).unwrap();
        for name in ["shop.db-wal", "shop.db-shm", "more/../shop.db-journal"] {
            check_not_beside(&database, &path(name)).unwrap_err();
            check_not_beside(&path("link.db"), &path(name)).unwrap_err();
        }
        for name in ["shop.db-backup", "more/shop.db-wal", "other.db-wal"] {
            check_not_beside(&database, &path(name)).unwrap();
        }
    }
}
