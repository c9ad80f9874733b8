//! The commands of docs/HTTP.md, as a reader runs them: what they print is what the page shows, where `…` stands for anything.

use std::path::Path;
use std::process::Command;

use crate::harness::server::Server;

/// A block of commands, and what it prints.
struct Example {
    commands: String,
    output: Option<String>,
}

fn examples() -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/HTTP.md");
    let page = std::fs::read_to_string(path).expect("the page exists");
    page.split("```sh\n").skip(1).map(example).collect()
}

fn example(rest: &str) -> Example {
    let (commands, rest) = rest.split_once("```").expect("a block ends");
    let output =
        rest.trim_start().strip_prefix("```json\n").and_then(|rest| rest.split_once("```"));
    Example { commands: commands.to_owned(), output: output.map(|(text, _)| text.to_owned()) }
}

/// Returns true if a text is what a page shows of it.
fn is_shown(text: &str, shown: &str) -> bool {
    let mut rest = text;
    for (number, part) in shown.split('…').enumerate() {
        let Some(at) = rest.find(part).filter(|at| number > 0 || *at == 0) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || shown.ends_with('…')
}

#[test]
fn the_commands_of_the_page_print_what_it_shows() {
    let server = Server::start("[grpc.web]\nget = true");
    let examples = examples();
    assert!(examples.len() >= 6, "the page has examples");
    for Example { commands, output } in examples {
        let commands = commands.replace("127.0.0.1:50051", &server.grpc().to_string());
        let commands = commands.replace("curl ", "curl -sS --max-time 20 -w '\\n' ");
        let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &commands]).output();
        let ran = ran.expect("bash runs");
        assert!(ran.status.success(), "{commands}\n{ran:?}");
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        match output {
            Some(shown) => {
                let as_shown = is_shown(&printed, &shown);
                assert!(as_shown, "{commands}\nprints\n{printed}\nand not\n{shown}");
            }
            None => panic!("the page does not show what it prints:\n{commands}\n{printed}"),
        }
    }
}

#[test]
fn what_is_shown_is_compared() {
    for (text, shown, expected) in [
        ("abc", "abc", true),
        ("abc", "a…c", true),
        ("abcd", "a…c", false),
        ("abc", "b…", false),
        ("abc", "ab…", true),
        ("abc", "x", false),
    ] {
        assert_eq!(is_shown(text, shown), expected, "{text} {shown}");
    }
}
