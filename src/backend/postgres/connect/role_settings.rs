//! The settings that a role or a database begins its sessions with.
//!
//! `ALTER ROLE CURRENT_USER SET search_path = …` needs no privilege, and changes every later session for
//! good. So the settings that the first session of this process began with are those of all: an
//! administrator's count once the pool reconnects by command, or from the next start on, and a caller's do not.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect_errors::ConnectFailure;
use crate::backend::postgres::protocol::simple_query::rows;
use crate::backend::postgres::protocol::statement_names::Route;

/// A query of the settings that `ALTER ROLE … SET` and `ALTER DATABASE … SET` give to this session.
pub(crate) const ENTRIES: &str = "\
    select s.setdatabase, s.setrole, entry \
    from pg_catalog.pg_db_role_setting as s, pg_catalog.unnest(s.setconfig) as entry \
    where s.setdatabase operator(pg_catalog.=) any (array[0::pg_catalog.oid, \
            (select d.oid from pg_catalog.pg_database as d \
             where d.datname operator(pg_catalog.=) pg_catalog.current_database())]) \
        and s.setrole operator(pg_catalog.=) any (array[0::pg_catalog.oid, \
            (select r.oid from pg_catalog.pg_roles as r \
             where r.rolname operator(pg_catalog.=) session_user)])";

/// A query of the value of each setting that the role may set.
pub(crate) const VALUES: &str = "\
    select name, setting from pg_catalog.pg_settings \
    where context operator(pg_catalog.=) 'user' \
        or (context operator(pg_catalog.=) 'superuser' \
            and pg_catalog.current_setting('is_superuser') operator(pg_catalog.=) 'on') \
    union all select 'role', pg_catalog.current_setting('role')";

/// The settings of the first session of a database.
#[derive(Debug, Default)]
pub(crate) struct RoleSettings {
    first: Mutex<Option<FirstSession>>,
    /// The settings that a warning was last logged of.
    told: Mutex<Option<String>>,
}

#[derive(Debug)]
struct FirstSession {
    entries: BTreeSet<String>,
    values: HashMap<String, String>,
}

/// The settings that a session began with differently from the first.
#[derive(Debug, PartialEq, Eq)]
struct ChangedSettings {
    names: String,
    /// The statements that give it the values of the first.
    script: String,
}

impl RoleSettings {
    /// Takes the next session for the first.
    pub(crate) fn forget(&self) {
        self.first.lock().take();
        self.told.lock().take();
    }

    /// Has a session begin as the first one did. Returns the statements for it, to be run again after each
    /// `RESET ALL`.
    pub(crate) async fn keep(
        &self,
        database: &str,
        client: &Client,
        route: Route,
    ) -> Result<String, ConnectFailure> {
        let Some(ChangedSettings { names, script }) = self.compare(client).await? else {
            return Ok(String::new());
        };
        if self.told.lock().replace(names.clone()).as_ref() != Some(&names) {
            tracing::warn!(
                database, settings = %names,
                "role or database settings changed since the start, keeping those of the start"
            );
        }
        if route == Route::Pooler {
            // The next transaction may be another session's.
            return Err(ConnectFailure::Baseline { names, cause: None });
        }
        match client.batch_execute(&script).await {
            Ok(()) => Ok(script),
            Err(error) if error.as_db_error().is_none() => Err(ConnectFailure::of_login(error)),
            Err(error) => {
                let cause = Some(Box::new(ConnectFailure::of_login(error)));
                Err(ConnectFailure::Baseline { names, cause })
            }
        }
    }

    /// Compares a new session with the first; `None` if they began alike, or the server has no such
    /// settings.
    async fn compare(&self, client: &Client) -> Result<Option<ChangedSettings>, ConnectFailure> {
        let Some(messages) = answer(client, ENTRIES).await? else { return Ok(None) };
        let entries = entries(&messages);
        if self.first.lock().is_none() {
            let Some(messages) = answer(client, VALUES).await? else { return Ok(None) };
            let values = values(&messages);
            let entries = entries.clone();
            self.first.lock().get_or_insert(FirstSession { entries, values });
        }
        Ok(self.first.lock().as_ref().and_then(|first| first.changed(&entries)))
    }
}

impl FirstSession {
    /// Returns the settings of the entries that only one of both has.
    fn changed(&self, entries: &BTreeSet<String>) -> Option<ChangedSettings> {
        let names = self.entries.symmetric_difference(entries).map(|entry| name(entry));
        let names: BTreeSet<&str> = names.filter(|name| self.can_set(name)).collect();
        if names.is_empty() {
            return None;
        }
        let value = |name: &str| self.values.get(name).map_or("", String::as_str);
        let script = names.iter().map(|name| set_config(name, value(name))).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        Some(ChangedSettings { names, script })
    }

    /// Returns true if the role may set it, and so may have changed it; settings with a point are
    /// anybody's.
    fn can_set(&self, name: &str) -> bool {
        self.values.contains_key(name) || name.contains('.')
    }
}

/// Returns the answer to a query; `None` if the server cannot answer it.
async fn answer(
    client: &Client,
    sql: &str,
) -> Result<Option<Vec<SimpleQueryMessage>>, ConnectFailure> {
    match client.simple_query(sql).await {
        Ok(messages) => Ok(Some(messages)),
        Err(error) if error.as_db_error().is_some() => Ok(None),
        Err(error) => Err(ConnectFailure::of_login(error)),
    }
}

/// The entries: database, role, name and value, as in `5 10 search_path=public`.
fn entries(messages: &[SimpleQueryMessage]) -> BTreeSet<String> {
    let entry = |row: &tokio_postgres::SimpleQueryRow| {
        let column = |index| row.get(index).unwrap_or_default().to_owned();
        (0..row.len().min(3)).map(column).collect::<Vec<_>>().join(" ")
    };
    rows(messages).map(entry).collect()
}

fn values(messages: &[SimpleQueryMessage]) -> HashMap<String, String> {
    let pair = |row: &tokio_postgres::SimpleQueryRow| {
        Some((row.get(0)?.to_owned(), row.get(1)?.to_owned()))
    };
    rows(messages).filter_map(pair).collect()
}

/// The name in an entry.
fn name(entry: &str) -> &str {
    let setting = entry.splitn(3, ' ').nth(2).unwrap_or_default();
    setting.split('=').next().unwrap_or_default()
}

/// The statement that gives a session the value of a setting.
pub(super) fn set_config(name: &str, value: &str) -> String {
    format!("SELECT pg_catalog.set_config({}, {}, false); ", literal(name), literal(value))
}

/// A text as a literal, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_first_session_are_set_again() {
        let set = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        let value = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let values = [("search_path", "\"$user\", it's"), ("work_mem", "4096")].map(value);
        let first = FirstSession { entries: set(&["0 10 work_mem=4096"]), values: values.into() };
        assert_eq!(first.changed(&set(&["0 10 work_mem=4096"])), None);
        // Only an administrator can have set it.
        assert_eq!(first.changed(&set(&["0 10 work_mem=4096", "0 10 log_statement=all"])), None);
        let changed = first.changed(&set(&["0 10 search_path=evil", "0 10 tenant.id=7"]));
        let changed = changed.expect("three are different");
        assert_eq!(changed.names, "search_path, tenant.id, work_mem");
        assert_eq!(
            changed.script,
            "SELECT pg_catalog.set_config(E'search_path', E'\"$user\", it''s', false); \
             SELECT pg_catalog.set_config(E'tenant.id', E'', false); \
             SELECT pg_catalog.set_config(E'work_mem', E'4096', false); "
        );
    }
}
