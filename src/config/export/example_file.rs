//! The example file: every key, commented out, with its documentation and its default.

use super::super::build::MAIN;
use super::super::schema::key::{DefaultValue, Key};
use super::super::schema::sections::SECTIONS;
use super::super::section_reader::NAME;

const HEAD: &str = "\
# Rowgate's configuration: every key, commented out, with its default.
#
# Rowgate reads the file of --config, otherwise rowgate.toml in its working directory.
# Later overrides earlier: defaults, this file, variables (ROWGATE__GRPC__LISTEN sets grpc.listen), flags.
# `rowgate config check` reports all problems, `rowgate config show` prints the effective values and their
# origins. For completion in an editor: `rowgate config schema > rowgate.schema.json`, and as first line
#:schema ./rowgate.schema.json
#
# Remove the # before a key to set it. Every line works on its own; sections, as in
#   [databases.main]
#   pool.max = 40
# work too, but not together with single lines for the same section. Sections belong at the end.
#
# Durations have a unit: \"500ms\", \"30s\", \"5m\", \"1h 30m\". Sizes are bytes, or \"64KiB\", \"4MiB\", \"1GiB\".
# \"auto\" means a default that depends on other values.
#
# A string may refer to a value that is kept elsewhere, as a whole or in part:
#   \"${file:/run/secrets/password}\"   the content of the file, without its last line break
#   \"${env:NAME}\"                     the value of the variable
#   \"${fernet:gAAAA…}\"                decrypted with ROWGATE_SECRET_KEY or ROWGATE_SECRET_KEY_FILE;
#                                     for a whole string \"fernet:gAAAA…\" is enough
# Every key may be given as KEY_file, the path of a file that contains its value.
";

const WIDTH: usize = 100;

/// Returns an example of `rowgate.toml`.
#[must_use]
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    let mut path = None;
    for section in SECTIONS {
        if path.replace(section.path) != Some(section.path) && !section.path.is_empty() {
            let title = section.path.replace(NAME, MAIN);
            text.push_str(&format!("\n# {}\n", "-".repeat(WIDTH - 2)));
            text.push_str(&comment(&format!("{title}: {}", section.about.trim()).replace("`", "")));
        }
        for key in section.keys {
            let name = section.full_name(key.name).replace(NAME, MAIN);
            text.push('\n');
            text.push_str(&comment(&documentation(key)));
            text.push_str(&format!("#{name} = {}\n", key.default_literal()));
        }
    }
    text
}

fn documentation(key: &Key) -> String {
    let mut text = key.about.trim().replace("  ", " ");
    if let Some(bounds) = key.value_type.bounds() {
        text.push_str(&format!(" Values: {bounds}."));
    }
    if let DefaultValue::Derived(words) = key.default {
        text.push_str(&format!(" Default: {words}."));
    }
    if let Some(how) = key.change.without_restart() {
        text.push_str(&format!(" Without a restart: {how}."));
    }
    text.replace('`', "")
}

/// A comment, wrapped.
fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            last.push_str(&format!(" {word}"));
        }
    }
    lines.join("\n") + "\n"
}
