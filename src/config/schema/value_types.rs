//! The types of values: how each is written, checked against its bounds, and shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time;

use serde_json::Value;

use super::super::database_target::{PEM_START, PemFile};
use super::super::entries::{literal, quote};
use super::super::problem::ValueError;
use super::super::secrets::secret::{MASK, Secret};

/// The type of a key's value, with its bounds. Sizes and durations are bounded as they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueType {
    /// `"500ms"`, `"30s"`, `"1h 30m"`
    Duration(&'static str, &'static str),
    /// `65536`, `"64KiB"`, `"4MiB"`
    Size(&'static str, &'static str),
    /// A whole number.
    Integer(u64, u64),
    /// A number from 0 to 1.
    Ratio,
    /// `true` or `false`
    Bool,
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// Any string.
    Text,
    /// The syntax of `RUST_LOG`.
    LogFilter,
    /// The name of a table, with or without its schema.
    TableName,
    /// An IP address and a port.
    Address,
    /// A list of names: `["main", "orders"]`, or `main,orders` where only text can be given.
    Names,
    /// The URL of a database, which may contain a password.
    Url,
    /// The path of a PEM file, or the PEM text itself, as a reference may yield it.
    PemFile,
}

impl ValueType {
    /// Checks a value as it was written, and converts it to the form that the key's field is
    /// deserialized from.
    pub(crate) fn check(self, written: &Value) -> Result<Value, ValueError> {
        match self {
            Self::Duration(min, max) => {
                duration(written, min, max).map(|value| serde_json::json!(value))
            }
            Self::Size(min, max) => size(written, min, max).map(Value::from),
            Self::Integer(min, max) => integer(written, min, max).map(Value::from),
            Self::Ratio => ratio(written).map(Value::from),
            Self::Bool => boolean(written).map(Value::from),
            Self::OneOf(words) => one_of(written, words).map(Value::from),
            Self::Text => text(written, "a string").map(Value::from),
            Self::LogFilter => log_filter(written).map(Value::from),
            Self::TableName => table_name(written).map(Value::from),
            Self::Address => address(written).map(|value| Value::from(value.to_string())),
            Self::Names => names(written).map(Value::from),
            Self::Url => text(written, "a URL").map(Value::from),
            Self::PemFile => pem_file(written),
        }
    }

    /// A checked value in TOML's syntax, secrets masked.
    pub(crate) fn show(self, value: &Value) -> String {
        match (self, value) {
            (Self::Duration(..), value) => {
                let duration = serde_json::from_value(value.clone()).unwrap_or_default();
                quote(&humantime::format_duration(duration).to_string())
            }
            (Self::Size(..), Value::Number(number)) => {
                match number.as_u64().map(format_size).filter(|size| size.ends_with("iB")) {
                    Some(size) => quote(&size),
                    None => number.to_string(),
                }
            }
            (Self::Url, _) => quote(MASK),
            (Self::PemFile, value) => match value["path"].as_str() {
                Some("") => quote(MASK),
                path => quote(path.unwrap_or_default()),
            },
            (_, value) => literal(value),
        }
    }

    /// The word that stands for a derived default.
    pub(crate) fn default_word(self) -> Option<&'static str> {
        if matches!(self, Self::Url) {
            None
        } else if matches!(self, Self::PemFile) {
            Some("")
        } else {
            Some("auto")
        }
    }

    /// The values that are allowed, in words.
    pub(crate) fn bounds(self) -> Option<String> {
        let words = match self {
            Self::Duration(min, max) | Self::Size(min, max) => format!("{min} to {max}"),
            Self::Integer(min, max) => format!("{min} to {max}"),
            Self::Ratio => "0 to 1".to_owned(),
            Self::Bool => "`true`, `false`".to_owned(),
            Self::OneOf(words) => format!("`{}`", words.join("`, `")),
            Self::LogFilter => "the syntax of `RUST_LOG`".to_owned(),
            Self::TableName => "the name of a table".to_owned(),
            Self::Address => "an IP address and a port".to_owned(),
            Self::Names => "names of databases".to_owned(),
            Self::PemFile => "the path of a PEM file".to_owned(),
            Self::Text | Self::Url => return None,
        };
        Some(words)
    }

    /// Returns true if a value that was written plainly may be a secret: no problem quotes it then.
    pub(crate) fn hides(self, written: &Value) -> bool {
        let is_pem = |text: &str| text.contains(PEM_START) || text.contains('\n');
        let may_be_pem = matches!(self, Self::PemFile) && written.as_str().is_some_and(is_pem);
        may_be_pem || matches!(self, Self::Url)
    }
}

fn text<'a>(written: &'a Value, what: &str) -> Result<&'a str, ValueError> {
    written.as_str().ok_or_else(|| {
        ValueError::new(format!("this is not {what}")).instead(format!("Write {what} in quotes."))
    })
}

