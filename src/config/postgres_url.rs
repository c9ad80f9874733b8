//! The parser of PostgreSQL's URLs, which are read as by libpq. Parameters that libpq would accept but that mean
//! something weaker, or are not supported here, are errors.

use std::fmt;

use super::database_target::{ChannelBinding, TargetSession, TlsMode};
use super::problem::ValueError;
use super::secrets::secret::Secret;
use super::unknown_parameters;
use super::url_parts::{self, Place, decode, non_empty, port, refuse, split_place, word};

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

const SESSIONS: &str = "Write one of any, read-write, read-only, primary, standby, prefer-standby.";

const TLS_MODES: &str = "Write verify-full (or verify-ca, or require, which checks no certificate) to encrypt, \
                         disable to send plain text.";

/// Parses the text after `postgres://`.
pub(crate) fn parse(rest: &str) -> Result<PostgresUrl, Vec<ValueError>> {
    let text = url_parts::split(rest).map_err(|error| vec![error])?;
    let mut url = PostgresUrl::default();
    let mut errors = Vec::new();
    errors.extend(url.set_user(text.user).err());
    errors.extend(url.set_hosts(text.hosts).err());
    errors.extend(text.check_fragment().err());
    let dbname = decode(text.path, "the database's name");
    errors.extend(dbname.map(|name| url.dbname = non_empty(&name)).err());
    for (name, value) in text.parameters() {
        errors.extend(value.and_then(|value| url.set(name, value)).err());
    }
    if errors.is_empty() {
        errors.extend(url.check_ports().err());
    }
    if errors.is_empty() { Ok(url) } else { Err(errors) }
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
            self.ports.push(url_parts::port(port)?);
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

impl fmt::Display for PostgresUrl {
    // The password is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = Vec::new();
        let mut hosts = Vec::new();
        let places = self.places();
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
        query.extend(self.session.map(|session| format!("target_session_attrs={session}")));
        if self.channel_binding != ChannelBinding::Prefer {
            query.push(format!("channel_binding={}", self.channel_binding));
        }
        if self.balance {
            query.push("load_balance_hosts=random".to_owned());
        }
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            let password = if self.password.is_some() { ":******" } else { "" };
            write!(f, "{user}{password}@")?;
        }
        write!(f, "{}/{}", hosts.join(","), self.dbname.as_deref().unwrap_or_default())?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::database_url::{DatabaseUrl, masked, parse};
    use super::*;

    fn postgres(url: &str) -> PostgresUrl {
        match parse(url) {
            Ok(DatabaseUrl::Postgres(url)) => *url,
            Ok(DatabaseUrl::Sqlite(_) | DatabaseUrl::Mysql(_)) => panic!("{url}"),
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
                Ok(DatabaseUrl::Postgres(_) | DatabaseUrl::Mysql(_)) | Err(_) => panic!("{url}"),
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
