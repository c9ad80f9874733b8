//! The rules of the architecture and of the style that a program can check. Each rule is a function
//! from a source to what is wrong with it, so that the rules themselves are tested on bad snippets.

mod documents;
mod imports;
mod language;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// The modules in rows, from the top: one may use those of the rows below its own.
const ROWS: &[&[&str]] = &[
    &["main"],
    &["fuzzing"],
    &["cli"],
    &["app"],
    &["grpc", "ops"],
    &["engine", "migrations", "schema_dump"],
    &["backend"],
    &["pool", "resilience", "sql", "access"],
    &["telemetry", "last_read"],
    &["error", "deadline", "wire_size"],
    &["value", "config", "clock", "printable", "planted_bug"],
];

/// A path of code, and where alone it may stand: in these modules and the modules inside them.
const FENCES: &[(&[&str], &[&str])] = &[
    (&["tonic", "tonic_health", "tonic_prost", "tonic_reflection"], &["grpc", "value"]),
    // OTLP over gRPC is sent by its client.
    (&["tonic_types"], &["grpc", "value", "telemetry"]),
    (&["tokio_postgres", "tokio_postgres_rustls", "postgres_protocol"], &["backend/postgres"]),
    (&["deadpool"], &["pool", "backend/postgres"]),
    (&["deadpool_postgres"], &["backend/postgres"]),
    (&["rusqlite"], &["backend/sqlite"]),
    // What backends share, such as `backend/network`, knows none of them, and none knows another.
    (&["backend::postgres"], &["backend/postgres", "app", "fuzzing"]),
    (&["backend::sqlite"], &["backend/sqlite", "app"]),
    (&["backend::mysql"], &["backend/mysql", "app", "fuzzing"]),
    (&["mysql_common"], &["backend/mysql"]),
    (&["sqlparser"], &["sql"]),
    (&["axum"], &["ops"]),
    // The keys of JSON Web Tokens are fetched by its client.
    (&["hyper_util"], &["grpc", "ops", "app/jwks_fetch.rs"]),
    // OTLP over HTTP is sent by its client.
    (&["hyper"], &["grpc", "ops", "telemetry", "app/jwks_fetch.rs"]),
    (&["hyper_rustls"], &["telemetry", "app/jwks_fetch.rs"]),
    (&["h2"], &["grpc"]),
    (&["clap"], &["cli", "main.rs"]),
    (
        &[
            "opentelemetry",
            "opentelemetry_http",
            "opentelemetry_otlp",
            "opentelemetry_prometheus",
            "opentelemetry_sdk",
            "opentelemetry_semantic_conventions",
            "tracing_opentelemetry",
            "prometheus",
        ],
        &["telemetry"],
    ),
    (
        &["std::env", "env::var", "env::vars", "env::var_os"],
        &["config/source.rs", "cli", "planted_bug.rs"],
    ),
    (
        &["std::fs", "tokio::fs", "fs::read", "File::open"],
        &[
            "config/source.rs",
            "cli",
            "backend/sqlite/file.rs",
            "migrations/migration_files.rs",
            "access/token_file.rs",
            "app/jwks_watch.rs",
            "app/backup",
            "app/listener.rs",
            "app/safety.rs",
            "app/token_watch.rs",
        ],
    ),
    (&["tokio::signal", "signal::unix", "signal::ctrl_c"], &["app"]),
];

/// Lines of a function, from its name to its closing brace.
const FUNCTION_LINES: usize = 60;

/// Lines of a file before its tests.
const FILE_LINES: usize = 400;

/// The violations of a rule, each with its place.
type Wrong = Vec<String>;

