//! The parser of `databases.NAME.url`.
//!
//! PostgreSQL's URLs are read as by libpq. Parameters that libpq would accept but that mean something
//! weaker, or are not supported here, are errors.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::database_target::{ChannelBinding, TargetSession, TlsMode};
use super::problem::ValueError;
use super::schema::key::EMBEDDED_URL;
use super::secrets::secret::{MASK, Secret};
use super::unknown_parameters;

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
    Sqlite(PathBuf),
}

/// The parts of a PostgreSQL URL, or of the `PG*` variables; each may be missing.
#[derive(Default)]
pub(crate) struct PostgresUrl {
    /// Empty: no host is named. `None` among others is the default host.
    hosts: Vec<Option<String>>,
    /// No port, one for all hosts, or one for each.
    ports: Vec<Option<u16>>,
    pub(crate) session: Option<TargetSession>,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) balance: bool,
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

const SESSIONS: &str = "Write one of any, read-write, read-only, primary, standby, prefer-standby.";

const TLS_MODES: &str = "Write verify-full (or verify-ca, or require, which checks no certificate) to encrypt, \
                         disable to send plain text.";

fn refuse<T>(why: impl Into<String>, instead: impl Into<String>) -> Result<T, ValueError> {
    Err(ValueError::new(why).instead(instead))
}

/// Parses a URL.
pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, Vec<ValueError>> {
    let url = url.trim();
    let (scheme, rest) = url.split_at(url.find(':').unwrap_or_default());
    let parsed = match scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => match rest.strip_prefix("://") {
            Some(rest) => return parse_postgres(rest).map(Box::new).map(DatabaseUrl::Postgres),
            None => refuse("the slashes after postgres: are missing", FORMS),
        },
        "sqlite" => parse_sqlite(&rest[1..]).map(DatabaseUrl::Sqlite),
        other => refuse_scheme(other, url),
    };
    parsed.map_err(|error| vec![error])
}

fn refuse_scheme<T>(scheme: &str, url: &str) -> Result<T, ValueError> {
    let known = ["postgres", "postgresql", "sqlite"];
    let base = scheme.trim_start_matches("jdbc").split('+').next().unwrap_or_default();
    let alike = |known: &&str| strsim::damerau_levenshtein(scheme, known) <= 2;
    let why = if url.is_empty() {
        "the URL is empty"
    } else if scheme.is_empty() && url.contains('=') {
        "this is not a URL; keywords and values are not supported"
    } else if scheme == "jdbc" || base != scheme && known.contains(&base) {
        let why = "the URL starts with the name of a driver";
        return refuse(why, "Start it with postgres:// alone.");
    } else if let Some(meant) = known.into_iter().find(alike) {
        return refuse("this kind of database is unknown", format!("Did you mean {meant}:?"));
    } else if scheme == "mysql" || scheme == "mariadb" {
        "MySQL is not supported yet: PostgreSQL and SQLite are"
    } else {
        "the kind of database is not supported"
    };
    refuse(why, FORMS)
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

/// Parses the text after `postgres://`.
fn parse_postgres(rest: &str) -> Result<PostgresUrl, Vec<ValueError>> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    // Nothing after this is quoted, then: it may be half of a password.
    if tail.contains('@') {
        let why = "there is an @ after one of the characters / ? #, which a password must not contain unescaped";
        return Err(vec![ValueError::new(why).instead(
            "Percent-encode them: %2F for /, %3F for ?, %23 for #, %40 for @; or refer to the \
             password: ${file:/path} needs no escapes.",
        )]);
    }
    let mut url = PostgresUrl::default();
    let mut errors = Vec::new();
    errors.extend(url.set_user(user).err());
    errors.extend(url.set_hosts(hosts).err());
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    if tail.contains('#') {
        errors.push(ValueError::new("this URL contains a #").instead("Write %23 for it."));
    }
    let dbname = decode(path.strip_prefix('/').unwrap_or(path), "the database's name");
    errors.extend(dbname.map(|name| url.dbname = non_empty(&name)).err());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value, "a parameter");
        errors.extend(value.and_then(|value| url.set(name, value)).err());
    }
    if errors.is_empty() {
        errors.extend(url.check_ports().err());
    }
    if errors.is_empty() { Ok(url) } else { Err(errors) }
}

/// A host and a port; `None` where the default is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
}