/// A string or a number as text: the environment and flags have text alone.
fn scalar(written: &Value) -> Option<String> {
    match written {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map(|number| number.to_string())
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Null => None,
    }
}

fn boolean(written: &Value) -> Result<bool, ValueError> {
    let from_text = || written.as_str().and_then(|text| text.parse().ok());
    written.as_bool().or_else(from_text).ok_or_else(|| {
        ValueError::new("this is neither true nor false")
            .instead("Write true or false, without quotes.")
    })
}

fn integer(written: &Value, min: u64, max: u64) -> Result<u64, ValueError> {
    let error = |why: &str| {
        ValueError::new(why).instead(format!("Write a whole number from {min} to {max}."))
    };
    let number = scalar(written).ok_or_else(|| error("this is not a number"))?;
    match number.parse::<i128>() {
        Ok(number) if number < min.into() => Err(error("this is too small")),
        Ok(number) if number > max.into() => Err(error("this is too large")),
        Ok(number) => u64::try_from(number).map_err(|_error| error("this is too large")),
        Err(_) if number.parse::<f64>().is_ok() => Err(error("this is not a whole number")),
        Err(_) => Err(error("this is not a number")),
    }
}

fn ratio(written: &Value) -> Result<f64, ValueError> {
    let error = |why: &str| ValueError::new(why).instead("Write a number from 0 to 1, as in 0.8.");
    let ratio = scalar(written).and_then(|number| number.parse().ok());
    let ratio: f64 = ratio.ok_or_else(|| error("this is not a number"))?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err(error("this is not from 0 to 1")) }
}

// By hand: the crates for sizes take "4MB" for 4,000,000 bytes, where 4 MiB is meant.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn size(written: &Value, min: &str, max: &str) -> Result<u64, ValueError> {
    let error = |why: &str| {
        ValueError::new(why).instead(format!(
            "Write a size from {min} to {max}, in bytes or with a unit: \"64KiB\", \"4MiB\", \"1GiB\"."
        ))
    };
    let written = scalar(written).ok_or_else(|| error("this is not a size"))?;
    let bytes = parse_size(&written).map_err(&error)?;
    let bound = |size| parse_size(size).unwrap_or_default();
    match bytes {
        small if small < bound(min) => Err(error("this is too small")),
        large if large > bound(max) => Err(error("this is too large")),
        fits => Ok(fits),
    }
}

fn parse_size(text: &str) -> Result<u64, &'static str> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_error| "this is not a size: it does not start with a number")?;
    let unit = if unit.is_empty() { "B" } else { unit.trim() };
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (_, factor) = known.ok_or("the unit is unknown: KiB, MiB and GiB are known")?;
    Ok(number.saturating_mul(*factor))
}

