//! What a statement can leave behind in its session, and whether it can write at all.
//!
//! The text says what a statement calls and which tables it touches; only the catalogs know what that
//! sets off: a view, a trigger, a default, a function of somebody's. They are asked once for each
//! combination of names, on the connection that is about to run the statement, and believed for
//! `catalog_ttl`. Whatever is not understood leaves a trace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio_postgres::types::Type;

use crate::backend::postgres::connection::Connection;
use crate::sql::{Analysis, StatementClass, Uses};

/// The question to the catalogs.
const QUESTION: &str = include_str!("effects.sql");
/// Combinations of names that are remembered.
const REMEMBERED: usize = 8192;

/// What a session remembers of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionEffect {
    /// Nothing.
    Nothing,
    /// The last values drawn from sequences, for `currval` and `lastval`.
    Sequences,
    /// Anything.
    Anything,
}

/// What is known of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatementEffects {
    /// Whether nothing can be applied, however it ends.
    pub(crate) reads: bool,
    /// What its session remembers of it.
    pub(crate) trace: SessionEffect,
}

impl StatementEffects {
    /// Of a statement of which nothing is known.
    const UNKNOWN: Self = Self { reads: false, trace: SessionEffect::Anything };
    /// Of an expression of constants, parameters and nothing else.
    const HARMLESS: Self = Self { reads: true, trace: SessionEffect::Nothing };
}

/// The verdicts so far.
pub(crate) struct EffectCache {
    known: Cache<StatementClass, Arc<Known>>,
    ttl: Duration,
}

struct Known {
    verdict: StatementEffects,
    asked: Mutex<Instant>,
}

impl EffectCache {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { known: Cache::new(REMEMBERED), ttl }
    }

    /// What is known of a statement without asking; `None`: the catalogs have to be asked.
    ///
    /// One caller asks anew when an answer is too old; until it has, the old one stands for the others.
    pub(crate) fn recall(&self, analysis: &Analysis) -> Option<StatementEffects> {
        let (StatementClass::Read(uses) | StatementClass::Change(uses)) = &analysis.class else {
            return Some(StatementEffects::UNKNOWN);
        };
        if uses.exotic {
            return Some(StatementEffects::UNKNOWN);
        }
        if matches!(analysis.class, StatementClass::Read(_)) && names_nothing(uses) {
            return Some(StatementEffects::HARMLESS);
        }
        let known = self.known.get(&analysis.class)?;
        let mut asked = known.asked.lock();
        if asked.elapsed() > self.ttl {
            *asked = Instant::now();
            return None;
        }
        Some(known.verdict)
    }

    /// Asks the catalogs and remembers the answer.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        analysis: &Analysis,
    ) -> Result<StatementEffects, tokio_postgres::Error> {
        let (uses, changes) = match &analysis.class {
            StatementClass::Read(uses) => (uses, false),
            StatementClass::Change(uses) => (uses, true),
            StatementClass::Other => return Ok(StatementEffects::UNKNOWN),
        };
        let asked = Mutex::new(Instant::now());
        // Names with points in a part are not understood by the analyzer: the last part is the name.
        // Its schema is not looked at: every function of that name must be harmless.
        let last = |name: &String| name.rsplit('.').next().unwrap_or_default().to_owned();
        let functions: Vec<String> = uses.functions.iter().map(last).collect();
        let question = connection.question(QUESTION, QUESTION_TYPES).await?;
        let row = connection
            .client
            .query_one(&question, &[&functions, &uses.attributes, &uses.relations, &changes])
            .await?;
        let (reads, traceless, sequences) = (row.get(0), row.get(1), row.get(2));
        let trace = match (traceless, sequences) {
            (true, false) => SessionEffect::Nothing,
            (true, true) => SessionEffect::Sequences,
            (false, _) => SessionEffect::Anything,
        };
        let verdict = StatementEffects { reads, trace };
        self.known.insert(analysis.class.clone(), Arc::new(Known { verdict, asked }));
        Ok(verdict)
    }
}

const QUESTION_TYPES: &[Type] = &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::BOOL];

fn names_nothing(uses: &Uses) -> bool {
    uses.functions.is_empty() && uses.attributes.is_empty() && uses.relations.is_empty()
}
