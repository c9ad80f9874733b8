//! The databases' own programs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The path of one of PostgreSQL's programs.
pub(crate) fn tool(name: &str) -> PathBuf {
    bin_directory().join(name)
}

/// `ROWGATE_PG_BIN`, which scripts/test sets; else the newest of the usual places.
#[expect(clippy::disallowed_methods, reason = "scripts/test says where PostgreSQL is")]
fn bin_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("ROWGATE_PG_BIN") {
        return directory.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .into_iter()
        .chain(std::env::split_paths(&path))
        .find(|directory| directory.join("initdb").exists() && directory.join("postgres").exists())
        .expect("PostgreSQL is installed (scripts/test finds or installs it)")
}

/// The server of MariaDB or MySQL: `ROWGATE_MYSQLD`, which scripts/test sets; else MariaDB's.
#[expect(clippy::disallowed_methods, reason = "scripts/test says where the server is")]
pub(crate) fn mysqld() -> PathBuf {
    if let Some(program) = std::env::var_os("ROWGATE_MYSQLD") {
        return program.into();
    }
    in_path(&["mariadbd"])
}

/// The client of MariaDB or MySQL, of either server.
pub(crate) fn mysql_client() -> PathBuf {
    beside_the_server(&["mariadb", "mysql"])
}

/// The program that dumps a database of MariaDB or MySQL.
pub(crate) fn mysql_dump() -> PathBuf {
    beside_the_server(&["mariadb-dump", "mysqldump"])
}

/// The program that makes MariaDB's data directory.
pub(crate) fn mysql_install() -> PathBuf {
    beside_the_server(&["mariadb-install-db", "mysql_install_db"])
}

/// A program from the directory of the server or, as Debian has it, from another of the path.
fn beside_the_server(names: &[&str]) -> PathBuf {
    let server = mysqld();
    let directory = server.parent().unwrap_or(Path::new("/"));
    let found = names.iter().map(|name| directory.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| in_path(names))
}

/// The first of the programs that is in the path, or where servers are that it does not hold.
#[expect(clippy::disallowed_methods, reason = "the path of whoever runs the tests")]
fn in_path(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/libexec", "/usr/local/sbin"].map(PathBuf::from);
    let directories: Vec<_> = std::env::split_paths(&path).chain(usual).collect();
    let found = names.iter().find_map(|name| {
        directories.iter().map(|directory| directory.join(name)).find(|path| path.exists())
    });
    found.unwrap_or_else(|| panic!("{names:?}: none is installed (scripts/test installs MariaDB)"))
}

/// The path of whoever runs the tests, behind a directory.
#[expect(clippy::disallowed_methods, reason = "the path of whoever runs the tests")]
pub(crate) fn path_behind(directory: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(directory.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(directories).expect("the directory's name has no colon")
}

/// Debian's library of Galera, where it is installed.
pub(crate) fn galera_library() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/lib/galera/libgalera_smm.so");
    path.exists().then_some(path)
}
