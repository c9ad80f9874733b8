//! The commands that README.md shows: each is run as a reader would, in the order of the page. Then the
//! Python of README.md and of the pages that go on from it, as one program.
//!
//! Blocks marked `console` or `sh` are commands, with `$ ` before them or not; what follows a command in
//! a `console` block is its output and is not compared. A block that builds or serves is replaced by the
//! binary under test; a command whose program this machine has not got is left out, and said so.

use std::fs;
use std::process::Command;

use crate::harness::postgres::Postgres;
use crate::harness::server::{Server, binary, run};

/// Programs that a reader may not have.
const OPTIONAL: [&str; 5] = ["grpcurl", "docker", "psql", "pgbench", "curl"];

/// Commands of the README that come before there is a binary, or that do not end.
const NOT_RUN: [&str; 8] = [
    "git clone",
    "cd ",
    "cargo install",
    "cargo build",
    "scripts/",
    "docker ",
    "pip install",
    "rowgate pool watch",
];

/// Pages whose Python goes on from that of README.md, in the order in which it is run.
const PYTHON: [&str; 3] = ["README.md", "docs/ERRORS.md", "docs/TRANSACTIONS.md"];

fn page(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("there is the page")
}

fn readme() -> String {
    page("README.md")
}

/// The commands, continued lines joined, comments left out.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut block = None;
    let mut continued = String::new();
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        if let Some(language) = fence {
            block = block.is_none().then(|| language.trim().to_owned());
            continue;
        }
        let typed = match block.as_deref() {
            Some("console") if continued.is_empty() => line.strip_prefix("$ "),
            Some("sh" | "shell" | "bash") => Some(line.strip_prefix("$ ").unwrap_or(line)),
            Some("console") => Some(line),
            _ => None,
        };
        let Some(typed) = typed.map(str::trim).filter(|typed| !typed.starts_with('#')) else {
            continue;
        };
        match typed.strip_suffix('\\') {
            Some(first) => continued.push_str(first),
            None => commands.push(std::mem::take(&mut continued) + typed),
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// Tells whether a command starts a server: those are started by the test, on free ports.
fn serves(command: &str) -> bool {
    let command = command.split_once("rowgate serve").map_or(command, |_| "cargo run");
    command.contains("cargo run") && !command.contains(" -- ")
        || command.contains("cargo run") && command.contains("-- serve")
}

/// Returns a program that a line needs and this machine lacks, as far as words at the places of commands
/// tell, or a module of Python.
fn lacks(command: &str) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    if let Some(module) =
        command.strip_prefix("python3 -m ").and_then(|rest| rest.split([' ', '.']).next())
        && !succeeds(&format!("python3 -c 'import {module}'"))
    {
        return Some(format!("Python's {module}"));
    }
    let program = OPTIONAL
        .iter()
        .find(|program| words.contains(program) && !succeeds(&format!("command -v {program}")));
    program.map(|program| (*program).to_owned())
}

fn succeeds(command: &str) -> bool {
    Command::new("sh").args(["-c", command]).output().is_ok_and(|output| output.status.success())
}

/// A directory with `rowgate` in it, to stand first in PATH.
fn path_with_rowgate() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    std::os::unix::fs::symlink(binary(), directory.path().join("rowgate")).expect("it is ours");
    #[expect(clippy::disallowed_methods, reason = "the reader's PATH, with the binary before it")]
    let path = std::env::var("PATH").expect("there is a PATH");
    let path = format!("{}:{path}", directory.path().display());
    (directory, path)
}

#[test]
fn the_commands_of_the_readme_work() {
    let postgres = Postgres::start();
    let server = Server::start(&format!(
        "default_database = \"main\"\n[databases.main]\nurl = \"sqlite:readme.db\"\n\
         [databases.postgres]\nurl = \"{}\"\n",
        postgres.url()
    ));
    let (_directory, path) = path_with_rowgate();
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    std::os::unix::fs::symlink(proto, server.directory().join("proto")).expect("it is ours");
    let text = readme();
    let all = commands(&text);
    assert!(!all.is_empty(), "the README shows no command");
    for command in all {
        if serves(&command) || NOT_RUN.iter().any(|start| command.starts_with(start)) {
            continue;
        }
        if let Some(program) = lacks(&command) {
            eprintln!("left out, {program} is not installed: {command}");
            continue;
        }
        let out = shell(&here(&command, &server), &server, &path);
        eprintln!("`{command}`:\n{out}");
    }
    let modules = ["grpc_status", "rowgate.v1.database_pb2_grpc"];
    let lacking = modules.iter().find(|module| {
        let found =
            format!("cd '{}' && python3 -c 'import {module}'", server.directory().display());
        !succeeds(&found)
    });
    match lacking {
        Some(module) => eprintln!("left out, Python's {module} is missing: the pages' Python"),
        None => {
            let program = here(&PYTHON.map(|path| python(&page(path))).concat(), &server);
            fs::write(server.directory().join("pages.py"), program).expect("it is ours");
            let out = shell("python3 pages.py", &server, &path);
            eprintln!("the pages' Python:\n{out}");
            for shown in ["hello\n", "True\n", "[1, 1] 1\n", "TRANSACTION_STATE_APPLIED\n"] {
                assert!(out.contains(shown), "{shown:?} is not in {out:?}");
            }
        }
    }
}

/// Runs a command where the server runs; returns what it printed.
#[track_caller]
fn shell(command: &str, server: &Server, path: &str) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(server.directory())
        .env("PATH", path)
        .env("ROWGATE_ADDRESS", format!("http://{}", server.grpc()))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("bash runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`{command}`: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// The blocks marked `python`, one after the other.
fn python(text: &str) -> String {
    let blocks = text.split("\n```").filter_map(|block| block.strip_prefix("python\n"));
    blocks.map(|block| format!("{block}\n")).collect()
}

/// The command with this server's addresses in place of the default ones.
fn here(command: &str, server: &Server) -> String {
    let command = command.replace("cargo run --release -q -- ", "rowgate ");
    let grpc = server.grpc().to_string();
    let ops = server.ops().to_string();
    ["127.0.0.1:50051", "localhost:50051"]
        .iter()
        .fold(command, |command, default| command.replace(default, &grpc))
        .replace("127.0.0.1:9464", &ops)
        .replace("localhost:9464", &ops)
}

#[test]
fn the_first_commands_serve_and_test() {
    let all = commands(&readme());
    let [serve, test, ..] = &all[..] else { panic!("{all:?}") };
    assert!(serves(serve) && serve.starts_with("cargo run --release "), "{serve}");
    assert!(test.starts_with("scripts/test"), "{test}");
}

#[test]
fn without_anything_it_serves_sqlite_in_the_working_directory() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let shown = run(directory.path(), &["config", "show"], &[]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("sqlite:rowgate.db"), "{shown}");
    let server = Server::start("");
    assert!(server.greeting().iter().any(|line| line.contains("grpcurl")), "no line to paste");
    let told = server.greeting().join("\n");
    assert!(told.contains("not for production"), "{told}");
}

#[test]
fn commands_are_found_in_blocks() {
    let text = "a\n```console\n$ one \\\n  two\noutput\n$ three\n```\n```sh\n# remark\nfour\n```\n```toml\nfive\n```\n";
    assert_eq!(commands(text), ["one two", "three", "four"]);
    assert!(serves("cargo run --release") && serves("DATABASE_URL=x cargo run --release"));
    assert!(!serves("cargo run --release -q -- query 'select 1'"));
}
