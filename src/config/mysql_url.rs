//! The parser of the URLs of MySQL and MariaDB. Parameters have the names that their own connectors give them, in any
//! case and with any sign between their words; each may stand there once.

use std::fmt;

use super::database_target::{TargetSession, TlsMode};
use super::problem::ValueError;
use super::secrets::secret::Secret;
use super::url_parts::{self, Place, UrlText, decode, non_empty, refuse, split_place, word};

/// The parts of a URL, or of the `MYSQL_*` variables; each may be missing.
#[derive(Default)]
pub(crate) struct MysqlUrl {
    /// One for each host; `None` is the default host. Without any, or for a socket, empty.
    hosts: Vec<Option<String>>,
    /// One for each host.
    ports: Vec<Option<u16>>,
    /// The path of a Unix socket, instead of hosts.
    pub(crate) socket: Option<String>,
    pub(crate) session: Option<TargetSession>,
    pub(crate) balance: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) dbname: Option<String>,
    pub(crate) ssl_mode: Option<TlsMode>,
    pub(crate) ssl_ca: Option<String>,
    pub(crate) ssl_cert: Option<String>,
    pub(crate) ssl_key: Option<String>,
}

/// The parameters that there are, each with the other spellings that are read, without case and signs.
const PARAMETERS: [(&str, &[&str]); 9] = [
    ("load_balance_hosts", &["loadbalancehosts"]),
    ("password", &["password"]),
    ("socket", &["socket", "unixsocket", "localsocket"]),
    ("ssl-ca", &["sslca"]),
    ("ssl-cert", &["sslcert"]),
    ("ssl-key", &["sslkey"]),
    ("ssl-mode", &["sslmode"]),
    ("target_session_attrs", &["targetsessionattrs"]),
    ("user", &["user"]),
];

const VERIFY: &str =
    "Write ssl-mode=VERIFY_IDENTITY (or VERIFY_CA, or REQUIRED, which checks no certificate).";
const UTF8: &str = "Remove it: connections always use utf8mb4.";
const NEVER: &str = "Remove it: this is never allowed.";
const NOT_NEEDED: &str = "Remove it: Rowgate chooses this itself.";

/// The parameters of other programs, without case and signs, and what to do about each.
const ELSEWHERE: [(&str, &str); 26] = [
    ("allowlocalinfile", NEVER),
    ("allowloadlocalinfile", NEVER),
    ("localinfile", NEVER),
    ("allowmultiqueries", NEVER),
    ("multistatements", NEVER),
    ("allowpublickeyretrieval", NOT_NEEDED),
    ("autocommit", NOT_NEEDED),
    ("compress", NOT_NEEDED),
    ("compression", NOT_NEEDED),
    ("parsetime", NOT_NEEDED),
    ("charset", UTF8),
    ("characterencoding", UTF8),
    ("collation", UTF8),
    ("connecttimeout", "Set pool.connect_timeout of this database."),
    ("connectiontimezone", "Set time_zone of this database."),
    ("servertimezone", "Set time_zone of this database."),
    ("timezone", "Set time_zone of this database."),
    (
        "sessionvariables",
        "Set sql_mode and time_zone of this database; other variables are Rowgate's.",
    ),
    ("sqlmode", "Set sql_mode of this database."),
    ("poolsize", "Set pool.max of this database."),
    ("host", "Write the host before the path: mysql://USER@HOST/DATABASE."),
    ("port", "Write the port behind the host: mysql://USER@HOST:PORT/DATABASE."),
    ("ssl", VERIFY),
    ("usessl", VERIFY),
    ("tls", VERIFY),
    ("sslverifyservercert", VERIFY),
];

/// The longest name of a schema, in characters.
const LONGEST_DATABASE: usize = 64;

/// Parses the text after `mysql://`.
pub(crate) fn parse(rest: &str) -> Result<MysqlUrl, Vec<ValueError>> {
    let text = url_parts::split(rest).map_err(|error| vec![error])?;
    let mut url = MysqlUrl::default();
    let mut errors = Vec::new();
    errors.extend(url.set_user(text.user).err());
    errors.extend(url.set_hosts(text.hosts).err());
    errors.extend(text.check_fragment().err());
    errors.extend(url.set_database(text.path).err());
    url.set_parameters(&text, &mut errors);
    if errors.is_empty() {
        errors.extend(url.check_socket().err());
    }
    if errors.is_empty() { Ok(url) } else { Err(errors) }
}

