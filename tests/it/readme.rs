//! The shell blocks of README.md and docs/COOKBOOK.md that need no other program than the server, run as a reader
//! would: in order, twice, on SQLite, on PostgreSQL and on MariaDB. `scripts/verify readme` runs all other blocks, too.
//! Those of docs/LIFECYCLE.md are run once on each, without a server.
//!
//! The first word of a block's info string is its language. Of the others `server` starts a server, which is done by
//! the test, and `manual` is not run; a block that names databases (`sqlite`, `postgres`, `mysql`) is run on those only.
//! A block of text directly after a block that is run is its output, where `…` stands for anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::programs::tool;
use crate::harness::server::{Server, binary, run};

const PAGES: [&str; 2] = ["README.md", "docs/COOKBOOK.md"];

/// Words by which a block is left to `scripts/verify readme`.
const FOREIGN: [&str; 8] =
    ["grpcurl", "curl", "python3", "build/venv", "npm", "node", "scripts/", "cp examples"];

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("the page exists")
}

/// A fenced block of a page.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    marks: Vec<String>,
    text: String,
    output: Option<String>,
}

impl Block {
    fn new(info: &str) -> Self {
        let mut words = info.split_whitespace().map(str::to_owned);
        let language = words.next().unwrap_or_default();
        Self { language, marks: words.collect(), text: String::new(), output: None }
    }

    fn is_marked(&self, mark: &str) -> bool {
        self.marks.iter().any(|found| found == mark)
    }

    /// Returns true if the block names the database, or none.
    fn is_for(&self, database: Database) -> bool {
        let named = |one: &Database| self.is_marked(one.mark());
        !Database::ALL.iter().any(named) || named(&database)
    }

