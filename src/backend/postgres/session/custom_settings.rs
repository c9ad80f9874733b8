//! The custom settings that callers leave in sessions.
//!
//! Once `tenant.id` was set, even by SET LOCAL, it reads as `''` in its session for good, where one that never
//! had it reads NULL; and no catalog lists such settings. So those are asked for that the texts of the
//! session name, or the functions of the database: one that is left costs the connection. Settings that
//! `databases.NAME.settings` and `settings_allowed`, ALTER DATABASE or ALTER ROLE gives to every session are none.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::protocol::simple_query::rows;
use crate::sql::CustomSettings;

/// A query of the settings that the functions of a database name, and of the number of those functions that
/// may set others: they compute a name, or write one in a way of its own.
const OF_FUNCTIONS: &str = "\
    with bodies as (select pg_catalog.concat_ws(' ''', p.prosrc, \
            pg_catalog.array_to_string(p.proconfig, ' ''')) as body, \
        pg_catalog.to_jsonb(p) operator(pg_catalog.->>) 'prosqlbody' as tree \
        from pg_catalog.pg_proc as p where p.oid operator(pg_catalog.>=) 16384 \
            and p.prolang operator(pg_catalog.<>) all ('{12, 13}')) \
    select pg_catalog.string_agg(name[1], ','), (select pg_catalog.count(*) from bodies where \
        body operator(pg_catalog.~*) 'set_config[[:space:]]*[(][[:space:]]*([^''[:space:]]|''[^'']*''[[:space:]]*[^,''[:space:]])' \
        or body operator(pg_catalog.~*) '''[[:space:]]*set[[:space:]]+((local|session)[[:space:]]+)?(''|%)' \
        or body operator(pg_catalog.~*) 'set[[:space:]]+((local|session)[[:space:]]+)?\"?[[:alnum:]_$]+(\"?[[:space:]]*[.][[:space:]]*\"|\"[[:space:]]*[.]|[[:space:]]+[.])' \
        or tree operator(pg_catalog.~) ':funcid 2078 ') \
    from (select distinct name from bodies cross join lateral pg_catalog.regexp_matches(body, \
        '(?:''|set[[:space:]]+(?:local[[:space:]]+|session[[:space:]]+)?)([[:alpha:]_][[:alnum:]_$]*(?:[.][[:alpha:]_][[:alnum:]_$]*)+)', \
        'gi') as f (name)) as f";

/// The condition on a `name` that a session has which did not begin with it.
const IS_LEFT: &str = "\
    pg_catalog.current_setting(name, true) operator(pg_catalog.=) '' and not exists (\
        select from pg_catalog.pg_db_role_setting as s \
        cross join lateral pg_catalog.unnest(s.setconfig) as entry \
        where pg_catalog.lower(pg_catalog.split_part(entry, '=', 1)) \
                operator(pg_catalog.=) pg_catalog.lower(name) \
            and s.setdatabase operator(pg_catalog.=) any (array[0::pg_catalog.oid, \
                (select d.oid from pg_catalog.pg_database as d \
                 where d.datname operator(pg_catalog.=) pg_catalog.current_database())]) \
            and s.setrole operator(pg_catalog.=) any (array[0::pg_catalog.oid, \
                (select r.oid from pg_catalog.pg_roles as r \
                 where r.rolname operator(pg_catalog.=) session_user)]))";

/// The custom settings that the functions of a database may set, as they were at a time.
pub(crate) struct FunctionSettings {
    ttl: Duration,
    /// The names that the configuration gives to every session, in lower case.
    begun: Vec<String>,
    queried: Mutex<Option<(Instant, CustomSettings)>>,
    was_told: AtomicBool,
}

impl FunctionSettings {
    pub(crate) fn new(ttl: Duration, begun: Vec<String>) -> Self {
        Self { ttl, begun, queried: Mutex::default(), was_told: AtomicBool::default() }
    }

    /// True for a setting that every session begins with; its name is in lower case.
    pub(crate) fn are_begun_with(&self, name: &str) -> bool {
        self.begun.iter().any(|begun| begun == name)
    }

    /// Has the functions read again.
    pub(crate) fn forget(&self) {
        self.queried.lock().take();
    }

    /// Returns true if a session, which was reset, may have a custom setting that no session begins with;
    /// `texts` are those that its statements may have set.
    pub(crate) async fn are_left_in(
        &self,
        connection: &Connection,
        texts: &CustomSettings,
    ) -> Result<bool, tokio_postgres::Error> {
        let mut settings = self.of_functions(connection).await?;
        settings.add(texts);
        Ok(match settings {
            CustomSettings::None => false,
            CustomSettings::Any => true,
            CustomSettings::Named(names) => {
                let names = names.trim_end_matches(',');
                let given = self.begun.join(",");
                let left = format!(
                    "select 1 from pg_catalog.unnest('{{{names}}}'::pg_catalog.text[]) as name \
                     where pg_catalog.lower(name) operator(pg_catalog.<>) all ('{{{given}}}') and {IS_LEFT} limit 1"
                );
                let messages = connection.client.simple_query(&left).await?;
                rows(&messages).next().is_some()
            }
        })
    }

    async fn of_functions(
        &self,
        connection: &Connection,
    ) -> Result<CustomSettings, tokio_postgres::Error> {
        let known = self.queried.lock().clone();
        if let Some((at, settings)) = known
            && at.elapsed() < self.ttl
        {
            return Ok(settings);
        }
        let at = Instant::now();
        let messages = connection.client.simple_query(OF_FUNCTIONS).await?;
        let row = rows(&messages).next();
        let mut settings = match row.and_then(|row| row.get(0)) {
            Some(names) => CustomSettings::Named(format!("{names},").into()),
            None => CustomSettings::None,
        };
        if row.and_then(|row| row.get(1)) != Some("0") {
            settings.add(&CustomSettings::Any);
        }
        *self.queried.lock() = Some((at, settings.clone()));
        Ok(settings)
    }

    /// Logs once that such settings cost connections.
    pub(crate) fn tell(&self, database: &str) {
        if !self.was_told.swap(true, Relaxed) {
            tracing::warn!(
                database,
                "custom settings that callers set cost a connection each: let every session begin with them \
                 (databases.NAME.settings.name = \"\", or ALTER DATABASE … SET name = '')"
            );
        }
    }
}
