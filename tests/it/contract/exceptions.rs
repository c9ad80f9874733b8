//! The cases that MariaDB or MySQL cannot meet, each with its reason. All others run for them as for every backend.

use std::fs;
use std::path::Path;

use crate::harness::mariadb::is_mysql;

/// The servers that a case does not run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Servers {
    /// MariaDB and MySQL.
    Both,
    /// MySQL alone.
    Mysql,
}

impl Servers {
    fn name(self) -> &'static str {
        match self {
            Self::Both => "MariaDB, MySQL",
            Self::Mysql => "MySQL",
        }
    }
}

const DEFERRED: &str = "InnoDB checks a constraint at the statement, and never at the commit";
const RETURNING: &str = "MySQL has no RETURNING";

/// The case, by its file and its name; where it does not run; and why.
const EXCEPTIONS: &[(&str, Servers, &str)] = &[
    ("batches::a_constraint_that_fails_at_the_commit_leaves_nothing", Servers::Both, DEFERRED),
    ("batches::all_statements_are_applied_and_each_has_its_result", Servers::Mysql, RETURNING),
    ("command_line::under_a_key_a_file_and_a_statement_run_once", Servers::Mysql, RETURNING),
    ("keyed_calls::a_key_is_for_one_request", Servers::Mysql, RETURNING),
    ("keyed_calls::a_key_runs_once_and_replays", Servers::Mysql, RETURNING),
    ("keyed_calls::a_query_may_have_a_key", Servers::Mysql, RETURNING),
    ("keyed_calls::concurrent_calls_under_one_key_run_once", Servers::Mysql, RETURNING),
    ("limits::a_write_over_a_cap_tells_what_became_of_it", Servers::Mysql, RETURNING),
    ("retries::a_key_is_the_same_whatever_the_tag_and_the_attempts", Servers::Mysql, RETURNING),
    ("rows::returned_rows_come_with_the_count", Servers::Mysql, RETURNING),
    ("streams::a_streamed_write_is_applied_when_the_summary_comes", Servers::Mysql, RETURNING),
    ("transactions::a_constraint_that_fails_at_the_commit_is_an_error", Servers::Both, DEFERRED),
    (
        "transactions::commands_may_be_sent_ahead_and_are_answered_in_order",
        Servers::Mysql,
        RETURNING,
    ),
];

/// Tells if a case runs on the server there is; prints why, if it does not.
/// `module` is the path of its tests, as in `it::contract::rows::mariadb`.
pub(super) fn runs(module: &str, case: &str) -> bool {
    let file = module.rsplit("::").nth(1).unwrap_or_default();
    let name = format!("{file}::{case}");
    let exception = EXCEPTIONS
        .iter()
        .find(|(case, servers, _)| *case == name && (*servers == Servers::Both || is_mysql()));
    if let Some((case, servers, reason)) = exception {
        eprintln!("SKIPPED: {case} on {}: {reason}", servers.name());
    }
    exception.is_none()
}

#[test]
fn each_exception_is_a_case_and_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/DATABASES.md")).expect("the page is there");
    let rows = EXCEPTIONS.iter().fold(String::new(), |rows, (case, servers, reason)| {
        format!("{rows}| `{case}` | {} | {reason} |\n", servers.name())
    });
    let (_, table) =
        page.split_once("| case | not on | reason |\n|---|---|---|\n").expect("a table");
    let shown = table.split_once("\n\n").map_or(table, |(table, _)| table).trim_end();
    assert_eq!(shown, rows.trim_end(), "docs/DATABASES.md");
    assert!(EXCEPTIONS.is_sorted_by_key(|(case, _, _)| case));
    for (case, _, _) in EXCEPTIONS {
        let (file, name) = case.split_once("::").expect("a file and a name");
        let file = root.join(format!("tests/it/contract/{file}.rs"));
        let text = fs::read_to_string(&file).expect("the file of the case");
        assert!(text.contains(&format!("async fn {name}(")), "{case} is not there");
    }
}
