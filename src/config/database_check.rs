//! Checks of the keys of a database: against each other, and against the kind of database that its URL names.

use super::database_target::Target;
use super::problem::{Problem, ValueError};
use super::schema::all_keys;
use super::schema::database_keys::{Database, default_lanes};
use super::schema::server_keys::Grpc;
use super::section_reader::{SectionReader, Status};

/// The key whose default depends on the machine.
const LANES: &str = "databases.NAME.pool.lanes";

/// The keys that only MySQL and MariaDB have a use for.
const OF_MYSQL: [&str; 3] = ["sql_mode", "time_zone", "pipelining"];

/// The keys that PostgreSQL or SQLite have a use for, and MySQL has none.
const NOT_OF_MYSQL: [&str; 18] = [
    "listen.check_interval",
    "listen.idle_timeout",
    "listen.max_channels",
    "listen.max_listeners",
    "listen.queue",
    "listen.queue_size",
    "max_report_size",
    "max_settings",
    "max_settings_size",
    "pool.lane_timeout",
    "pool.lanes",
    "pooler",
    "require_auth",
    "sqlite_group_max",
    "sqlite_group_time",
    "sqlite_heap_limit",
    "sqlite_max_given_up",
    "sqlite_unresponsive_after",
];

/// Checks the keys of one database against each other, after they were read.
pub(crate) fn check(reader: &mut SectionReader<'_>, database: &Database, grpc: &Grpc) {
    let Database { default_deadline, max_deadline, max_bytes, pool, .. } = database;
    let response_size = u64::try_from(grpc.max_response_size).unwrap_or(u64::MAX);
    let mut require = |holds, key: &str, relation: &str, other: &str| {
        reader.require(holds, &format!("databases.NAME.{key}"), relation, other);
    };
    require(
        default_deadline <= max_deadline,
        "default_deadline",
        "must not exceed",
        "databases.NAME.max_deadline",
    );
    require(*max_bytes < response_size, "max_bytes", "must be less than", "grpc.max_response_size");
    require(pool.min <= pool.max.get(), "pool.min", "must not exceed", "databases.NAME.pool.max");
}

/// Checks the keys of one database against the kind that its URL names.
pub(crate) fn check_kind(reader: &mut SectionReader<'_>, database: &Database) {
    match &database.target {
        Target::Postgres(_) => reject(reader, &OF_MYSQL, "PostgreSQL"),
        Target::Sqlite(_) => {
            reject(reader, &OF_MYSQL, "SQLite");
            let why = "SQLite has no settings of sessions and transactions";
            let instead = "Remove this key, or write a postgres:// URL.";
            reject_settings(reader, database, why, instead);
        }
        Target::Mysql(_) => {
            reject(reader, &NOT_OF_MYSQL, "MySQL");
            let why =
                "variables of MySQL's sessions cannot be set by the configuration or by calls";
            let instead = "Remove this key. sql_mode and time_zone have keys of their own.";
            reject_settings(reader, database, why, instead);
            warn_of_modes(reader, database);
        }
    }
}

/// Reports keys that the kind of database has no use for. Defaults may be written: an example and the effective
/// configuration have them all.
fn reject(reader: &mut SectionReader<'_>, keys: &[&str], kind: &str) {
    for key in keys {
        let key = format!("databases.NAME.{key}");
        let setting = reader.setting(&key);
        if setting.status == Status::Written && !is_default(&key, &setting.value) {
            let error = ValueError::new(format!("this key has no meaning for {kind}"));
            reader.report(&key, error.instead("Remove it: nothing would keep to it."));
        }
    }
}

/// Returns true if a shown value is the default of its key.
fn is_default(name: &str, shown: &str) -> bool {
    if name == LANES {
        return shown == default_lanes().to_string();
    }
    let key = all_keys().find(|(key, _)| key == name).map(|(_, key)| key);
    let default = key.and_then(|key| Some((key, key.constant_default()?)));
    default.is_some_and(|(key, value)| key.value_type.show(&value) == shown)
}

/// Reports settings of a database that has none.
fn reject_settings(reader: &mut SectionReader<'_>, database: &Database, why: &str, instead: &str) {
    let first = database.settings.0.first().map(|(name, _)| format!("settings.{name}"));
    let listed = (!database.settings_allowed.is_empty()).then(|| "settings_allowed".to_owned());
    for key in first.into_iter().chain(listed) {
        let key = reader.full_name(&format!("databases.NAME.{key}"));
        reader.problems.push(Problem::new(key, why).instead(instead));
    }
}

