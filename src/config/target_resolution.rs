//! The target of a database, completed from its URL, `tls.*`, and the defaults of libpq and of MySQL's client.

use std::path::PathBuf;

use super::database_target::{
    ChannelBinding, Host, MysqlTarget, PostgresTarget, Server, SqliteTarget, Target, TargetSession,
    TlsMode,
};
use super::database_url::{self, DatabaseUrl, FoundUrl};
use super::entries::quote;
use super::libpq::{self, Login};
use super::mysql_url::MysqlUrl;
use super::postgres_url::PostgresUrl;
use super::problem::{Problem, ValueError};
use super::schema::database_keys::{TlsKeys, UrlKey};
use super::section_reader::{SectionReader, Status};
use super::source::Environment;
use super::tls_resolution::{UrlTls, complete_tls, reject_tls};
use super::url_parts::Place;

const DEFAULT_PORT: u16 = 5432;
const MYSQL_PORT: u16 = 3306;
const DEFAULT_APPLICATION: &str = "rowgate";

pub(crate) const URL: &str = "databases.NAME.url";
pub(crate) const ADMIN_URL: &str = "databases.NAME.admin_url";

/// Reads the target of the current database. Without a URL of its own it is `fallback`. Returns `None` if
/// a problem was reported.
pub(crate) fn read(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    fallback: Option<FoundUrl>,
) -> Option<Target> {
    let url = read_url(reader, fallback);
    let tls = TlsKeys::read(reader);
    match url? {
        DatabaseUrl::Sqlite(path) => {
            reject_tls(reader);
            Some(Target::Sqlite(SqliteTarget { path }))
        }
        DatabaseUrl::Postgres(url) => complete(reader, environment, *url, tls),
        DatabaseUrl::Mysql(url) => complete_mysql(reader, environment, *url, tls),
    }
}

fn read_url(reader: &mut SectionReader<'_>, fallback: Option<FoundUrl>) -> Option<DatabaseUrl> {
    let UrlKey { url, admin_url } = UrlKey::read(reader);
    if let Some(written) = admin_url {
        let origin = reader.setting(ADMIN_URL).origin.clone();
        reader.show(ADMIN_URL, quote(&database_url::masked(&written)), Some(origin));
    }
    let written = url.unwrap_or_default();
    let setting = reader.setting(URL);
    match (setting.status, fallback) {
        (Status::Written, _) => {
            let origin = setting.origin.clone();
            reader.show(URL, quote(&database_url::masked(&written)), Some(origin));
            let report = |error| reader.report(URL, error);
            database_url::parse(&written).map_err(|errors| errors.into_iter().for_each(report)).ok()
        }
        (Status::Default, Some(found)) => {
            reader.show(URL, quote(&found.url.to_string()), found.origin);
            Some(found.url)
        }
        (Status::Default, None) => {
            let problem = Problem::new(&setting.key, "this database has no URL")
                .instead("Write postgres://USER:PASSWORD@HOST/DATABASE, mysql://… or sqlite:PATH.");
            reader.problems.push(problem);
            None
        }
        (Status::Invalid, _) => None,
    }
}

fn complete(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    url: PostgresUrl,
    tls: TlsKeys,
) -> Option<Target> {
    let server = |place: Place<'_>| Server {
        host: complete_host(environment, place.host),
        port: place.port.unwrap_or(DEFAULT_PORT),
        password: url.password.clone(),
    };
    let mut servers: Vec<_> = url.places().into_iter().map(server).collect();
    let tls = complete_tls(reader, tls, &postgres_tls(reader.full_name(URL), &url), &servers);
    if url.channel_binding == ChannelBinding::Require && tls.mode == TlsMode::Disable {
        let why = "channel_binding=require needs TLS, and the connection is plain text";
        let instead = "Set tls.mode = \"verify-full\", or remove channel_binding.";
        reader.report(URL, ValueError::new(why).instead(instead));
    }
    let user = url.user.or_else(|| environment.get("PGUSER").map(str::to_owned));
    let Some(user) = user.or_else(|| environment.user.clone()) else {
        let problem = Problem::new(reader.full_name(URL), "the URL names no user")
            .instead("Write postgres://USER@HOST/DATABASE, or set PGUSER.");
        reader.problems.push(problem);
        return None;
    };
    let dbname = url.dbname.unwrap_or_else(|| user.clone());
    for server in servers.iter_mut().filter(|server| server.password.is_none()) {
        let host = match &server.host {
            Host::Unix(path) if Some(path) == environment.socket_directory.as_ref() => "localhost",
            Host::Unix(path) => path.to_str().unwrap_or_default(),
            Host::Tcp(host) => host,
        };
        let login = Login { host, port: server.port, dbname: &dbname, user: &user };
        match libpq::password(environment, &login) {
            Ok(password) => server.password = password,
            // Several servers and databases share one file.
            Err(warning) if reader.warnings.contains(&warning) => {}
            Err(warning) => reader.warnings.push(warning),
        }
    }
    Some(Target::Postgres(Box::new(PostgresTarget {
        session: url.session.unwrap_or(default_session(&servers)),
        servers,
        balance: url.balance,
        channel_binding: url.channel_binding,
        user,
        dbname,
        application_name: url.application_name.unwrap_or_else(|| DEFAULT_APPLICATION.to_owned()),
        tls,
        source: None,
    })))
}

