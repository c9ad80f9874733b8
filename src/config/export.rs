//! The keys as documents: an example file, tables, and a JSON Schema by which editors complete and check
//! `rowgate.toml`.

use serde_json::{Value, json};

use super::build::MAIN;
use super::schema::key::{Key, Section};
use super::schema::value_types::{ValueType, parse_size};
use super::schema::{CALLERS, SECTIONS};
use super::section_reader::NAME;

/// The first lines of the example.
const EXAMPLE_HEAD: &str = include_str!("example_head.toml");

/// The width of the example's lines.
const WIDTH: usize = 100;

/// The first lines of a table.
const TABLE_HEAD: &str = "\
| key | default | values | what it is |
|---|---|---|---|
";

/// The names of databases and of callers.
const SECTION_NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";

/// Text that stands for another value.
const REFERENCE: &str = r"\$\{[^}]*\}|^\s*fernet:";

/// Returns an example of `rowgate.toml`: every key, commented out, with its documentation and its default.
#[must_use]
pub fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    for (section, is_first) in sections() {
        if is_first && !section.path.is_empty() {
            let title = format!("{}: {}", named(section.path), section.about);
            text.push_str(&format!("\n# {}\n{}", "-".repeat(WIDTH - 2), comment(&title)));
        }
        for key in section.keys {
            let name = named(&section.full_name(key.name));
            let bounds = remark("Values", key.value_type.bounds().as_deref());
            let default = remark("Default", key.derived_default());
            let about = format!("{}{bounds}{default}{}", key.about, restart(key));
            text.push_str(&format!("\n{}#{name} = {}\n", comment(&about), key.default_literal()));
        }
    }
    text
}

/// Returns the tables of all keys for docs/CONFIGURATION.md.
#[must_use]
pub fn key_tables() -> String {
    let mut text = String::new();
    for (section, is_first) in sections() {
        if is_first {
            let title = if section.path.is_empty() { "General" } else { section.path };
            let gap = if text.is_empty() { "" } else { "\n" };
            let about = one_line(section.about);
            text.push_str(&format!("{gap}### {title}\n\n{about}\n\n{TABLE_HEAD}"));
        }
        for key in section.keys {
            let name = section.full_name(key.name);
            let constant = || format!("`{}`", key.default_literal());
            let default = key.derived_default().map_or_else(constant, str::to_owned);
            let bounds = key.value_type.bounds().unwrap_or_default();
            let about = one_line(key.about) + &restart(key);
            text.push_str(&format!("| `{name}` | {default} | {bounds} | {about} |\n"));
        }
    }
    text
}

/// A path with an example of the name in it.
fn named(path: &str) -> String {
    path.replace(NAME, if path.starts_with(CALLERS) { "shop" } else { MAIN })
}

/// The sections, each with whether it is the first of its path.
fn sections() -> impl Iterator<Item = (&'static Section, bool)> {
    let mut path = None;
    SECTIONS
        .into_iter()
        .map(move |section| (section, path.replace(section.path) != Some(section.path)))
}

fn remark(title: &str, text: Option<&str>) -> String {
    text.map(|text| format!(" {title}: {text}.")).unwrap_or_default()
}

fn restart(key: &Key) -> String {
    remark("Without a restart", key.change)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text without the marks of Markdown.
fn plain(text: &str) -> String {
    one_line(text).replace('`', "")
}

/// A comment, wrapped.
fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in plain(text).split(' ') {
        let last = lines.last_mut().expect("there is a first line");
        if last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            last.push_str(&format!(" {word}"));
        }
    }
    lines.join("\n") + "\n"
}

/// Returns a JSON Schema (draft 2020-12) of the configuration.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = section_schema("The configuration of Rowgate.");
    for section in SECTIONS {
        let mut node = &mut root;
        for part in section.path.split('.').filter(|part| !part.is_empty()) {
            let (group, name) = if part == NAME {
                ("patternProperties", SECTION_NAME)
            } else {
                ("properties", part)
            };
            node = &mut node[group][name];
            if node.is_null() {
                *node = section_schema("");
            }
        }
        if !section.path.is_empty() {
            node["description"] = json!(plain(section.about));
        }
        for key in section.keys {
            node["properties"][key.name] = key_schema(key);
            node["patternProperties"][format!("^{}_[fF][iI][lL][eE]$", key.name)] = json!({
                "type": "string",
                "description": format!("The path of a file that contains the value of {}.", key.name),
            });
        }
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("rowgate.toml");
    root["$defs"] = json!({"reference": {
        "description": "A reference: ${file:/path}, ${env:NAME}, ${fernet:TOKEN} or fernet:TOKEN.",
        "type": "string",
        "pattern": REFERENCE,
    }});
    root
}

