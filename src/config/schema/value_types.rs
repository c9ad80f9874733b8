//! The types of values: how each is written, checked against its bounds, and shown.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::database_target::{PEM_START, PemFile};
use super::super::entries::{literal, quote};
use super::super::listen_address::ListenAddress;
use super::super::problem::ValueError;
use super::super::secrets::secret::{MASK, Secret};
use super::list_values::{listed_settings, names, origins, some_of};
use super::mysql_values;

/// The methods that a caller needs the right to call: all but those of the standard health service.
pub(crate) const RPCS: [&str; 19] = [
    "Query",
    "StreamQuery",
    "ExecuteBatch",
    "Transact",
    "GetTransactionOutcome",
    "DescribeStatement",
    "CopyIn",
    "CopyOut",
    "Listen",
    "ListPoolStats",
    "WatchPoolStats",
    "ListCheckouts",
    "PausePool",
    "ResumePool",
    "ReconnectPool",
    "ResizePool",
    "TerminateCheckout",
    "GetServerInfo",
    "ServerReflectionInfo",
];

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
    /// A list of some of a few words.
    SomeOf(&'static [&'static str]),
    /// Any string.
    Text,
    /// The syntax of `RUST_LOG`.
    LogFilter,
    /// The name of a table, with or without its schema.
    TableName,
    /// An IP address and a port.
    Address,
    /// The same, or the path of a Unix socket.
    Listen,
    /// A table of settings, each a key below this one.
    Settings,
    /// A list of names: `["main", "orders"]`, or `main,orders` where only text can be given.
    Names,
    /// A list of names of settings, or of their starts with a star: `["search_path", "app.*"]`.
    SettingNames,
    /// A list of origins of pages: `["https://app.example.com"]`.
    Origins,
    /// A list of whole numbers: `[1000, 1001]`.
    Numbers,
    /// A secret of at least so many characters, never shown.
    Secret(usize),
    /// The URL of a database, which may contain a password.
    Url,
    /// As [`Self::Url`]; an empty text stands for the URL of another key.
    OtherUrl,
    /// The path of a PEM file, or the PEM text itself, as a reference may yield it.
    PemFile,
    /// Names of MySQL's modes, with commas between them.
    SqlMode,
    /// A distance from UTC: `"+00:00"`.
    ZoneOffset,
}

impl ValueType {
    /// Checks a value as it was written, and converts it to the form that the key's field is
    /// deserialized from.
    pub(crate) fn check(self, written: &Value) -> Result<Value, ValueError> {
        let text = |what: &str| written.as_str().ok_or_else(|| format!("this is not {what}"));
        let checked = match self {
            Self::Duration(min, max) => duration(written, min, max),
            Self::Size(min, max) => size(written, min, max),
            Self::Integer(min, max) => integer(written, min, max),
            Self::Ratio => ratio(written),
            Self::Bool => boolean(written),
            Self::OneOf(words) => one_of(written, words),
            Self::SomeOf(words) => names(written).and_then(|it| some_of(it, words)),
            Self::Text => text("a string").map(Value::from),
            Self::LogFilter => text("a string").and_then(log_filter),
            Self::TableName => text("the name of a table").and_then(table_name),
            Self::Settings => match written.as_str() {
                Some("{}") => Ok(json!([])),
                Some(_) | None => Err("this is not a table of settings".to_owned()),
            },
            Self::Address => address(written),
            Self::Listen => listen(written),
            Self::Names => names(written),
            Self::SettingNames => names(written).and_then(listed_settings),
            Self::Origins => origins(written),
            Self::Numbers => numbers(written),
            Self::Secret(shortest) => text("a string").and_then(|text| secret(text, shortest)),
            Self::Url | Self::OtherUrl => text("a URL").map(Value::from),
            Self::SqlMode => text("a list of modes").and_then(mysql_values::sql_mode),
            Self::ZoneOffset => text("a distance from UTC").and_then(mysql_values::zone_offset),
            Self::PemFile => match text("a path") {
                Ok(text) => return pem_file(text),
                Err(why) => Err(why),
            },
        };
        checked.map_err(|why| ValueError::new(why).instead(self.instead()))
    }

