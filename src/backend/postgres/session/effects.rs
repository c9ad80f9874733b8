//! The effects of a statement: on its session, and whether it can write at all.
//!
//! The text names the functions and tables of a statement; only the catalogs know the views, triggers,
//! defaults and functions behind them. They are queried once for each combination of names, on the
//! connection that is about to run the statement, and the answer is kept for `catalog_ttl`.
//!
//! The rule is closed: a statement reads, or leaves no trace, only if nothing but built-in code and that of
//! known extensions can be reached by parsing, planning, input, output and execution. All else may have any
//! effect. Once such a statement has run in a session, names may mean anything there: no answer is asked for
//! in it, or used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio_postgres::types::{Kind, Type};

use crate::backend::postgres::connect::capabilities::{Ability, Expected, Probe};
use crate::backend::postgres::connection::Connection;
use crate::sql::{Analysis, StatementClass, invalidates_plans, may_run_code};

const CATALOG_QUERY: &str = include_str!("effects.sql");
const CATALOG_QUERY_TYPES: &[Type] =
    &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::BOOL];
/// The weight of an entry beyond its names: the class, the answer, and the cache's own tables.
const ENTRY_BYTES: usize = 320;

/// The assumed weight of an entry, from which the number of entries is estimated.
const TYPICAL_ENTRY_BYTES: u64 = 512;

/// A query of one value, which no catalogs answer with yes that only look like PostgreSQL's.
const CATALOGS: &str = "\
    select (select pg_catalog.count(*) from pg_catalog.pg_proc) operator(pg_catalog.>) 2500 \
       and (select pg_catalog.count(*) from pg_catalog.pg_operator) operator(pg_catalog.>) 700 \
       and (select pg_catalog.count(*) from pg_catalog.pg_cast) operator(pg_catalog.>) 150 \
       and (select pg_catalog.count(*) from pg_catalog.pg_amproc) operator(pg_catalog.>) 200 \
       and (select pg_catalog.count(*) from pg_catalog.pg_opclass) operator(pg_catalog.>) 100 \
       and (select pg_catalog.count(*) from pg_catalog.pg_ts_template) operator(pg_catalog.>) 3";

/// The questions that show whether the catalogs tell what a statement can reach.
pub(crate) fn probes() -> [Probe; 2] {
    let names = |query: String, (parameter, value): (&str, &str)| query.replace(parameter, value);
    let writer = [
        ("$1", "'{nextval}'::pg_catalog.text[]"),
        ("$2", "'{}'::pg_catalog.text[]"),
        ("$3", "'{pg_catalog.pg_class}'::pg_catalog.text[]"),
        ("$4", "false"),
    ];
    let judged = writer.into_iter().fold(CATALOG_QUERY.to_owned(), names);
    [
        Probe::new(Ability::Judgement, CATALOGS, Expected::Value("t")),
        Probe::new(Ability::Judgement, judged, Expected::Value("f")),
    ]
}

/// The state that a statement can leave in its session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionEffect {
    #[default]
    Nothing,
    /// The last values drawn from sequences, for `currval` and `lastval`.
    Sequences,
    /// Any.
    Anything,
}

/// The effects of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatementEffects {
    /// True if nothing can be applied, however the statement ends.
    pub(crate) reads: bool,
    pub(crate) session: SessionEffect,
    /// True if it may share a session with others: its result depends on nothing that sessions differ in.
    pub(crate) shares: bool,
}

impl StatementEffects {
    pub(crate) const UNKNOWN: Self =
        Self { reads: false, session: SessionEffect::Anything, shares: false };

    /// Those of a read that may share a session.
    pub(crate) const READ: Self =
        Self { reads: true, session: SessionEffect::Nothing, shares: true };

    /// Returns true if the statement may change the meaning of those behind it: by what it says, or by a function or a
    /// trigger of which nothing is known.
    pub(crate) fn may_redefine(self, sql: &str, analysis: &Analysis) -> bool {
        let runs_unknown_code =
            self.session == SessionEffect::Anything && may_run_code(sql, analysis);
        runs_unknown_code || invalidates_plans(sql, analysis)
    }

    /// The effects with parameters of these types: the checks of a domain run as its value is read in.
    pub(crate) fn with_parameters(self, types: &[Type]) -> Self {
        if types.iter().any(reaches_domain) { Self::UNKNOWN } else { self }
    }
}

