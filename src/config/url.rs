//! `databases.NAME.url`: what it says, as it says it.
//!
//! PostgreSQL's URLs are read as libpq reads them; what libpq would let pass silently but mean
//! something weaker or not supported is refused with a reason.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::database::{TargetSession, TlsMode};
use super::problem::Refusal;
use super::secret::Secret;
use super::shape::MASK;

/// A URL taken apart.
pub(crate) enum DatabaseUrl {
    Postgres(Box<PostgresUrl>),
    Sqlite(PathBuf),
}

/// What a PostgreSQL URL names, or the `PG*` variables; everything may be missing.
#[derive(Default)]
pub(crate) struct PostgresUrl {
    /// Empty: none is named; `None` among others is the default one.
    pub(crate) hosts: Vec<Option<String>>,
    /// None, one for all hosts, or one for each.
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

const PARAMETERS: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "load_balance_hosts",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// libpq's parameters that have a better place here.
const ELSEWHERE: [(&str, &str); 7] = [
    ("connect_timeout", "Set pool.connect_timeout of this database."),
    ("statement_timeout", "Set statement_timeout of this database."),
    ("lock_timeout", "Set lock_timeout of this database."),
    ("pool_size", "Set pool.max of this database."),
    ("hostaddr", "Write the address as the host."),
    ("ssl", "Write sslmode=verify-full."),
    ("channel_binding", "Remove it: over TLS it is used whenever the server offers it."),
];

/// Takes a URL apart.
pub(crate) fn parse(url: &str) -> Result<DatabaseUrl, Vec<Refusal>> {
    let url = url.trim();
    let scheme_end = url.find(':').unwrap_or_default();
    let (scheme, rest) = url.split_at(scheme_end);
    match scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => match rest.strip_prefix("://") {
            Some(rest) => parse_postgres(rest).map(Box::new).map(DatabaseUrl::Postgres),
            None => {
                Err(vec![Refusal::new("after postgres: this URL lacks its slashes").instead(FORMS)])
            }
        },
        "sqlite" => parse_sqlite(&rest[1..]).map(DatabaseUrl::Sqlite).map_err(|r| vec![r]),
        other => Err(vec![unknown_scheme(other, url)]),
    }
}

fn unknown_scheme(scheme: &str, url: &str) -> Refusal {
    let known = ["postgres", "postgresql", "sqlite"];
    if url.is_empty() {
        return Refusal::new("the URL is empty").instead(FORMS);
    }
    if scheme.is_empty() && url.contains('=') {
        return Refusal::new("this is not a URL; keywords and values are not understood")
            .instead(FORMS);
    }
    let base = scheme.trim_start_matches("jdbc").split('+').next().unwrap_or_default();
    if scheme == "jdbc" || base != scheme && known.contains(&base) {
        return Refusal::new("the URL starts with the name of a driver of another language")
            .instead("Start it with postgres:// alone.");
    }
    let alike = |known: &&str| strsim::damerau_levenshtein(scheme, known) <= 2;
    match known.iter().find(|known| !scheme.is_empty() && alike(known)) {
        Some(meant) => Refusal::new("there is no such kind of database")
            .instead(format!("Did you mean {meant}:?")),
        None if scheme == "mysql" || scheme == "mariadb" => {
            Refusal::new("MySQL is not supported yet: PostgreSQL and SQLite are").instead(FORMS)
        }
        None => Refusal::new("this URL names no kind of database that is supported").instead(FORMS),
    }
}

fn parse_sqlite(rest: &str) -> Result<PathBuf, Refusal> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = decode(path, "the path")?;
    if path.is_empty() {
        return Err(Refusal::new("this URL names no file").instead("Write sqlite:PATH."));
    }
    if path.starts_with(":memory:") || path.starts_with("file::memory:") {
        return Err(Refusal::new(
            "a database in memory belongs to one connection alone, but one writes here and several \
             others read: they need a file",
        )
        .instead("Write sqlite:PATH; /dev/shm/rowgate.db is a file in memory on Linux."));
    }
    if !query.is_empty() {
        return Err(Refusal::new("parameters are not understood after a SQLite path")
            .instead("Remove the ? and what follows; a ? in the path itself is written %3F."));
    }
    Ok(PathBuf::from(path))
}

