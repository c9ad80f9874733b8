//! Loads a configuration: the steps from its inputs to the typed values. The target of a database can be
//! read again: the files that it refers to change while the server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::{self, Config, DatabaseNames, MAIN};
use super::claims_check;
use super::database_target::{MysqlTarget, PostgresTarget, Target, TargetSource};
use super::entries::{Entries, Entry, FILE_SUFFIX};
use super::problem::{Problem, Problems};
use super::schema::access_keys::GrpcTls;
use super::schema::claims_keys::ClaimsSettings;
use super::schema::{CALLERS, DATABASES, SectionNames, key_names};
use super::secrets::{interpolation, secret};
use super::section_reader::{SectionReader, Setting, Status};
use super::source::{self, Environment, Flag, Inputs};
use super::written::Written;
use super::{libpq, mysql_variables, unknown_keys};

const DATABASE_URL: &str = "DATABASE_URL";
const MAIN_URL: &str = "databases.main.url";

/// The longest name of a database or of a caller.
const LONGEST_NAME: usize = 63;

/// A configuration, and where its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its effective value, in the order of the documentation.
    pub settings: Vec<Setting>,
    /// Suspicious values that are not wrong.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Returns true if a database is configured; otherwise `main` is SQLite's default file.
    #[must_use]
    pub fn names_a_database(&self) -> bool {
        let is_url = |key: &str| key.starts_with("databases.") && key.ends_with(".url");
        self.settings
            .iter()
            .any(|setting| is_url(&setting.key) && setting.status != Status::Default)
    }
}

/// Loads a configuration.
///
/// # Errors
/// All problems at once.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let environment = &inputs.environment;
    let mut problems = Vec::new();
    // Without the file the other layers mean something else, and their problems would mislead.
    let mut entries = merge(source::layers(inputs)?, &mut problems);
    let databases = database_names(&entries, &mut problems);
    // An empty variable is reported as an empty URL.
    let url = environment.variables.get(DATABASE_URL);
    if let Some(url) = url.filter(|_| databases.names.contains(MAIN)) {
        let entry = || Entry::new(MAIN_URL, url.as_str(), DATABASE_URL.to_owned());
        entries.entry(MAIN_URL.to_owned()).or_insert_with(entry);
    }
    let callers = names_below(CALLERS, "a caller", &entries, &mut problems);
    let names = SectionNames { databases: databases.names.clone(), callers: callers.clone() };
    problems.extend(unknown_keys::problems(&entries, &names));
    let entries = Arc::new(entries);
    let shared = Arc::new(environment.clone());
    let mut reader = SectionReader::new(&entries, &shared);
    reader.problems = problems;
    reader.warnings.extend(near_misses(environment));
    reader.warnings.extend(ignored_url(environment, &entries));
    if databases.names.contains(MAIN) && !entries.contains_key(MAIN_URL) {
        let is_overridden = libpq::define(environment);
        reader.warnings.extend(mysql_variables::warnings(environment, is_overridden));
    }
    let config = build::config(&mut reader, databases, callers, inputs.insecure);
    let SectionReader { problems, settings, warnings, .. } = reader;
    Problems::check(problems)?;
    Ok(Loaded { config, settings, warnings })
}

/// Loads a configuration from keys and values alone: no file, no environment.
///
/// # Errors
/// As [`load()`].
pub fn load_from(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    let mut inputs = Inputs::new(Environment::default());
    inputs.flags = pairs.iter().map(|(key, value)| Flag::new("(given)", *key, *value)).collect();
    load(&inputs).map(|loaded| loaded.config)
}

/// Reads the Fernet keys of `ROWGATE_SECRET_KEY` or `ROWGATE_SECRET_KEY_FILE`.
///
/// # Errors
/// Neither is set, or a key cannot be used.
pub fn keyring(environment: &Environment) -> Result<secret::Keyring, Problems> {
    interpolation::keyring(environment).map_err(|error| error.of("ROWGATE_SECRET_KEY").into())
}

/// The entries of the uppermost layer that gives each key.
fn merge(layers: [Vec<Entry>; 4], problems: &mut Vec<Problem>) -> Entries {
    let mut merged = Entries::new();
    for layer in layers {
        let mut forms = BTreeMap::new();
        for entry in layer {
            let key = entry.key.clone();
            if *forms.entry(key.clone()).or_insert(entry.is_path) != entry.is_path {
                let why = format!("both {key} and {key}{FILE_SUFFIX} are given");
                let problem = Problem::new(key, why).origin(entry.origin);
                problems.push(problem.instead("Remove one of them."));
            } else if !entry.value.is_null() || !merged.contains_key(&key) {
                // Null, and a section without keys, override nothing.
                merged.insert(key, entry);
            }
        }
    }
    merged
}

/// The databases that the entries name; `main` when they name none.
fn database_names(entries: &Entries, problems: &mut Vec<Problem>) -> DatabaseNames {
    let mut names = names_below(DATABASES, "a database", entries, problems);
    if names.is_empty() {
        names.insert(MAIN.to_owned());
    }
    DatabaseNames { names, is_incomplete: unknown_keys::hides_databases(entries) }
}

