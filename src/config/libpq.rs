//! The environment of libpq: the `PG*` variables and the password file.

use std::path::{Path, PathBuf};

use super::database_url::{DatabaseUrl, FoundUrl};
use super::postgres_url::PostgresUrl;
use super::problem::{Problem, ValueError};
use super::secrets::secret::Secret;
use super::source::{self, Environment};

/// The variables that are read, and the parameters that they set.
const VARIABLES: [(&str, &str); 11] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGAPPNAME", "application_name"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];

/// The number of the first variables, each of which defines a database.
const DEFINING: usize = 5;

/// Returns true if the `PG*` variables define a database.
pub(crate) fn define(environment: &Environment) -> bool {
    VARIABLES[..DEFINING].iter().any(|(name, _)| environment.get(name).is_some())
}

/// Returns the database of the `PG*` variables, if they define one.
pub(crate) fn from_variables(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<FoundUrl> {
    if !define(environment) {
        return None;
    }
    let mut url = PostgresUrl::default();
    let mut names = Vec::new();
    let mut report = |name: &str, value: &str, error: ValueError| {
        problems.push(error.of(name).value(value).origin("environment"));
    };
    for (name, parameter) in VARIABLES {
        let Some(value) = environment.get(name) else { continue };
        names.push(name);
        if let Err(error) = url.set(parameter, value.to_owned()) {
            report(name, value, error);
        }
    }
    if let Err(error) = url.check_ports() {
        report("PGPORT", environment.get("PGPORT").unwrap_or_default(), error);
    }
    let url = DatabaseUrl::Postgres(Box::new(url));
    Some(FoundUrl { url, origin: Some(names.join(", ")) })
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
    let named = environment.get("PGPASSFILE").map(PathBuf::from);
    let is_named = named.is_some();
    let in_home = || environment.get("HOME").map(|home| Path::new(home).join(".pgpass"));
    let Some(path) = named.or_else(in_home) else { return Ok(None) };
    let text = match source::read_text(&path) {
        Ok(text) => text,
        Err(why) if is_named => return Err(why),
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
    let mut is_escaped = false;
    let ends_field = |character| {
        let is_end = character == ':' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    };
    // The password may contain unescaped colons.
    let fields: Vec<_> = line.splitn(5, ends_field).collect();
    let (password, fields) = fields.split_last()?;
    let port = login.port.to_string();
    let expected = [login.host, &port, login.dbname, login.user];
    let fits = |(field, expected): (&&str, _)| *field == "*" || unescape(field) == expected;
    let is_match = fields.len() == expected.len() && fields.iter().zip(expected).all(fits);
    (is_match && !line.starts_with('#')).then(|| Secret::new(unescape(password)))
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let next = || match characters.next()? {
        '\\' => characters.next(),
        character => Some(character),
    };
    std::iter::from_fn(next).collect()
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