impl MysqlUrl {
    /// The URL of one host, as the `MYSQL_*` variables give it.
    pub(crate) fn of_host(host: &str, port: Option<u16>) -> Self {
        Self { hosts: vec![non_empty(host)], ports: vec![port], ..Self::default() }
    }

    /// The URL of a socket.
    pub(crate) fn of_socket(path: &str) -> Self {
        Self { socket: Some(path.to_owned()), ..Self::default() }
    }

    /// All places to connect to; none where a socket is named.
    pub(crate) fn places(&self) -> Vec<Place<'_>> {
        let hosts = self.hosts.iter().map(Option::as_deref);
        hosts.zip(&self.ports).map(|(host, port)| Place { host, port: *port }).collect()
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

    fn set_database(&mut self, path: &str) -> Result<(), ValueError> {
        let name = decode(path, "the database's name")?;
        if name.chars().count() > LONGEST_DATABASE {
            return refuse("the database's name is longer than 64 characters", "Correct the name.");
        }
        self.dbname = non_empty(&name);
        Ok(())
    }

    fn set_parameters(&mut self, text: &UrlText<'_>, errors: &mut Vec<ValueError>) {
        let mut given = Vec::new();
        for (written, value) in text.parameters() {
            let Some(name) = known(written) else {
                errors.push(unknown(written));
                continue;
            };
            if given.contains(&name) {
                let error = ValueError::new(format!("the URL's parameter {name} is given twice"));
                errors.push(error.instead("Remove one of them."));
                continue;
            }
            given.push(name);
            errors.extend(value.and_then(|value| self.set(name, value)).err());
        }
    }

    fn set(&mut self, parameter: &str, value: String) -> Result<(), ValueError> {
        match parameter {
            "user" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "socket" => self.socket = Some(value),
            "ssl-mode" => self.ssl_mode = Some(tls_mode(&value)?),
            "ssl-ca" => self.ssl_ca = Some(value),
            "ssl-cert" => self.ssl_cert = Some(value),
            "ssl-key" => self.ssl_key = Some(value),
            "target_session_attrs" => self.session = Some(session(&value)?),
            "load_balance_hosts" => match value.as_str() {
                "disable" => self.balance = false,
                "random" => self.balance = true,
                _ => {
                    let instead = "Write disable (the written order) or random.";
                    return refuse("load_balance_hosts has an unknown value", instead);
                }
            },
            unlisted => return Err(unknown(unlisted)),
        }
        Ok(())
    }

    /// Checks that a socket is the only place, and its path whole.
    fn check_socket(&mut self) -> Result<(), ValueError> {
        let is_path = |host: &Option<String>| host.as_deref().is_some_and(|it| it.starts_with('/'));
        if self.hosts.iter().any(is_path) {
            return refuse(
                "a socket stands in the place of a host",
                "Write mysql://USER@/DATABASE?socket=PATH.",
            );
        }
        let Some(socket) = &self.socket else { return Ok(()) };
        if !socket.starts_with('/') {
            return refuse(
                "socket is not a path from the root",
                "Write it from / on: socket=/run/mysqld/mysqld.sock.",
            );
        }
        let is_local = |host: &Option<String>| {
            host.as_deref().is_none_or(|it| it.eq_ignore_ascii_case("localhost"))
        };
        if self.hosts.len() > 1
            || !self.hosts.iter().all(is_local)
            || self.ports.iter().any(Option::is_some)
        {
            return refuse("the URL names both a socket and a host or port", "Remove one of them.");
        }
        self.hosts.clear();
        self.ports.clear();
        Ok(())
    }
}

/// The text of a name without case and signs.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns the name of a parameter that there is, however it is spelt.
fn known(written: &str) -> Option<&'static str> {
    let written = plain(written);
    let found = PARAMETERS.iter().find(|(_, spellings)| spellings.contains(&written.as_str()));
    found.map(|(name, _)| *name)
}

/// Returns true if the value of a parameter is no secret.
pub(crate) fn is_shown(name: &str) -> bool {
    known(name).is_some_and(|name| name != "password")
}