/// `4MiB`, or in bytes when no larger unit divides it.
fn format_size(bytes: u64) -> String {
    let fits = UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = fits.unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

fn duration(written: &Value, min: &str, max: &str) -> Result<time::Duration, ValueError> {
    let error = |why: &str| {
        ValueError::new(why).instead(format!(
            "Write a duration from {min} to {max}, with its unit: \"500ms\", \"30s\", \"5m\"."
        ))
    };
    let written = scalar(written).ok_or_else(|| error("this is not a duration"))?;
    // humantime takes a bare 0, which would be the only number without a unit.
    if written.parse::<f64>().is_ok() {
        return Err(error("this duration has no unit"));
    }
    let duration = humantime::parse_duration(&written)
        .map_err(|cause| error(&format!("this is not a duration: {cause}")))?;
    let bound = |text| humantime::parse_duration(text).unwrap_or_default();
    match duration {
        short if short < bound(min) => Err(error("this is too short")),
        long if long > bound(max) => Err(error("this is too long")),
        fits => Ok(fits),
    }
}

fn one_of(written: &Value, words: &[&'static str]) -> Result<&'static str, ValueError> {
    let word = scalar(written).unwrap_or_default();
    words.iter().find(|known| **known == word).copied().ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
        ValueError::new("this is not one of the possible values")
            .instead(format!("Write one of {}.", words.join(", ")))
    })
}

fn log_filter(written: &Value) -> Result<&str, ValueError> {
    let filter = text(written, "a string")?;
    let parsed = tracing_subscriber::EnvFilter::builder().parse(filter);
    parsed.map(|_filter| filter).map_err(|error| {
        ValueError::new(format!("this is not a log filter: {error}"))
            .instead("Write a level, or levels by module: \"info,rowgate::pool=debug\".")
    })
}

/// The longest identifier that PostgreSQL does not truncate, in bytes.
const LONGEST_IDENTIFIER: usize = 63;

/// The name is put into SQL, so it is limited to characters that need no quoting.
fn table_name(written: &Value) -> Result<&str, ValueError> {
    let name = text(written, "the name of a table")?;
    let is_identifier = |part: &str| {
        part.len() <= LONGEST_IDENTIFIER
            && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').count() <= 2 && name.split('.').all(is_identifier) {
        return Ok(name);
    }
    Err(ValueError::new("this is not the name of a table").instead(
        "Write a name of letters, digits and underscores, optionally after a schema and a point: \
         \"rowgate_idempotency\", \"ops.keys\".",
    ))
}

fn address(written: &Value) -> Result<SocketAddr, ValueError> {
    let written = scalar(written).unwrap_or_default();
    written.parse().map_err(|_error| {
        let has_port = written.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
        let why = if has_port {
            "this is not an address: there is no IP address before the port"
        } else {
            "this is not an address with a port from 0 to 65535"
        };
        ValueError::new(why).instead(
            "Write an IP address and a port: \"127.0.0.1:50051\" for this machine alone, \
             \"0.0.0.0:50051\" or \"[::]:50051\" for all.",
        )
    })
}

fn names(written: &Value) -> Result<Vec<String>, ValueError> {
    if let Some(text) = written.as_str() {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        return Ok(names.map(str::to_owned).collect());
    }
    serde_json::from_value(written.clone()).map_err(|_error| {
        ValueError::new("this is not a list of names")
            .instead("Write a list of strings: [\"main\", \"orders\"].")
    })
}

fn pem_file(written: &Value) -> Result<Value, ValueError> {
    let written = text(written, "a path")?;
    let file = if written.trim_start().starts_with(PEM_START) {
        PemFile { path: PathBuf::new(), pem: Secret::new(written) }
    } else {
        PemFile::read(written)?
    };
    Ok(serde_json::json!({"path": file.path, "pem": file.pem.expose()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(kind: ValueType, text: &str) -> Result<Value, String> {
        kind.check(&Value::from(text)).map_err(|error| error.why)
    }

    #[test]
    fn sizes_have_binary_units_or_none() {
        let size = ValueType::Size("1B", "1GiB");
        let cases = [("1", 1), ("65536", 65_536), ("64KiB", 65_536), ("4 mib", 4 << 20)];
        for (text, bytes) in cases {
            assert_eq!(parsed(size, text), Ok(bytes.into()), "{text}");
        }
        for text in ["", "MiB", "4MB", "4M", "-1", "1.5MiB", "0", "2GiB", "99999999999999999999"] {
            assert!(parsed(size, text).is_err(), "{text}");
        }
        for (bytes, text) in [(4 << 20, "\"4MiB\""), (1 << 30, "\"1GiB\""), (1025, "1025")] {
            assert_eq!(size.show(&bytes.into()), text);
        }
    }

    #[test]
    fn durations_have_units() {
        let duration = ValueType::Duration("0s", "1h");
        let cases =
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1m 30s", 90_000), ("0s", 0)];
        for (text, millis) in cases {
            let expected = serde_json::json!(time::Duration::from_millis(millis));
            assert_eq!(parsed(duration, text), Ok(expected.clone()), "{text}");
            assert_eq!(duration.show(&expected), quote(text));
        }
        for text in ["", "30", "0", "1.5", "-3s", "2h", "30 parsecs"] {
            assert!(parsed(duration, text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_stay_within_their_bounds() {
        let integer = ValueType::Integer(1, 10);
        assert_eq!(parsed(integer, " 10 "), Ok(10.into()));
        for (text, why) in
            [("0", "small"), ("-1", "small"), ("11", "large"), ("2.5", "whole"), ("x", "not a")]
        {
            let error = parsed(integer, text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn ratios_are_from_0_to_1() {
        for (text, ratio) in [("0", 0.0), ("0.8", 0.8), (" 1 ", 1.0), ("1e-1", 0.1)] {
            assert_eq!(parsed(ValueType::Ratio, text), Ok(ratio.into()), "{text}");
        }
        assert_eq!(ValueType::Ratio.check(&0.5.into()).ok(), Some(0.5.into()));
        for text in ["", "-0.1", "1.1", "80%", "NaN", "inf", "most"] {
            assert!(parsed(ValueType::Ratio, text).is_err(), "{text}");
        }
        for (ratio, text) in [(0.0, "0.0"), (0.1, "0.1"), (1.0, "1.0")] {
            assert_eq!(ValueType::Ratio.show(&ratio.into()), text);
        }
    }

    #[test]
    fn tables_have_plain_names() {
        for name in ["rowgate_idempotency", "_k1", "ops.keys", "Ops.Keys"] {
            assert_eq!(parsed(ValueType::TableName, name), Ok(name.into()));
        }
        let long = "k".repeat(64);
        for name in ["", "1k", "a.b.c", "ops.", ".keys", "a b", "k\"; drop table t", "ü", &long] {
            assert!(parsed(ValueType::TableName, name).is_err(), "{name}");
        }
    }
}