fn postgres_tls(url_key: String, url: &PostgresUrl) -> UrlTls<'_> {
    UrlTls {
        url_key,
        parameter: "sslmode",
        mode: url.sslmode,
        // "system" is libpq's word for the default here.
        ca: url.sslrootcert.as_deref().filter(|path| *path != "system"),
        cert: url.sslcert.as_deref(),
        key: url.sslkey.as_deref(),
    }
}

/// Returns the kind of server to accept where the URL says nothing. libpq's default is any for several servers too: a
/// pool that writes needs the primary.
fn default_session(servers: &[Server]) -> TargetSession {
    if servers.len() > 1 { TargetSession::ReadWrite } else { TargetSession::Any }
}

fn complete_mysql(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    url: MysqlUrl,
    tls: TlsKeys,
) -> Option<Target> {
    let server = |host, port| Server { host, port, password: url.password.clone() };
    let mut servers: Vec<_> = url
        .places()
        .into_iter()
        .map(|Place { host, port }| {
            let host = Host::Tcp(host.unwrap_or("localhost").to_owned());
            server(host, port.unwrap_or(MYSQL_PORT))
        })
        .collect();
    // A socket has no port.
    servers.extend(url.socket.iter().map(|path| server(Host::Unix(PathBuf::from(path)), 0)));
    let url_tls = UrlTls {
        url_key: reader.full_name(URL),
        parameter: "ssl-mode",
        mode: url.ssl_mode,
        ca: url.ssl_ca.as_deref(),
        cert: url.ssl_cert.as_deref(),
        key: url.ssl_key.as_deref(),
    };
    let tls = complete_tls(reader, tls, &url_tls, &servers);
    // As in MySQL's client: the account, and the variable where that is unknown.
    let user = url.user.clone().or_else(|| environment.user.clone());
    let Some(user) = user.or_else(|| environment.get("USER").map(str::to_owned)) else {
        let problem = Problem::new(reader.full_name(URL), "the URL names no user")
            .instead("Write mysql://USER@HOST/DATABASE, or set USER.");
        reader.problems.push(problem);
        return None;
    };
    Some(Target::Mysql(Box::new(MysqlTarget {
        session: url.session.unwrap_or(default_session(&servers)),
        servers,
        balance: url.balance,
        user,
        dbname: url.dbname,
        tls,
        source: None,
    })))
}