/// The names of the sections below a section; `named` says what has them.
fn names_below(
    section: &str,
    named: &str,
    entries: &Entries,
    problems: &mut Vec<Problem>,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (key, entry) in entries {
        let mut parts = key.split('.');
        let (Some(first), Some(name)) = (parts.next(), parts.next()) else { continue };
        if first == section && names.insert(name.to_owned()) && !is_name(name) {
            let why = format!("this cannot be the name of {named}");
            let problem = Problem::new(format!("{section}.{name}"), why).origin(&entry.origin);
            let instead = "Write a letter, then up to 62 lower-case letters, digits, - and _.";
            problems.push(problem.instead(instead));
        }
    }
    names
}

/// Warnings of variables such as `ROWGATE_GRPC_LISTEN`, which lack an underscore and set nothing.
fn near_misses(environment: &Environment) -> Vec<String> {
    let keys: Vec<_> = key_names(&SectionNames::of_databases([MAIN])).collect();
    let near = |name: &String| {
        let rest = name.strip_prefix("ROWGATE_").filter(|rest| !rest.starts_with('_'))?;
        let rest = rest.to_ascii_lowercase().replace("__", "_");
        let meant = keys.iter().find(|key| key.replace('.', "_") == rest)?;
        let meant = meant.to_ascii_uppercase().replace('.', "__");
        Some(format!("the variable {name} is ignored: {}{meant} sets that key", source::PREFIX))
    };
    environment.variables.keys().filter_map(near).collect()
}

/// The warning of a `DATABASE_URL` that is overridden.
fn ignored_url(environment: &Environment, entries: &Entries) -> Option<String> {
    environment.get(DATABASE_URL)?;
    let why = match entries.get(MAIN_URL) {
        Some(entry) if entry.origin == DATABASE_URL => return None,
        Some(entry) => format!("{MAIN_URL} is set by {}", entry.origin),
        None => "it defines the database main, but others are configured".to_owned(),
    };
    Some(format!("{DATABASE_URL} is ignored: {why}"))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.as_bytes().iter().all(fits)
}

impl PostgresTarget {
    /// Reads the same target from the files as they are now, with its warnings. Blocks.
    ///
    /// # Errors
    /// All problems; no secret is in them.
    pub fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        let Some(written) = &self.source else { return Ok((self.clone(), Vec::new())) };
        match reread(written)? {
            (Some(Target::Postgres(target)), warnings) => Ok((*target, warnings)),
            _ => Err(is_another_kind(written, "PostgreSQL")),
        }
    }
}

impl MysqlTarget {
    /// Reads the same target from the files as they are now, with its warnings. Blocks.
    ///
    /// # Errors
    /// All problems; no secret is in them.
    pub fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        let Some(written) = &self.source else { return Ok((self.clone(), Vec::new())) };
        match reread(written)? {
            (Some(Target::Mysql(target)), warnings) => Ok((*target, warnings)),
            _ => Err(is_another_kind(written, "MySQL")),
        }
    }
}

fn reread(written: &TargetSource) -> Result<(Option<Target>, Vec<String>), Problems> {
    let mut reader = SectionReader::new(&written.entries, &written.environment);
    reader.name.clone_from(&written.database);
    let target = build::target(&mut reader);
    Problems::check(reader.problems)?;
    Ok((target, reader.warnings))
}

fn is_another_kind(written: &TargetSource, kind: &str) -> Problems {
    let key = format!("databases.{}.url", written.database);
    Problem::new(key, format!("this is no longer a URL of {kind}")).into()
}

impl ClaimsSettings {
    /// Reads the same keys from the files as they are now. Blocks.
    ///
    /// # Errors
    /// All problems; no secret is in them.
    pub fn reread(&self) -> Result<Self, Problems> {
        let Written { entries, environment } = &self.written;
        let mut reader = SectionReader::new(entries, environment);
        reader.name.clone_from(&self.database);
        let claims = Self::read(&mut reader);
        claims_check::check_keys(&mut reader, &claims);
        Problems::check(reader.problems)?;
        Ok(claims)
    }
}

impl GrpcTls {
    /// Reads the same keys from the files as they are now. Blocks.
    ///
    /// # Errors
    /// All problems; no secret is in them.
    pub fn reread(&self) -> Result<Self, Problems> {
        let Written { entries, environment } = &self.written;
        let mut reader = SectionReader::new(entries, environment);
        let tls = Self::read(&mut reader);
        build::check_tls(&mut reader, &tls);
        Problems::check(reader.problems)?;
        Ok(tls)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::*;
    use crate::config::schema::value_types::ValueType;
    use crate::config::secret::{Keyring, keygen};
    use crate::config::{Host, Secret, TargetSession, TlsMode, entries, example};

    /// A directory with a rowgate.toml.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new(toml: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            place.write("rowgate.toml", toml);
            place
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
            let mut environment = Environment::of(variables).in_directory(self.0.path());
            environment.user = Some("operator".to_owned());
            load(&Inputs::new(environment))
        }

