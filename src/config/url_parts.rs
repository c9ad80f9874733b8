//! The parts of the URL of a database on a network: the user, the hosts, the ports, the parameters.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::problem::ValueError;

/// A host and a port; `None` where the default is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
}

/// The texts between the signs of a URL, not yet decoded.
pub(crate) struct UrlText<'a> {
    pub(crate) user: &'a str,
    pub(crate) hosts: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

/// Splits the text after `://`.
pub(crate) fn split(rest: &str) -> Result<UrlText<'_>, ValueError> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    // Nothing after this is quoted, then: it may be half of a password.
    if tail.contains('@') {
        let why = "there is an @ after one of the characters / ? #, which a password must not contain unescaped";
        return Err(ValueError::new(why).instead(
            "Percent-encode them: %2F for /, %3F for ?, %23 for #, %40 for @; or refer to the \
             password: ${file:/path} needs no escapes.",
        ));
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    Ok(UrlText { user, hosts, path: path.strip_prefix('/').unwrap_or(path), query })
}

impl UrlText<'_> {
    /// Refuses a fragment, which is a character that was not escaped.
    pub(crate) fn check_fragment(&self) -> Result<(), ValueError> {
        if self.path.contains('#') || self.query.contains('#') {
            return refuse("this URL contains a #", "Write %23 for it.");
        }
        Ok(())
    }

    /// The names and the decoded values of the parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, Result<String, ValueError>)> {
        self.query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name, decode(value, "a parameter"))
        })
    }
}

pub(crate) fn refuse<T>(
    why: impl Into<String>,
    instead: impl Into<String>,
) -> Result<T, ValueError> {
    Err(ValueError::new(why).instead(instead))
}

pub(crate) fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Splits a host from its port, which may be empty.
pub(crate) fn split_place(place: &str) -> Result<(&str, &str), ValueError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((address, after)) => (address, after.strip_prefix(':').unwrap_or(after)),
            None => return refuse("the URL's host starts with [ but has no ]", "Write [::1]."),
        },
        None => place.rsplit_once(':').unwrap_or((place, "")),
    };
    if host.contains(':') && host.parse::<Ipv6Addr>().is_err() {
        let why = "the URL's host contains a : but is not an IPv6 address";
        return refuse(why, "Write HOST:PORT, or [ADDRESS]:PORT for IPv6.");
    }
    Ok((host, port))
}

/// Parses a port; an empty one is the default.
pub(crate) fn port(text: &str) -> Result<Option<u16>, ValueError> {
    let instead = "Write one from 1 to 65535.";
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(0) => refuse("there is no port 0", instead),
        Ok(port) => Ok(Some(port)),
        // Not quoted: a part of a password with an @ or / ends up here.
        Err(_) => refuse("the port is not a number", instead),
    }
}

/// Parses a word that is the name of a variant.
pub(crate) fn word<T: DeserializeOwned>(
    parameter: &str,
    text: &str,
    instead: &str,
) -> Result<T, ValueError> {
    let variant = serde_json::from_value(text.into());
    variant.or_else(|_error| refuse(format!("{parameter} has an unknown value"), instead))
}

pub(crate) fn decode(text: &str, what: &str) -> Result<String, ValueError> {
    let mut escapes = text.match_indices('%').map(|(at, _)| text.as_bytes().get(at + 1..at + 3));
    if !escapes.all(|hex| hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))) {
        let why = format!("in {what}, a % is not followed by two hexadecimal digits");
        return refuse(why, "Write %25 for the character % itself.");
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if text.contains('\0') => {
            Err(ValueError::new(format!("{what} contains a zero byte")))
        }
        Ok(text) => Ok(text.into_owned()),
        Err(error) => Err(ValueError::new(format!("{what} is not UTF-8: {error}"))),
    }
}