fn complete_host(environment: &Environment, host: Option<&str>) -> Host {
    match (host, &environment.socket_directory) {
        (Some(host), _) if host.starts_with('/') => Host::Unix(PathBuf::from(host)),
        (Some(host), _) => Host::Tcp(host.to_owned()),
        (None, Some(directory)) => Host::Unix(directory.clone()),
        (None, None) => Host::Tcp("localhost".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Loaded, load};
    use super::super::source::{Flag, Inputs};
    use super::*;

    /// Loads `main` with these keys and variables.
    fn loaded(keys: &[(&str, &str)], variables: &[(&str, &str)]) -> Loaded {
        let mut inputs = Inputs::new(Environment::of(variables));
        let flag = |(key, value): &(&str, &str)| {
            Flag::new("(given)", format!("databases.main.{key}"), *value)
        };
        inputs.flags = keys.iter().map(flag).collect();
        load(&inputs).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn mysql(loaded: &Loaded) -> &MysqlTarget {
        match &loaded.config.databases["main"].target {
            Target::Mysql(target) => target,
            other @ (Target::Postgres(_) | Target::Sqlite(_)) => panic!("{other:?}"),
        }
    }

    fn servers(target: &MysqlTarget) -> Vec<String> {
        target.servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_missing_parts_of_a_mysql_url_have_the_defaults_of_its_client() {
        let loaded = loaded(&[("url", "mysql:///")], &[("USER", "me")]);
        let target = mysql(&loaded);
        assert_eq!(servers(target), ["localhost:3306"]);
        assert_eq!((target.user.as_str(), target.dbname.as_deref()), ("me", None));
        assert_eq!((target.session, target.balance), (TargetSession::Any, false));
        assert_eq!(target.tls.mode, TlsMode::Disable);
        assert!(target.servers[0].password.is_none());
    }

    #[test]
    fn several_mysql_servers_have_one_that_takes_writes() {
        let several = "mysql://me:hunter2@a:3307,[::1],b/shop";
        let loaded = loaded(&[("url", several)], &[]);
        let target = mysql(&loaded);
        assert_eq!(servers(target), ["a:3307", "[::1]:3306", "b:3306"]);
        assert_eq!(
            (target.session, target.tls.mode),
            (TargetSession::ReadWrite, TlsMode::VerifyFull)
        );
        let has_password =
            |server: &Server| server.password.as_ref().map(|it| it.expose() == "hunter2");
        assert!(target.servers.iter().all(|server| has_password(server) == Some(true)));
        assert!(!format!("{loaded:?}").contains("hunter2"));
        assert_eq!(loaded.config.databases["main"].failover_wait.as_secs(), 10);
    }

    #[test]
    fn a_mysql_socket_is_a_path_and_never_encrypted() {
        let url = "mysql://me@/shop?socket=/run/mysqld/mysqld.sock&ssl-mode=VERIFY_IDENTITY";
        let loaded = loaded(&[("url", url)], &[]);
        let target = mysql(&loaded);
        assert_eq!(servers(target), ["/run/mysqld/mysqld.sock"]);
        assert_eq!(target.tls.mode, TlsMode::Disable);
    }

    #[test]
    fn main_is_named_by_one_kind_of_variables_in_a_fixed_order() {
        let mysql_variables = [("MYSQL_HOST", "db"), ("MYSQL_PWD", "hunter2"), ("USER", "me")];
        let all =
            [&mysql_variables[..], &[("PGHOST", "pg"), ("DATABASE_URL", "mysql://you@other/")]]
                .concat();
        let by_url = loaded(&[], &all);
        assert_eq!(servers(mysql(&by_url)), ["other:3306"]);
        assert!(mysql(&by_url).servers[0].password.is_none(), "variables are not mixed");
        let by_variables = loaded(&[], &mysql_variables);
        let target = mysql(&by_variables);
        assert_eq!((servers(target), target.user.as_str()), (vec!["db:3306".to_owned()], "me"));
        assert_eq!(target.servers[0].password.as_ref().map(|it| it.expose()), Some("hunter2"));
        let shown = by_variables.settings.iter().find(|it| it.key == "databases.main.url");
        let shown = shown.map(|it| (it.value.as_str(), it.origin.as_str()));
        assert_eq!(shown, Some(("\"mysql://:******@db/\"", "MYSQL_HOST, MYSQL_PWD")));
        let with_postgres =
            loaded(&[], &[&mysql_variables[..], &[("PGHOST", "pg"), ("PGUSER", "me")]].concat());
        assert!(matches!(with_postgres.config.databases["main"].target, Target::Postgres(_)));
        assert!(with_postgres.warnings.iter().any(|it| it.starts_with("MYSQL_* is ignored")));
        let with_key = loaded(&[("url", "sqlite:a.db")], &mysql_variables);
        assert!(matches!(with_key.config.databases["main"].target, Target::Sqlite(_)));
    }

    #[test]
    fn the_password_of_a_mysql_url_is_read_again_with_its_file() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("password");
        std::fs::write(&path, "one\n").expect("there is room");
        let url = format!("mysql://me:${{file:{}}}@db/shop", path.display());
        let loaded = loaded(&[("url", &url)], &[]);
        let target = mysql(&loaded);
        std::fs::write(&path, "t/wo@\n").expect("there is room");
        let (renewed, _) = target.reread().expect("it is as before");
        let password = |target: &MysqlTarget| {
            target.servers[0].password.as_ref().map(|it| it.expose().to_owned())
        };
        assert_eq!(password(target).as_deref(), Some("one"));
        assert_eq!(password(&renewed).as_deref(), Some("t/wo@"));
    }

    #[test]
    fn an_admin_url_is_read_as_a_url_and_used_by_commands_alone() {
        let keys = [
            ("url", "postgres://service:hunter1@db/shop"),
            ("admin_url", "postgres://owner:hunter2@db/shop"),
            ("credentials.command", "/bin/true"),
            ("tls.mode", "require"),
        ];
        let loaded = loaded(&keys, &[]);
        let database = &loaded.config.databases["main"];
        let login = |target: &Target| match target {
            Target::Postgres(it) => {
                let password = it.servers[0].password.as_ref().map(|it| it.expose().to_owned());
                (it.user.clone(), password.unwrap_or_default(), it.tls.mode)
            }
            other @ (Target::Mysql(_) | Target::Sqlite(_)) => panic!("{other:?}"),
        };
        let expected =
            |user: &str, password: &str| (user.to_owned(), password.to_owned(), TlsMode::Require);
        assert_eq!(login(&database.target), expected("service", "hunter1"));
        let administered = database.administered();
        assert_eq!(login(&administered.target), expected("owner", "hunter2"));
        assert!(administered.credentials.command.is_empty(), "it is the service's");
        assert!(administered.statement_timeout.is_zero());
        let shown = loaded.settings.iter().find(|it| it.key == "databases.main.admin_url");
        let shown = shown.map(|it| it.value.as_str());
        assert_eq!(shown, Some("\"postgres://owner:******@db/shop\""));
        assert!(!format!("{loaded:?}").contains("hunter"));
        let Target::Postgres(admin) = &administered.target else { panic!("not PostgreSQL") };
        assert_eq!(admin.reread().expect("it is as before").0.user, "owner");
    }

    #[test]
    fn without_an_admin_url_commands_are_the_services_own() {
        for keys in [
            &[("url", "postgres://me@db/shop"), ("credentials.command", "/bin/true")][..],
            &[
                ("url", "postgres://me@db/shop"),
                ("credentials.command", "/bin/true"),
                ("admin_url", ""),
            ],
        ] {
            let database = loaded(keys, &[]).config.databases["main"].administered();
            assert!(database.admin.is_none());
            assert_eq!(database.credentials.command, ["/bin/true"]);
        }
    }

    #[test]
    fn a_wrong_admin_url_is_told_by_its_own_key() {
        for (admin_url, expected) in [
            ("postgres://owner:hunter2@db:x/shop", "databases.main.admin_url = "),
            ("mysql://owner:hunter2@db/shop", "another kind of database than databases.main.url"),
            ("sqlite:other.db", "another kind of database than databases.main.url"),
        ] {
            let mut inputs = Inputs::new(Environment::default());
            let keys = [("url", "postgres://me@db/shop"), ("admin_url", admin_url)];
            let flag =
                |(key, value): (&str, &str)| Flag::new("x", format!("databases.main.{key}"), value);
            inputs.flags = keys.map(flag).into();
            let problems = load(&inputs).err().unwrap_or_else(|| panic!("{admin_url}"));
            let text = problems.to_string();
            assert!(text.starts_with("1 problem") && text.contains(expected), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_mysql_url_needs_a_user_and_one_way_to_be_encrypted() {
        for (keys, expected) in [
            (&[("url", "mysql://h/d")][..], "or set USER"),
            (
                &[("url", "mysql://me@h/d?ssl-mode=REQUIRED"), ("tls.mode", "disable")],
                "contradicts ssl-mode",
            ),
            (&[("url", "mysql://me@h/d?ssl-ca=/none.pem")], "/none.pem"),
        ] {
            let mut inputs = Inputs::new(Environment::default());
            let flag = |(key, value): &(&str, &str)| {
                Flag::new("x", format!("databases.main.{key}"), *value)
            };
            inputs.flags = keys.iter().map(flag).collect();
            let problems = load(&inputs).err().unwrap_or_else(|| panic!("{keys:?}")).to_string();
            assert!(problems.contains(expected), "{problems}");
        }
    }
}