/// Returns the error of a parameter that is not one.
fn unknown(name: &str) -> ValueError {
    let text = plain(name);
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == text) {
        let why = format!("the URL's parameter {name} is not supported here");
        return ValueError::new(why).instead(*instead);
    }
    let is_similar = |(_, spellings): &&(&str, &[&str])| {
        spellings.iter().any(|spelling| strsim::damerau_levenshtein(&text, spelling) <= 2)
    };
    let names = || PARAMETERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let instead = match PARAMETERS.iter().find(is_similar) {
        Some((meant, _)) => format!("Did you mean {meant}?"),
        None => format!("The parameters are {}.", names()),
    };
    ValueError::new(format!("the URL has an unknown parameter {name}")).instead(instead)
}

/// Parses MySQL's names of modes, and MariaDB's.
fn tls_mode(text: &str) -> Result<TlsMode, ValueError> {
    let instead = format!("{VERIFY} DISABLED sends plain text.");
    match plain(text).as_str() {
        "disabled" | "disable" => Ok(TlsMode::Disable),
        "required" | "require" | "trust" => Ok(TlsMode::Require),
        "verifyca" => Ok(TlsMode::VerifyCa),
        "verifyidentity" | "verifyfull" => Ok(TlsMode::VerifyFull),
        // It may silently be unencrypted.
        "preferred" | "prefer" => {
            refuse("ssl-mode PREFERRED sends plain text if the server does not offer TLS", instead)
        }
        _ => refuse("ssl-mode has an unknown value", instead),
    }
}

fn session(text: &str) -> Result<TargetSession, ValueError> {
    let instead = "Write any, or read-write for the server that takes writes.";
    let session = word("target_session_attrs", text, instead)?;
    match session {
        TargetSession::Any | TargetSession::ReadWrite => Ok(session),
        TargetSession::ReadOnly
        | TargetSession::Primary
        | TargetSession::Standby
        | TargetSession::PreferStandby => {
            refuse(format!("target_session_attrs {session} is not supported for MySQL"), instead)
        }
    }
}

