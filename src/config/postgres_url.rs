//! The parser of `databases.NAME.url`.
//!
//! PostgreSQL's URLs are read as by libpq. Parameters that libpq would accept but that mean something
//! weaker, or are not supported here, are errors.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::database_target::{TargetSession, TlsMode};
use super::problem::ValueError;
use super::secrets::secret::{MASK, Secret};

/// A parsed URL.
pub(crate) enum DatabaseUrl {
    Postgres(Box<PostgresUrl>),
    Sqlite(PathBuf),
}

/// The parts of a PostgreSQL URL, or of the `PG*` variables; each may be missing.
#[derive(Default)]
pub(crate) struct PostgresUrl {
    /// Empty: no host is named. `None` among others is the default host.
    pub(crate) hosts: Vec<Option<String>>,
    /// No port, one for all hosts, or one for each.
    pub(crate) ports: Vec<Option<u16>>,
    pub(crate) session: Option<TargetSession>,
    pub(crate) balance: Option<bool>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) dbname: Option<String>,
    pub(crate) application_name: Option<String>,
    pub(crate) sslmode: Option<TlsMode>,
    pub(crate) sslrootcert: Option<String>,
    pub(crate) sslcert: Option<String>,
    pub(crate) sslkey: Option<String>,
}

const FORMS: &str = "Write postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:PATH.";

const PARAMETERS: &str = "application_name, dbname, host, load_balance_hosts, password, port, sslcert, \
                          sslkey, sslmode, sslrootcert, target_session_attrs, user";

/// libpq's parameters that are set elsewhere here.
const ELSEWHERE: [(&str, &str); 7] = [
    ("connect_timeout", "Set pool.connect_timeout of this database."),
    ("statement_timeout", "Set statement_timeout of this database."),
    ("lock_timeout", "Set lock_timeout of this database."),
    ("pool_size", "Set pool.max of this database."),
    ("hostaddr", "Write the address as the host."),
    ("ssl", "Write sslmode=verify-full."),
    ("channel_binding", "Remove it: over TLS it is used whenever the server offers it."),
];

/// Parses a URL.
pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, Vec<ValueError>> {
    let url = url.trim();
    let scheme_end = url.find(':').unwrap_or_default();
    let (scheme, rest) = url.split_at(scheme_end);
    match scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => match rest.strip_prefix("://") {
            Some(rest) => parse_postgres(rest).map(Box::new).map(DatabaseUrl::Postgres),
            None => {
                Err(vec![ValueError::new("the slashes after postgres: are missing").instead(FORMS)])
            }
        },
        "sqlite" => parse_sqlite(&rest[1..]).map(DatabaseUrl::Sqlite).map_err(|r| vec![r]),
        other => Err(vec![unknown_scheme(other, url)]),
    }
}

fn unknown_scheme(scheme: &str, url: &str) -> ValueError {
    let known = ["postgres", "postgresql", "sqlite"];
    if url.is_empty() {
        return ValueError::new("the URL is empty").instead(FORMS);
    }
    if scheme.is_empty() && url.contains('=') {
        return ValueError::new("this is not a URL; keywords and values are not supported")
            .instead(FORMS);
    }
    let base = scheme.trim_start_matches("jdbc").split('+').next().unwrap_or_default();
    if scheme == "jdbc" || base != scheme && known.contains(&base) {
        return ValueError::new("the URL starts with the name of a driver")
            .instead("Start it with postgres:// alone.");
    }
    let alike = |known: &&str| strsim::damerau_levenshtein(scheme, known) <= 2;
    match known.iter().find(|known| !scheme.is_empty() && alike(known)) {
        Some(meant) => ValueError::new("this kind of database is unknown")
            .instead(format!("Did you mean {meant}:?")),
        None if scheme == "mysql" || scheme == "mariadb" => {
            ValueError::new("MySQL is not supported yet: PostgreSQL and SQLite are").instead(FORMS)
        }
        None => ValueError::new("the kind of database is not supported").instead(FORMS),
    }
}

