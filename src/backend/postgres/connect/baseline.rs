//! The settings that every session begins with: asked for at login, compared after it, and set where they
//! differ.
//!
//! Poolers refuse the startup parameter `options`, or drop it without a word; roles and databases have
//! defaults of their own. So nothing is assumed: every session is asked.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::capabilities::definite;
use super::connect_errors::ConnectFailure;
use crate::backend::postgres::protocol::simple_query::{first_value, rows};
use crate::backend::postgres::protocol::statement_names::Route;
use crate::config::setting_names::duration;

/// The settings of a session as Rowgate needs them.
pub(crate) struct Baseline {
    settings: Vec<Setting>,
    /// A query of one row: the process of the session, the language of its messages, and the value of each
    /// setting, NULL where the server does not know it.
    query: String,
    /// Set once the role was not allowed to choose the language.
    keeps_language: AtomicBool,
}

/// The statement that has the server's messages untranslated.
const UNTRANSLATED: &str = "SET lc_messages = 'C'; ";

struct Setting {
    name: &'static str,
    value: String,
    form: Form,
}

/// The form of a value, which tells when two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// A text that other words may follow, as in `ISO, MDY`.
    FirstWord,
    /// A number that may be greater.
    Least,
    Milliseconds,
    /// A text that no session can set.
    Fixed,
}

/// The settings of a session, as it has answered.
#[derive(Debug, Default)]
pub(crate) struct SessionSettings {
    /// The process that serves the session, as its server knows it.
    pub(crate) process: Option<i32>,
    /// The locale of its messages.
    pub(crate) language: Option<String>,
    /// The value of each setting of the baseline; NULL where the server does not know it.
    values: Vec<Option<String>>,
}

/// The settings that poolers carry from one server connection to the next.
const CARRIED: [&str; 4] =
    ["DateStyle", "TimeZone", "client_encoding", "standard_conforming_strings"];

impl Baseline {
    pub(crate) fn new(statement_timeout: Duration, lock_timeout: Duration) -> Self {
        let setting = |name, form, value: &str| Setting { name, value: value.to_owned(), form };
        let timeout = |name, value: Duration| {
            setting(name, Form::Milliseconds, &value.as_millis().to_string())
        };
        let settings = vec![
            setting("DateStyle", Form::FirstWord, "ISO"),
            setting("IntervalStyle", Form::Text, "postgres"),
            setting("TimeZone", Form::Text, "UTC"),
            setting("client_encoding", Form::Text, "UTF8"),
            setting("standard_conforming_strings", Form::Text, "on"),
            setting("integer_datetimes", Form::Fixed, "on"),
            setting("extra_float_digits", Form::Least, "1"),
            setting("bytea_output", Form::Text, "hex"),
            timeout("statement_timeout", statement_timeout),
            timeout("lock_timeout", lock_timeout),
        ];
        let ask = |each: &Setting| format!(", pg_catalog.current_setting('{}', true)", each.name);
        let values: String = settings.iter().map(ask).collect();
        let fixed = "pg_catalog.pg_backend_pid(), pg_catalog.current_setting('lc_messages', true)";
        let query = format!("select {fixed}{values}");
        Self { settings, query, keeps_language: AtomicBool::default() }
    }

    /// The startup parameter `options`, whose values also survive `RESET ALL`. The driver itself asks for
    /// the encoding.
    pub(crate) fn options(&self) -> String {
        let asked = self.settings.iter().filter(|each| each.form != Form::Fixed);
        let options = asked.map(|each| format!("-c {}={}", each.name, each.value));
        options.collect::<Vec<_>>().join(" ")
    }

    /// Queries the settings of a session: one by one where a server cannot answer for all, nor tell its process.
    pub(crate) async fn query(&self, client: &Client) -> Result<SessionSettings, ConnectFailure> {
        if let Some(messages) = definite(client.simple_query(&self.query).await)? {
            return Ok(SessionSettings::read(&messages));
        }
        let mut values = Vec::with_capacity(self.settings.len());
        for setting in &self.settings {
            let shown = definite(client.simple_query(&format!("SHOW {}", setting.name)).await)?;
            values.push(shown.and_then(|messages| first_value(&messages)));
        }
        Ok(SessionSettings { process: None, language: None, values })
    }

    /// The query of the settings.
    pub(crate) fn question(&self) -> &str {
        &self.query
    }

    /// Sets what differs from the baseline. Returns the statements for it, to be run again after each
    /// `RESET ALL`.
    pub(crate) async fn establish(
        &self,
        client: &Client,
        found: SessionSettings,
        route: Route,
    ) -> Result<String, ConnectFailure> {
        let differing = self.differing(&found, route);
        let (settable, mut left): (Vec<_>, Vec<_>) =
            differing.into_iter().partition(|each| each.can_be_set(route));
        if settable.is_empty() && left.is_empty() {
            return Ok(String::new());
        }
        let set = |each: &&Setting| format!("SET {} = '{}'; ", each.name, each.value);
        let settings: String = settable.iter().map(set).collect();
        let mut cause = None;
        match client.batch_execute(&settings).await {
            Ok(()) => left = self.differing(&self.query(client).await?, route),
            Err(error) if error.as_db_error().is_none() => {
                // The connection broke: that is no fault of the settings.
                return Err(ConnectFailure::of_login(error));
            }
            Err(error) => {
                left.extend(settable);
                cause = Some(Box::new(ConnectFailure::of_login(error)));
            }
        }
        if left.is_empty() {
            return Ok(settings);
        }
        let names = left.iter().map(|each| each.name).collect::<Vec<_>>().join(", ");
        Err(ConnectFailure::Baseline { names, cause })
    }

