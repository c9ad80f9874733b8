//! What libpq takes from its surroundings: the `PG*` variables and the password file.

use std::path::Path;

use super::problem::{Problem, Refusal};
use super::secret::Secret;
use super::source::{self, Environment};
use super::url::{self, PostgresUrl};

/// The variables that say that there is a database.
const NAMING: [&str; 5] = ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"];

/// The variables that are heeded when there is.
const REFINING: [&str; 5] =
    ["PGSSLMODE", "PGSSLROOTCERT", "PGAPPNAME", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS"];

/// The database that the `PG*` variables define, and their names. `None` when they define none.
pub(crate) fn from_variables(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<(PostgresUrl, String)> {
    let set = |name: &&str| environment.get(name).is_some();
    if !NAMING.iter().any(set) {
        return None;
    }
    let names: Vec<_> = NAMING.into_iter().chain(REFINING).filter(set).collect();
    let text = |name: &str| environment.get(name).map(str::to_owned);
    let mut found = PostgresUrl {
        hosts: environment.get("PGHOST").map(url::hosts).unwrap_or_default(),
        user: text("PGUSER"),
        password: text("PGPASSWORD").map(Secret::new),
        dbname: text("PGDATABASE"),
        application_name: text("PGAPPNAME"),
        sslrootcert: text("PGSSLROOTCERT"),
        ..PostgresUrl::default()
    };
    let mut variables = Variables { environment, problems };
    found.ports = variables.read("PGPORT", url::ports).unwrap_or_default();
    found.sslmode = variables.read("PGSSLMODE", url::tls_mode);
    found.session = variables.read("PGTARGETSESSIONATTRS", url::session);
    found.balance = variables.read("PGLOADBALANCEHOSTS", url::balance);
    if let Err(refusal) = found.places() {
        variables.refuse("PGPORT", refusal);
        found.ports.clear();
    }
    Some((found, names.join(", ")))
}

/// Variables that are not just text.
struct Variables<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
}

impl Variables<'_> {
    fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Refusal>) -> Option<T> {
        match self.environment.get(name).map(parse)? {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.refuse(name, refusal);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, refusal: Refusal) {
        let value = self.environment.get(name).unwrap_or_default();
        self.problems.push(refusal.of(name).value(value).origin("environment"));
    }
}

/// What a line of the password file must match.
pub(crate) struct Login<'a> {
    /// The host, `localhost` for the default socket.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) dbname: &'a str,
    pub(crate) user: &'a str,
}

/// The password of `PGPASSFILE`, or of `~/.pgpass`; `Err` says why the file is ignored.
pub(crate) fn password(
    environment: &Environment,
    login: &Login<'_>,
) -> Result<Option<Secret>, String> {
    let path = match (environment.get("PGPASSFILE"), environment.get("HOME")) {
        (Some(path), _) => Path::new(path).to_owned(),
        (None, Some(home)) => Path::new(home).join(".pgpass"),
        (None, None) => return Ok(None),
    };
    let text = match source::read_text(&path) {
        Ok(text) => text,
        Err(why) if environment.get("PGPASSFILE").is_some() => return Err(why),
        // Most accounts have none.
        Err(_) => return Ok(None),
    };
    if source::is_open_to_others(&path) {
        let path = path.display();
        return Err(format!(
            "the password file {path} is ignored because others may read it: chmod 600 {path}"
        ));
    }
    Ok(text.lines().find_map(|line| matching(line, login)))
}

/// The password of a line `host:port:database:user:password`, when it is the login's.
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
    // The password may hold : as it is.
    Some(Secret::new(unescape(rest)))
}

/// The text before the next unescaped colon, and what follows it.
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