fn parse_sqlite(rest: &str) -> Result<PathBuf, ValueError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = decode(path, "the path")?;
    if path.is_empty() {
        return Err(ValueError::new("this URL names no file").instead("Write sqlite:PATH."));
    }
    if path.starts_with(":memory:") || path.starts_with("file::memory:") {
        return Err(ValueError::new(
            "an in-memory database belongs to one connection, but one connection writes here and \
             others read: they need a file",
        )
        .instead("Write sqlite:PATH; /dev/shm/rowgate.db is a file in memory on Linux."));
    }
    if !query.is_empty() {
        return Err(ValueError::new("a SQLite path takes no parameters")
            .instead("Remove the ? and what follows; a ? in the path itself is written %3F."));
    }
    Ok(PathBuf::from(path))
}

/// Parses the text after `postgres://`.
fn parse_postgres(rest: &str) -> Result<PostgresUrl, Vec<ValueError>> {
    let mut url = PostgresUrl::default();
    let mut errors = Vec::new();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    // Nothing after this is quoted, then: it may be half of a password.
    if tail.contains('@') {
        let why = "there is an @ after one of the characters / ? #, which a password must not contain unescaped";
        return Err(vec![ValueError::new(why).instead(
            "Percent-encode them: %2F for /, %3F for ?, %23 for #, %40 for @; or refer to the \
             password: ${file:/path} needs no escapes.",
        )]);
    }
    errors.extend(user.and_then(|user| set_user(&mut url, user).err()));
    errors.extend(set_hosts(&mut url, hosts).err());
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    if tail.contains('#') {
        errors.push(ValueError::new("this URL contains a #").instead("Write %23 for it."));
    }
    match decode(path.strip_prefix('/').unwrap_or(path), "the database's name") {
        Ok(name) => url.dbname = Some(name).filter(|name| !name.is_empty()),
        Err(error) => errors.push(error),
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        errors.extend(set_parameter(&mut url, name, value).err());
    }
    if errors.is_empty() {
        errors.extend(url.places().err());
    }
    if errors.is_empty() { Ok(url) } else { Err(errors) }
}

fn set_user(url: &mut PostgresUrl, user: &str) -> Result<(), ValueError> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    url.user = Some(decode(user, "the user")?).filter(|user| !user.is_empty());
    let password = decode(password, "the password")?;
    url.password = Some(password).filter(|password| !password.is_empty()).map(Secret::new);
    Ok(())
}

fn set_hosts(url: &mut PostgresUrl, authority: &str) -> Result<(), ValueError> {
    if authority.is_empty() {
        return Ok(());
    }
    for place in authority.split(',') {
        let (host, port) = split_place(place)?;
        url.hosts.push(Some(decode(host, "the host")?).filter(|host| !host.is_empty()));
        url.ports.push(if port.is_empty() { None } else { Some(self::port(port)?) });
    }
    Ok(())
}

/// Splits a host from its port, which may be empty.
fn split_place(place: &str) -> Result<(&str, &str), ValueError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (address, after) = bracketed.split_once(']').ok_or_else(|| {
                ValueError::new("the URL's host starts with [ but has no ]").instead("Write [::1].")
            })?;
            (address, after.strip_prefix(':').unwrap_or(after))
        }
        None => place.rsplit_once(':').unwrap_or((place, "")),
    };
    if host.contains(':') && host.parse::<Ipv6Addr>().is_err() {
        return Err(ValueError::new("the URL's host contains a : but is not an IPv6 address")
            .instead("Write HOST:PORT, or [ADDRESS]:PORT for IPv6."));
    }
    Ok((host, port))
}

/// Parses a list of hosts, as in the parameter and `PGHOST`.
pub(crate) fn hosts(text: &str) -> Vec<Option<String>> {
    text.split(',').map(|host| Some(host.to_owned()).filter(|host| !host.is_empty())).collect()
}

