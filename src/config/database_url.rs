//! The parser of `databases.NAME.url`: which kind of database it names.

use std::fmt;
use std::path::PathBuf;

use super::mysql_url::{self, MysqlUrl};
use super::postgres_url::{self, PostgresUrl};
use super::problem::ValueError;
use super::schema::key::EMBEDDED_URL;
use super::secrets::secret::MASK;
use super::unknown_parameters;
use super::url_parts::{decode, refuse};

/// The URL of a database for which none was written.
pub(crate) struct FoundUrl {
    pub(crate) url: DatabaseUrl,
    /// The variables that define it; `None`: the default.
    pub(crate) origin: Option<String>,
}

impl FoundUrl {
    /// The embedded database in the working directory.
    pub(crate) fn embedded() -> Self {
        let path = EMBEDDED_URL.trim_start_matches("sqlite:");
        Self { url: DatabaseUrl::Sqlite(PathBuf::from(path)), origin: None }
    }
}

/// A parsed URL.
pub(crate) enum DatabaseUrl {
    Postgres(Box<PostgresUrl>),
    Mysql(Box<MysqlUrl>),
    Sqlite(PathBuf),
}

const FORMS: &str = "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE, mysql://USER:PASSWORD@HOST:PORT/DATABASE \
                     or sqlite:PATH.";

/// Parses a URL.
pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, Vec<ValueError>> {
    let url = url.trim();
    let (scheme, rest) = url.split_at(url.find(':').unwrap_or_default());
    let scheme = scheme.to_ascii_lowercase();
    let parsed = match (scheme.as_str(), rest.strip_prefix("://")) {
        ("postgres" | "postgresql", Some(rest)) => {
            return postgres_url::parse(rest).map(Box::new).map(DatabaseUrl::Postgres);
        }
        ("mysql" | "mariadb", Some(rest)) => {
            return mysql_url::parse(rest).map(Box::new).map(DatabaseUrl::Mysql);
        }
        ("postgres" | "postgresql" | "mysql" | "mariadb", None) => {
            refuse(format!("the slashes after {scheme}: are missing"), FORMS)
        }
        ("sqlite", _) => parse_sqlite(&rest[1..]).map(DatabaseUrl::Sqlite),
        (other, _) => refuse_scheme(other, url),
    };
    parsed.map_err(|error| vec![error])
}

/// The schemes that there are.
const SCHEMES: [&str; 5] = ["postgres", "postgresql", "sqlite", "mysql", "mariadb"];

/// Schemes of others for MySQL, each with what is wrong with it and what to write instead.
const OF_MYSQL: [(&str, &str, &str); 4] = [
    ("mysqls", "this is not a scheme of MySQL's", "Write mysql://…?ssl-mode=VERIFY_IDENTITY."),
    ("mysql2", "the URL starts with the name of a driver", "Start it with mysql:// alone."),
    ("mysqli", "the URL starts with the name of a driver", "Start it with mysql:// alone."),
    (
        "mysqlx",
        "the X protocol is not supported",
        "Write mysql:// and the port of the classic protocol, 3306.",
    ),
];

fn refuse_scheme<T>(scheme: &str, url: &str) -> Result<T, ValueError> {
    let base = scheme.split('+').next().unwrap_or_default();
    if let Some((_, why, instead)) = OF_MYSQL.iter().find(|(name, ..)| *name == base) {
        return refuse(*why, *instead);
    }
    let alike = |known: &&str| strsim::damerau_levenshtein(scheme, known) <= 2;
    let why = if url.is_empty() {
        "the URL is empty"
    } else if scheme.is_empty() && url.contains('=') {
        "this is not a URL; keywords and values are not supported"
    } else if scheme == "jdbc" || base != scheme && SCHEMES.contains(&base) {
        let why = "the URL starts with the name of a driver";
        return refuse(why, format!("Start it with {} alone.", own_scheme(base, url)));
    } else if let Some(meant) = SCHEMES.into_iter().find(alike) {
        return refuse("this kind of database is unknown", format!("Did you mean {meant}:?"));
    } else {
        "the kind of database is not supported"
    };
    refuse(why, FORMS)
}

/// Returns the start of the URL that was meant by one that starts with the name of a driver.
fn own_scheme(base: &str, url: &str) -> &'static str {
    // jdbc:mysql://…, jdbc:mariadb:loadbalance://…
    let second = url.split(':').nth(1).unwrap_or_default().to_ascii_lowercase();
    let kind = if base == "jdbc" { &second } else { base };
    match kind {
        "mysql" | "mariadb" => "mysql://",
        "sqlite" => "sqlite:",
        _ => "postgres://",
    }
}