    /// A sentence that says what to write.
    fn instead(self) -> String {
        let bounds = self.bounds().unwrap_or_default();
        match self {
            Self::Duration(..) => format!(
                "Write a duration from {bounds}, with its unit: \"500ms\", \"30s\", \"5m\"."
            ),
            Self::Size(..) => format!(
                "Write a size from {bounds}, in bytes or with a unit: \"64KiB\", \"4MiB\", \"1GiB\"."
            ),
            Self::Integer(..) => format!("Write a whole number from {bounds}."),
            Self::Ratio => format!("Write a number from {bounds}, as in 0.8."),
            Self::Bool => "Write true or false, without quotes.".into(),
            Self::OneOf(words) => format!("Write one of \"{}\".", words.join("\", \"")),
            Self::SomeOf(words) => {
                format!("Write a list of some of \"{}\".", words.join("\", \""))
            }
            Self::Text => "Write a string in quotes.".into(),
            Self::LogFilter => {
                "Write a level, or levels by module: \"info,rowgate::pool=debug\".".into()
            }
            Self::TableName => "Write a name of letters, digits and underscores, optionally after \
                a schema and a point: \"rowgate_idempotency\", \"ops.keys\"."
                .into(),
            Self::Address => {
                "Write an IP address and a port: \"127.0.0.1:50051\" for this machine \
                alone, \"0.0.0.0:50051\" or \"[::]:50051\" for all."
                    .into()
            }
            Self::Listen => "Write an IP address and a port: \"127.0.0.1:50051\" for this machine \
                alone, \"0.0.0.0:50051\" or \"[::]:50051\" for all; or a Unix socket: \
                \"unix:/run/rowgate/rowgate.sock\"."
                .into(),
            Self::Settings => {
                "Write each setting as a key in it: settings.search_path = \"app, public\".".into()
            }
            Self::Names => "Write a list of strings: [\"main\", \"orders\"].".into(),
            Self::SettingNames => {
                "Write a list of names, or of their starts with a star: [\"search_path\", \"app.*\"].".into()
            }
            Self::Origins => {
                "Write a list of origins, each a scheme, a host and perhaps a port: [\"https://app.example.com\"].".into()
            }
            Self::Numbers => "Write a list of whole numbers: [1000, 1001].".into(),
            Self::Secret(shortest) => format!(
                "Write at least {shortest} letters, digits and signs, as of `openssl rand -hex 32`, or \
                 the path of a file that has them as the value of the key with _file at its end."
            ),
            Self::Url | Self::OtherUrl => "Write a URL in quotes.".into(),
            Self::PemFile => "Write a path in quotes.".into(),
            Self::SqlMode => mysql_values::MODES_INSTEAD.into(),
            Self::ZoneOffset => mysql_values::OFFSET_INSTEAD.into(),
        }
    }

    /// A checked value in TOML's syntax, secrets masked.
    pub(crate) fn show(self, value: &Value) -> String {
        match (self, value["path"].as_str()) {
            (Self::Duration(..), _) => {
                let duration = serde_json::from_value(value.clone()).unwrap_or_default();
                quote(&humantime::format_duration(duration).to_string())
            }
            (Self::Size(..), _) => show_size(value.as_u64().unwrap_or_default()),
            (Self::Secret(_) | Self::OtherUrl, _) if value.is_null() => quote(""),
            (Self::Secret(_) | Self::Url | Self::OtherUrl, _) | (Self::PemFile, Some("")) => {
                quote(MASK)
            }
            (Self::PemFile, path) => quote(path.unwrap_or_default()),
            _ => literal(value),
        }
    }

