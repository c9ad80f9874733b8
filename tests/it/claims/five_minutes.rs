//! The five minutes of docs/COOKBOOK.md, as a reader goes through them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::postgres::Postgres;
use crate::harness::server::{Server, binary};

/// The blocks of a language in the section, without their indentation.
fn blocks(language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/COOKBOOK.md");
    let page = fs::read_to_string(path).expect("the page exists");
    let part = page.split("## Row-level security in five minutes").nth(1);
    let part = part.expect("the heading is there").split("\n## ").next().unwrap_or_default();
    let fence = format!("```{language}\n");
    let blocks = part.split(&fence).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    blocks
        .map(|block| block.lines().map(|line| line.trim_start().to_owned() + "\n").collect())
        .collect()
}

/// Runs commands in a directory; returns their standard output.
fn shell(directory: &Path, commands: &str) -> String {
    let program = format!("rowgate() {{ '{}' \"$@\"; }}\n{commands}", binary().display());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &program]).current_dir(directory);
    let output = bash.output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn the_five_minutes_end_with_two_callers_who_see_their_own_rows() {
    let postgres = Postgres::start();
    postgres.psql("create role shop login password 'shop'");
    let place = tempfile::tempdir().expect("there is room");
    let [configuration] = blocks("toml").try_into().expect("one configuration");
    let [users] = blocks("toml manual").try_into().expect("one excerpt of another");
    let [key, calls] = blocks("sh manual").try_into().expect("two blocks of commands");
    let [policy] = blocks("sql").try_into().expect("one block of SQL");
    let written = "postgres://shop:secret@127.0.0.1/shop";
    assert!(configuration.contains(written));
    let configuration = configuration.replace(written, &postgres.url_as("shop", "shop"));
    fs::write(place.path().join("rowgate.toml"), &configuration).expect("there is room");
    let both = place.path().join("both.toml");
    fs::write(&both, format!("{configuration}\n{users}")).expect("there is room");
    fs::write(place.path().join("claims.key"), "k".repeat(64)).expect("there is room");
    let shown = shell(place.path(), "rowgate config show --config both.toml 2>&1");
    assert!(shown.contains("callers.users.subjects") && !shown.contains("warning"), "{shown}");
    fs::remove_file(place.path().join("claims.key")).expect("it is ours");
    let written = "postgres://postgres@127.0.0.1/shop";
    assert!(key.contains(written));
    let installed = shell(place.path(), &key.replace(written, &postgres.url()));
    assert!(installed.contains("1 key accepted"), "{installed}");
    postgres.psql(&policy);
    let (tokens, calls) = calls.split_once("rowgate serve\n").expect("it is served");
    shell(place.path(), tokens);
    // The server of a test has a directory of its own.
    let here = |name: &str| format!("\"{}\"", place.path().join(name).display());
    let configuration = ["tokens", "claims.key"]
        .iter()
        .fold(configuration, |text, name| text.replace(&format!("\"{name}\""), &here(name)));
    let server = Server::start(&configuration);
    let address = format!("rowgate query --address http://{}", server.grpc());
    let seen: Vec<_> = calls
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| shell(place.path(), &line.replace("rowgate query", &address)))
        .collect();
    let [acme, beta] = seen.try_into().expect("two calls");
    assert!(acme.contains("anvil") && !acme.contains("bolt"), "{acme}");
    assert!(beta.contains("bolt") && !beta.contains("anvil"), "{beta}");
}