/// Takes apart what follows `postgres://`.
fn parse_postgres(rest: &str) -> Result<PostgresUrl, Vec<Refusal>> {
    let mut url = PostgresUrl::default();
    let mut refusals = Vec::new();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    // Nothing after this is quoted, then: it may be half of a password.
    if tail.contains('@') {
        let why = "an @ stands after one of the characters / ? #: a password that holds them?";
        return Err(vec![Refusal::new(why).instead(
            "Percent-encode them: %2F for /, %3F for ?, %23 for #, %40 for @; or refer to the \
             password: ${file:/path} needs no escapes.",
        )]);
    }
    refusals.extend(user.and_then(|user| set_user(&mut url, user).err()));
    refusals.extend(set_hosts(&mut url, hosts).err());
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    if tail.contains('#') {
        refusals.push(Refusal::new("this URL holds a #").instead("Write %23 for it."));
    }
    match decode(path.strip_prefix('/').unwrap_or(path), "the database's name") {
        Ok(name) => url.dbname = Some(name).filter(|name| !name.is_empty()),
        Err(refusal) => refusals.push(refusal),
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        refusals.extend(set_parameter(&mut url, name, value).err());
    }
    if refusals.is_empty() {
        refusals.extend(url.places().err());
    }
    if refusals.is_empty() { Ok(url) } else { Err(refusals) }
}

fn set_user(url: &mut PostgresUrl, user: &str) -> Result<(), Refusal> {
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user, None),
    };
    url.user = Some(decode(user, "the user")?).filter(|user| !user.is_empty());
    let password = password.map(|password| decode(password, "the password")).transpose()?;
    url.password = password.filter(|password| !password.is_empty()).map(Secret::new);
    Ok(())
}

fn set_hosts(url: &mut PostgresUrl, authority: &str) -> Result<(), Refusal> {
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

/// A host and its port, which may be empty.
fn split_place(place: &str) -> Result<(&str, &str), Refusal> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (address, after) = bracketed.split_once(']').ok_or_else(|| {
                Refusal::new("the URL's host starts with [ but has no ]").instead("Write [::1].")
            })?;
            (address, after.strip_prefix(':').unwrap_or(after))
        }
        None => place.rsplit_once(':').unwrap_or((place, "")),
    };
    if host.contains(':') && host.parse::<Ipv6Addr>().is_err() {
        return Err(Refusal::new("the URL's host holds a : but is no IPv6 address")
            .instead("Write HOST:PORT, or [ADDRESS]:PORT for IPv6."));
    }
    Ok((host, port))
}

/// Several hosts, as a parameter and `PGHOST` write them.
pub(crate) fn hosts(text: &str) -> Vec<Option<String>> {
    text.split(',').map(|host| Some(host.to_owned()).filter(|host| !host.is_empty())).collect()
}

/// Several ports, as a parameter and `PGPORT` write them; an empty one is the default.
pub(crate) fn ports(text: &str) -> Result<Vec<Option<u16>>, Refusal> {
    let one = |text: &str| if text.is_empty() { Ok(None) } else { port(text).map(Some) };
    text.split(',').map(one).collect()
}

/// A host and a port; `None` where the default is meant.
pub(crate) type Place<'a> = (Option<&'a str>, Option<u16>);

impl PostgresUrl {
    /// Each place to connect to.
    pub(crate) fn places(&self) -> Result<Vec<Place<'_>>, Refusal> {
        let hosts = if self.hosts.is_empty() { &[None][..] } else { &self.hosts };
        let port = |at: usize| match &self.ports[..] {
            [] => None,
            [port] => *port,
            ports => ports[at],
        };
        if self.ports.len() > 1 && self.ports.len() != hosts.len() {
            let (ports, hosts) = (self.ports.len(), hosts.len());
            return Err(Refusal::new(format!("{ports} ports are given for {hosts} hosts"))
                .instead("Write one port for all hosts, or one for each."));
        }
        Ok(hosts.iter().enumerate().map(|(at, host)| (host.as_deref(), port(at))).collect())
    }
}

/// `target_session_attrs`
pub(crate) fn session(text: &str) -> Result<TargetSession, Refusal> {
    let known = TargetSession::ALL.into_iter().find(|session| session.name() == text);
    known.ok_or_else(|| {
        let names = TargetSession::ALL.map(TargetSession::name).join(", ");
        Refusal::new("there is no such target_session_attrs")
            .instead(format!("Write one of {names}."))
    })
}

/// `load_balance_hosts`
pub(crate) fn balance(text: &str) -> Result<bool, Refusal> {
    match text {
        "disable" => Ok(false),
        "random" => Ok(true),
        _ => Err(Refusal::new("there is no such load_balance_hosts")
            .instead("Write disable (the order that is written) or random.")),
    }
}