/// Returns true for a domain, and for a type that contains one.
fn reaches_domain(of: &Type) -> bool {
    match of.kind() {
        Kind::Simple | Kind::Enum(_) | Kind::Pseudo => false,
        Kind::Array(inner) | Kind::Range(inner) | Kind::Multirange(inner) => reaches_domain(inner),
        Kind::Composite(fields) => fields.iter().any(|field| reaches_domain(field.type_())),
        // There may be kinds that the driver learns later.
        Kind::Domain(_) | _ => true,
    }
}

/// The effects of the statements so far.
pub(crate) struct EffectCache {
    entries: Cache<StatementClass, Arc<CacheEntry>, Weight>,
    ttl: Duration,
    generation: AtomicU64,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<StatementClass, Arc<CacheEntry>> for Weight {
    fn weight(&self, class: &StatementClass, _: &Arc<CacheEntry>) -> u64 {
        u64::try_from(ENTRY_BYTES + class.weight()).unwrap_or(u64::MAX)
    }
}

struct CacheEntry {
    generation: u64,
    effects: StatementEffects,
    queried_at: Mutex<Instant>,
}

impl EffectCache {
    /// A cache of at most `cache_bytes`, whose answers stand for `ttl`.
    pub(crate) fn new(ttl: Duration, cache_bytes: u64) -> Self {
        let entries = usize::try_from(cache_bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        let entries = Cache::with_weighter(entries, cache_bytes, Weight);
        Self { entries, ttl, generation: AtomicU64::new(0) }
    }

    /// Forgets all answers, also those to queries that are under way.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, SeqCst);
    }

    /// Returns the effects of a statement as far as they are known; `None` when the catalogs have to be
    /// queried.
    ///
    /// One caller queries them again when an answer is too old; until it has, the old one stands for the
    /// others.
    pub(crate) fn get(&self, analysis: &Analysis) -> Option<StatementEffects> {
        let (StatementClass::Read(uses) | StatementClass::Change(uses)) = &analysis.class else {
            return Some(StatementEffects::UNKNOWN);
        };
        if uses.exotic {
            return Some(StatementEffects::UNKNOWN);
        }
        let generation = self.generation.load(SeqCst);
        let entry =
            self.entries.get(&analysis.class).filter(|entry| entry.generation == generation)?;
        let mut queried_at = entry.queried_at.lock();
        if queried_at.elapsed() > self.ttl {
            *queried_at = Instant::now();
            return None;
        }
        Some(entry.effects)
    }

    /// The generation of answers: those of others must not be used.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Returns the effects of a statement with the time until which they stand, if they are known and not too old.
    pub(crate) fn standing(&self, analysis: &Analysis) -> Option<(StatementEffects, Instant)> {
        let entry = self.entries.get(&analysis.class)?;
        let until = *entry.queried_at.lock() + self.ttl;
        let stands = entry.generation == self.generation() && Instant::now() < until;
        stands.then_some((entry.effects, until))
    }

    /// Queries the catalogs and caches the answer.
    pub(crate) async fn query(
        &self,
        connection: &mut Connection,
        analysis: &Analysis,
    ) -> Result<StatementEffects, tokio_postgres::Error> {
        let (StatementClass::Read(uses) | StatementClass::Change(uses)) = &analysis.class else {
            return Ok(StatementEffects::UNKNOWN);
        };
        let changes = matches!(analysis.class, StatementClass::Change(_));
        let queried_at = Mutex::new(Instant::now());
        let generation = self.generation.load(SeqCst);
        // The analyzer does not understand names with points in a part: the last part is the name.
        // Its schema is not looked at: every function of that name must be harmless.
        let last = |name: &String| name.rsplit('.').next().unwrap_or_default().to_owned();
        let functions: Vec<String> = uses.functions.iter().map(last).collect();
        let query = connection.catalog_query(CATALOG_QUERY, CATALOG_QUERY_TYPES).await?;
        let row = connection
            .client
            .query_one(&query, &[&functions, &uses.attributes, &uses.relations, &changes])
            .await?;
        let leaves_nothing = row.get(1);
        let draws_from_sequences = row.get(2);
        let session = match (leaves_nothing, draws_from_sequences) {
            (true, false) => SessionEffect::Nothing,
            (true, true) => SessionEffect::Sequences,
            (false, _) => SessionEffect::Anything,
        };
        let effects = StatementEffects { reads: row.get(0), session, shares: row.get(3) };
        let entry = CacheEntry { generation, effects, queried_at };
        self.entries.insert(analysis.class.clone(), Arc::new(entry));
        Ok(effects)
    }
}