    /// The word that stands for a derived default.
    pub(crate) fn default_word(self) -> Option<&'static str> {
        let is_text = matches!(self, Self::PemFile | Self::Secret(_) | Self::OtherUrl);
        let word = if is_text { "" } else { "auto" };
        (!matches!(self, Self::Url)).then_some(word)
    }

    /// The values that are allowed, in words.
    pub(crate) fn bounds(self) -> Option<String> {
        Some(match self {
            Self::Duration(min, max) | Self::Size(min, max) => format!("{min} to {max}"),
            Self::Integer(min, max) => format!("{min} to {max}"),
            Self::Ratio => "0 to 1".into(),
            Self::Bool => "`true`, `false`".into(),
            Self::OneOf(words) => format!("`{}`", words.join("`, `")),
            Self::SomeOf(words) => format!("a list of `{}`", words.join("`, `")),
            Self::LogFilter => "the syntax of `RUST_LOG`".into(),
            Self::TableName => "the name of a table".into(),
            Self::Address => "an IP address and a port".into(),
            Self::Listen => "an IP address and a port, or `unix:` and a path".into(),
            Self::Settings => "a table of names and values".into(),
            Self::Names => "a list of names".into(),
            Self::SettingNames => {
                "a list of names of settings, or of their starts as in `app.*`".into()
            }
            Self::Origins => "a list of origins, as in `https://app.example.com`".into(),
            Self::Numbers => "a list of whole numbers".into(),
            Self::PemFile => "the path of a PEM file".into(),
            Self::Secret(shortest) => format!("at least {shortest} characters"),
            Self::SqlMode => "names of modes, with commas between them".into(),
            Self::ZoneOffset => "`-13:59` to `+14:00`".into(),
            Self::Text | Self::Url | Self::OtherUrl => return None,
        })
    }

    /// Returns true if a value that was written plainly may be a secret: no problem quotes it then.
    pub(crate) fn hides(self, written: &Value) -> bool {
        let is_pem = |text: &str| text.contains(PEM_START) || text.contains('\n');
        let may_be_pem = matches!(self, Self::PemFile) && written.as_str().is_some_and(is_pem);
        may_be_pem || matches!(self, Self::Url | Self::OtherUrl | Self::Secret(_))
    }
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

fn within<T: PartialOrd>(value: T, min: T, max: T, [less, more]: [&str; 2]) -> Result<T, String> {
    if value < min {
        Err(less.to_owned())
    } else if value > max {
        Err(more.to_owned())
    } else {
        Ok(value)
    }
}

/// The reasons why a number is out of its bounds.
const SIZES: [&str; 2] = ["this is too small", "this is too large"];

fn boolean(written: &Value) -> Result<Value, String> {
    let from_text = || written.as_str().and_then(|text| text.parse().ok());
    let value = written.as_bool().or_else(from_text);
    Ok(value.ok_or("this is neither true nor false")?.into())
}

fn integer(written: &Value, min: u64, max: u64) -> Result<Value, String> {
    let text = scalar(written).ok_or("this is not a number")?;
    let is_fraction = text.parse::<f64>().is_ok();
    let number: i128 = text.parse().map_err(|_error| {
        if is_fraction { "this is not a whole number" } else { "this is not a number" }
    })?;
    let number = within(number, min.into(), max.into(), SIZES)?;
    Ok(u64::try_from(number).unwrap_or(max).into())
}

fn ratio(written: &Value) -> Result<Value, String> {
    let ratio = scalar(written).and_then(|number| number.parse::<f64>().ok());
    let ratio = ratio.ok_or("this is not a number")?;
    let ratio = Some(ratio).filter(|ratio| (0.0..=1.0).contains(ratio));
    Ok(ratio.ok_or("this is not from 0 to 1")?.into())
}

// By hand: the crates for sizes take "4MB" for 4,000,000 bytes, where 4 MiB is meant.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn size(written: &Value, min: &str, max: &str) -> Result<Value, String> {
    let text = scalar(written).ok_or("this is not a size")?;
    Ok(within(parse_size(&text)?, parse_size(min)?, parse_size(max)?, SIZES)?.into())
}

