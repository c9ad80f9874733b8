//! How the value of a key is written, and within which bounds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::database::PemFile;
use super::problem::Refusal;
use super::secret::Secret;
use super::source;
use super::tree::{Raw, quote};

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "******";

/// How a value is written.
pub(crate) trait Shape {
    /// What it becomes.
    type Value;

    /// Reads it.
    fn parse(&self, raw: &Raw) -> Result<Self::Value, Refusal>;

    /// Writes it in TOML's syntax, secrets masked.
    fn show(&self, value: &Self::Value) -> String;

    /// Whether what was plainly written may be a secret: then no problem quotes it.
    fn hides(&self, _: &Raw) -> bool {
        false
    }
}

/// Any text.
pub(crate) struct Text;

impl Shape for Text {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, Refusal> {
        text(raw, "a string").map(str::to_owned)
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }
}

/// A database's URL: text that holds a password.
pub(crate) struct Url;

impl Shape for Url {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, Refusal> {
        text(raw, "a URL").map(str::to_owned)
    }

    fn show(&self, _: &String) -> String {
        quote(MASK)
    }

    fn hides(&self, _: &Raw) -> bool {
        true
    }
}

/// `true` or `false`.
pub(crate) struct Switch;

impl Shape for Switch {
    type Value = bool;

