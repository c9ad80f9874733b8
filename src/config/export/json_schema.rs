//! The JSON Schema of the configuration, by which editors complete and check `rowgate.toml`.

use serde_json::{Map, Value, json};

use super::super::schema::key::{DefaultValue, Key, Section};
use super::super::schema::sections::SECTIONS;
use super::super::schema::value_types::ValueType;
use super::super::section_reader::NAME;

/// The names of databases.
const DATABASE_NAME: &str = "^[a-z][a-z0-9_-]{0,62}$";

/// Text that stands for another value.
const REFERENCE: &str = r"\$\{[^}]*\}|^\s*fernet:";

/// Returns a JSON Schema (draft 2020-12) of the configuration.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = section_schema("The configuration of Rowgate.");
    for section in SECTIONS {
        let mut node = &mut root;
        for part in section.path.split('.').filter(|part| !part.is_empty()) {
            let (group, name) = if part == NAME {
                ("patternProperties", DATABASE_NAME)
            } else {
                ("properties", part)
            };
            node = &mut node[group][name];
            if node.is_null() {
                *node = section_schema("");
            }
        }
        describe(node, section);
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

fn describe(node: &mut Value, section: &Section) {
    if !section.path.is_empty() {
        node["description"] = json!(words(section.about));
    }
    for key in section.keys {
        node["properties"][key.name] = key_schema(key);
        node["patternProperties"][format!("^{}_[fF][iI][lL][eE]$", key.name)] = json!({
            "type": "string",
            "description": format!("The path of a file that contains the value of {}.", key.name),
        });
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "")
}

fn key_schema(key: &Key) -> Value {
    let mut schema = Map::new();
    let mut about = words(key.about);
    match key.default {
        DefaultValue::Constant(_) => {
            let default = key.default_literal();
            let default = serde_json::from_str(&default).unwrap_or(Value::String(default));
            schema.insert("default".to_owned(), default);
        }
        DefaultValue::Derived(default) => about.push_str(&format!(" Default: {}.", words(default))),
    }
    if let Some(how) = key.change.without_restart() {
        about.push_str(&format!(" Without a restart: {}.", words(how)));
    }
    schema.insert("description".to_owned(), json!(about));
    let mut forms = value_schemas(key.value_type);
    if matches!(key.default, DefaultValue::Derived(_)) {
        forms.push(json!({"const": "auto"}));
    }
    forms.push(json!({"$ref": "#/$defs/reference"}));
    schema.insert("anyOf".to_owned(), json!(forms));
    Value::Object(schema)
}

/// The forms of a value: numbers may be given as text too.
fn value_schemas(value_type: ValueType) -> Vec<Value> {
    match value_type {
        ValueType::Duration(..) => {
            vec![json!({"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*[a-zA-Zµ]+\s*)+$"})]
        }
        ValueType::Size(min, max) => vec![
            json!({"type": "integer", "minimum": bytes(min), "maximum": bytes(max)}),
            json!({"type": "string", "pattern": r"^\s*\d+\s*([kKmMgG][iI])?[bB]?\s*$"}),
        ],
        ValueType::Integer(min, max) => vec![
            json!({"type": "integer", "minimum": min, "maximum": max}),
            json!({"type": "string", "pattern": r"^\s*\d+\s*$"}),
        ],
        ValueType::Ratio => vec![
            json!({"type": "number", "minimum": 0, "maximum": 1}),
            json!({"type": "string", "pattern": r"^\s*[0-9.]+([eE][+-]?\d+)?\s*$"}),
        ],
        ValueType::Bool => vec![json!({"type": "boolean"}), json!({"enum": ["true", "false"]})],
        ValueType::OneOf(known) => vec![json!({"enum": known})],
        ValueType::Names => {
            vec![json!({"type": "array", "items": {"type": "string"}}), json!({"type": "string"})]
        }
        ValueType::Address => vec![json!({"type": "string", "pattern": r":\d{1,5}\s*$"})],
        ValueType::Text
        | ValueType::LogFilter
        | ValueType::TableName
        | ValueType::Url
        | ValueType::PemFile => vec![json!({"type": "string"})],
    }
}

fn bytes(size: &str) -> Value {
    ValueType::Size("0B", "1GiB").check(&json!(size)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::example_file::example;
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
            ("additionalProperties", rule) => rule == &json!(false),
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
            include_str!("../../../deploy/rowgate.example.toml"),
            include_str!("../../../deploy/compose/rowgate.toml"),
            include_str!("../../../deploy/kubernetes/base/rowgate.toml"),
            include_str!("../../../deploy/kubernetes/overlays/development/rowgate.toml"),
            include_str!("../../../deploy/kubernetes/overlays/production/rowgate.toml"),
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
        ] {
            assert!(!accepts_toml(toml), "{toml}");
        }
    }
}
