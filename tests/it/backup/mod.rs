//! `rowgate backup` and `rowgate restore`: copies of databases in use, interruptions, and passwords that nobody sees.

mod mariadb;
mod mariadb_contents;
mod postgres;
mod restorations;
mod sqlite;

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use crate::harness::programs::path_behind;
use crate::harness::server::{rowgate, run};

/// Runs the command on the database of a URL, and expects success; returns what it said.
#[track_caller]
fn succeed(directory: &Path, arguments: &[&str], url: &str) -> String {
    let output = run_on(directory, arguments, url);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    said
}

/// Runs the command, and expects failure; returns what it said.
#[track_caller]
fn fail(directory: &Path, arguments: &[&str], url: &str) -> String {
    let output = run_on(directory, arguments, url);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    said
}

fn run_on(directory: &Path, arguments: &[&str], url: &str) -> Output {
    run_with(directory, arguments, url, &[])
}

/// The same with more of the environment.
fn run_with(directory: &Path, arguments: &[&str], url: &str, more: &[(&str, &str)]) -> Output {
    let path = path_behind(directory).into_string().expect("text");
    run(directory, arguments, &[&[("DATABASE_URL", url), ("PATH", &path)], more].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Starts a backup that runs while the test looks.
fn started(directory: &Path, file: &str, url: &str) -> Child {
    let mut command = rowgate(directory);
    command.args(["backup", "main", file]).env("DATABASE_URL", url).env("TMPDIR", directory);
    command.env("ROWGATE__DATABASES__MAIN__LOCK_TIMEOUT", "10m");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary was built")
}

/// The names in a directory that begin so.
fn names(directory: &Path, start: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let names = entries.map(|entry| entry.expect("it is read").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}