    fn parse(&self, raw: &Raw) -> Result<bool, Refusal> {
        match raw {
            Raw::Switch(switch) => Ok(*switch),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            Raw::Text(_) | Raw::Number(_) | Raw::List(_) | Raw::Nothing | Raw::Broken => {
                Err(Refusal::new("this is neither true nor false")
                    .instead("Write true or false, without quotes."))
            }
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A whole number.
pub(crate) struct Whole {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Shape for Whole {
    type Value = u64;

    fn parse(&self, raw: &Raw) -> Result<u64, Refusal> {
        let instead = format!("Write a whole number from {} to {}.", self.min, self.max);
        let refuse = |why: &str| Refusal::new(why).instead(&instead);
        let written = scalar(raw).ok_or_else(|| refuse("this is not a number"))?;
        let Ok(number) = written.trim().parse::<i128>() else {
            let any = written.trim().parse::<f64>().is_ok();
            return Err(refuse(match any {
                true => "this is not a whole number",
                false => "this is not a number",
            }));
        };
        if number < self.min.into() {
            return Err(refuse("this is too small"));
        }
        match u64::try_from(number) {
            Ok(number) if number <= self.max => Ok(number),
            _ => Err(refuse("this is too large")),
        }
    }

    fn show(&self, value: &u64) -> String {
        value.to_string()
    }
}

/// A share of a whole, from 0 to 1: `0.8`.
pub(crate) struct Share;

impl Shape for Share {
    type Value = f64;

    fn parse(&self, raw: &Raw) -> Result<f64, Refusal> {
        let refuse =
            |why: &str| Refusal::new(why).instead("Write a number from 0 to 1, as in 0.8.");
        let written = scalar(raw).ok_or_else(|| refuse("this is not a number"))?;
        let share: f64 = written.trim().parse().map_err(|_error| refuse("this is not a number"))?;
        match (0.0..=1.0).contains(&share) {
            true => Ok(share),
            false => Err(refuse("this is no share of a whole")),
        }
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }
}

/// A number of bytes: `65536`, `"64KiB"`, `"4MiB"`, `"1GiB"`.
pub(crate) struct Size {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Shape for Size {
    type Value = u64;

    fn parse(&self, raw: &Raw) -> Result<u64, Refusal> {
        let instead = format!(
            "Write a size from {} to {}, in bytes or with a unit: \"64KiB\", \"4MiB\", \"1GiB\".",
            format_size(self.min),
            format_size(self.max)
        );
        let refuse = |why: &str| Refusal::new(why).instead(&instead);
        let written = scalar(raw).ok_or_else(|| refuse("this is not a size"))?;
        let written = written.trim();
        let digits = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
        let (number, unit) = written.split_at(digits);
        let unit = unit.trim();
        let Ok(number) = number.parse::<u64>() else {
            return Err(refuse("this is not a size: it does not start with a whole number"));
        };
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let factor = match (unit.is_empty(), factor) {
            (true, _) => 1,
            (false, Some((_, factor))) => *factor,
            (false, None) => return Err(refuse("the unit is unknown: KiB, MiB and GiB are")),
        };
        match number.saturating_mul(factor) {
            bytes if bytes < self.min => Err(refuse("this is too small")),
            bytes if bytes > self.max => Err(refuse("this is too large")),
            bytes => Ok(bytes),
        }
    }

    fn show(&self, value: &u64) -> String {
        match format_size(*value) {
            bytes if bytes.ends_with("iB") => quote(&bytes),
            _ => value.to_string(),
        }
    }
}

/// `4MiB`, or in bytes when no larger unit divides it.
pub(crate) fn format_size(bytes: u64) -> String {
    let fits = UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = fits.unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// A duration: `"500ms"`, `"30s"`, `"5m"`, `"1h 30m"`.
pub(crate) struct Span {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Shape for Span {
    type Value = Duration;

    fn parse(&self, raw: &Raw) -> Result<Duration, Refusal> {
        let instead = format!(
            "Write a duration from {} to {}, with its unit: \"500ms\", \"30s\", \"5m\".",
            humantime::format_duration(self.min),
            humantime::format_duration(self.max)
        );
        let refuse = |why: &str| Refusal::new(why).instead(&instead);
        let written = scalar(raw).ok_or_else(|| refuse("this is not a duration"))?;
        let written = written.trim();
        // humantime takes a bare 0, which then is the only number without a unit.
        if written.parse::<f64>().is_ok() {
            return Err(refuse("this duration has no unit"));
        }
        let duration = humantime::parse_duration(written)
            .map_err(|error| refuse(&format!("this is not a duration: {error}")))?;
        match duration {
            short if short < self.min => Err(refuse("this is too short")),
            long if long > self.max => Err(refuse("this is too long")),
            fits => Ok(fits),
        }
    }

    fn show(&self, value: &Duration) -> String {
        quote(&humantime::format_duration(*value).to_string())
    }
}

/// An address to listen on: `"127.0.0.1:50051"`, `"[::]:50051"`.
pub(crate) struct Address;

impl Shape for Address {
    type Value = SocketAddr;

    fn parse(&self, raw: &Raw) -> Result<SocketAddr, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(why).instead(
                "Write an IP address and a port: \"127.0.0.1:50051\" for this machine alone, \
                 \"0.0.0.0:50051\" or \"[::]:50051\" for all.",
            )
        };
        let written = scalar(raw).ok_or_else(|| refuse("this is not an address"))?;
        let Ok(address) = written.trim().parse() else {
            let has_port = written.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
            return Err(refuse(match has_port {
                true => "this is not an address: before the port stands no IP address",
                false => "this is not an address with a port from 0 to 65535",
            }));
        };
        Ok(address)
    }

    fn show(&self, value: &SocketAddr) -> String {
        quote(&value.to_string())
    }
}

/// One of a few words.
pub(crate) struct OneOf<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Shape for OneOf<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, Refusal> {
        let written = scalar(raw).unwrap_or_default();
        self.0.iter().find(|(word, _)| *word == written.trim()).map(|(_, value)| *value).ok_or_else(
            || {
                let words: Vec<_> = self.0.iter().map(|(word, _)| quote(word)).collect();
                Refusal::new("this is none of the values it may have")
                    .instead(format!("Write one of {}.", words.join(", ")))
            },
        )
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value).map(|(word, _)| *word);
        quote(word.unwrap_or_default())
    }
}

/// A list of names: `["main", "orders"]`, or `main,orders` where only text can be given.
pub(crate) struct Names;

impl Shape for Names {
    type Value = Vec<String>;

    fn parse(&self, raw: &Raw) -> Result<Vec<String>, Refusal> {
        let refuse = || {
            Refusal::new("this is not a list of names")
                .instead("Write a list of strings: [\"main\", \"orders\"].")
        };
        match raw {
            Raw::List(items) => items
                .iter()
                .map(|item| match item {
                    Raw::Text(name) => Ok(name.clone()),
                    Raw::Number(_) | Raw::Switch(_) | Raw::List(_) | Raw::Nothing | Raw::Broken => {
                        Err(refuse())
                    }
                })
                .collect(),
            Raw::Text(text) => {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                Ok(names.map(str::to_owned).collect())
            }
            Raw::Number(_) | Raw::Switch(_) | Raw::Nothing | Raw::Broken => Err(refuse()),
        }
    }

    fn show(&self, value: &Vec<String>) -> String {
        let names: Vec<_> = value.iter().map(|name| quote(name)).collect();
        format!("[{}]", names.join(", "))
    }
}

/// A PEM file by its path, or the PEM text itself (as a reference may yield it).
pub(crate) struct Pem;

const PEM_START: &str = "-----BEGIN ";

impl Shape for Pem {
    type Value = PemFile;

    fn parse(&self, raw: &Raw) -> Result<PemFile, Refusal> {
        let written = text(raw, "a path")?;
        if written.trim_start().starts_with(PEM_START) {
            return Ok(PemFile { path: PathBuf::new(), pem: Secret::new(written) });
        }
        let path = PathBuf::from(written);
        let pem = source::read_text(&path).map_err(|why| {
            Refusal::new(why).instead("Write the path of a PEM file that this process may read.")
        })?;
        if !pem.contains(PEM_START) {
            return Err(Refusal::new("this file holds no PEM: no line says -----BEGIN …")
                .instead("Convert it to PEM, as `openssl x509 -in FILE -outform pem` does."));
        }
        Ok(PemFile { path, pem: Secret::new(pem) })
    }

    fn show(&self, value: &PemFile) -> String {
        match value.path.as_os_str().is_empty() {
            true => quote(MASK),
            false => quote(&value.path.to_string_lossy()),
        }
    }

    fn hides(&self, raw: &Raw) -> bool {
        text(raw, "").is_ok_and(|text| text.contains(PEM_START) || text.contains('\n'))
    }
}

pub(crate) fn text<'a>(raw: &'a Raw, what: &str) -> Result<&'a str, Refusal> {
    match raw {
        Raw::Text(text) => Ok(text),
        Raw::Number(_) | Raw::Switch(_) | Raw::List(_) | Raw::Nothing | Raw::Broken => {
            Err(Refusal::new(format!("this is not {what}"))
                .instead(format!("Write {what} in quotes.")))
        }
    }
}

fn scalar(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Text(text) | Raw::Number(text) => Some(text),
        Raw::Switch(_) | Raw::List(_) | Raw::Nothing | Raw::Broken => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<S: Shape>(shape: &S, text: &str) -> Result<S::Value, String> {
        shape.parse(&Raw::Text(text.to_owned())).map_err(|refusal| refusal.why)
    }

    #[test]
    fn sizes_have_binary_units_or_none() {
        let size = Size { min: 1, max: 1 << 30 };
        let cases = [("1", 1), ("65536", 65_536), ("64KiB", 65_536), ("4 mib", 4 << 20)];
        for (text, bytes) in cases {
            assert_eq!(parsed(&size, text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "4MB", "4M", "-1", "1.5MiB", "0", "2GiB", "99999999999999999999"] {
            assert!(parsed(&size, text).is_err(), "{text}");
        }
        for (bytes, text) in [(4 << 20, "\"4MiB\""), (1 << 30, "\"1GiB\""), (1025, "1025")] {
            assert_eq!(size.show(&bytes), text);
        }
    }

    #[test]
    fn durations_have_units() {
        let span = Span { min: Duration::ZERO, max: Duration::from_secs(3600) };
        let cases =
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1m 30s", 90_000), ("0s", 0)];
        for (text, millis) in cases {
            assert_eq!(parsed(&span, text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "0", "1.5", "-3s", "2h", "30 parsecs"] {
            assert!(parsed(&span, text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_stay_within_their_bounds() {
        let whole = Whole { min: 1, max: 10 };
        assert_eq!(parsed(&whole, " 10 "), Ok(10));
        for (text, why) in
            [("0", "small"), ("-1", "small"), ("11", "large"), ("2.5", "whole"), ("x", "not a")]
        {
            let refused = parsed(&whole, text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn shares_are_from_nothing_to_all() {
        for (text, share) in [("0", 0.0), ("0.8", 0.8), (" 1 ", 1.0), ("1e-1", 0.1)] {
            assert_eq!(parsed(&Share, text), Ok(share), "{text}");
        }
        assert_eq!(Share.parse(&Raw::Number("0.5".to_owned())).ok(), Some(0.5));
        for text in ["", "-0.1", "1.1", "80%", "NaN", "inf", "most"] {
            assert!(parsed(&Share, text).is_err(), "{text}");
        }
        for (share, text) in [(0.0, "0.0"), (0.1, "0.1"), (1.0, "1.0")] {
            assert_eq!(Share.show(&share), text);
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        let text = "a \"quoted\" \\ line\n\twith \u{7f} and ü";
        let toml = format!("k = {}", Text.show(&text.to_owned()));
        let table = config::Format::parse(&config::FileFormat::Toml, None, &toml).unwrap();
        assert_eq!(table["k"].clone().into_string().unwrap(), text);
    }
}
