//! The files of a directory of migrations, and new ones.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::finding::Finding;
use super::migration_names::{FileRole, role_of, title};
use crate::error::{Error, ErrorKind, Result};

/// A file of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MigrationFile {
    pub(crate) version: i64,
    /// `V1__create_orders.sql`
    pub(crate) name: String,
    /// Its text as it runs, without a byte order mark.
    pub(crate) text: String,
}

impl MigrationFile {
    /// The SHA-256 of the text, each line ended by a line feed alone, in hex.
    pub(crate) fn checksum(&self) -> String {
        let digest = Sha256::digest(normalized(&self.text));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The files of a directory.
#[derive(Debug, Default)]
pub(crate) struct MigrationFiles {
    /// Those that can be used, in the order of their versions.
    pub(crate) files: Vec<MigrationFile>,
    /// The others that look like migrations.
    pub(crate) findings: Vec<Finding>,
}

impl MigrationFiles {
    /// Reads a directory. Blocks.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let cannot = |error: io::Error| {
            let message =
                format!("cannot read {}, the directory of migrations", directory.display());
            Error::new(ErrorKind::FailedPrecondition, message).with_cause(error).with_hint(
                "Name another with --dir or databases.NAME.migrations; `rowgate migrate new NAME` makes the first file.",
            )
        };
        let mut read = Self::default();
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(cannot)? {
            names.push(entry.map_err(cannot)?.file_name());
        }
        names.sort();
        for name in names {
            let shown = name.to_string_lossy().into_owned();
            if role_of(&shown, "") == FileRole::Other {
                continue;
            }
            match content_of(&directory.join(&name)) {
                Ok(_content) if name.to_str().is_none() => {
                    let instead = "Rename it to V<number>__<name>.sql.";
                    let why = "the name of the file is not UTF-8";
                    read.findings.push(Finding::new(shown, why, instead));
                }
                Ok(content) => read.add(shown, &content),
                Err((why, instead)) => read.findings.push(Finding::new(shown, why, instead)),
            }
        }
        read.files.sort_by_key(|file| file.version);
        read.find_twins();
        Ok(read)
    }

    /// Adds a file that looks like a migration.
    fn add(&mut self, name: String, content: &[u8]) {
        let text = std::str::from_utf8(content).unwrap_or_default();
        match role_of(&name, text) {
            FileRole::Migration { version } => match unreadable(content) {
                None => {
                    let text = text.trim_start_matches('\u{feff}').to_owned();
                    self.files.push(MigrationFile { version, name, text });
                }
                Some((line, why)) => {
                    let instead = "Write it as UTF-8.";
                    self.findings.push(Finding::new(format!("{name}:{line}"), why, instead));
                }
            },
            FileRole::Foreign(finding) => self.findings.push(finding),
            FileRole::Other => {}
        }
    }

    /// Finds files of one version.
    fn find_twins(&mut self) {
        for pair in self.files.windows(2) {
            if let [first, second] = pair
                && first.version == second.version
            {
                let why = format!("{} has the same version, {}", first.name, second.version);
                let instead = "Give the newer one the next number that is free.";
                self.findings.push(Finding::new(&second.name, why, instead));
            }
        }
    }

    /// Tells the numbers that are missing between two versions. Versions made of a time have gaps by their nature.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let gap = |pair: &[MigrationFile]| {
            let [before, after] = pair else { return None };
            let [first, last] = [before.version + 1, after.version - 1];
            let missing = match last - first {
                0 => format!("V{first} is"),
                1.. => format!("V{first} to V{last} are"),
                _ => return None,
            };
            let text = format!("{missing} missing between {} and {}", before.name, after.name);
            (after.version < SMALL).then_some(text)
        };
        self.files.windows(2).filter_map(gap).collect()
    }
}

/// The versions that are numbered one by one.
const SMALL: i64 = 100_000;

/// The line and the reason for which a file is no text.
fn unreadable(content: &[u8]) -> Option<(usize, &'static str)> {
    let line = |end: usize| content[..end].split(|byte| *byte == b'\n').count();
    if let Err(error) = std::str::from_utf8(content) {
        return Some((line(error.valid_up_to()), "this is not UTF-8"));
    }
    let nul = content.iter().position(|byte| *byte == 0);
    nul.map(|at| (line(at), "there is a NUL character"))
}

/// The content of a file; fails with the reason and the remedy. Left out, a file would look as if there were none.
fn content_of(path: &Path) -> Result<Vec<u8>, (String, &'static str)> {
    let unreadable = |error: io::Error| {
        let instead = "Make it readable, or move it away.";
        (format!("it cannot be read: {error}"), instead)
    };
    let metadata = fs::metadata(path).map_err(|error| {
        let is_link = path.is_symlink() && error.kind() == io::ErrorKind::NotFound;
        if is_link {
            let why = "it is a symbolic link to a file that is not there".to_owned();
            (why, "Put the file there, or remove the link.")
        } else {
            unreadable(error)
        }
    })?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a directory" } else { "a pipe, socket or device" };
        return Err((format!("it is no file but {kind}"), "Put a file there, or move it away."));
    }
    fs::read(path).map_err(unreadable)
}

