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

/// Checks origins as browsers write them (RFC 6454, 6.2): a scheme and a host, and a port that is not the scheme's own.
pub(super) fn origins(written: &Value) -> Result<Value, String> {
    let origins = names(written)?;
    let listed = origins.as_array().into_iter().flatten().filter_map(Value::as_str);
    listed.into_iter().try_for_each(check_origin)?;
    Ok(origins)
}

fn check_origin(origin: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("\"{origin}\" is no origin: {why}"));
    let Some((scheme, host)) = origin.split_once("://") else {
        return wrong("it has no scheme; all origins, and the origin null, cannot be allowed");
    };
    let is_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(is_scheme) {
        return wrong("its scheme is not one in lower case");
    }
    let is_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        return wrong("behind its scheme it has more than a host in lower case and a port");
    }
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Ok(()),
    };
    if host.ends_with(default_port) {
        return wrong("browsers leave the scheme's own port out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for origin in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(check_origin(origin), Ok(()));
        }
        for origin in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://*.example.com",
            "https://user@app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
        ] {
            assert!(check_origin(origin).is_err(), "{origin}");
        }
    }
}