impl PostgresUrl {
    /// All places to connect to.
    pub(crate) fn places(&self) -> Vec<Place<'_>> {
        let hosts = if self.hosts.is_empty() { &[None][..] } else { &self.hosts };
        let port = |at| match self.ports[..] {
            [port] => port,
            ref ports => ports.get(at).copied().flatten(),
        };
        let hosts = hosts.iter().map(Option::as_deref).enumerate();
        hosts.map(|(at, host)| Place { host, port: port(at) }).collect()
    }

    /// Checks that there is no port, one for all hosts, or one for each.
    pub(crate) fn check_ports(&self) -> Result<(), ValueError> {
        let hosts = self.hosts.len().max(1);
        let ports = self.ports.len();
        if ports <= 1 || ports == hosts {
            return Ok(());
        }
        let why = format!("{ports} ports are given for {hosts} hosts");
        refuse(why, "Write one port for all hosts, or one for each.")
    }

    fn set_user(&mut self, user: &str) -> Result<(), ValueError> {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        self.user = non_empty(&decode(user, "the user")?);
        self.password = non_empty(&decode(password, "the password")?).map(Secret::new);
        Ok(())
    }

    fn set_hosts(&mut self, authority: &str) -> Result<(), ValueError> {
        for place in authority.split(',') {
            let (host, port) = split_place(place)?;
            self.hosts.push(non_empty(&decode(host, "the host")?));
            self.ports.push(self::port(port)?);
        }
        Ok(())
    }

    /// Sets one of libpq's parameters.
    pub(crate) fn set(&mut self, parameter: &str, value: String) -> Result<(), ValueError> {
        match parameter {
            "host" => self.hosts = value.split(',').map(non_empty).collect(),
            "port" => self.ports = value.split(',').map(port).collect::<Result<_, _>>()?,
            "target_session_attrs" => self.session = Some(word(parameter, &value, SESSIONS)?),
            "channel_binding" => {
                let instead = "Write one of disable, prefer, require.";
                self.channel_binding = word(parameter, &value, instead)?;
            }
            "load_balance_hosts" => match value.as_str() {
                "disable" => self.balance = false,
                "random" => self.balance = true,
                _ => {
                    let instead = "Write disable (the written order) or random.";
                    return refuse("load_balance_hosts has an unknown value", instead);
                }
            },
            "user" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.dbname = Some(value),
            "application_name" => self.application_name = Some(value),
            // These may silently be unencrypted.
            "sslmode" if ["prefer", "allow"].contains(&value.as_str()) => {
                let risk = "sends plain text if the server does not offer TLS";
                return refuse(format!("sslmode {value} {risk}"), TLS_MODES);
            }
            "sslmode" => self.sslmode = Some(word(parameter, &value, TLS_MODES)?),
            "sslrootcert" => self.sslrootcert = Some(value),
            "sslcert" => self.sslcert = Some(value),
            "sslkey" => self.sslkey = Some(value),
            unknown => return Err(unknown_parameters::refusal(unknown)),
        }
        Ok(())
    }
}

fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Splits a host from its port, which may be empty.
fn split_place(place: &str) -> Result<(&str, &str), ValueError> {
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
fn port(text: &str) -> Result<Option<u16>, ValueError> {
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
fn word<T: DeserializeOwned>(parameter: &str, text: &str, instead: &str) -> Result<T, ValueError> {
    let variant = serde_json::from_value(text.into());
    variant.or_else(|_error| refuse(format!("{parameter} has an unknown value"), instead))
}

fn decode(text: &str, what: &str) -> Result<String, ValueError> {
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

impl fmt::Display for DatabaseUrl {
    // The password is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self {
            Self::Sqlite(path) => return write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url,
        };
        let mut query = Vec::new();
        let mut hosts = Vec::new();
        let places = url.places();
        for place in &places {
            let host = match place.host.unwrap_or_default() {
                socket if socket.starts_with('/') && places.len() == 1 => {
                    query.push(format!("host={socket}"));
                    String::new()
                }
                address if address.contains(':') => format!("[{address}]"),
                host => host.replace('/', "%2F"),
            };
            let port = place.port.map(|port| format!(":{port}")).unwrap_or_default();
            hosts.push(host + &port);
        }
        query.extend(url.session.map(|session| format!("target_session_attrs={session}")));
        if url.channel_binding != ChannelBinding::Prefer {
            query.push(format!("channel_binding={}", url.channel_binding));
        }
        if url.balance {
            query.push("load_balance_hosts=random".to_owned());
        }
        f.write_str("postgres://")?;
        if let Some(user) = &url.user {
            let password = if url.password.is_some() { ":******" } else { "" };
            write!(f, "{user}{password}@")?;
        }
        write!(f, "{}/{}", hosts.join(","), url.dbname.as_deref().unwrap_or_default())?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
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
        name != "password" && unknown_parameters::PARAMETERS.split(", ").any(|known| known == name)
    };
    match pair.split_once('=') {
        Some((name, _)) if !is_shown(name) => format!("{name}={MASK}"),
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
        assert_eq!(url.places(), vec![place("db.example", 5433)]);
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.map(|p| p.expose().to_owned()).as_deref(), Some("p@s/s"));
        assert_eq!(url.dbname.as_deref(), Some("shop"));
        assert_eq!(url.sslmode, Some(TlsMode::Require));
        let url = postgres("postgresql://?host=db&port=1&user=u&password=p&dbname=d");
        assert_eq!(url.places(), vec![place("db", 1)]);
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
            assert_eq!(url.places(), vec![Place { host, port }], "{text}");
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
            let expected: Vec<_> =
                places.into_iter().map(|(host, port)| Place { host, port }).collect();
            assert_eq!(postgres(text).places(), expected, "{text}");
        }
        let url =
            postgres("postgres://a,b/d?target_session_attrs=standby&load_balance_hosts=random");
        assert_eq!((url.session, url.balance), (Some(TargetSession::Standby), true));
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
            ("postgres://h/d?channel_binding=yes", "channel_binding has an unknown value"),
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
