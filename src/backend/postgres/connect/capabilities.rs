//! The abilities of a server that Rowgate's own questions need: tried at the first login, never assumed.
//!
//! Look-alikes of PostgreSQL lack some of what it asks, and roles may not be allowed it. The list is closed:
//! an ability that was not shown counts as missing. A missing one costs speed, or what an error can tell; no
//! statement of a caller fails for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::timeout;
use tokio_postgres::{Client, Error as DriverError, SimpleQueryMessage};

use super::connect_errors::ConnectFailure;
use super::server_engine::ServerEngine;
use crate::backend::MissingAbility;
use crate::backend::postgres::protocol::simple_query::first_value;

/// A query of the text of the version.
const VERSION: &str = "select pg_catalog.version()";
/// The statement that CockroachDB needs before any DDL in a transaction.
const KEEP_DDL: &str = "SET autocommit_before_ddl = off; ";
/// The SQLSTATE `undefined_object`, of a setting that does not exist.
const UNDEFINED_OBJECT: &str = "42704";

/// Declares the abilities, each with its name and with what its absence costs.
macro_rules! abilities {
    ($( $(#[$doc:meta])* $ability:ident = $name:literal, $effect:literal; )*) => {
        /// An ability of a server.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Ability { $( $(#[$doc])* $ability, )* }

        impl Ability {
            const ALL: &[Self] = &[ $( Self::$ability, )* ];

            fn missing(self) -> MissingAbility {
                match self {
                    $( Self::$ability => MissingAbility { name: $name, effect: $effect }, )*
                }
            }
        }
    };
}

abilities! {
    /// The catalogs tell what a statement can reach.
    Judgement = "statement judgement",
        "no statement is known to be a read or to leave no trace: each session is cleaned after use, and after a lost \
         connection only calls marked read_only are repeated";
    /// A script removes everything that a statement can leave in a session.
    Reset = "session reset",
        "a session is cleaned by closing its connection and opening another";
    /// The number of a transaction outlives its connection.
    Tokens = "transaction tokens",
        "a commit whose answer is lost is OUTCOME_UNKNOWN without a token: use an idempotency key";
    /// The number of a transaction is told, and that it has none.
    TransactionNumbers = "transaction numbers",
        "a unit that wrote nothing is not told from one that wrote, nor one that left its isolation level";
    /// A savepoint fails outside a transaction and in one that has failed.
    Savepoints = "savepoints",
        "a commit is checked by its command tag; READ_ONLY ends with a rollback, and not with SERIALIZABLE";
    /// Deferred constraints can be checked before the commit.
    DeferredConstraints = "deferred constraints",
        "a dry run does not check what the commit would";
    /// The server tells a standby from a primary.
    Recovery = "recovery state",
        "the outcome of an idempotency key that has no row is unknown";
    /// The settings of roles and databases can be listed.
    RoleSettings = "role settings",
        "a caller's ALTER ROLE … SET changes later sessions";
    /// The process and the prepared statements of a session can be listed.
    Identity = "session identity",
        "a pooler cannot be ruled out: statements are not kept prepared, and nothing is cancelled";
}

/// The abilities that are believed of PostgreSQL alone: that a look-alike answers does not say that it answers as
/// PostgreSQL would.
const OF_POSTGRES: [Ability; 4] =
    [Ability::Judgement, Ability::Reset, Ability::Tokens, Ability::TransactionNumbers];

/// The answer that shows an ability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Any but an error.
    Answered,
    /// This first value of the last statement that returns rows.
    Value(&'static str),
    /// An error. It is not asked of PostgreSQL itself, which would log it.
    Refused,
}

/// Scripts of which a server with the ability answers the last as expected.
pub(crate) struct Probe {
    ability: Ability,
    scripts: Vec<String>,
    expected: Expected,
}

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Present,
    Missing,
    /// The server is full or stopping, or the statement was cancelled: nothing was shown.
    Uncertain,
}

impl Probe {
    pub(crate) fn new(ability: Ability, script: impl Into<String>, expected: Expected) -> Self {
        Self { ability, scripts: vec![script.into()], expected }
    }

    /// The same after another script, however that ends.
    pub(crate) fn after(mut self, script: &str) -> Self {
        let last = self.scripts.len().saturating_sub(1);
        self.scripts.insert(last, script.to_owned());
        self
    }

    /// Returns true if it is to be tried when nothing else runs.
    fn is_alone(&self) -> bool {
        self.expected == Expected::Refused || self.opens_transaction()
    }

    fn opens_transaction(&self) -> bool {
        self.scripts.iter().any(|script| script.starts_with("BEGIN"))
    }

    /// Tries it on a new session, and leaves no transaction open.
    async fn ask(&self, client: &Client) -> Shown {
        let mut answer = Ok(Vec::new());
        for script in &self.scripts {
            answer = client.simple_query(script).await;
        }
        if answer.is_err() && self.opens_transaction() && end_transaction(client).await.is_err() {
            return Shown::Uncertain;
        }
        let is_shown = match (answer, self.expected) {
            (Err(error), _) if !is_inability(&error) => return Shown::Uncertain,
            (Err(_), expected) => expected == Expected::Refused,
            (Ok(_), Expected::Refused) => false,
            (Ok(_), Expected::Answered) => true,
            (Ok(rows), Expected::Value(value)) => first_value(&rows).as_deref() == Some(value),
        };
        if is_shown { Shown::Present } else { Shown::Missing }
    }
}

async fn end_transaction(client: &Client) -> Result<(), DriverError> {
    client.batch_execute("ROLLBACK").await
}

/// Returns the answer to a question; `None` if the server cannot answer it. A server that is full or stopping
/// has not said what it can.
pub(crate) fn definite(
    answer: Result<Vec<SimpleQueryMessage>, DriverError>,
) -> Result<Option<Vec<SimpleQueryMessage>>, ConnectFailure> {
    match answer {
        Ok(messages) => Ok(Some(messages)),
        Err(error) if is_inability(&error) => Ok(None),
        Err(error) => Err(ConnectFailure::of_login(error)),
    }
}

/// Returns true if a reply says that a question cannot be answered, rather than that it could not be now.
pub(crate) fn is_inability(error: &DriverError) -> bool {
    // A standby, a lost connection, a conflict, a full disk, a stop or a cancel, a broken file.
    let passing = ["25006", "08", "40", "53", "55", "57", "58"];
    error.code().is_some_and(|code| !passing.iter().any(|class| code.code().starts_with(class)))
}

/// Returns true if a reply says that a name, a syntax or a privilege is missing.
pub(crate) fn lacks_ability(error: &DriverError) -> bool {
    error.code().is_some_and(|code| ["42", "0A"].iter().any(|class| code.code().starts_with(class)))
}

/// The engine of a server, and its abilities.
#[derive(Debug, Clone)]
pub(crate) struct Capabilities {
    pub(crate) engine: Arc<ServerEngine>,
    /// A bit for each ability that is there.
    present: u16,
}

/// The capabilities that a new session has shown.
pub(crate) struct Learned {
    pub(crate) capabilities: Capabilities,
    /// False if another session may show more.
    pub(crate) is_certain: bool,
}

impl Learned {
    /// Tries every question on a new session, before its settings are established. Without all answers in time
    /// the session has no abilities, and the next one is tried.
    pub(crate) async fn of(
        client: &Client,
        probes: &[Probe],
        limit: Duration,
    ) -> Result<Self, ConnectFailure> {
        if let Ok(learned) = timeout(limit, Self::try_all(client, probes)).await {
            return Ok(learned);
        }
        // A probe may have opened one.
        end_transaction(client).await.map_err(ConnectFailure::of_login)?;
        let engine = Arc::new(ServerEngine::parse(""));
        Ok(Self { capabilities: Capabilities { engine, present: 0 }, is_certain: false })
    }

    /// Asks most questions at once, so that they take one round trip.
    async fn try_all(client: &Client, probes: &[Probe]) -> Self {
        let (alone, together): (Vec<_>, Vec<_>) = probes.iter().partition(|one| one.is_alone());
        let asked = join_all(together.iter().map(|probe| probe.ask(client)));
        let (version, shown) = join(client.simple_query(VERSION), asked).await;
        let mut is_certain = !version.as_ref().is_err_and(|error| !is_inability(error));
        let version = version.ok().and_then(|rows| first_value(&rows)).unwrap_or_default();
        let engine = Arc::new(ServerEngine::parse(&version));
        let believed = |ability: &&Ability| engine.is_postgres() || !OF_POSTGRES.contains(ability);
        let present = Ability::ALL.iter().filter(believed).fold(0, |set, one| set | one.bit());
        let is_postgres = engine.is_postgres();
        let mut capabilities = Capabilities { engine, present };
        let mut note = |probe: &Probe, shown: Shown| {
            if shown != Shown::Present && capabilities.has(probe.ability) {
                capabilities.lose(probe.ability);
                is_certain &= shown == Shown::Missing;
            }
        };
        together.iter().zip(shown).for_each(|(probe, shown)| note(probe, shown));
        for probe in alone {
            if probe.expected != Expected::Refused || !is_postgres {
                note(probe, probe.ask(client).await);
            }
        }
        Self { capabilities, is_certain }
    }
}

impl Capabilities {
    /// The capabilities of a server that lacks nothing.
    #[cfg(test)]
    pub(crate) fn complete() -> Self {
        Self { engine: Arc::new(ServerEngine::parse("")), present: u16::MAX }
    }

    pub(crate) fn has(&self, ability: Ability) -> bool {
        self.present & ability.bit() != 0
    }

    /// Sets what sessions of this engine need beside the baseline, and returns the statements for it.
    ///
    /// CockroachDB else commits before any DDL in a transaction; versions that do not know the setting do not.
    pub(crate) async fn settings(&self, client: &Client) -> Result<&'static str, ConnectFailure> {
        if !self.engine.is_cockroach() {
            return Ok("");
        }
        match client.batch_execute(KEEP_DDL).await {
            Ok(()) => Ok(KEEP_DDL),
            Err(error) if error.code().is_some_and(|code| code.code() == UNDEFINED_OBJECT) => {
                Ok("")
            }
            Err(error) => Err(ConnectFailure::of_login(error)),
        }
    }

    /// Notes that an ability is gone: the session's role may lack a privilege that the first one had.
    pub(crate) fn lose(&mut self, ability: Ability) {
        self.present &= !ability.bit();
    }

    /// The missing abilities.
    pub(crate) fn missing(&self) -> Vec<MissingAbility> {
        let missing = Ability::ALL.iter().filter(|ability| !self.has(**ability));
        missing.map(|ability| ability.missing()).collect()
    }

    /// Logs the engine, with what it lacks.
    pub(crate) fn log(&self, database: &str, server: &str) {
        let engine = self.engine.label();
        let missing: Vec<_> = self.missing().iter().map(|ability| ability.name).collect();
        let missing = missing.join(", ");
        if missing.is_empty() {
            tracing::debug!(database, server, engine, "the server can do all that Rowgate asks");
        } else if self.engine.is_postgres() {
            tracing::info!(database, server, engine, missing, "the server lacks abilities");
        } else {
            tracing::warn!(database, server, engine, missing, "the server lacks abilities");
        }
    }
}

impl Ability {
    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}