fn parse_sqlite(rest: &str) -> Result<PathBuf, ValueError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = decode(path, "the path")?;
    if path.is_empty() {
        return refuse("this URL names no file", "Write sqlite:PATH.");
    }
    if path.starts_with(":memory:") || path.starts_with("file::memory:") {
        return refuse(
            "an in-memory database belongs to one connection, but one connection writes here and \
             others read: they need a file",
            "Write sqlite:PATH; /dev/shm/rowgate.db is a file in memory on Linux.",
        );
    }
    if !query.is_empty() {
        let instead = "Remove the ? and what follows; a ? in the path itself is written %3F.";
        return refuse("a SQLite path takes no parameters", instead);
    }
    Ok(PathBuf::from(path))
}

impl fmt::Display for DatabaseUrl {
    // The password is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
            Self::Mysql(url) => write!(f, "{url}"),
        }
    }
}

/// Masks all parts of a URL that may be a password, even if it is malformed.
pub(crate) fn masked(url: &str) -> String {
    let url = url.trim();
    if url.to_ascii_lowercase().starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.to_owned() };
    // Up to the last @: an unescaped password may hold @, / and ? itself.
    let (user, rest) = rest.split_at(rest.rfind('@').map_or(0, |at| at + 1));
    let user = match user.find([':', '/', '?', '#']) {
        Some(end) => format!("{}:{MASK}@", &user[..end]),
        None => user.to_owned(),
    };
    let (place, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    // Without a user, what stands in a port's place may be one's password.
    let authority = place.split('/').next().unwrap_or_default();
    let place = match end_of_hosts(authority) {
        Some(end) => format!("{}{MASK}", &authority[..end]),
        None => place.to_owned(),
    };
    let query = query.strip_prefix('?').map(|query| {
        let parameters: Vec<_> = query.split('&').map(masked_parameter).collect();
        format!("?{}", parameters.join("&"))
    });
    format!("{scheme}://{user}{place}{}", query.unwrap_or_default())
}

/// The offset of the first port in a list of hosts that is not a number.
fn end_of_hosts(authority: &str) -> Option<usize> {
    authority.match_indices(':').map(|(at, _)| at + 1).find(|at| {
        let port = authority[*at..].split(',').next().unwrap_or_default();
        // An address in brackets has colons of its own.
        !port.contains(']') && !port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn masked_parameter(pair: &str) -> String {
    let is_shown = |name: &str| {
        let is_of_postgres = unknown_parameters::PARAMETERS.split(", ").any(|known| known == name);
        name != "password" && (is_of_postgres || mysql_url::is_shown(name))
    };
    match pair.split_once('=') {
        Some((name, _)) if !is_shown(name) => format!("{name}={MASK}"),
        Some(_) | None => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_for_another_program_is_refused_with_the_right_spelling() {
        for (url, expected) in [
            ("mysqls://me:hunter2@h/d", "mysql://…?ssl-mode=VERIFY_IDENTITY"),
            ("mysql+pymysql://me:hunter2@h/d", "Start it with mysql:// alone"),
            ("mariadb+mariadbconnector://h/d", "Start it with mysql:// alone"),
            ("mysql2://me:hunter2@h/d", "Start it with mysql:// alone"),
            ("mysqli://h/d", "Start it with mysql:// alone"),
            ("mysqlx://h:33060/d", "the X protocol is not supported"),
            ("mysqlx+srv://h/d", "the X protocol is not supported"),
            ("jdbc:mysql://h/d?user=me&password=hunter2", "Start it with mysql:// alone"),
            ("jdbc:mariadb:loadbalance://a,b/d", "Start it with mysql:// alone"),
            ("jdbc:postgresql://h/d", "Start it with postgres:// alone"),
            ("jdbc:sqlite:a.db", "Start it with sqlite: alone"),
            ("sqlite+aiosqlite:///a.db", "Start it with sqlite: alone"),
            ("mysq://h/d", "Did you mean mysql:?"),
            ("maria://h/d", "Did you mean mariadb:?"),
            ("oracle://h/d", "the kind of database is not supported"),
            ("mysql:h/d", "the slashes after mysql: are missing"),
            ("mariadb:/h/d", "the slashes after mariadb: are missing"),
        ] {
            let errors = parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
            let text = format!("{errors:?}");
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
