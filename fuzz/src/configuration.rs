//! Configurations: their file in each format, variables, URLs.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A password, which is shown nowhere; too long to be guessed from comparisons.
const SECRET: &str = "zqsecret-of-nobody-else-4f1c9e7a";

/// The directory of the files that are loaded, in memory where the system has such a place.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let directory = parent.join(format!("rowgate-fuzz-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory can be made");
    directory
});

/// Writes a file of an input; it replaces the one of the input before.
pub(crate) fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = DIRECTORY.join(name);
    fs::write(&path, content).expect("a file can be written");
    path
}

/// Checks a configuration: a byte of its form, then text.
pub fn check(data: &[u8]) {
    let Some((form, text)) = data.split_first() else { return };
    let name = ["rowgate.toml", "rowgate.yaml", "rowgate.json"].get(usize::from(form % 8));
    if let Some(name) = name {
        check_file(name, text);
    } else {
        check_variables(*form, &String::from_utf8_lossy(text));
    }
}

/// A file, and behind a zero byte variables.
fn check_file(name: &str, text: &[u8]) {
    let mut parts = text.split(|byte| *byte == 0);
    let path = file(name, parts.next().unwrap_or_default());
    let variables: Vec<_> = parts.filter_map(|part| std::str::from_utf8(part).ok()).collect();
    let variables: Vec<_> = variables.iter().filter_map(|part| part.split_once('=')).collect();
    if let Some(problems) = rowgate::fuzzing::load_configuration(&path, &variables) {
        assert!(!problems.is_empty());
    }
}

/// A URL with a password, or the variables of libpq with one.
fn check_variables(form: u8, text: &str) {
    let mut parts = text.split('\0');
    let mut next = || parts.next().unwrap_or_default();
    let shown = match form % 8 {
        3 => {
            // Behind these characters it is no password any more.
            let before = next().replace(['@', '/', '?', '#', ':', '[', ']', '$'], "");
            let url = format!("postgres://u:{before}{SECRET}@{}", next());
            rowgate::fuzzing::load_url(&[("DATABASE_URL", url.as_str())])
        }
        4 => {
            let url = format!("postgres://{}", next());
            let variables = [("DATABASE_URL", url.as_str()), ("PGPASSWORD", SECRET)];
            rowgate::fuzzing::load_url(&variables)
        }
        5 => {
            let variables = [
                ("PGHOST", next()),
                ("PGPORT", next()),
                ("PGUSER", next()),
                ("PGDATABASE", next()),
                ("PGSSLMODE", next()),
                ("PGTARGETSESSIONATTRS", next()),
                ("PGLOADBALANCEHOSTS", next()),
                ("PGAPPNAME", next()),
                ("PGPASSWORD", SECRET),
            ];
            rowgate::fuzzing::load_url(&variables)
        }
        6 => {
            let key = next().to_owned();
            let name = format!("ROWGATE__{key}");
            rowgate::fuzzing::load_url(&[(name.as_str(), next()), ("PGPASSWORD", SECRET)])
        }
        _ => rowgate::fuzzing::load_url(&[("DATABASE_URL", text)]),
    };
    // An input may have it elsewhere, too, or refer to it in a place that is shown.
    let is_in_input = text.to_ascii_lowercase().contains(SECRET) || text.contains("env:PGPASSWORD");
    assert!(is_in_input || !shown.contains(SECRET), "{shown}");
}