    /// Returns true if this test runs it on the database.
    fn is_run_on(&self, database: Database) -> bool {
        self.language == "sh"
            && !self.is_marked("server")
            && !self.is_marked("manual")
            && self.is_for(database)
            && !FOREIGN.iter().any(|word| self.text.contains(word))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Database {
    Sqlite,
    Postgres,
    Mysql,
}

impl Database {
    const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Mysql];

    /// The word by which a block names it.
    fn mark(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// The blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    let mut directly = false;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some(Block::new(info)),
            (Some(_), Some(block)) if block.language == "text" && directly => {
                blocks.last_mut().expect("directly after a block").output = Some(block.text);
                directly = false;
            }
            (Some(_), Some(block)) => {
                blocks.push(block);
                directly = true;
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => directly &= line.trim().is_empty(),
        }
    }
    blocks
}

/// Returns true if the output is what a page shows, where `…` stands for anything.
fn shows(page: &str, output: &str) -> bool {
    let lines =
        |text: &str| text.trim().lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    let page: String = lines(page);
    let output: String = lines(output);
    let Some((first, rest)) = page.split_once('…') else {
        return page == output;
    };
    let Some(mut left) = output.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<_> = rest.split('…').collect();
    for part in &parts[..parts.len() - 1] {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(parts[parts.len() - 1])
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

/// Runs the blocks of the pages twice.
fn follow(database: Database, url: &str) {
    let server = Server::start_with("", &[("DATABASE_URL", url)]);
    let (_directory, path) = path_with_rowgate();
    let pages = PAGES.map(page);
    for round in [1, 2] {
        let all = pages.iter().flat_map(|page| blocks(page));
        for block in all.filter(|block| block.is_run_on(database)) {
            let out = shell(&block.text, &server, url, &path);
            let shown = block.output.as_deref();
            assert!(
                shown.is_none_or(|shown| shows(shown, &out)),
                "round {round}, {}the page shows {shown:?}, the output is\n{out}",
                block.text
            );
        }
    }
}

#[test]
fn the_pages_shell_blocks_work_twice_on_sqlite() {
    follow(Database::Sqlite, "sqlite:rowgate.db");
}

#[test]
fn the_pages_shell_blocks_work_twice_on_postgres() {
    let postgres = Postgres::start();
    follow(Database::Postgres, &postgres.url());
}

#[test]
fn the_pages_shell_blocks_work_twice_on_mariadb() {
    let mariadb = Mariadb::start();
    follow(Database::Mysql, &mariadb.url());
}

/// Runs the blocks of the page about the life of a database, in an empty directory, without a server.
fn live(url: &str) {
    let all = blocks(&page("docs/LIFECYCLE.md"));
    let all: Vec<_> = all.iter().filter(|block| block.language == "sh").collect();
    assert!(all.len() >= 4, "{all:?}");
    let directory = tempfile::tempdir().expect("a directory can be made");
    fs::write(directory.path().join("owner-url"), url).expect("it is ours");
    let (_directory, path) = path_with_rowgate();
    let tools = tool("pg_dump");
    let path = format!("{path}:{}", tools.parent().expect("a directory").display());
    for block in all {
        let mut command = shell_command(&block.text, directory.path(), url, &path);
        let output = command.output().expect("bash runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{}{said}", block.text);
    }
    let schema = fs::read_to_string(directory.path().join("schema.sql")).expect("it was written");
    assert!(schema.to_lowercase().contains("orders"), "{schema}");
}

#[test]
fn the_life_of_a_database_is_as_its_page_says_on_sqlite() {
    live("sqlite:main.db");
}

#[test]
fn the_life_of_a_database_is_as_its_page_says_on_postgres() {
    live(&Postgres::start().url());
}

#[test]
fn the_life_of_a_database_is_as_its_page_says_on_mariadb() {
    live(&Mariadb::start().url());
}

#[test]
fn the_recipe_for_settings_works_with_the_configuration_that_it_shows() {
    let postgres = Postgres::start();
    let all = blocks(&page("docs/COOKBOOK.md"));
    let recipe: Vec<_> = all.iter().filter(|block| block.is_marked("recipe")).collect();
    let [config, commands @ ..] = &recipe[..] else { panic!("{recipe:?}") };
    assert_eq!((config.language.as_str(), commands.len()), ("toml", 2), "{recipe:?}");
    let server = Server::start(&format!("{}url = '{}'\n", config.text, postgres.url()));
    let (_directory, path) = path_with_rowgate();
    for block in commands.iter().chain(commands) {
        let out = shell(&block.text, &server, "", &path);
        let shown = block.output.as_deref().expect("its output is shown");
        assert!(shows(shown, &out), "{}the page shows {shown}, the output is\n{out}", block.text);
    }
}

/// Runs a block in the server's directory; returns its output.
#[track_caller]
fn shell(block: &str, server: &Server, url: &str, path: &str) -> String {
    let command = block.replace("cargo run --release -q -- ", "rowgate ");
    let output = shell_command(&command, server.directory(), url, path)
        .env("ROWGATE_ADDRESS", format!("http://{}", server.grpc()))
        .output()
        .expect("bash runs");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}`: {}\n{out}{err}", output.status);
    out.into_owned()
}

fn shell_command(block: &str, directory: &Path, url: &str, path: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", block]).current_dir(directory);
    command.env("PATH", path).env("DATABASE_URL", url).stdin(std::process::Stdio::null());
    command
}

#[test]
fn the_first_commands_serve_and_test() {
    let all = blocks(&page("README.md"));
    let first = |start: &str| all.iter().position(|block| block.text.starts_with(start));
    let serve = first("cargo run --release ").expect("a block that serves");
    assert!(all[serve].is_marked("server"), "{:?}", all[serve]);
    assert_eq!(first("scripts/test "), Some(serve + 1));
}

#[test]
fn the_package_for_node_has_the_service_config_and_each_example_its_balancing() {
    let dense = |text: String| text.split_whitespace().collect::<String>();
    let config = dense(page("examples/service-config.json"));
    let node = dense(page("clients/node/src/transport/grpc.ts"));
    assert!(node.contains(&config), "clients/node differs from examples/service-config.json");
    assert!(config.contains("round_robin"), "examples/service-config.json");
    for client in [
        "go/rowgate.go",
        "java/src/io/rowgate/example/Rowgate.java",
        "cpp/rowgate.h",
        "ruby/rowgate_client.rb",
    ] {
        let text = page(&format!("examples/{client}"));
        assert!(text.contains("round_robin"), "{client} uses one address only");
    }
}

#[test]
fn without_anything_it_serves_sqlite_in_the_working_directory() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let shown = run(directory.path(), &["config", "show"], &[]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("sqlite:rowgate.db"), "{shown}");
    let server = Server::start("");
    assert!(server.greeting().iter().any(|line| line.contains("grpcurl")), "no line to paste");
    let reported = server.greeting().join("\n");
    assert!(reported.contains("not for production"), "{reported}");
}

#[test]
fn blocks_are_found_with_their_marks_and_output() {
    let text = "a\n```sh server\nserve\n```\n```sh postgres mysql\none\ntwo\n```\n\n```text\nthree\n```\nb\n```text\nfour\n```\n";
    let found = blocks(text);
    let [server, run, text] = &found[..] else { panic!("{found:?}") };
    assert!(server.is_marked("server") && !server.is_run_on(Database::Sqlite));
    assert_eq!((run.text.as_str(), run.output.as_deref()), ("one\ntwo\n", Some("three\n")));
    assert!(run.is_run_on(Database::Postgres) && run.is_run_on(Database::Mysql));
    assert!(!run.is_run_on(Database::Sqlite));
    assert_eq!(text.text, "four\n");
}

#[test]
fn output_is_compared_with_its_gaps() {
    assert!(shows("a  \nb\n", "a\nb"));
    assert!(shows("a … c\n… d", "a b c\nx\ny d"));
    assert!(!shows("a … c", "a b d") && !shows("a", "a\nb") && !shows("… b", "a"));
}