impl fmt::Display for MysqlUrl {
    // The password is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.places().into_iter().map(|place| {
            let host = match place.host.unwrap_or_default() {
                address if address.contains(':') => format!("[{address}]"),
                host => host.to_owned(),
            };
            host + &place.port.map(|port| format!(":{port}")).unwrap_or_default()
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        f.write_str("mysql://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}")?;
        }
        if self.password.is_some() {
            f.write_str(":******")?;
        }
        if self.user.is_some() || self.password.is_some() {
            f.write_str("@")?;
        }
        write!(f, "{hosts}/{}", self.dbname.as_deref().unwrap_or_default())?;
        let mut query: Vec<_> = self.socket.iter().map(|path| format!("socket={path}")).collect();
        query.extend(self.session.map(|session| format!("target_session_attrs={session}")));
        if self.balance {
            query.push("load_balance_hosts=random".to_owned());
        }
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::database_url::{self, DatabaseUrl, masked};
    use super::*;

    fn mysql(url: &str) -> MysqlUrl {
        match database_url::parse(url) {
            Ok(DatabaseUrl::Mysql(url)) => *url,
            Ok(DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_)) => panic!("{url} is another"),
            Err(errors) => panic!("{url}: {errors:?}"),
        }
    }

    fn refused(url: &str) -> String {
        let errors = database_url::parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
        let texts = errors.into_iter().map(|it| it.why + " " + &it.instead.unwrap_or_default());
        texts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_url_names_everything() {
        let url =
            mysql("mysql://me:p%40s%2Fs@db.example:3307/shop?ssl-mode=REQUIRED&ssl-ca=/ca.pem");
        assert_eq!(url.places(), [Place { host: Some("db.example"), port: Some(3307) }]);
        assert_eq!((url.user.as_deref(), url.dbname.as_deref()), (Some("me"), Some("shop")));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p@s/s"));
        assert_eq!(
            (url.ssl_mode, url.ssl_ca.as_deref()),
            (Some(TlsMode::Require), Some("/ca.pem"))
        );
        let url = mysql("mariadb://h?user=u&password=p%26q&ssl_cert=c&sslKey=k");
        assert_eq!((url.user.as_deref(), url.dbname), (Some("u"), None));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p&q"));
        assert_eq!((url.ssl_cert.as_deref(), url.ssl_key.as_deref()), (Some("c"), Some("k")));
    }

    #[test]
    fn hosts_are_names_and_addresses_each_with_its_port() {
        for (text, places) in [
            ("mysql://u@h", vec![(Some("h"), None)]),
            ("mysql://h:3307/d", vec![(Some("h"), Some(3307))]),
            ("MySQL://u@h:/d", vec![(Some("h"), None)]),
            ("mysql://u@[::1]:3307/d", vec![(Some("::1"), Some(3307))]),
            ("mysql://u@[fe80::1]/d", vec![(Some("fe80::1"), None)]),
            (
                "mysql://a:1,[::1]:2,c/d",
                vec![(Some("a"), Some(1)), (Some("::1"), Some(2)), (Some("c"), None)],
            ),
            ("mysql:///d", vec![(None, None)]),
            ("mysql://", vec![(None, None)]),
            ("mysql://u@:3307/d", vec![(None, Some(3307))]),
        ] {
            let expected: Vec<_> =
                places.into_iter().map(|(host, port)| Place { host, port }).collect();
            assert_eq!(mysql(text).places(), expected, "{text}");
        }
    }

    #[test]
    fn a_socket_takes_the_place_of_hosts() {
        for text in [
            "mysql://u@/d?socket=/run/mysqld/mysqld.sock",
            "mysql://u@localhost/d?socket=%2Frun%2Fmysqld%2Fmysqld.sock",
            "mysql://u@/d?unix_socket=/run/mysqld/mysqld.sock",
            "mariadb://u@/d?localSocket=/run/mysqld/mysqld.sock",
        ] {
            let url = mysql(text);
            assert_eq!(url.socket.as_deref(), Some("/run/mysqld/mysqld.sock"), "{text}");
            assert_eq!(url.places(), [], "{text}");
            assert_eq!(url.to_string(), "mysql://u@/d?socket=/run/mysqld/mysqld.sock");
        }
    }

    #[test]
    fn modes_are_spelt_as_mysql_and_mariadb_do_in_any_case() {
        for (text, mode) in [
            ("ssl-mode=DISABLED", TlsMode::Disable),
            ("ssl_mode=disable", TlsMode::Disable),
            ("sslMode=REQUIRED", TlsMode::Require),
            ("sslmode=trust", TlsMode::Require),
            ("ssl-mode=Verify_Ca", TlsMode::VerifyCa),
            ("sslMode=verify-ca", TlsMode::VerifyCa),
            ("SSL-MODE=VERIFY_IDENTITY", TlsMode::VerifyFull),
            ("sslMode=verify-full", TlsMode::VerifyFull),
        ] {
            assert_eq!(mysql(&format!("mysql://h/d?{text}")).ssl_mode, Some(mode), "{text}");
        }
    }

    #[test]
    fn servers_are_chosen_by_writes_and_by_chance() {
        let url = mysql("mysql://a,b/d?target_session_attrs=any&load_balance_hosts=random");
        assert_eq!((url.session, url.balance), (Some(TargetSession::Any), true));
        assert_eq!(
            url.to_string(),
            "mysql://a,b/d?target_session_attrs=any&load_balance_hosts=random"
        );
        let url = mysql("mysql://a,b/d?target-session-attrs=read-write&load_balance_hosts=disable");
        assert_eq!((url.session, url.balance), (Some(TargetSession::ReadWrite), false));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (url, expected) in [
            ("mysql://h:x/d", "not a number"),
            ("mysql://h:0/d", "no port 0"),
            ("mysql://h:99999/d", "from 1 to 65535"),
            ("mysql://u:p/w@h/d", "%2F for /"),
            ("mysql://u:p%zz@h/d", "%25"),
            ("mysql://u@[::1/d", "no ]"),
            ("mysql://u@::1/d", "[ADDRESS]:PORT"),
            ("mysql://h/d%00", "zero byte"),
            ("mysql://h/d#x", "%23"),
            ("mysql://h/d?ssl-mod=REQUIRED", "Did you mean ssl-mode?"),
            ("mysql://h/d?sockett=/x", "Did you mean socket?"),
            ("mysql://h/d?colour=red", "The parameters are load_balance_hosts"),
            ("mysql://h/d?ssl-mode=PREFERRED", "sends plain text if"),
            ("mysql://h/d?sslMode=prefer", "sends plain text if"),
            ("mysql://h/d?ssl-mode=on", "ssl-mode has an unknown value"),
            ("mysql://h/d?ssl=true", "VERIFY_IDENTITY"),
            ("mysql://h/d?useSSL=false", "VERIFY_IDENTITY"),
            ("mysql://h/d?ssl-mode=DISABLED&sslmode=REQUIRED", "ssl-mode is given twice"),
            ("mysql://h/d?charset=utf8", "always use utf8mb4"),
            ("mysql://h/d?allowMultiQueries=true", "never allowed"),
            ("mysql://h/d?local_infile=1", "never allowed"),
            ("mysql://h/d?connect_timeout=3", "pool.connect_timeout"),
            ("mysql://h/d?serverTimezone=UTC", "time_zone of this database"),
            ("mysql://h/d?sql-mode=ANSI", "sql_mode of this database"),
            ("mysql://h/d?host=a", "before the path"),
            ("mysql://h/d?target_session_attrs=standby", "standby is not supported for MySQL"),
            (
                "mysql://h/d?target_session_attrs=primary",
                "read-write for the server that takes writes",
            ),
            ("mysql://h/d?target_session_attrs=master", "unknown value"),
            ("mysql://h/d?load_balance_hosts=yes", "random"),
            ("mysql://h/d?socket=/x", "both a socket and a host"),
            ("mysql://a,b/d?socket=/x", "both a socket and a host"),
            ("mysql://:3307/d?socket=/x", "both a socket and a host"),
            ("mysql:///d?socket=x.sock", "from / on"),
            ("mysql://u@%2Frun%2Fx.sock/d", "?socket=PATH"),
        ] {
            let text = refused(url);
            assert!(text.contains(expected), "{url}: {text}");
        }
        assert_eq!(refused("mysql://h:x/d?ssl-mode=on&foo=1").matches(';').count(), 2);
        assert!(refused(&format!("mysql://h/{}", "d".repeat(65))).contains("64 characters"));
    }

    #[test]
    fn no_secret_is_shown() {
        for (url, expected) in [
            ("mysql://me:hunter2@h:1/d", "mysql://me:******@h:1/d"),
            ("mysql://h/d?password=hunter2&user=me", "mysql://h/d?password=******&user=me"),
            ("mysql://h/d?PassWord=hunter2", "mysql://h/d?PassWord=******"),
            ("mysql://h/d?passwd=hunter2", "mysql://h/d?passwd=******"),
            ("mysql://h/d?ssl-mode=REQUIRED", "mysql://h/d?ssl-mode=REQUIRED"),
            ("mysql://me:hunter2", "mysql://me:******"),
            ("mysql2://me:hunter2@h/d", "mysql2://me:******@h/d"),
        ] {
            assert_eq!(masked(url), expected);
            let errors = database_url::parse(url).err().unwrap_or_default();
            assert!(!format!("{errors:?}").contains("ter2"), "{errors:?}");
        }
        assert_eq!(mysql("mysql://me:hunter2@h/d").to_string(), "mysql://me:******@h/d");
        assert_eq!(mysql("mysql://:hunter2@h/d").to_string(), "mysql://:******@h/d");
    }

    proptest::proptest! {
        #[test]
        fn any_password_comes_back_from_its_escapes(password in "\\PC{1,20}") {
            let escaped = percent_encoding::utf8_percent_encode(
                &password, percent_encoding::NON_ALPHANUMERIC);
            let url = mysql(&format!("mysql://me:{escaped}@h/d"));
            let found = url.password.as_ref().map(Secret::expose);
            proptest::prop_assert_eq!(found, Some(password.as_str()));
        }

        #[test]
        fn no_url_makes_the_parser_panic(url in "(mysql|mariadb)?:?/{0,2}\\PC{0,30}") {
            let _unused = (database_url::parse(&url).is_ok(), masked(&url));
        }
    }
}