        fn problems(&self, variables: &[(&str, &str)]) -> Vec<Problem> {
            match self.load(variables) {
                Ok(_) => panic!("this loads"),
                Err(problems) => problems.iter().cloned().collect(),
            }
        }
    }

    fn keys_of(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.key.as_str()).collect()
    }

    fn setting<'a>(loaded: &'a Loaded, key: &str) -> (&'a str, &'a str) {
        let found = loaded.settings.iter().find(|setting| setting.key == key).unwrap();
        (&found.value, &found.origin)
    }

    fn postgres(config: &Config) -> &PostgresTarget {
        match &config.databases["main"].target {
            Target::Postgres(target) => target,
            other @ (Target::Sqlite(_) | Target::Mysql(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_word_it_is_sqlite_here() {
        let config = load_from(&[]).unwrap();
        assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(config.grpc.max_request_size, 4 << 20);
        assert_eq!(config.default_database, "main");
        assert_eq!(config.health.require, ["main"]);
        let main = &config.databases["main"];
        assert!(matches!(&main.target, Target::Sqlite(t) if t.path.as_os_str() == "rowgate.db"));
        assert_eq!((main.pool.min, main.pool.max.get()), (5, 20));
        assert_eq!(main.default_deadline, Duration::from_secs(30));
        assert_eq!(main.statement_timeout, Duration::from_secs(305));
        assert_eq!(main.max_bytes, 3 << 20);
    }

    #[test]
    fn later_layers_win() {
        let place = Place::new(
            "[grpc]\nlisten = '127.0.0.1:1'\nmax_connections = 7\nworkers = 3\n\
         [telemetry]\nlog_filter = 'warn'",
        );
        let variables = [
            ("ROWGATE__GRPC__LISTEN", "127.0.0.1:2"),
            ("ROWGATE__GRPC__WORKERS", "4"),
            ("RUST_LOG", "debug"),
        ];
        let mut inputs = Inputs::new(Environment::of(&variables).in_directory(place.0.path()));
        inputs.flags = vec![Flag::new("--listen", "grpc.listen", "127.0.0.1:3")];
        let loaded = load(&inputs).unwrap();
        assert_eq!(setting(&loaded, "grpc.listen"), ("\"127.0.0.1:3\"", "flag --listen"));
        assert_eq!(setting(&loaded, "grpc.workers"), ("4", "environment ROWGATE__GRPC__WORKERS"));
        assert_eq!(setting(&loaded, "grpc.max_connections"), ("7", "rowgate.toml"));
        assert_eq!(setting(&loaded, "grpc.reflection"), ("true", "default"));
        assert_eq!(setting(&loaded, "telemetry.log_filter"), ("\"debug\"", "environment RUST_LOG"));
        assert_eq!(loaded.config.grpc.listen.to_string(), "127.0.0.1:3");
    }

    #[test]
    fn toml_yaml_and_json_say_the_same() {
        let place = Place::new("");
        let files = [
            ("a.toml", "[databases.main.pool]\nmax = 9\nwarm_up = false\n"),
            ("a.yaml", "databases:\n  main:\n    pool: {max: 9, warm_up: false}\n"),
            (
                "a.yml",
                "grpc:\n  listen:\nops:\ndatabases:\n  main:\n    pool:\n      max: 9\n      warm_up: false\n",
            ),
            ("a.json", r#"{"databases": {"main": {"pool": {"max": 9, "warm_up": false}}}}"#),
        ];
        for (name, text) in files {
            let mut inputs = Inputs::new(Environment::default());
            inputs.file = Some(place.write(name, text));
            let pool = load(&inputs).unwrap().config.databases["main"].pool.clone();
            assert_eq!((pool.max.get(), pool.warm_up), (9, false), "{name}");
        }
    }

    #[test]
    fn five_mistakes_are_five_problems() {
        let place = Place::new(
            "[grpc]\nlistn = '127.0.0.1:1'\nmax_request_size = '4 megs'\nreflection = 'maybe'\n\
         [databases.main]\nurl = 'postgres://me:hunter2@db/shop?sslmode=prefer'\n\
         [databases.main.pool]\nmin = 30\n",
        );
        let problems = place.problems(&[]);
        assert_eq!(
            keys_of(&problems),
            [
                "grpc.listn",
                "grpc.max_request_size",
                "grpc.reflection",
                "databases.main.url",
                "databases.main.pool.min"
            ]
        );
        assert_eq!(problems[0].instead.as_deref(), Some("Did you mean grpc.listen?"));
        assert!(problems.iter().all(|problem| problem.origin.as_deref() == Some("rowgate.toml")));
        assert!(problems.iter().all(|problem| problem.instead.is_some()));
        let text = place.load(&[]).unwrap_err().to_string();
        assert!(text.starts_with("5 problems in the configuration") && !text.contains("hunter2"));
    }

    #[test]
    fn every_kind_of_mistake_is_found_once() {
        let cases: &[(&str, &str)] = &[
            ("grpc = 5", "grpc"),
            ("databases.main = 'postgres://h/d'", "databases.main"),
            ("[grpc.listen]\nport = 5", "grpc.listen.port"),
            ("[grcp]\nlisten = 'x'\nworkers = 2", "grcp"),
            (
                "database.a.url = 'x'\ndatabases.b.url = 'sqlite:b'\ndatabases.c.url = 'sqlite:c'",
                "database",
            ),
            ("grpc.listen = 'localhost'", "grpc.listen"),
            ("grpc.listen = '0.0.0.0:50051'", "grpc.listen"),
            ("grpc.listen = 50051", "grpc.listen"),
            ("ops.listen = '127.0.0.1:50051'", "ops.listen"),
            ("grpc.workers = 0", "grpc.workers"),
            ("grpc.workers = 2.5", "grpc.workers"),
            ("grpc.max_connections = true", "grpc.max_connections"),
            ("grpc.max_request_size = '4MB'", "grpc.max_request_size"),
            ("grpc.max_request_size = '2GiB'", "grpc.max_request_size"),
            ("shutdown.grace = 30", "shutdown.grace"),
            ("shutdown.grace = '30 parsecs'", "shutdown.grace"),
            ("shutdown.delay = '26s'", "shutdown.delay"),
            ("stream.stall_timeout = '1ms'", "stream.stall_timeout"),
            ("health.require = ['main', 'orders']", "health.require"),
            ("health.require = [1]", "health.require"),
            ("telemetry.log_format = 'xml'", "telemetry.log_format"),
            ("telemetry.log_filter = 'rowgate=loud'", "telemetry.log_filter"),
            ("default_database = 'orders'", "default_database"),
            ("databases.a.url = 'sqlite:a'\ndatabases.b.url = 'sqlite:b'", "default_database"),
            ("databases.orders.max_rows = 5", "databases.orders.url"),
            ("databases.Orders.url = 'sqlite:a'", "databases.Orders"),
            ("databases.main.url = ''", "databases.main.url"),
            ("databases.main.url = 5", "databases.main.url"),
            ("databases.main.url = []", "databases.main.url"),
            ("databases.main.url = '${env:UNSET}'", "databases.main.url"),
            ("databases.main.url_file = '/none'", "databases.main.url_file"),
            ("databases.main.tls.mode = 'require'", "databases.main.tls.mode"),
            ("databases.main.default_deadline = '6m'", "databases.main.default_deadline"),
            ("databases.main.max_bytes = '4MiB'", "databases.main.max_bytes"),
            ("databases.main.pool = {min = 6, max = 5}", "databases.main.pool.min"),
            (
                "databases.main.pool.max = 'many'\ndatabases.main.pool.min = 50",
                "databases.main.pool.max",
            ),
            ("databases.main.breaker.failures = 0", "databases.main.breaker.failures"),
            ("databases.main.brake.failures = 5", "databases.main.brake"),
            ("databases.main = {url = 'sqlite:a', url_file = 'b'}", "databases.main.url"),
            (
                "databases.main.url = 'postgres://u@h/d'\ndatabases.main.tls.cert = '/none'",
                "databases.main.tls.cert",
            ),
            ("this is not TOML", "rowgate.toml"),
        ];
        for (toml, key) in cases {
            let problems = Place::new(toml).problems(&[]);
            assert_eq!(keys_of(&problems), [*key], "{toml}\n{problems:#?}");
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_said() {
        for (name, expected) in [
            ("/none/rowgate.toml", "does not exist"),
            ("/etc/hostname.ini", ".toml"),
            ("/", ".toml"),
        ] {
            let mut inputs = Inputs::new(Environment::default());
            inputs.file = Some(name.into());
            let text = load(&inputs).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_listener_beyond_loopback_needs_a_word() {
        let mut inputs = Inputs::new(Environment::of(&[("ROWGATE__GRPC__LISTEN", "[::]:50051")]));
        let text = load(&inputs).unwrap_err().to_string();
        assert!(text.contains("--insecure"), "{text}");
        inputs.insecure = true;
        assert!(load(&inputs).unwrap().config.insecure);
    }

    #[test]
    fn keys_may_come_from_files() {
        let place = Place::new("");
        let url = place.write("url", "sqlite:from-file.db\n");
        let url = url.to_str().unwrap();
        let by_variable = [("ROWGATE__DATABASES__MAIN__URL_FILE", url)];
        let place_in_file = Place::new(&format!("databases.main.url_file = '{url}'"));
        for loaded in [place.load(&by_variable), place_in_file.load(&[])] {
            let loaded = loaded.unwrap();
            assert_eq!(setting(&loaded, "databases.main.url").0, "\"sqlite:from-file.db\"");
        }
        // A higher layer wins in either form, and what it hides is not looked for.
        let hidden = Place::new("databases.main.url = '${file:/none}'");
        assert!(hidden.load(&by_variable).is_ok());
        let lower = Place::new("databases.main.url = 'sqlite:lower.db'");
        let loaded = lower.load(&by_variable).unwrap();
        assert_eq!(setting(&loaded, "databases.main.url").0, "\"sqlite:from-file.db\"");
    }

    #[test]
    fn a_wrong_fernet_key_is_explained() {
        let token = Keyring::parse(&keygen()).unwrap().encrypt("postgres://me:hunter2@h/d");
        let place = Place::new(&format!("databases.main.url = '{token}'"));
        let problems = place.problems(&[("ROWGATE_SECRET_KEY", &keygen())]);
        assert_eq!(keys_of(&problems), ["databases.main.url"]);
        let text = problems[0].to_string();
        assert!(
            text.contains("the key does not fit") && text.contains("ROWGATE_SECRET_KEY"),
            "{text}"
        );
        assert!(!text.contains(&token), "{text}");
    }

    #[test]
    fn no_secret_is_shown() {
        let key = keygen();
        let token = Keyring::parse(&key).unwrap().encrypt("hunter2");
        let place = Place::new(&format!(
            "databases.main.url = 'postgres://me:${{{token}}}@127.0.0.1/d'\n\
         databases.other.url = 'postgres://me:hunter2@127.0.0.1/d'\n\
         telemetry.log_filter = '${{env:FILTER}}'"
        ));
        let variables = [("ROWGATE_SECRET_KEY", key.as_str()), ("FILTER", "hunter2")];
        let loaded = place.load(&variables).unwrap();
        assert_eq!(
            postgres(&loaded.config).servers[0].password.as_ref().unwrap().expose(),
            "hunter2"
        );
        let shown =
            format!("{:?} {:?} {:?}", loaded.settings, loaded.warnings, loaded.config.databases);
        assert!(!shown.contains("hunter2") && !shown.contains(&key), "{shown}");
        let url = setting(&loaded, "databases.main.url").0;
        assert_eq!(url, "\"postgres://me:******@127.0.0.1/d\"");
        assert_eq!(setting(&loaded, "telemetry.log_filter").0, "\"******\"");
    }

    #[test]
    fn no_problem_shows_a_secret() {
        let mistakes = [
            "databases.main.password = 'hunter2'",
            "databases.main.url = 'postgres://me:hunter2'",
            "databases.main.url = 'postgres://me:hunter2/x@h/d'",
            "databases.main.url = 'hunter2'",
            "databases.main.url = ['hunter2']",
            "databases.main.url = 'postgres://me:hunter2@h:port/d?x=y'",
            "databases.main.url = 'postgres://me:hunter2${@h/d'",
            "databases.main = 'postgres://me:hunter2@h/d'",
            "databases.main.url = 'postgres://me:hunter2@h/d",
            "url = 'postgres://me:hunter2@h/d' 'hunter2'",
            "grpc.listen = '${env:SECRET}'",
            "grpc.workers = '${env:SECRET}'",
            "databases.main.tls.key = \"-----BEGIN KEY\\nhunter2\"",
            "databases.main = {url = 'postgres://u@h/d', tls.key = '''-----BEGIN KEY\nhunter2'''}",
        ];
        for toml in mistakes {
            let text = Place::new(toml).load(&[("SECRET", "hunter2")]).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{toml}\n{text}");
        }
        let inputs = Inputs::new(Environment::of(&[("DATABASE_URL", "hunter2")]));
        let text = format!("{} {inputs:?}", load(&inputs).unwrap_err());
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn database_url_and_libpq_variables_define_main() {
        let place = Place::new("databases.main.pool.max = 3");
        let url = ("DATABASE_URL", "postgres://me@[::1]/shop");
        let libpq = [
            ("PGHOST", "db"),
            ("PGPORT", "5433"),
            ("PGUSER", "you"),
            ("PGPASSWORD", "p@ss"),
            ("PGDATABASE", "orders"),
            ("PGSSLMODE", "require"),
            ("PGAPPNAME", "shop"),
        ];
        let loaded = place.load(&[&[url], &libpq[..]].concat()).unwrap();
        let target = postgres(&loaded.config);
        assert_eq!(
            (target.user.as_str(), target.dbname.as_str(), target.servers[0].port),
            ("me", "shop", 5432)
        );
        assert_eq!(target.servers[0].host, Host::Tcp("::1".into()));
        assert_eq!((target.session, target.tls.mode), (TargetSession::Any, TlsMode::Disable));
        assert_eq!(target.servers[0].password, None);
        assert_eq!(setting(&loaded, "databases.main.url").1, "DATABASE_URL");

        let loaded = place.load(&libpq).unwrap();
        let target = postgres(&loaded.config);
        assert_eq!(
            (target.user.as_str(), target.dbname.as_str(), target.servers[0].port),
            ("you", "orders", 5433)
        );
        assert_eq!(target.tls.mode, TlsMode::Require);
        assert_eq!(target.application_name, "shop");
        assert_eq!(target.servers[0].password.as_ref().map(Secret::expose), Some("p@ss"));
        let (shown, origin) = setting(&loaded, "databases.main.url");
        assert_eq!(shown, "\"postgres://you:******@db:5433/orders\"");
        assert_eq!(origin, "PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE, PGAPPNAME");

        let problems = place.problems(&[("PGPORT", "x"), ("PGSSLMODE", "prefer")]);
        assert_eq!(keys_of(&problems), ["PGPORT", "PGSSLMODE"]);
    }

    #[test]
    fn an_overridden_database_url_is_mentioned() {
        let variables = [("DATABASE_URL", "postgres://me@h/shop"), ("ROWGATE_GRPC_LISTEN", "x")];
        for toml in ["databases.main.url = 'sqlite:a'", "databases.orders.url = 'sqlite:a'"] {
            let loaded = Place::new(toml).load(&variables).unwrap();
            let [near, ignored] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
            assert!(near.contains("ROWGATE__GRPC__LISTEN"), "{near}");
            assert!(ignored.contains("DATABASE_URL is ignored"), "{ignored}");
            assert_eq!(loaded.config.databases.len(), 1);
        }
        let loaded = Place::new("databases.orders.url = 'sqlite:a'").load(&[]).unwrap();
        assert_eq!(loaded.config.default_database, "orders");
        assert_eq!(loaded.config.health.require, ["orders"]);
    }

    #[test]
    fn a_url_is_completed_as_libpq_does() {
        let pairs = |url| [("DATABASE_URL", url)];
        let place = Place::new("");
        let loaded = place.load(&pairs("postgres://db")).unwrap();
        let target = postgres(&loaded.config);
        assert_eq!((target.user.as_str(), target.dbname.as_str()), ("operator", "operator"));
        assert_eq!((target.servers[0].port, target.tls.mode), (5432, TlsMode::VerifyFull));
        assert_eq!(target.application_name, "rowgate");
        let loaded = place.load(&[("DATABASE_URL", "postgres://db"), ("PGUSER", "me")]).unwrap();
        assert_eq!(postgres(&loaded.config).user, "me");
        let loaded = place.load(&pairs("postgres:///d?host=/tmp&sslmode=require")).unwrap();
        let target = postgres(&loaded.config);
        assert_eq!(target.servers[0].host, Host::Unix("/tmp".into()));
        assert_eq!(target.tls.mode, TlsMode::Disable);
        let loaded = place.load(&pairs("postgres:///d")).unwrap();
        assert_eq!(postgres(&loaded.config).servers[0].host, Host::Tcp("localhost".into()));
        let error = load(&Inputs::new(Environment::of(&pairs("postgres://db/x")))).unwrap_err();
        assert!(error.to_string().contains("names no user"), "{error}");
    }

    #[test]
    fn several_servers_are_asked_for_one_that_writes_unless_told_otherwise() {
        let place = Place::new("");
        let main = |variables: &[(&str, &str)]| {
            let loaded = place.load(variables).unwrap();
            let target = postgres(&loaded.config);
            let servers: Vec<_> = target.servers.iter().map(ToString::to_string).collect();
            let shown = setting(&loaded, "databases.main.url").0.to_owned();
            (servers.join(" "), target.session, target.tls.mode, shown)
        };
        let url = "postgres://me:hunter2@localhost,[::1]:5433/shop";
        let (servers, session, tls, shown) = main(&[("DATABASE_URL", url)]);
        assert_eq!(servers, "localhost:5432 [::1]:5433");
        assert_eq!((session, tls), (TargetSession::ReadWrite, TlsMode::Disable));
        assert_eq!(shown, "\"postgres://me:******@localhost,[::1]:5433/shop\"");
        let url = "postgres://me@localhost,db/shop?target_session_attrs=any";
        let (_, session, tls, _) = main(&[("DATABASE_URL", url)]);
        assert_eq!((session, tls), (TargetSession::Any, TlsMode::VerifyFull), "one is elsewhere");
        let variables = [
            ("PGHOST", "a,/tmp,::1"),
            ("PGPORT", "1,,3"),
            ("PGUSER", "me"),
            ("PGTARGETSESSIONATTRS", "prefer-standby"),
            ("PGLOADBALANCEHOSTS", "random"),
        ];
        let (servers, session, _, shown) = main(&variables);
        assert_eq!(servers, "a:1 /tmp:5432 [::1]:3");
        assert_eq!(session, TargetSession::PreferStandby);
        let query = "target_session_attrs=prefer-standby&load_balance_hosts=random";
        assert_eq!(shown, format!("\"postgres://me@a:1,%2Ftmp,[::1]:3/?{query}\""));
        assert_eq!(main(&[("DATABASE_URL", shown.trim_matches('"'))]).0, servers);
        let problems = place.problems(&[("PGHOST", "a,b"), ("PGPORT", "1,2,3")]);
        assert_eq!(keys_of(&problems), ["PGPORT"]);
        let problems = place.problems(&[("PGHOST", "a"), ("PGTARGETSESSIONATTRS", "master")]);
        assert_eq!(keys_of(&problems), ["PGTARGETSESSIONATTRS"]);
    }

    #[test]
    fn a_password_may_come_from_libpqs_file() {
        let place = Place::new("");
        let path = place.write("pgpass", "localhost:*:*:me:socket\ndb:5433:shop:me:s3cret\n");
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        let variables = [
            ("DATABASE_URL", "postgres://me@db:5433/shop"),
            ("PGPASSFILE", path.to_str().unwrap()),
        ];
        let loaded = place.load(&variables).unwrap();
        let password = postgres(&loaded.config).servers[0].password.as_ref().map(Secret::expose);
        assert_eq!((password, loaded.warnings.len()), (Some("s3cret"), 0));
        mode(0o644);
        let loaded = place.load(&variables).unwrap();
        assert_eq!(postgres(&loaded.config).servers[0].password, None);
        assert!(loaded.warnings[0].contains("chmod 600"), "{:?}", loaded.warnings);
    }

    #[test]
    fn json_web_tokens_need_an_issuer_audiences_and_keys_of_a_file_or_https() {
        let jwt = |keys: &str, more: &[(&str, &str)]| {
            let mut pairs = vec![("access.jwt.keys", keys)];
            pairs.extend(more);
            load_from(&pairs).map(|config| config.jwt)
        };
        let whole = [("access.jwt.issuer", "https://idp"), ("access.jwt.audiences", "rowgate")];
        for keys in ["keys.json", "/etc/keys", "https://idp/keys", "https://idp:8443/a?b=c"] {
            assert_eq!(jwt(keys, &whole).unwrap().keys.as_deref(), Some(keys));
        }
        for keys in
            ["http://idp/keys", "https://", "https://me:secret@idp/", "file:///keys", "ftp://a"]
        {
            let problems = jwt(keys, &whole).unwrap_err().to_string();
            assert!(problems.contains("no https URL"), "{keys}: {problems}");
        }
        let problems = jwt("keys.json", &[]).unwrap_err().to_string();
        let missing = ["access.jwt.issuer is not set", "access.jwt.audiences is not set"];
        assert!(missing.iter().all(|key| problems.contains(key)), "{problems}");
        let often = [&whole[..], &[("access.jwt.refresh_interval", "59s")]].concat();
        let problems = jwt("keys.json", &often).unwrap_err().to_string();
        assert!(problems.contains("must not exceed access.jwt.refresh_interval"), "{problems}");
    }

    #[test]
    fn tls_is_taken_from_keys_or_the_url_and_is_consistent() {
        let place = Place::new("");
        let pem = place.write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
        let text = place.write("text", "hello");
        let (pem, text) = (pem.to_str().unwrap(), text.to_str().unwrap());
        let load = |query: &str, keys: &[(&str, &str)]| {
            let url = format!("postgres://u@db/d{query}");
            let keys =
                keys.iter().map(|(key, value)| (format!("databases.main.tls.{key}"), *value));
            let mut pairs: Vec<_> = keys.collect();
            pairs.push(("databases.main.url".to_owned(), &url));
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            load_from(&pairs).map(|config| postgres(&config).tls.clone())
        };
        let tls = load(&format!("?sslmode=verify-ca&sslrootcert={pem}"), &[]).unwrap();
        assert_eq!((tls.mode, tls.ca.unwrap().path), (TlsMode::VerifyCa, PathBuf::from(pem)));
        let tls = load("", &[("ca", pem), ("cert", pem), ("key", "-----BEGIN KEY")]).unwrap();
        assert_eq!(
            (tls.mode, tls.key.unwrap().pem.expose()),
            (TlsMode::VerifyFull, "-----BEGIN KEY")
        );
        let tls = load("?sslrootcert=system&sslmode=require", &[("mode", "require")]).unwrap();
        assert_eq!((tls.mode, tls.ca), (TlsMode::Require, None));
        type Keys<'a> = &'a [(&'a str, &'a str)];
        let refused: [(&str, Keys<'_>, &str); 8] = [
            ("?sslmode=require", &[("mode", "disable")], "contradicts sslmode"),
            ("", &[("ca", text)], "not PEM"),
            ("?sslrootcert=/none", &[], "/none cannot be read"),
            ("?sslrootcert=/none", &[("ca", pem)], "another file"),
            ("", &[("cert", pem)], "private key"),
            ("", &[("key", pem)], "certificate"),
            ("", &[("mode", "require"), ("ca", pem)], "checks no certificate"),
            ("", &[("mode", "disable"), ("cert", pem), ("key", pem)], "never used"),
        ];
        for (query, keys, expected) in refused {
            let error = load(query, keys).unwrap_err();
            assert!(error.iter().count() == 1 && error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn derived_defaults_follow_what_they_derive_from() {
        let config = load_from(&[
            ("grpc.max_response_size", "2MiB"),
            ("databases.main.max_deadline", "10s"),
            ("databases.main.pool.max", "3"),
        ])
        .unwrap();
        let main = &config.databases["main"];
        assert_eq!(main.max_bytes, 3 << 19);
        assert_eq!(main.default_deadline, Duration::from_secs(10));
        assert_eq!(main.statement_timeout, Duration::from_secs(15));
        assert_eq!(main.pool.min, 3);
    }

    #[test]
    fn keys_of_transactions_and_retries_reach_their_database() {
        let config = load_from(&[
            ("idempotency.table", "ops.keys"),
            ("idempotency.retention", "2h"),
            ("databases.main.max_batch", "7"),
            ("databases.main.pool.transaction_share", "0.25"),
            ("databases.main.retry.max_attempts", "5"),
            ("databases.main.retry.budget", "0"),
            ("databases.main.retry.conflict_max_backoff", "1s"),
            ("databases.main.transaction.idle_timeout", "3s"),
        ])
        .unwrap();
        let main = &config.databases["main"];
        assert_eq!(main.idempotency.table, "ops.keys");
        assert_eq!(main.idempotency.retention, Duration::from_secs(7200));
        assert_eq!((main.max_batch, main.retry.max_attempts), (7, 5));
        assert_eq!((main.pool.transaction_share, main.retry.budget), (0.25, 0.0));
        assert_eq!(main.retry.conflict_max_backoff, Duration::from_secs(1));
        assert_eq!(main.retry.conflict_initial_backoff, Duration::from_millis(2));
        assert_eq!(main.transaction.idle_timeout, Duration::from_secs(3));
        let problems = load_from(&[
            ("databases.main.retry.budget", "10"),
            ("databases.main.retry.max_attempts", "0"),
            ("idempotency.retention", "1s"),
        ]);
        assert_eq!(problems.unwrap_err().iter().count(), 3);
    }

    #[test]
    fn the_effective_configuration_is_toml_and_lists_every_key() {
        let loaded =
            load(&Inputs::new(Environment::of(&[("DATABASE_URL", "postgres://me@h/d")]))).unwrap();
        let keys: BTreeSet<_> = loaded.settings.iter().map(|setting| setting.key.clone()).collect();
        let expected = key_names(&SectionNames::of_databases([MAIN])).collect();
        assert_eq!(keys, expected);
        assert_eq!(keys.len(), loaded.settings.len());
        let line = |s: &Setting| format!("{} = {} # {}\n", s.key, s.value, s.origin);
        let again =
            Place::new(&loaded.settings.iter().map(line).collect::<String>()).load(&[]).unwrap();
        assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
    }

    /// The lines of the example that set a key, without their `#`.
    fn example_keys() -> Vec<String> {
        let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase());
        let lines = example();
        let lines = lines.lines().filter_map(|line| line.strip_prefix('#'));
        lines.filter(|line| is_key(line)).map(str::to_owned).collect()
    }

    #[test]
    fn the_example_has_every_key_with_its_default() {
        let debug = |toml: &str| {
            let loaded = Place::new(toml).load(&[]).unwrap_or_else(|problems| panic!("{problems}"));
            format!("{:?}", loaded.config)
        };
        let defaults = format!("{:?}", load_from(&[]).unwrap());
        let lines = example_keys();
        let others: Vec<_> =
            lines.iter().filter(|line| !line.starts_with("callers.")).cloned().collect();
        assert_eq!(debug(&others.join("\n")), defaults);
        assert_eq!(debug(&example()), defaults);
        for line in &lines {
            let one = debug(&example().replace(&format!("#{line}"), line));
            // A caller that is named exists.
            assert!(one == defaults || line.starts_with("callers."), "{line}");
        }
        let table = config::Format::parse(&config::FileFormat::Toml, None, &lines.join("\n"));
        let entries = entries::of_file(table.unwrap(), "");
        let keys: BTreeSet<_> = entries.into_iter().map(|entry| entry.key).collect();
        let mut names = SectionNames::of_databases([MAIN]);
        names.callers.insert("shop".to_owned());
        assert_eq!(keys, key_names(&names).collect());
    }

    #[test]
    fn sections_may_be_appended_to_the_example() {
        let added = "default_database = 'shop'\n[databases.shop]\nurl = 'sqlite:shop.db'\n\
                     [grpc]\nworkers = 3\n[databases.main]\nurl = 'sqlite:main.db'\n\
                     [databases.main.pool]\nmax = 3\n";
        let config = Place::new(&(example() + added)).load(&[]).unwrap().config;
        assert_eq!((config.default_database.as_str(), config.grpc.workers.get()), ("shop", 3));
        assert_eq!(config.databases["main"].pool.max.get(), 3);
    }

    #[test]
    fn words_of_a_key_are_values_of_its_field() {
        for (key, declared) in crate::config::schema::all_keys() {
            let ValueType::OneOf(words) = declared.value_type else { continue };
            let key = key.replace("NAME", "main");
            for word in words {
                let pairs = [(key.as_str(), *word), ("databases.main.url", "postgres://me@h/d")];
                // Another key may have to be set with it.
                let problems = load_from(&pairs).err();
                let mut problems = problems.iter().flat_map(Problems::iter);
                assert!(problems.all(|it| it.why.ends_with("is not set")), "{key} = {word}");
            }
        }
    }

    fn loaded(pairs: &[(&str, &str)], variables: &[(&str, &str)]) -> PostgresTarget {
        let mut inputs = Inputs::new(Environment::of(variables));
        inputs.flags = pairs.iter().map(|(key, value)| Flag::new("-", *key, *value)).collect();
        let config = load(&inputs).unwrap().config;
        match &config.databases["main"].target {
            Target::Postgres(target) => (**target).clone(),
            other @ (Target::Sqlite(_) | Target::Mysql(_)) => panic!("{other:?}"),
        }
    }

    fn password(target: &PostgresTarget) -> Option<&str> {
        target.servers[0].password.as_ref().map(Secret::expose)
    }

    /// Puts a secret into place as Kubernetes does: a directory of its own, and a symlink that is
    /// replaced.
    fn swap(directory: &Path, version: &str, text: &str) {
        let own = directory.join(version);
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join("secret"), text).unwrap();
        symlink(&own, directory.join("next")).unwrap();
        std::fs::rename(directory.join("next"), directory.join("current")).unwrap();
    }

    #[test]
    fn a_secret_of_a_file_is_read_again_and_nothing_bad_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("current/secret").display().to_string();
        swap(directory.path(), "1", "one\n");
        let url = format!("postgres://me:${{file:{path}}}@db/shop");
        let target = loaded(&[("databases.main.url", &url)], &[]);
        assert_eq!(password(&target), Some("one"));
        swap(directory.path(), "2", "tw@/o\n");
        let (again, _) = target.reread().unwrap();
        assert_eq!(password(&again), Some("tw@/o"));
        swap(directory.path(), "3", "hunter2\0");
        let problems = again.reread().unwrap_err().to_string();
        assert!(!problems.contains("hunter2") && problems.contains("zero byte"), "{problems}");
        std::fs::remove_file(directory.path().join("current")).unwrap();
        let problems = again.reread().unwrap_err().to_string();
        assert!(problems.contains("does not exist"), "{problems}");
    }

    #[test]
    fn a_whole_url_and_the_password_file_are_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let (url, passwords) = (directory.path().join("url"), directory.path().join("pgpass"));
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(&url, "postgres://me:one@db/shop");
        let target = loaded(&[("databases.main.url_file", url.to_str().unwrap())], &[]);
        write(&url, "postgres://you:two@db/shop");
        let (again, _) = target.reread().unwrap();
        assert_eq!((again.user.as_str(), password(&again)), ("you", Some("two")));
        write(&url, "sqlite:shop.db");
        assert!(target.reread().is_err());

        write(&passwords, "a:*:*:me:one\nb:*:*:me:two\n");
        std::fs::set_permissions(&passwords, std::fs::Permissions::from_mode(0o600)).unwrap();
        let variables =
            [("PGHOST", "a,b"), ("PGUSER", "me"), ("PGPASSFILE", passwords.to_str().unwrap())];
        let target = loaded(&[], &variables);
        let each = |target: &PostgresTarget| -> Vec<String> {
            let shown = |secret: &Option<Secret>| secret.as_ref().unwrap().expose().to_owned();
            target.servers.iter().map(|server| shown(&server.password)).collect()
        };
        assert_eq!(each(&target), ["one", "two"]);
        write(&passwords, "*:*:*:me:three\n");
        assert_eq!(each(&target.reread().unwrap().0), ["three", "three"]);
    }
}