/// Warns of a mode in which the server stores another value than it was sent.
fn warn_of_modes(reader: &mut SectionReader<'_>, database: &Database) {
    let is_strict = |mode: &str| mode.starts_with("STRICT_") || mode == "TRADITIONAL";
    if !database.sql_mode.split(',').any(is_strict) {
        let key = reader.full_name("databases.NAME.sql_mode");
        let why = "values that do not fit are changed and stored, with nothing but a warning";
        reader.warnings.push(format!("{key} has no STRICT_TRANS_TABLES: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::load_from;
    use super::*;

    const MYSQL: &str = "mysql://me@h/d";

    /// Returns the problems of `main` with a key.
    fn problems(url: &str, key: &str, value: &str) -> String {
        let key = format!("databases.main.{key}");
        let config = load_from(&[("databases.main.url", url), (&key, value)]);
        config.err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_url_that_cannot_be_read_makes_no_other_key_wrong() {
        let text = problems("mysql://me@h:x/d", "sql_mode", "TRADITIONAL");
        assert!(text.starts_with("1 problem") && text.contains("not a number"), "{text}");
    }

    #[test]
    fn the_keys_of_mysql_have_no_meaning_for_other_databases() {
        for (key, value) in
            [("sql_mode", "TRADITIONAL"), ("time_zone", "+01:00"), ("pipelining", "false")]
        {
            assert_eq!(problems(MYSQL, key, value), "");
            assert_eq!(problems("sqlite:a.db", "pipelining", "true"), "", "it is the default");
            for (url, kind) in [("postgres://me@h/d", "PostgreSQL"), ("sqlite:a.db", "SQLite")] {
                let text = problems(url, key, value);
                assert!(text.contains(&format!("no meaning for {kind}")), "{key}: {text}");
            }
        }
    }

    #[test]
    fn the_keys_of_other_databases_have_no_meaning_for_mysql() {
        let values = [
            "1s", "1s", "1", "1", "1", "16KiB", "32KiB", "1", "64B", "1ms", "0", "refuse", "none",
            "1", "1ms", "16MiB", "1", "10ms",
        ];
        for (key, value) in NOT_OF_MYSQL.into_iter().zip(values) {
            let text = problems(MYSQL, key, value);
            assert!(text.contains("no meaning for MySQL"), "{key}: {text}");
        }
        // The default means nothing else.
        assert_eq!(problems(MYSQL, "pooler", "allow"), "");
        assert_eq!(problems(MYSQL, "pool.lanes", &default_lanes().to_string()), "");
        for key in ["settings.search_path", "settings_allowed"] {
            let text = problems(MYSQL, key, "work_mem");
            assert!(text.contains("variables of MySQL's sessions"), "{key}: {text}");
        }
        let key = "0123456789abcdef0123456789abcdef";
        assert!(problems(MYSQL, "claims.key", key).contains("MySQL has no row-level security"));
    }

    #[test]
    fn the_keys_of_all_databases_are_mysqls_too() {
        for (key, value) in [
            ("statement_timeout", "10s"),
            ("lock_timeout", "1s"),
            ("statement_cache", "10"),
            ("statement_cache_size", "64KiB"),
            ("statement_ttl", "0s"),
            ("failover_wait", "1s"),
            ("pool.max", "7"),
            ("tls.mode", "verify-full"),
            ("credentials.command", "/bin/true"),
            ("session_statements", "allow"),
        ] {
            assert_eq!(problems(MYSQL, key, value), "", "{key}");
        }
    }

    #[test]
    fn sessions_of_mysql_begin_with_strict_modes_in_utc() {
        let config = load_from(&[("databases.main.url", MYSQL)]).expect("it is one");
        let database = &config.databases["main"];
        let modes: Vec<_> = database.sql_mode.split(',').collect();
        assert!(modes.len() == 6 && modes.contains(&"STRICT_TRANS_TABLES"), "{modes:?}");
        assert_eq!((database.time_zone.as_str(), database.pipelining), ("+00:00", true));
        for value in ["ANSI_QUOTES", "STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES", "ORACLE"] {
            assert!(problems(MYSQL, "sql_mode", value).contains("changes how"), "{value}");
        }
        assert!(problems(MYSQL, "time_zone", "Europe/Berlin").contains("a distance from UTC"));
    }
}