/// A rule: it returns the violations in one file.
type Rule = fn(&Source) -> Wrong;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a directory with one of these endings.
fn files(directory: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten();
        for path in entries.map(|entry| entry.expect("the tree can be read").path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                found.push(read(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn read(path: &PathBuf) -> Source {
    let inside = path.strip_prefix(root()).expect("it is below").to_string_lossy().into_owned();
    Source::new(inside, fs::read_to_string(path).expect("it is text"))
}

#[track_caller]
fn check(sources: &[Source], rule: Rule) {
    assert!(!sources.is_empty(), "nothing to check");
    let wrong: Wrong = sources.iter().flat_map(rule).collect();
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn looks_up_or_sideways(source: &Source) -> Wrong {
    let own = source.module().split('/').next().unwrap_or_default();
    if own == "lib" {
        return Vec::new();
    }
    let Some(own_row) = row(own) else {
        return vec![format!("{}: `{own}` has no row", source.path)];
    };
    let mut wrong = Vec::new();
    for (used, line) in source.uses() {
        // Macros and re-exports at the top of the crate are not modules.
        if let Some(used_row) = row(&used).filter(|used_row| used != own && *used_row <= own_row) {
            let way = if used_row == own_row { "its neighbour" } else { "above it" };
            wrong.push(format!("{}:{line}: {own} uses {used}, {way}", source.path));
        }
    }
    wrong
}

#[test]
fn modules_use_only_the_rows_below() {
    check(&files("src", &[".rs"]), looks_up_or_sideways);
}

#[test]
fn no_imports_inside_a_module_form_a_circle() {
    let circles = imports::circles(&files("src", &[".rs"]));
    let circles: Vec<_> = circles.iter().map(|circle| circle.join(" ")).collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn comments_open_with_a_noun_or_a_verb() {
    check(&everything(), language::opens_with_a_riddle);
    check(&files("proto", &[".proto"]), language::opens_with_a_riddle);
}

#[test]
fn a_name_stands_for_one_thing() {
    let sources = files("src", &[".rs"]);
    let mut clashes = language::files_of_one_name(&sources);
    clashes.extend(language::types_of_one_name(&sources));
    assert!(clashes.is_empty(), "{} names:\n{}", clashes.len(), clashes.join("\n"));
}

#[test]
fn a_statement_binds_one_thing() {
    check(&files("src", &[".rs"]), language::binds_two_at_once);
}

fn climbs_a_fence(source: &Source) -> Wrong {
    let inside = source.path.strip_prefix("src/").unwrap_or(&source.path);
    let allowed = |places: &[&str]| {
        places.iter().any(|place| inside == *place || inside.starts_with(&format!("{place}/")))
    };
    let mut wrong = Vec::new();
    for (paths, places) in FENCES.iter().filter(|(_, places)| !allowed(places)) {
        for path in *paths {
            for line in source.mentions(path) {
                wrong.push(format!("{}:{line}: {path} belongs in {places:?}", source.path));
            }
        }
    }
    wrong
}

#[test]
fn each_library_stays_behind_its_fence() {
    check(&files("src", &[".rs"]), climbs_a_fence);
}

fn keeps_state_in_a_static(source: &Source) -> Wrong {
    const MUTABLE: [&str; 8] =
        ["mut ", "Mutex", "RwLock", "Atomic", "OnceLock", "OnceCell", "RefCell", "Cell<"];
    let lines = source.code.lines().enumerate();
    let statics = lines.filter(|(_, line)| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.starts_with("static ") && MUTABLE.iter().any(|kind| line.contains(kind))
    });
    statics
        .map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim()))
        .collect()
}

#[test]
fn no_static_holds_state() {
    check(&files("src", &[".rs"]), keeps_state_in_a_static);
}

fn has_a_long_function(source: &Source) -> Wrong {
    let long = source.functions().into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES);
    long.map(|(name, line, lines)| format!("{}:{line}: {name} has {lines} lines", source.path))
        .collect()
}

#[test]
fn functions_are_short() {
    check(&everything(), has_a_long_function);
}

fn is_long(source: &Source) -> Wrong {
    let lines = source.lines();
    let long = (lines > FILE_LINES).then(|| format!("{}: {lines} lines", source.path));
    long.into_iter().collect()
}

#[test]
fn files_are_short() {
    check(&everything(), is_long);
}

fn everything() -> Vec<Source> {
    ["src", "tests", "benches"].iter().flat_map(|directory| files(directory, &[".rs"])).collect()
}

fn says_not_what_it_is_for(source: &Source) -> Wrong {
    let silent = !source.text.starts_with("//! ");
    silent.then(|| format!("{}: no `//!` at the top", source.path)).into_iter().collect()
}

#[test]
fn each_file_says_what_it_is_for() {
    check(&everything(), says_not_what_it_is_for);
}

fn silences_a_lint(source: &Source) -> Wrong {
    let lines = blanked(source);
    let silent = lines.filter(|(_, line)| line.contains("#[allow") || line.contains("#![allow"));
    silent.map(|(number, _)| format!("{}:{}", source.path, number + 1)).collect()
}

/// All lines of code, those of the tests too.
fn blanked(source: &Source) -> impl Iterator<Item = (usize, String)> {
    let whole = Source::new("whole", source.text.replace("#[cfg(test)]", "            "));
    whole.code.lines().map(str::to_owned).enumerate().collect::<Vec<_>>().into_iter()
}

#[test]
fn lints_are_expected_and_never_allowed() {
    check(&everything(), silences_a_lint);
}

fn leaves_work_undone(source: &Source) -> Wrong {
    // In two halves, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["un", "implemented!"].concat()];
    let lines = source.text.lines().enumerate();
    let undone = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
    undone
        .map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim()))
        .collect()
}

