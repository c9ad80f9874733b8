//! Reads the files of the list, for one backend.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value as Json;

use crate::harness::Backend;

/// The names of the backends in the files.
pub(super) const BACKENDS: [&str; 3] = ["sqlite", "postgres", "mariadb"];

/// The folder of the list.
pub(super) static LIST: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/conformance"));

/// A case, for one backend.
pub(super) struct Case {
    /// Its file and its name.
    pub(super) name: String,
    /// The statements that it needs first.
    pub(super) setup: Vec<String>,
    /// The steps.
    pub(super) steps: Vec<Json>,
}

/// The files of cases.
pub(super) fn case_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(LIST.join("cases")).expect("the folder is there");
    let paths: BTreeSet<_> = entries.map(|entry| entry.expect("it is read").path()).collect();
    paths.into_iter().collect()
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Json {
    let text = fs::read_to_string(path).expect("the file is there");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases that a backend runs.
pub(super) fn on(backend: Backend) -> Vec<Case> {
    let backend = match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
        Backend::Mariadb => "mariadb",
    };
    let mut cases = Vec::new();
    for path in case_files() {
        let file = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        for case in list(&file_on(&path, backend)["cases"]) {
            let name = format!("{file}/{}", text(&case["name"]));
            let setup = list(&case["setup"]).iter().map(text).collect();
            cases.push(Case { name, setup, steps: list(&case["steps"]) });
        }
    }
    cases
}

/// A file without the cases that a backend does not run.
pub(super) fn file_on(path: &Path, backend: &str) -> Json {
    let mut file = read(path);
    if let Some(cases) = file["cases"].as_array_mut() {
        cases.retain(|case| case["not_on"].get(backend).is_none());
    }
    resolved(&file, backend)
}

/// The elements of an array; none where there is no array.
pub(super) fn list(json: &Json) -> Vec<Json> {
    json.as_array().cloned().unwrap_or_default()
}

/// A string; an empty one where there is none.
pub(super) fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// The same with what one backend has in the place of each `per_backend`. Each run has a database of its own.
fn resolved(json: &Json, backend: &str) -> Json {
    match json {
        Json::Object(members) => {
            if let (1, Some(choices)) = (members.len(), members.get("per_backend")) {
                let choice = choices.get(backend).or_else(|| choices.get("default"));
                let choice = choice.unwrap_or_else(|| panic!("nothing for {backend}: {json}"));
                return resolved(choice, backend);
            }
            let members = members.iter().map(|(name, one)| (name.clone(), resolved(one, backend)));
            Json::Object(members.collect())
        }
        Json::Array(elements) => elements.iter().map(|one| resolved(one, backend)).collect(),
        Json::String(text) => Json::String(text.replace("${run}", "once")),
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    }
}