/// Parses a list of ports, as in the parameter and `PGPORT`; an empty one is the default.
pub(crate) fn ports(text: &str) -> Result<Vec<Option<u16>>, ValueError> {
    let one = |text: &str| if text.is_empty() { Ok(None) } else { port(text).map(Some) };
    text.split(',').map(one).collect()
}

/// A host and a port; `None` where the default is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
}

impl PostgresUrl {
    /// All places to connect to.
    pub(crate) fn places(&self) -> Result<Vec<Place<'_>>, ValueError> {
        let hosts = if self.hosts.is_empty() { &[None][..] } else { &self.hosts };
        let port = |at: usize| match &self.ports[..] {
            [] => None,
            [port] => *port,
            ports => ports[at],
        };
        if self.ports.len() > 1 && self.ports.len() != hosts.len() {
            let why = format!("{} ports are given for {} hosts", self.ports.len(), hosts.len());
            return Err(
                ValueError::new(why).instead("Write one port for all hosts, or one for each.")
            );
        }
        let hosts = hosts.iter().map(Option::as_deref).enumerate();
        Ok(hosts.map(|(at, host)| Place { host, port: port(at) }).collect())
    }
}

/// Parses `target_session_attrs`.
pub(crate) fn session(text: &str) -> Result<TargetSession, ValueError> {
    serde_json::from_value(text.into()).map_err(|_error| {
        ValueError::new("target_session_attrs has an unknown value")
            .instead("Write one of any, read-write, read-only, primary, standby, prefer-standby.")
    })
}

/// Parses `load_balance_hosts`.
pub(crate) fn balance(text: &str) -> Result<bool, ValueError> {
    match text {
        "disable" => Ok(false),
        "random" => Ok(true),
        _ => Err(ValueError::new("load_balance_hosts has an unknown value")
            .instead("Write disable (the written order) or random.")),
    }
}

/// Parses a port.
pub(crate) fn port(text: &str) -> Result<u16, ValueError> {
    // Not quoted: a part of a password with an @ or / ends up here.
    let refuse =
        |_| ValueError::new("the port is not a number").instead("Write one from 1 to 65535.");
    match text.parse::<u16>().map_err(refuse)? {
        0 => Err(ValueError::new("there is no port 0").instead("Write one from 1 to 65535.")),
        port => Ok(port),
    }
}

fn set_parameter(url: &mut PostgresUrl, name: &str, value: &str) -> Result<(), ValueError> {
    let value = decode(value, "a parameter")?;
    match name {
        "host" => url.hosts = hosts(&value),
        "port" => url.ports = ports(&value)?,
        "target_session_attrs" => url.session = Some(session(&value)?),
        "load_balance_hosts" => url.balance = Some(balance(&value)?),
        "user" => url.user = Some(value),
        "password" => url.password = Some(Secret::new(value)),
        "dbname" => url.dbname = Some(value),
        "application_name" => url.application_name = Some(value),
        "sslmode" => url.sslmode = Some(tls_mode(&value)?),
        "sslrootcert" => url.sslrootcert = Some(value),
        "sslcert" => url.sslcert = Some(value),
        "sslkey" => url.sslkey = Some(value),
        unknown => return Err(unknown_parameter(unknown)),
    }
    Ok(())
}

fn unknown_parameter(name: &str) -> ValueError {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
        return ValueError::new(format!("the URL's parameter {name} is not supported here"))
            .instead(*instead);
    }
    let is_similar = |known: &&str| strsim::damerau_levenshtein(name, known) <= 2;
    let instead = match PARAMETERS.split(", ").find(is_similar) {
        Some(meant) => format!("Did you mean {meant}?"),
        None => format!("The parameters are {PARAMETERS}."),
    };
    ValueError::new(format!("the URL has an unknown parameter {name}")).instead(instead)
}