/// A port, as URLs and `PGPORT` write it.
pub(crate) fn port(text: &str) -> Result<u16, Refusal> {
    // Not quoted: a password that holds an @ or / ends up here.
    let refuse = |_| Refusal::new("the port is not a number").instead("Write one from 1 to 65535.");
    match text.parse::<u16>().map_err(refuse)? {
        0 => Err(Refusal::new("there is no port 0").instead("Write one from 1 to 65535.")),
        port => Ok(port),
    }
}

fn set_parameter(url: &mut PostgresUrl, name: &str, value: &str) -> Result<(), Refusal> {
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

fn unknown_parameter(name: &str) -> Refusal {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
        return Refusal::new(format!("the URL's parameter {name} has no place here"))
            .instead(*instead);
    }
    let alike = |known: &&&str| strsim::damerau_levenshtein(name, known) <= 2;
    let instead = match PARAMETERS.iter().find(alike) {
        Some(meant) => format!("Did you mean {meant}?"),
        None => format!("These exist: {}.", PARAMETERS.join(", ")),
    };
    Refusal::new(format!("the URL has an unknown parameter {name}")).instead(instead)
}

/// `sslmode`, less what may silently be plain.
pub(crate) fn tls_mode(mode: &str) -> Result<TlsMode, Refusal> {
    let instead = "Write verify-full (or verify-ca, or require, which checks no certificate) to \
                   encrypt, disable to send plain text.";
    match mode {
        "disable" => Ok(TlsMode::Disable),
        "require" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        "prefer" | "allow" => Err(Refusal::new(format!(
            "sslmode {mode} sends plain text, without a word, when the server offers no TLS"
        ))
        .instead(instead)),
        _ => Err(Refusal::new("there is no such sslmode").instead(instead)),
    }
}

fn decode(text: &str, what: &str) -> Result<String, Refusal> {
    let escapes = text.match_indices('%').map(|(at, _)| text.as_bytes().get(at + 1..at + 3));
    let valid = |hex: Option<&[u8]>| hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if !escapes.into_iter().all(valid) {
        let why = format!("in {what}, a % is not followed by two hexadecimal digits");
        return Err(Refusal::new(why).instead("Write %25 for the character % itself."));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|error| Refusal::new(format!("{what} is not UTF-8: {error}")))?;
    if decoded.contains('\0') {
        return Err(Refusal::new(format!("{what} holds a zero byte, which no name may")));
    }
    Ok(decoded.into_owned())
}

/// A URL without what may be a password, also when it is malformed.
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

/// Where in a list of hosts a port stands that is none.
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
        Some((name, _)) if !PARAMETERS.contains(&name) || name == "password" => {
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
            Err(refusals) => panic!("{url}: {refusals:?}"),
        }
    }

    fn refused(url: &str) -> String {
        let refusals = parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
        let texts = refusals.into_iter().map(|r| r.why + " " + &r.instead.unwrap_or_default());
        texts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_url_names_everything() {
        let url = postgres("postgres://me:p%40s%2Fs@db.example:5433/shop?sslmode=require");
        assert_eq!(url.places(), Ok(vec![(Some("db.example"), Some(5433))]));
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.map(|p| p.expose().to_owned()).as_deref(), Some("p@s/s"));
        assert_eq!(url.dbname.as_deref(), Some("shop"));
        assert_eq!(url.sslmode, Some(TlsMode::Require));
        let url = postgres("postgresql://?host=db&port=1&user=u&password=p&dbname=d");
        assert_eq!(url.places(), Ok(vec![(Some("db"), Some(1))]));
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
            assert_eq!(url.places(), Ok(vec![(host, port)]), "{text}");
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
            assert_eq!(postgres(text).places(), Ok(places), "{text}");
        }
        let url =
            postgres("postgres://a,b/d?target_session_attrs=standby&load_balance_hosts=random");
        assert_eq!((url.session, url.balance), (Some(TargetSession::Standby), Some(true)));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let cases = [
            ("", "empty"),
            ("rowgate.db", "no kind of database"),
            ("host=db user=me", "keywords"),
            ("postgress://u@h/d", "Did you mean postgres:?"),
            ("mysql://h/d", "MySQL is not supported yet"),
            ("jdbc:postgresql://h/d", "driver of another language"),
            ("postgresql+psycopg2://h/d", "driver of another language"),
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
            ("postgres://h/d?sslmode=on", "no such sslmode"),
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
            let refusals = parse(url).err().unwrap_or_default();
            assert!(!format!("{refusals:?}").contains("ter2"), "{refusals:?}");
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
