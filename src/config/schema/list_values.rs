//! Lists as values of keys.

use serde_json::Value;

use super::super::setting_names;

pub(super) fn names(written: &Value) -> Result<Value, String> {
    if let Some(text) = written.as_str() {
        return Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect());
    }
    let is_list = written.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    if is_list { Ok(written.clone()) } else { Err("this is not a list of names".to_owned()) }
}

pub(super) fn listed_settings(names: Value) -> Result<Value, String> {
    let listed = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    let listed: Vec<_> = listed.map(str::to_ascii_lowercase).collect();
    listed.iter().try_for_each(|entry| setting_names::check_listed(entry))?;
    Ok(listed.into())
}

pub(super) fn some_of(names: Value, words: &[&str]) -> Result<Value, String> {
    let listed = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    match listed.into_iter().find(|name| !words.contains(name)) {
        Some(unknown) => Err(format!("\"{unknown}\" is not one of the possible values")),
        None => Ok(names),
    }
}
