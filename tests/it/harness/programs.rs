//! PostgreSQL's own programs.

use std::fs;
use std::path::PathBuf;

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