fn section_schema(about: &str) -> Value {
    json!({
        "type": "object",
        "description": about,
        "properties": {},
        "patternProperties": {},
        "additionalProperties": false,
    })
}

fn key_schema(key: &Key) -> Value {
    let about = key.about.to_owned() + &remark("Default", key.derived_default()) + &restart(key);
    let mut forms = value_schemas(key.value_type);
    let mut schema = json!({"description": plain(&about)});
    if key.is_derived {
        forms.push(json!({"const": "auto"}));
    } else {
        let default = key.default_literal();
        schema["default"] = serde_json::from_str(&default).unwrap_or(Value::String(default));
    }
    forms.push(json!({"$ref": "#/$defs/reference"}));
    schema["anyOf"] = json!(forms);
    schema
}

/// The forms of a value: numbers may be given as text too.
fn value_schemas(value_type: ValueType) -> Vec<Value> {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    match value_type {
        ValueType::Duration(..) => vec![text(r"^\s*(\d+(\.\d+)?\s*[a-zA-Zµ]+\s*)+$")],
        ValueType::Size(min, max) => vec![
            json!({"type": "integer", "minimum": parse_size(min).ok(), "maximum": parse_size(max).ok()}),
            text(r"^\s*\d+\s*([kKmMgG][iI])?[bB]?\s*$"),
        ],
        ValueType::Integer(min, max) => {
            vec![json!({"type": "integer", "minimum": min, "maximum": max}), text(r"^\s*\d+\s*$")]
        }
        ValueType::Ratio => vec![
            json!({"type": "number", "minimum": 0, "maximum": 1}),
            text(r"^\s*[0-9.]+([eE][+-]?\d+)?\s*$"),
        ],
        ValueType::Bool => vec![json!({"type": "boolean"}), json!({"enum": ["true", "false"]})],
        ValueType::OneOf(known) => vec![json!({"enum": known})],
        ValueType::Names | ValueType::SettingNames | ValueType::Origins => {
            vec![json!({"type": "array", "items": {"type": "string"}}), json!({"type": "string"})]
        }
        ValueType::SomeOf(known) => {
            let some = json!({"type": "array", "items": {"enum": known}});
            vec![some, json!({"type": "string"})]
        }
        ValueType::Numbers => {
            vec![json!({"type": "array", "items": {"type": "integer"}}), json!({"type": "string"})]
        }
        ValueType::Settings => {
            let value = json!({"type": ["string", "number", "boolean", "object"]});
            vec![json!({"type": "object", "additionalProperties": value})]
        }
        ValueType::Address => vec![text(r":\d{1,5}\s*$")],
        ValueType::Listen => vec![text(r":\d{1,5}\s*$|^\s*unix:/")],
        ValueType::ZoneOffset => vec![text(r"^\s*[+-]\d{1,2}:\d{2}\s*$")],
        ValueType::Text
        | ValueType::SqlMode
        | ValueType::LogFilter
        | ValueType::TableName
        | ValueType::Secret(_)
        | ValueType::Url
        | ValueType::OtherUrl
        | ValueType::PemFile => vec![json!({"type": "string"})],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A validator of the part of JSON Schema that is used here.
    fn accepts(schema: &Value, value: &Value) -> bool {
        let mut all = schema.as_object().unwrap().iter();
        all.all(|(word, rule)| match (word.as_str(), rule) {
            ("$ref", _) => accepts(&json_schema()["$defs"]["reference"], value),
            ("anyOf", Value::Array(schemas)) => schemas.iter().any(|one| accepts(one, value)),
            ("const", rule) => rule == value,
            ("enum", Value::Array(known)) => known.contains(value),
            ("type", rule) => match rule.as_str().unwrap() {
                "integer" => value.is_i64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                "string" => value.is_string(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("{other}"),
            },
            ("pattern", rule) => value.as_str().is_none_or(|text| matches(rule, text)),
            ("minimum", rule) => value.as_f64() >= rule.as_f64(),
            ("maximum", rule) => value.as_f64() <= rule.as_f64(),
            ("items", rule) => value.as_array().into_iter().flatten().all(|one| accepts(rule, one)),
            ("properties", Value::Object(_)) => {
                let entries = value.as_object().into_iter().flatten();
                entries.into_iter().all(|(name, value)| {
                    let schemas: Vec<_> = property_schemas(schema, name).collect();
                    !schemas.is_empty() && schemas.into_iter().all(|one| accepts(one, value))
                })
            }
            ("additionalProperties", rule) => rule == &json!(false) || rule.is_object(),
            _ => ["patternProperties", "$defs", "$schema", "title", "description", "default"]
                .contains(&word.as_str()),
        })
    }

    fn property_schemas<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
        let patterns = schema["patternProperties"].as_object().unwrap();
        let by_pattern = patterns.iter().filter(move |(p, _)| matches(&json!(p), name));
        let by_pattern: Vec<_> = by_pattern.map(|(_, schema)| schema).collect();
        schema["properties"].get(name).into_iter().chain(by_pattern)
    }

    fn matches(pattern: &Value, text: &str) -> bool {
        regex::Regex::new(pattern.as_str().unwrap()).unwrap().is_match(text)
    }

    fn accepts_toml(toml: &str) -> bool {
        let table = config::Format::parse(&config::FileFormat::Toml, None, toml).unwrap();
        let value = config::Value::new(None, config::ValueKind::Table(table));
        accepts(&json_schema(), &value.try_deserialize().unwrap())
    }

    #[test]
    fn the_example_and_the_deployed_files_are_accepted() {
        let is_key = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
        let example = example();
        let keys = example.lines().filter_map(|line| line.strip_prefix('#')).filter(is_key);
        let files = [
            example.as_str(),
            &keys.collect::<Vec<_>>().join("\n"),
            include_str!("../../deploy/rowgate.example.toml"),
            include_str!("../../deploy/compose/rowgate.toml"),
            include_str!("../../deploy/kubernetes/base/rowgate.toml"),
            include_str!("../../deploy/kubernetes/overlays/development/rowgate.toml"),
            include_str!("../../deploy/kubernetes/overlays/production/rowgate.toml"),
        ];
        for file in files {
            assert!(accepts_toml(file), "{file}");
        }
    }

    #[test]
    fn every_way_to_write_a_value_is_accepted() {
        for toml in [
            "grpc.workers = 4",
            "grpc.workers = '4'",
            "grpc.workers = 'auto'",
            "grpc.workers = '${env:WORKERS}'",
            "grpc.workers_file = '/run/workers'",
            "grpc.max_request_size = 65536",
            "grpc.reflection = '${file:/run/reflection}'",
            "shutdown.grace = '1m 30s'",
            "health.require = ['main']",
            "telemetry.log_format = 'fernet:gAAAA'",
            "databases.shop-1.url_file = '/run/url'",
            "databases.main.tls.mode = 'verify-full'",
            "databases.main.retry.budget = 0.5",
            "databases.main.settings.search_path = 'app'",
            "databases.main.settings.tenant.id = ''",
        ] {
            assert!(accepts_toml(toml), "{toml}");
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_rejected() {
        for toml in [
            "grpc.listn = '127.0.0.1:1'",
            "grpc.listn_file = '/run/listen'",
            "grpc = 5",
            "grpc.listen = 50051",
            "grpc.workers = 0",
            "grpc.workers = 2.5",
            "grpc.workers = 'many'",
            "grpc.max_request_size = '4MB'",
            "grpc.max_request_size = 1",
            "grpc.reflection = 1",
            "shutdown.grace = 30",
            "shutdown.grace = '30'",
            "telemetry.log_format = 'xml'",
            "health.require = [1]",
            "databases.Main.url = 'sqlite:a'",
            "databases.main.pool.maximum = 5",
            "databases.main.retry.budget = 10",
            "databases.main.settings = 'app'",
        ] {
            assert!(!accepts_toml(toml), "{toml}");
        }
    }

    #[test]
    fn the_documentation_holds_the_tables() {
        let page = include_str!("../../docs/CONFIGURATION.md");
        let tables = page
            .split_once("<!-- begin: rowgate config docs -->\n\n")
            .and_then(|(_, rest)| rest.split_once("\n<!-- end -->"))
            .map(|(tables, _)| tables);
        let help = "replace the part between the marks by the output of `rowgate config docs`";
        assert_eq!(tables, Some(key_tables().as_str()), "{help}");
    }
}
