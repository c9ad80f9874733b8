//! The tables of docs/CONFIGURATION.md.

use super::super::schema::key::{DefaultValue, Key};
use super::super::schema::sections::SECTIONS;

const TABLE_HEAD: &str = "\
| key | default | values | what it is |
|---|---|---|---|
";

/// Returns the tables of all keys, in Markdown.
#[must_use]
pub fn key_tables() -> String {
    let mut text = String::new();
    let mut path = None;
    for section in SECTIONS {
        if path.replace(section.path) != Some(section.path) {
            let title = if section.path.is_empty() { "General" } else { section.path };
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!(
                "{gap}### {title}\n\n{}\n\n{TABLE_HEAD}",
                one_line(section.about)
            ));
        }
        for key in section.keys {
            text.push_str(&row(&section.full_name(key.name), key));
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn row(name: &str, key: &Key) -> String {
    let default = match key.default {
        DefaultValue::Constant(_) => format!("`{}`", key.default_literal()),
        DefaultValue::Derived(words) => words.to_owned(),
    };
    let bounds = key.value_type.bounds().unwrap_or_default();
    let change = key.change.without_restart();
    let change = change.map(|how| format!(" Without a restart: {how}.")).unwrap_or_default();
    let about = one_line(key.about);
    format!("| `{name}` | {default} | {bounds} | {about}{change} |\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_holds_the_tables() {
        let page = include_str!("../../../docs/CONFIGURATION.md");
        let tables = page
            .split_once("<!-- begin: rowgate config docs -->\n\n")
            .and_then(|(_, rest)| rest.split_once("\n<!-- end -->"))
            .map(|(tables, _)| tables);
        let help = "replace the part between the marks by the output of `rowgate config docs`";
        assert_eq!(tables, Some(key_tables().as_str()), "{help}");
    }
}