/// A text without what editors and version control change by themselves: the ends of lines.
pub(crate) fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// Makes the next file, and the directory if there is none; returns its path. Blocks.
///
/// # Errors
/// Files that look like migrations have no number, or the file cannot be written.
pub(crate) fn new_file(directory: &Path, name: &str) -> Result<PathBuf> {
    let cannot = |error: io::Error| {
        let message = format!("cannot make a file in {}", directory.display());
        Error::new(ErrorKind::FailedPrecondition, message).with_cause(error)
    };
    fs::create_dir_all(directory).map_err(cannot)?;
    let MigrationFiles { files, findings } = MigrationFiles::read(directory)?;
    if let Some(finding) = findings.first() {
        let message = format!("the next number is not known: {}: {}", finding.place, finding.why);
        return Err(
            Error::new(ErrorKind::FailedPrecondition, message).with_hint(finding.instead.clone())
        );
    }
    let last = files.last().map_or(0, |file| file.version);
    let Some(version) = last.checked_add(1) else {
        let message = format!("there is no number behind {last}");
        return Err(Error::new(ErrorKind::FailedPrecondition, message)
            .with_hint("Give the last file a smaller number, if it has run nowhere."));
    };
    let path = directory.join(format!("V{version}__{}.sql", title(&name.to_ascii_lowercase())));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(cannot)?;
    writeln!(file, "-- {}", name.split_whitespace().collect::<Vec<_>>().join(" "))
        .map_err(cannot)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn names(files: &MigrationFiles) -> Vec<&str> {
        files.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn files_are_in_the_order_of_their_numbers_and_others_do_not_matter() {
        let files = [
            ("V10__c.sql", ""),
            ("V2__b.sql", ""),
            ("V01__a.sql", ""),
            ("README.md", "no SQL"),
            ("seed.sql", "\u{0}"),
        ];
        let directory = directory(&files);
        fs::create_dir(directory.path().join("old")).unwrap();
        let read = MigrationFiles::read(directory.path()).unwrap();
        assert_eq!(names(&read), ["V01__a.sql", "V2__b.sql", "V10__c.sql"]);
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        assert_eq!(read.gaps(), ["V3 to V9 are missing between V2__b.sql and V10__c.sql"]);
    }

    #[test]
    fn the_ends_of_lines_do_not_count() {
        let one = directory(&[("V1__a.sql", "\u{feff}create table t (a int);\r\n\r\n")]);
        let other = directory(&[("V1__a.sql", "create table t (a int);\n\n")]);
        let read = |directory: &tempfile::TempDir| {
            MigrationFiles::read(directory.path()).unwrap().files.remove(0)
        };
        assert_eq!(read(&one).checksum(), read(&other).checksum());
        assert_eq!(read(&one).text, "create table t (a int);\r\n\r\n", "strings may hold them");
        // printf 'a' | sha256sum
        let a = MigrationFile { version: 1, name: String::new(), text: "a".to_owned() };
        assert!(a.checksum().starts_with("ca978112ca1bbdcafac231b39a23dc4d"), "{}", a.checksum());
    }

    #[test]
    fn two_files_of_one_version_and_no_text_are_found() {
        let directory =
            directory(&[("V1__a.sql", ""), ("V01__b.sql", ""), ("V2__c.sql", "a\n\u{0}")]);
        let read = MigrationFiles::read(directory.path()).unwrap();
        let found: Vec<_> = read.findings.iter().map(ToString::to_string).collect();
        assert!(found[0].starts_with("V2__c.sql:2: there is a NUL"), "{found:?}");
        assert!(found[1].starts_with("V1__a.sql: V01__b.sql has the same version, 1"), "{found:?}");
    }

    #[test]
    fn a_new_file_has_the_next_number() {
        let directory = directory(&[("V9__a.sql", "")]);
        let path = new_file(directory.path(), "Add Orders").unwrap();
        assert_eq!(path.file_name().unwrap(), "V10__add_orders.sql");
        assert_eq!(fs::read_to_string(path).unwrap(), "-- Add Orders\n");
        fs::write(directory.path().join("000011_x.up.sql"), "").unwrap();
        assert!(
            new_file(directory.path(), "b").unwrap_err().hint().unwrap().contains("V11__x.sql")
        );
        fs::remove_file(directory.path().join("000011_x.up.sql")).unwrap();
        fs::write(directory.path().join("V9223372036854775807__z.sql"), "").unwrap();
        let error = new_file(directory.path(), "b").unwrap_err();
        assert!(error.message().contains("no number behind"), "{error}");
        let path = new_file(&directory.path().join("new"), "a").unwrap();
        assert!(path.ends_with("new/V1__a.sql"), "{}", path.display());
    }
}
