//! The ten minutes of docs/SECURITY.md, as a reader goes through them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::server::{Server, binary};

/// The fenced blocks of a language between two headings, without their indentation.
fn blocks(language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SECURITY.md");
    let page = fs::read_to_string(path).expect("the page exists");
    let part = page.split("## Ten minutes").nth(1).expect("the heading is there");
    let part = part.split("\n## ").next().expect("the next heading is there");
    let fence = format!("```{language}\n");
    let blocks = part.split(&fence).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    blocks
        .map(|block| block.lines().map(|line| line.trim_start().to_owned() + "\n").collect())
        .collect()
}

/// Runs a command in a directory; returns its standard output, and its errors if it fails.
fn shell(directory: &Path, command: &str) -> Result<String, String> {
    let program = format!("rowgate() {{ '{}' \"$@\"; }}\n{command}", binary().display());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &program]).current_dir(directory);
    let output = bash.output().expect("bash runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn the_ten_minutes_end_with_two_callers_of_different_rights() {
    let place = tempfile::tempdir().expect("there is room");
    let [certificate, tokens, calls] = blocks("sh").try_into().expect("three blocks of commands");
    let [configuration] = blocks("toml").try_into().expect("one configuration");
    fs::write(place.path().join("rowgate.toml"), &configuration).expect("there is room");
    shell(place.path(), &certificate).expect("openssl makes a certificate");
    shell(place.path(), &tokens).expect("the tokens are made");
    for name in ["tokens", "shop.token", "report.token"] {
        let mode = fs::metadata(place.path().join(name)).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} can be read by others: {mode:o}");
    }
    let checked = shell(place.path(), "rowgate config check --no-connect");
    checked.expect("the configuration is right, beyond loopback too");
    // The server of a test has a directory of its own.
    let here = |name: &str| format!("\"{}\"", place.path().join(name).display());
    let configuration = ["server.crt", "server.key", "tokens"]
        .iter()
        .fold(configuration, |text, name| text.replace(&format!("\"{name}\""), &here(name)));
    let server = Server::start(&configuration);
    let address = format!("localhost:{}", server.grpc().port());
    let lines: Vec<_> = calls.lines().filter(|line| line.starts_with("rowgate query")).collect();
    let [create, count, delete] = lines.try_into().expect("three calls");
    let call = |line: &str| shell(place.path(), &line.replace("localhost:50051", &address));
    call(create).expect("shop may write");
    assert!(call(count).expect("report may read").contains('0'));
    let refused = call(delete).expect_err("report may not write");
    assert!(refused.contains("this caller may only read"), "{refused}");
    assert!(refused.contains("--read-only"), "{refused}");
    // Nobody else gets in.
    let nobody =
        call(&count.replace("--token-file report.token", "")).expect_err("without a token");
    assert!(nobody.contains("not authenticated") && nobody.contains("--token-file"), "{nobody}");
    let stranger =
        call(&count.replace("--ca server.crt", "")).expect_err("with an unknown authority");
    assert!(stranger.to_lowercase().contains("certificate"), "{stranger}");
}
