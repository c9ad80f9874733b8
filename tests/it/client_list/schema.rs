//! The part of JSON Schema that `schema.json` uses. A keyword beyond it is a violation, too.

use regex::Regex;
use serde_json::{Map, Value as Json};

/// The places of a file that do not follow the schema, and why.
pub(super) fn violations(schema: &Json, file: &Json) -> impl Iterator<Item = String> {
    Checker { root: schema }.check(schema, file, "").into_iter()
}

struct Checker<'a> {
    root: &'a Json,
}

impl Checker<'_> {
    fn check(&self, schema: &Json, json: &Json, place: &str) -> Vec<String> {
        let schema = schema.as_object().expect("a schema is an object");
        let mut found = Vec::new();
        for (keyword, wanted) in schema {
            match keyword.as_str() {
                "$ref" => found.extend(self.check(self.referred(wanted), json, place)),
                "anyOf" => found.extend(self.any_of(wanted, json, place)),
                "properties" => found.extend(self.members(schema, json, place)),
                "additionalProperties" if !schema.contains_key("properties") => {
                    found.extend(self.members(schema, json, place));
                }
                "items" => found.extend(self.items(wanted, json, place)),
                "$schema" | "$defs" | "title" | "description" | "additionalProperties" => {}
                _ if follows(keyword, wanted, json) => {}
                _ => found.push(format!("{place}: {json} against {keyword} {wanted}")),
            }
        }
        found
    }

    fn referred(&self, reference: &Json) -> &Json {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        self.root.pointer(pointer.expect("a local reference")).expect("it leads to a schema")
    }

    /// The violations of the form that fits best: of the one with the same `do`, say.
    fn any_of(&self, forms: &Json, json: &Json, place: &str) -> Vec<String> {
        let forms = forms.as_array().expect("a list of forms");
        let checked = forms.iter().map(|form| self.check(form, json, place));
        checked.min_by_key(Vec::len).expect("there is a form")
    }

    fn members(&self, schema: &Map<String, Json>, json: &Json, place: &str) -> Vec<String> {
        let none = Json::Null;
        let known = schema.get("properties").unwrap_or(&none);
        let others = schema.get("additionalProperties").unwrap_or(&none);
        let mut found = Vec::new();
        for (name, member) in json.as_object().into_iter().flatten() {
            let place = format!("{place}/{name}");
            match (known.get(name), others) {
                (Some(schema), _) | (None, schema @ Json::Object(_)) => {
                    found.extend(self.check(schema, member, &place));
                }
                (None, Json::Bool(false)) => found.push(format!("{place}: an unknown member")),
                (None, _) => {}
            }
        }
        found
    }

    fn items(&self, schema: &Json, json: &Json, place: &str) -> Vec<String> {
        let elements = json.as_array().into_iter().flatten().enumerate();
        elements.flat_map(|(i, one)| self.check(schema, one, &format!("{place}/{i}"))).collect()
    }
}

/// Checks the keywords that look at nothing below; false for one that is not known.
fn follows(keyword: &str, wanted: &Json, json: &Json) -> bool {
    let number = || wanted.as_u64().expect("a whole number");
    let at_least = |length: Option<usize>| length.is_none_or(|length| length as u64 >= number());
    let at_most = |length: Option<usize>| length.is_none_or(|length| length as u64 <= number());
    let elements = json.as_array().map(Vec::len);
    let members = json.as_object().map(Map::len);
    match keyword {
        "type" => match wanted.as_array() {
            Some(types) => types.iter().any(|one| is_of_type(one, json)),
            None => is_of_type(wanted, json),
        },
        "const" => wanted == json,
        "enum" => wanted.as_array().is_some_and(|values| values.contains(json)),
        "required" => {
            let mut names = wanted.as_array().into_iter().flatten().filter_map(Json::as_str);
            json.as_object().is_none_or(|members| names.all(|name| members.contains_key(name)))
        }
        "pattern" => {
            let pattern = Regex::new(wanted.as_str().expect("a pattern")).expect("it is valid");
            json.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "minimum" => json.as_i64().is_none_or(|json| Some(json) >= wanted.as_i64()),
        "minItems" => at_least(elements),
        "maxItems" => at_most(elements),
        "minProperties" => at_least(members),
        "maxProperties" => at_most(members),
        _ => false,
    }
}

fn is_of_type(name: &Json, json: &Json) -> bool {
    match (name.as_str().expect("the name of a type"), json) {
        ("integer", json) => json.is_i64() || json.is_u64(),
        ("null", Json::Null)
        | ("boolean", Json::Bool(_))
        | ("string", Json::String(_))
        | ("array", Json::Array(_))
        | ("object", Json::Object(_)) => true,
        _ => false,
    }
}