/// Parses `sslmode`, without the modes that may silently be unencrypted.
pub(crate) fn tls_mode(mode: &str) -> Result<TlsMode, ValueError> {
    serde_json::from_value(mode.into()).map_err(|_error| {
        let why = if ["prefer", "allow"].contains(&mode) {
            format!("sslmode {mode} sends plain text if the server does not offer TLS")
        } else {
            "sslmode has an unknown value".to_owned()
        };
        ValueError::new(why).instead(
            "Write verify-full (or verify-ca, or require, which checks no certificate) to encrypt, \
             disable to send plain text.",
        )
    })
}

fn decode(text: &str, what: &str) -> Result<String, ValueError> {
    let escapes = text.match_indices('%').map(|(at, _)| text.as_bytes().get(at + 1..at + 3));
    let valid = |hex: Option<&[u8]>| hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if !escapes.into_iter().all(valid) {
        let why = format!("in {what}, a % is not followed by two hexadecimal digits");
        return Err(ValueError::new(why).instead("Write %25 for the character % itself."));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded =
        decoded.map_err(|error| ValueError::new(format!("{what} is not UTF-8: {error}")))?;
    if decoded.contains('\0') {
        return Err(ValueError::new(format!("{what} contains a zero byte")));
    }
    Ok(decoded.into_owned())
}

/// Masks all parts of a URL that may be a password, even if it is malformed.
pub(crate) fn masked(url: &str) -> String {
    let url = url.trim();
    if url.to_ascii_lowercase().starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.to_owned() };
    // Up to the last @: an unescaped password may hold @, / and ? itself.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let mut shown = format!("{scheme}://");
    if let Some(user) = user {
        let end = user.find([':', '/', '?', '#']).unwrap_or(user.len());
        shown.push_str(&user[..end]);
        shown.push_str(if end < user.len() { ":******@" } else { "@" });
    }
    // Without a user, what stands in a port's place may be one's password.
    let authority = place.split('/').next().unwrap_or_default();
    match end_of_hosts(authority) {
        Some(end) => {
            shown.push_str(&authority[..end]);
            shown.push_str(MASK);
        }
        None => shown.push_str(place),
    }
    if let Some(query) = query {
        let parameters: Vec<_> = query.split('&').map(masked_parameter).collect();
        shown.push_str(&format!("?{}", parameters.join("&")));
    }
    shown
}

/// The offset of the first port in a list of hosts that is not a number.
fn end_of_hosts(authority: &str) -> Option<usize> {
    let mut start = 0;
    for place in authority.split(',') {
        let bracket = place.rfind(']').unwrap_or(0);
        let colon = place[bracket..].find(':').map(|at| bracket + at + 1);
        let is_port = |at: usize| place[at..].bytes().all(|byte| byte.is_ascii_digit());
        if let Some(at) = colon.filter(|at| !is_port(*at)) {
            return Some(start + at);
        }
        start += place.len() + 1;
    }
    None
}

