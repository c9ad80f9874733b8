//! The environment of libpq: the `PG*` variables and the password file.

use std::path::Path;

use super::postgres_url::{self, PostgresUrl};
use super::problem::{Problem, ValueError};
use super::secrets::secret::Secret;
use super::source::{self, Environment};

/// The variables that define a database.
const NAMING: [&str; 5] = ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"];

/// The variables that are read when a database is defined.
const REFINING: [&str; 5] =
    ["PGSSLMODE", "PGSSLROOTCERT", "PGAPPNAME", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS"];

/// The database that the `PG*` variables define.
pub(crate) struct Variables {
    pub(crate) url: PostgresUrl,
    /// The names of the variables that are set.
    pub(crate) names: String,
}

/// Returns the database of the `PG*` variables, if they define one.
pub(crate) fn from_variables(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<Variables> {
    let set = |name: &&str| environment.get(name).is_some();
    if !NAMING.iter().any(set) {
        return None;
    }
    let names: Vec<_> = NAMING.into_iter().chain(REFINING).filter(set).collect();
    let text = |name: &str| environment.get(name).map(str::to_owned);
    let mut url = PostgresUrl {
        hosts: environment.get("PGHOST").map(postgres_url::hosts).unwrap_or_default(),
        user: text("PGUSER"),
        password: text("PGPASSWORD").map(Secret::new),
        dbname: text("PGDATABASE"),
        application_name: text("PGAPPNAME"),
        sslrootcert: text("PGSSLROOTCERT"),
        ..PostgresUrl::default()
    };
    let mut variables = VariableReader { environment, problems };
    url.ports = variables.read("PGPORT", postgres_url::ports).unwrap_or_default();
    url.sslmode = variables.read("PGSSLMODE", postgres_url::tls_mode);
    url.session = variables.read("PGTARGETSESSIONATTRS", postgres_url::session);
    url.balance = variables.read("PGLOADBALANCEHOSTS", postgres_url::balance);
    if let Err(error) = url.places() {
        variables.report("PGPORT", error);
        url.ports.clear();
    }
    Some(Variables { url, names: names.join(", ") })
}

/// Reads variables that have a syntax.
struct VariableReader<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
}

impl VariableReader<'_> {
    fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, ValueError>) -> Option<T> {
        match self.environment.get(name).map(parse)? {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(name, error);
                None
            }
        }
    }

    fn report(&mut self, name: &str, error: ValueError) {
        let value = self.environment.get(name).unwrap_or_default();
        self.problems.push(error.of(name).value(value).origin("environment"));
    }
}

/// The fields that a line of the password file must match.
pub(crate) struct Login<'a> {
    /// The host, `localhost` for the default socket.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) dbname: &'a str,
    pub(crate) user: &'a str,
}

/// Returns the password of `PGPASSFILE`, or of `~/.pgpass`; an error says why the file is ignored.
pub(crate) fn password(
    environment: &Environment,
    login: &Login<'_>,
) -> Result<Option<Secret>, String> {
    let named = environment.get("PGPASSFILE");
    let path = match (named, environment.get("HOME")) {
        (Some(path), _) => Path::new(path).to_owned(),
        (None, Some(home)) => Path::new(home).join(".pgpass"),
        (None, None) => return Ok(None),
    };
    let text = match source::read_text(&path) {
        Ok(text) => text,
        Err(why) if named.is_some() => return Err(why),
        // Most accounts have none.
        Err(_) => return Ok(None),
    };
    if source::is_open_to_others(&path) {
        let path = path.display();
        return Err(format!(
            "the password file {path} is ignored because others can read it: chmod 600 {path}"
        ));
    }
    Ok(text.lines().find_map(|line| matching(line, login)))
}

/// Returns the password of a line `host:port:database:user:password` if it matches the login.
fn matching(line: &str, login: &Login<'_>) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let port = login.port.to_string();
    let mut rest = line;
    for expected in [login.host, &port, login.dbname, login.user] {
        let (field, after) = field(rest)?;
        if field != "*" && unescape(field) != expected {
            return None;
        }
        rest = after;
    }
    // The password may contain unescaped colons.
    Some(Secret::new(unescape(rest)))
}

/// Splits a text at its next unescaped colon.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b':' if !escaped => return Some((&text[..at], &text[at + 1..])),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LOGIN: Login<'_> = Login { host: "db", port: 5432, dbname: "shop", user: "me" };

    #[test]
    fn the_first_line_that_matches_gives_the_password() {
        let cases = [
            ("db:5432:shop:me:s3cret", Some("s3cret")),
            ("*:*:*:me:a:b", Some("a:b")),
            ("*:*:*:*:a\\:b\\\\c", Some("a:b\\c")),
            ("other:*:*:*:x", None),
            ("db:5433:*:*:x", None),
            ("#db:5432:shop:me:x", None),
            ("db:5432", None),
            ("d\\b:5432:shop:me:x", Some("x")),
        ];
        for (line, expected) in cases {
            let found = matching(line, &LOGIN);
            assert_eq!(found.as_ref().map(Secret::expose), expected, "{line}");
        }
    }

    #[test]
    fn a_password_file_that_others_may_read_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".pgpass");
        std::fs::write(&path, "# mine\nx:*:*:*:no\ndb:*:*:me:s3cret\n").unwrap();
        let environment = Environment::of(&[("HOME", directory.path().to_str().unwrap())]);
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o600);
        let found = password(&environment, &LOGIN).unwrap();
        assert_eq!(found.as_ref().map(Secret::expose), Some("s3cret"));
        mode(0o640);
        let why = password(&environment, &LOGIN).unwrap_err();
        assert!(why.contains("chmod 600") && !why.contains("s3cret"), "{why}");
    }

    #[test]
    fn a_missing_password_file_matters_only_when_it_is_named() {
        assert_eq!(password(&Environment::of(&[("HOME", "/none")]), &LOGIN), Ok(None));
        assert!(password(&Environment::of(&[("PGPASSFILE", "/none")]), &LOGIN).is_err());
    }
}