/// The bytes of a size such as `4MiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, &'static str> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_error| "this is not a size: it does not start with a number")?;
    let unit = if unit.is_empty() { "B" } else { unit.trim() };
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (_, factor) = known.ok_or("the unit is unknown: KiB, MiB and GiB are known")?;
    Ok(number.saturating_mul(*factor))
}

/// `"4MiB"`, or the bytes when no larger unit divides them.
fn show_size(bytes: u64) -> String {
    let divides = |factor: u64| factor > 1 && bytes >= factor && bytes.is_multiple_of(factor);
    match UNITS.iter().find(|(_, factor)| divides(*factor)) {
        Some((unit, factor)) => quote(&format!("{}{unit}", bytes / factor)),
        None => bytes.to_string(),
    }
}

fn duration(written: &Value, min: &str, max: &str) -> Result<Value, String> {
    let parse = |text: &str| {
        humantime::parse_duration(text).map_err(|cause| format!("this is not a duration: {cause}"))
    };
    let text = scalar(written).ok_or("this is not a duration")?;
    // humantime takes a bare 0, which would be the only number without a unit.
    if text.parse::<f64>().is_ok() {
        return Err("this duration has no unit".to_owned());
    }
    let lengths = ["this is too short", "this is too long"];
    within(parse(&text)?, parse(min)?, parse(max)?, lengths).map(|duration| json!(duration))
}

fn one_of(written: &Value, words: &[&str]) -> Result<Value, String> {
    let word = scalar(written).filter(|word| words.contains(&word.as_str()));
    Ok(word.ok_or("this is not one of the possible values")?.into())
}

fn log_filter(filter: &str) -> Result<Value, String> {
    let parsed = tracing_subscriber::EnvFilter::builder().parse(filter);
    parsed.map_err(|error| format!("this is not a log filter: {error}"))?;
    Ok(filter.into())
}

/// The longest identifier that PostgreSQL does not truncate, in bytes.
const LONGEST_IDENTIFIER: usize = 63;

/// The name is put into SQL, so it is limited to characters that need no quoting.
fn table_name(name: &str) -> Result<Value, String> {
    let is_identifier = |part: &str| {
        part.len() <= LONGEST_IDENTIFIER
            && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_name = name.split('.').count() <= 2 && name.split('.').all(is_identifier);
    if is_name { Ok(name.into()) } else { Err("this is not the name of a table".to_owned()) }
}

fn secret(text: &str, shortest: usize) -> Result<Value, String> {
    if text.len() < shortest {
        return Err("this is too short for a secret".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("this has spaces, line breaks or letters beyond ASCII".to_owned());
    }
    Ok(text.into())
}

fn listen(written: &Value) -> Result<Value, String> {
    let address = ListenAddress::try_from(scalar(written).unwrap_or_default())?;
    Ok(address.to_string().into())
}

fn address(written: &Value) -> Result<Value, String> {
    let address = ListenAddress::try_from(scalar(written).unwrap_or_default())?;
    let address = address.tcp().ok_or("this is not an IP address and a port")?;
    Ok(address.to_string().into())
}

fn numbers(written: &Value) -> Result<Value, String> {
    let items = match written.as_array() {
        Some(items) => items.clone(),
        None => names(written)?.as_array().cloned().unwrap_or_default(),
    };
    items.iter().map(|item| integer(item, 0, u64::from(u32::MAX))).collect()
}

fn pem_file(text: &str) -> Result<Value, ValueError> {
    let file = if text.trim_start().starts_with(PEM_START) {
        PemFile { path: PathBuf::new(), pem: Secret::new(text) }
    } else {
        PemFile::read(text)?
    };
    Ok(json!({"path": file.path, "pem": file.pem.expose()}))
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
            let expected = serde_json::json!(std::time::Duration::from_millis(millis));
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