fn masked_parameter(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _))
            if !PARAMETERS.split(", ").any(|known| known == name) || name == "password" =>
        {
            format!("{name}={MASK}")
        }
        Some(_) | None => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(url: &str) -> PostgresUrl {
        match parse(url) {
            Ok(DatabaseUrl::Postgres(url)) => *url,
            Ok(DatabaseUrl::Sqlite(_)) => panic!("{url} is SQLite"),
            Err(errors) => panic!("{url}: {errors:?}"),
        }
    }

    fn place(host: &str, port: u16) -> Place<'_> {
        Place { host: Some(host), port: Some(port) }
    }

    fn refused(url: &str) -> String {
        let errors = parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
        let texts = errors.into_iter().map(|r| r.why + " " + &r.instead.unwrap_or_default());
        texts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_url_names_everything() {
        let url = postgres("postgres://me:p%40s%2Fs@db.example:5433/shop?sslmode=require");
        assert_eq!(url.places(), Ok(vec![place("db.example", 5433)]));
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.map(|p| p.expose().to_owned()).as_deref(), Some("p@s/s"));
        assert_eq!(url.dbname.as_deref(), Some("shop"));
        assert_eq!(url.sslmode, Some(TlsMode::Require));
        let url = postgres("postgresql://?host=db&port=1&user=u&password=p&dbname=d");
        assert_eq!(url.places(), Ok(vec![place("db", 1)]));
        assert_eq!((url.user.as_deref(), url.dbname.as_deref()), (Some("u"), Some("d")));
    }

    #[test]
    fn hosts_are_names_addresses_and_sockets() {
        let cases = [
            ("postgres://u@h", Some("h"), None),
            ("postgres://h:5433", Some("h"), Some(5433)),
            ("postgres://u@[::1]:5433/d", Some("::1"), Some(5433)),
            ("postgres://u@[::1]/d", Some("::1"), None),
            ("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", Some("/var/run/postgresql"), None),
            ("postgres:///d?host=/var/run/postgresql", Some("/var/run/postgresql"), None),
            ("postgres:///d", None, None),
            ("postgres://", None, None),
            ("POSTGRES://u@h:/d", Some("h"), None),
        ];
        for (text, host, port) in cases {
            let url = postgres(text);
            assert_eq!(url.places(), Ok(vec![Place { host, port }]), "{text}");
        }
    }

    #[test]
    fn several_hosts_have_one_port_or_one_each() {
        let cases = [
            ("postgres://a,b:5433/d", vec![(Some("a"), None), (Some("b"), Some(5433))]),
            ("postgres://u@a:1,[::1]:2/d", vec![(Some("a"), Some(1)), (Some("::1"), Some(2))]),
            ("postgres:///d?host=a,b&port=7", vec![(Some("a"), Some(7)), (Some("b"), Some(7))]),
            ("postgres:///d?host=a,b&port=,7", vec![(Some("a"), None), (Some("b"), Some(7))]),
            ("postgres://a,/d", vec![(Some("a"), None), (None, None)]),
            ("postgres://%2Ftmp,b/d", vec![(Some("/tmp"), None), (Some("b"), None)]),
        ];
        for (text, places) in cases {
            let expected = places.into_iter().map(|(host, port)| Place { host, port }).collect();
            assert_eq!(postgres(text).places(), Ok(expected), "{text}");
        }
        let url =
            postgres("postgres://a,b/d?target_session_attrs=standby&load_balance_hosts=random");
        assert_eq!((url.session, url.balance), (Some(TargetSession::Standby), Some(true)));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let cases = [
            ("", "empty"),
            ("rowgate.db", "not supported"),
            ("host=db user=me", "keywords"),
            ("postgress://u@h/d", "Did you mean postgres:?"),
            ("mysql://h/d", "MySQL is not supported yet"),
            ("jdbc:postgresql://h/d", "name of a driver"),
            ("postgresql+psycopg2://h/d", "name of a driver"),
            ("postgres:h/d", "slashes"),
            ("postgres:///d?host=a,b,c&port=1,2", "2 ports are given for 3 hosts"),
            ("postgres://a,b:x/d", "not a number"),
            ("postgres://a,b/d?target_session_attrs=master", "read-write"),
            ("postgres://a,b/d?load_balance_hosts=yes", "random"),
            ("postgres://a,b/d?hostaddr=10.0.0.1,10.0.0.2", "as the host"),
            ("postgres://h:99999/d", "from 1 to 65535"),
            ("postgres://h:0/d", "no port 0"),
            ("postgres://u:p/w@h/d", "%2F for /"),
            ("postgres://u:p%zz@h/d", "%25"),
            ("postgres://u@[::1/d", "no ]"),
            ("postgres://u@::1/d", "[ADDRESS]:PORT"),
            ("postgres://h/d%00", "zero byte"),
            ("postgres://h/d#x", "%23"),
            ("postgres://h/d?sslmod=require", "Did you mean sslmode?"),
            ("postgres://h/d?sslmode=prefer", "plain text"),
            ("postgres://h/d?sslmode=allow", "plain text"),
            ("postgres://h/d?sslmode=on", "sslmode has an unknown value"),
            ("postgres://h/d?connect_timeout=3", "pool.connect_timeout"),
            ("sqlite:", "no file"),
            ("sqlite::memory:", "they need a file"),
            ("sqlite://:memory:", "they need a file"),
            ("sqlite:a.db?mode=ro", "%3F"),
        ];
        for (url, expected) in cases {
            let text = refused(url);
            assert!(text.contains(expected), "{url}: {text}");
        }
        assert!(refused("postgres://h:x/d?sslmode=on&foo=1").matches(';').count() == 2);
    }

    #[test]
    fn sqlite_is_a_path() {
        let cases = [
            ("sqlite:rowgate.db", "rowgate.db"),
            ("sqlite://rowgate.db", "rowgate.db"),
            ("sqlite:///var/lib/a%20b%3F.db", "/var/lib/a b?.db"),
            ("sqlite:/var/x.db", "/var/x.db"),
        ];
        for (url, path) in cases {
            match parse(url) {
                Ok(DatabaseUrl::Sqlite(found)) => assert_eq!(found, PathBuf::from(path), "{url}"),
                Ok(DatabaseUrl::Postgres(_)) | Err(_) => panic!("{url}"),
            }
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let cases = [
            ("postgres://me:hunter2@h:1/d", "postgres://me:******@h:1/d"),
            ("postgres://me@h/d?sslmode=require", "postgres://me@h/d?sslmode=require"),
            ("postgres://me:hunter2/@h/d", "postgres://me:******@h/d"),
            ("postgres://me:hun@ter2@h/d", "postgres://me:******@h/d"),
            ("postgres://me:?hunter2@h/d", "postgres://me:******@h/d"),
            ("postgres://h/d?password=hunter2&user=me", "postgres://h/d?password=******&user=me"),
            ("postgres://h/d?password=hun@ter2", "postgres://h:******@ter2"),
            ("postgres://me:hunter2", "postgres://me:******"),
            ("postgres://me:hunter2/d", "postgres://me:******"),
            ("postgres://[::1]:5432/d", "postgres://[::1]:5432/d"),
            ("postgres://me:hunter2@a:1,[::1]:2,c/d", "postgres://me:******@a:1,[::1]:2,c/d"),
            ("postgres://a,me:hunter2,b/d", "postgres://a,me:******"),
            ("postgres://me:hun,ter2", "postgres://me:******"),
            ("postgres://h/d?sslpassword=hunter2", "postgres://h/d?sslpassword=******"),
            ("me:hunter2@h/d", "******"),
            ("password=hunter2 host=h", "******"),
            ("sqlite:rowgate.db", "sqlite:rowgate.db"),
        ];
        for (url, expected) in cases {
            assert_eq!(masked(url), expected);
            let errors = parse(url).err().unwrap_or_default();
            assert!(!format!("{errors:?}").contains("ter2"), "{errors:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_password_comes_back_from_its_escapes(password in "\\PC{1,20}") {
            let escaped = percent_encoding::utf8_percent_encode(
                &password, percent_encoding::NON_ALPHANUMERIC);
            let url = postgres(&format!("postgres://me:{escaped}@h/d"));
            let found = url.password.unwrap();
            proptest::prop_assert_eq!(found.expose(), password);
        }

        #[test]
        fn no_url_makes_the_parser_panic(url in "(postgres|sqlite)?:?/{0,2}\\PC{0,30}") {
            let _unused = (parse(&url).is_ok(), masked(&url));
        }
    }
}