#[test]
fn nothing_is_left_for_later() {
    let mut all = everything();
    all.extend(files("proto", &[".proto"]));
    all.extend(files("scripts", &[""]));
    all.extend(files("docs", &[".md"]));
    check(&all, leaves_work_undone);
}

fn stands_beside_its_folder(source: &Source) -> Wrong {
    let folder = root().join(source.path.trim_end_matches(".rs"));
    let both = folder.is_dir();
    both.then(|| format!("{}: belongs in {}/mod.rs", source.path, folder.display()))
        .into_iter()
        .collect()
}

#[test]
fn a_folder_has_its_mod_rs_inside() {
    check(&everything(), stands_beside_its_folder);
}

fn returns_nothing_for_ever(source: &Source) -> Wrong {
    let empty = source.text.contains("google.protobuf.Empty");
    empty
        .then(|| format!("{}: google.protobuf.Empty cannot grow", source.path))
        .into_iter()
        .collect()
}

#[test]
fn every_answer_can_grow() {
    check(&files("proto", &[".proto"]), returns_nothing_for_ever);
}

#[test]
fn each_rule_finds_what_it_forbids() {
    let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(60));
    let cases: [(Rule, &str, &str, &str); 18] = [
        (looks_up_or_sideways, "src/pool/mod.rs", "use crate::engine::Engine;", "above"),
        (
            looks_up_or_sideways,
            "src/pool/mod.rs",
            "use crate::{error, sql::Analysis};",
            "neighbour",
        ),
        (looks_up_or_sideways, "src/helpers/mod.rs", "", "no row"),
        (climbs_a_fence, "src/engine/query.rs", "fn f() -> tonic::Status {}", "tonic"),
        (climbs_a_fence, "src/backend/mod.rs", "use tokio_postgres::Client;", "backend/postgres"),
        (climbs_a_fence, "src/engine/mod.rs", "use std::env;", "config/source.rs"),
        (
            climbs_a_fence,
            "src/backend/network/login.rs",
            "use crate::backend::postgres::Postgres;",
            "backend/postgres",
        ),
        (climbs_a_fence, "src/config/load.rs", "let x = fs::read(path);", "cli"),
        (climbs_a_fence, "src/ops/mod.rs", "tokio::signal::ctrl_c()", "app"),
        (keeps_state_in_a_static, "src/app/mod.rs", "static COUNT: AtomicU64 = x;", "COUNT"),
        (keeps_state_in_a_static, "src/app/mod.rs", "pub static mut X: u8 = 0;", "X"),
        (has_a_long_function, "src/app/mod.rs", &long, "62 lines"),
        (is_long, "src/app/mod.rs", &"\n".repeat(401), "401 lines"),
        (says_not_what_it_is_for, "src/app/mod.rs", "use std::fmt;", "no `//!`"),
        (silences_a_lint, "src/app/mod.rs", "\n#[allow(dead_code)]", ":2"),
        (silences_a_lint, "src/x.rs", "\n#[cfg(test)]\nmod tests {\n#![allow(a)] }", ":4"),
        (leaves_work_undone, "src/app/mod.rs", &["// TO", "DO"].concat(), ":1"),
        (returns_nothing_for_ever, "a.proto", "returns (google.protobuf.Empty)", "grow"),
    ];
    for (rule, path, text, reported) in cases {
        let wrong = rule(&Source::new(path, text));
        assert!(!wrong.is_empty(), "{path}: {text}");
        assert!(wrong[0].contains(reported), "{wrong:?} does not say {reported}");
    }
}

#[test]
fn the_rules_let_good_code_pass() {
    let good = "//! A module.\n\nuse crate::{error::Result, pool};\n\n/// crate::cli, tonic, std::env\n\
                fn f() -> &'static str { \"tonic::Status\" }\n\n#[cfg(test)]\nmod tests {\n    use tonic::Code;\n}\n";
    let source = Source::new("src/backend/mod.rs", good);
    for rule in [
        looks_up_or_sideways,
        climbs_a_fence,
        keeps_state_in_a_static,
        has_a_long_function,
        is_long,
        says_not_what_it_is_for,
        silences_a_lint,
        leaves_work_undone,
    ] {
        assert!(rule(&source).is_empty(), "{:?}", rule(&source));
    }
}
