//! The settings that sessions begin with, in the syntax of libpq's `options`.

use serde::{Deserialize, Serialize};

use super::setting_names;

/// The settings that every session of a database begins with, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOptions(pub Vec<(String, String)>);

impl SessionOptions {
    /// The text of a value that was checked.
    pub(crate) fn written(value: &serde_json::Value) -> String {
        let Self(settings) = serde_json::from_value(value.clone()).unwrap_or_default();
        let escaped = |value: &str| value.replace('\\', r"\\").replace(' ', r"\ ");
        let written = settings.iter().map(|(name, value)| format!("-c {name}={}", escaped(value)));
        written.collect::<Vec<_>>().join(" ")
    }
}

/// Reads `-c NAME=VALUE` and `--NAME=VALUE`, any number of them. A backslash takes the blank, or the backslash, behind
/// it for a part of the value.
pub(crate) fn parse(text: &str) -> Result<SessionOptions, String> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => Some(long.to_owned()),
            (None, Some("")) => words.next(),
            (None, Some(short)) => Some(short.to_owned()),
            (None, None) => return Err(format!("\"{word}\" is no -c NAME=VALUE")),
        };
        let assignment = assignment.ok_or("there is nothing behind the last -c")?;
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(format!("there is no value in \"{assignment}\""));
        };
        // As in libpq: a hyphen stands for an underscore.
        let name = name.replace('-', "_").to_lowercase();
        check_name(&name)?;
        settings.push((name, value.to_owned()));
    }
    Ok(SessionOptions(settings))
}

/// Splits a text at blanks without a backslash.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_inside = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            blank if blank.is_ascii_whitespace() => {
                if is_inside {
                    words.push(std::mem::take(&mut word));
                }
                is_inside = false;
                continue;
            }
            other => word.push(other),
        }
        is_inside = true;
    }
    if is_inside {
        words.push(word);
    }
    words
}

/// Checks that a name is one of a setting that a session may begin with. It is put into SQL.
fn check_name(name: &str) -> Result<(), String> {
    setting_names::check(name)?;
    match setting_names::instead_in_session(name) {
        Some(instead) => Err(format!("{name} cannot be set here: {instead}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Vec<(String, String)>, String> {
        parse(text).map(|options| options.0)
    }

    fn of(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options_are_read_as_libpq_reads_them() {
        for (text, pairs) in [
            ("", &[][..]),
            ("-c search_path=app,public", &[("search_path", "app,public")][..]),
            (
                "-csearch_path=app  --work-mem=64MB ",
                &[("search_path", "app"), ("work_mem", "64MB")],
            ),
            (r"-c search_path=app,\ public", &[("search_path", "app, public")]),
            (r"-c a.b=x\\y=z", &[("a.b", r"x\y=z")]),
            ("-c tenant.id=", &[("tenant.id", "")]),
            ("-c Tenant.ID=7", &[("tenant.id", "7")]),
        ] {
            assert_eq!(settings(text), of(pairs), "{text}");
        }
    }

    #[test]
    fn a_problem_says_what_is_wrong() {
        for (text, why) in [
            ("search_path=app", "\"search_path=app\" is no -c NAME=VALUE"),
            ("-c", "there is nothing behind the last -c"),
            ("-c search_path", "there is no value in \"search_path\""),
            ("-c search_path=a, b", "\"b\" is no -c NAME=VALUE"),
            ("-c a'b=1", "\"a'b\" is not the name of a setting"),
            (
                "--statement-timeout=5s",
                "statement_timeout cannot be set here: Set databases.NAME.statement_timeout.",
            ),
        ] {
            assert_eq!(settings(text), Err(why.to_owned()), "{text}");
        }
    }
}