    /// Has the messages of a session untranslated, where its role may choose: nothing depends on it, but
    /// English says more. Returns the statement for it, to be run again after each `RESET ALL`.
    pub(crate) async fn untranslate(
        &self,
        client: &Client,
        found: Option<String>,
        route: Route,
    ) -> Result<&'static str, ConnectFailure> {
        let is_foreign = found.is_some_and(|language| {
            !matches!(language.as_str(), "C" | "POSIX") && !language.starts_with("en")
        });
        if route == Route::Pooler || !is_foreign || self.keeps_language.load(Relaxed) {
            return Ok("");
        }
        match client.simple_query(UNTRANSLATED).await {
            Ok(_) => Ok(UNTRANSLATED),
            Err(error) if error.as_db_error().is_some() => {
                self.keeps_language.store(true, Relaxed);
                Ok("")
            }
            Err(error) => Err(ConnectFailure::of_login(error)),
        }
    }

    /// The settings that are not as they must be; all of them without an answer.
    fn differing(&self, found: &SessionSettings, route: Route) -> Vec<&Setting> {
        let needed = |each: &&Setting| route == Route::Direct || each.form != Form::Milliseconds;
        let settings = self.settings.iter().enumerate();
        let differing = settings.filter(|(index, setting)| match found.values.get(*index) {
            Some(Some(value)) => !setting.is(value),
            // A server without the setting knows no other way.
            Some(None) => false,
            None => true,
        });
        differing.map(|(_, setting)| setting).filter(needed).collect()
    }
}

impl SessionSettings {
    fn read(messages: &[SimpleQueryMessage]) -> Self {
        let Some(row) = rows(messages).next() else { return Self::default() };
        let value = |index| row.get(index).map(str::to_owned);
        Self {
            process: row.get(0).and_then(|process| process.parse().ok()),
            language: row.get(1).map(str::to_owned),
            values: (2..row.len()).map(value).collect(),
        }
    }
}

impl Setting {
    /// Returns true if a session can keep the value: behind a pooler the next transaction may be another
    /// session's, which has only what the pooler carries along.
    fn can_be_set(&self, route: Route) -> bool {
        self.form != Form::Fixed && (route == Route::Direct || CARRIED.contains(&self.name))
    }

    /// Returns true if a session's value will do.
    fn is(&self, value: &str) -> bool {
        match self.form {
            Form::Text | Form::Fixed => value.eq_ignore_ascii_case(&self.value),
            Form::FirstWord => {
                let first = value.split(',').next().unwrap_or_default();
                first.trim().eq_ignore_ascii_case(&self.value)
            }
            Form::Least => {
                let number = |text: &str| text.trim().parse::<i64>().ok();
                number(value).is_some_and(|value| Some(value) >= number(&self.value))
            }
            Form::Milliseconds => duration(value) == duration(&self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        Baseline::new(Duration::from_secs(305), Duration::from_secs(5))
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        let baseline = baseline();
        let cases = [
            ("DateStyle", "ISO, DMY", true),
            ("DateStyle", "SQL, DMY", false),
            ("IntervalStyle", "iso_8601", false),
            ("TimeZone", "UTC", true),
            ("TimeZone", "Europe/Berlin", false),
            ("client_encoding", "utf8", true),
            ("client_encoding", "LATIN1", false),
            ("extra_float_digits", "3", true),
            ("extra_float_digits", "0", false),
            ("extra_float_digits", "-15", false),
            ("bytea_output", "escape", false),
            ("statement_timeout", "305s", true),
            ("statement_timeout", "305000", true),
            ("statement_timeout", "305000ms", true),
            ("statement_timeout", "0", false),
            ("lock_timeout", "5s", true),
            ("lock_timeout", "5min", false),
            ("lock_timeout", "soon", false),
        ];
        for (name, value, fits) in cases {
            let setting = baseline.settings.iter().find(|each| each.name == name);
            assert_eq!(setting.expect("it is one").is(value), fits, "{name} = {value}");
        }
    }

    #[test]
    fn behind_a_pooler_only_what_it_carries_along_is_set() {
        let baseline = baseline();
        let differing = baseline.differing(&SessionSettings::default(), Route::Pooler);
        let settable = differing.iter().filter(|each| each.can_be_set(Route::Pooler));
        assert_eq!(settable.map(|each| each.name).collect::<Vec<_>>(), CARRIED);
        assert!(!differing.iter().any(|each| each.name == "statement_timeout"));
    }

    #[test]
    fn nothing_is_taken_for_granted_without_an_answer() {
        let baseline = baseline();
        let differing = baseline.differing(&SessionSettings::default(), Route::Direct);
        assert_eq!(differing.len(), baseline.settings.len());
        assert!(!baseline.options().contains("integer_datetimes"), "no session can set it");
    }
}
