//! A connection as the pool holds it.

pub(crate) mod cancel;
pub(crate) mod pipeline;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use lru::LruCache;
use tokio_postgres::types::Type;

use super::codec::{RowDecoder, describe_column};
use super::connect::{Connector, OpenedConnection};
use crate::backend::connect_breaker::{ConnectBreaker, PooledConnectionCount};
use crate::backend::postgres::idempotency::key_table::KeyTable;
use crate::backend::postgres::protocol::session_attrs::SessionAttrs;
use crate::backend::postgres::protocol::state::ProtocolState;
use crate::config::TargetSession;
use crate::error::{Error, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::{ConnectionActivity, Manager};
use crate::value::Column;

/// The longest text, in bytes, that is kept prepared. The cache is bounded by number, and callers send
/// megabytes; to prepare a long text again costs little beside sending it.
const LONGEST_KEPT: usize = 16 << 10;

/// A connection, what its wire says, and what it has prepared.
pub(crate) struct Connection {
    pub(crate) client: ClientWrapper,
    pub(crate) wire: Arc<ProtocolState>,
    pub(crate) prepared: LruCache<String, Arc<Prepared>>,
    /// Grows when statements that were prepared before must not be used any more.
    generation: u64,
    /// Whether the session remembers values drawn from sequences.
    pub(crate) sequences_drawn: bool,
    question: Option<tokio_postgres::Statement>,
    /// Where its session keeps idempotency keys, once it was asked.
    pub(crate) keys: Option<Arc<KeyTable>>,
    /// Which incarnation of the server it is on, once it was asked.
    pub(crate) incarnation: Option<String>,
    /// What its session must remain.
    pub(crate) kept: TargetSession,
    /// When it was opened.
    pub(crate) opened: Instant,
    /// Set where it is the pool's.
    held: Option<PooledConnectionCount>,
}

/// A statement prepared on one connection.
pub(crate) struct Prepared {
    pub(crate) statement: tokio_postgres::Statement,
    /// What the driver calls it, where that was seen.
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) decoder: RowDecoder,
    generation: u64,
    /// `None`: it returns no rows at all.
    pub(crate) columns: Option<Vec<Column>>,
}

impl Connection {
    /// Whether its session is known not to be any more what it was opened for: a standby, say.
    pub(crate) fn has_departed(&self) -> bool {
        self.wire.session_attrs().satisfies(self.kept) == Some(false)
    }

    /// The same; asks a server that does not report it.
    pub(crate) async fn departs(&self) -> std::result::Result<bool, tokio_postgres::Error> {
        match self.wire.session_attrs().satisfies(self.kept) {
            Some(fits) => Ok(!fits),
            None => {
                Ok(SessionAttrs::query(&self.client).await?.satisfies(self.kept) == Some(false))
            }
        }
    }

    /// What was prepared is prepared anew when it is used again: it may be gone, or mean something else.
    pub(crate) fn forget_statements(&mut self) {
        self.generation += 1;
        self.question = None;
    }

    /// Whether all that is kept prepared is among `names`, which stand apart by blanks.
    pub(crate) fn has_all_of_its_statements(&self, names: &str) -> bool {
        let there: HashSet<&[u8]> = names.split(' ').map(str::as_bytes).collect();
        let names = self.prepared.iter().filter_map(|(_, prepared)| prepared.name.as_deref());
        names.into_iter().all(|name| there.contains(name))
    }

    /// The question to the catalogs, prepared once on each connection and never evicted.
    pub(crate) async fn question(
        &mut self,
        sql: &str,
        types: &[Type],
    ) -> std::result::Result<tokio_postgres::Statement, tokio_postgres::Error> {
        if let Some(question) = &self.question {
            return Ok(question.clone());
        }
        let question = self.client.prepare_typed(sql, types).await?;
        Ok(self.question.insert(question).clone())
    }

    /// Prepares a statement, unless this connection has. A long one is closed after its last use.
    ///
    /// # Cancel safety
    /// May be dropped at any await: what was half prepared is closed by the driver, or ends with the
    /// connection.
    pub(crate) async fn prepare(
        &mut self,
        sql: &str,
    ) -> std::result::Result<Arc<Prepared>, tokio_postgres::Error> {
        if let Some(prepared) = self.prepared.get(sql)
            && prepared.generation == self.generation
        {
            return Ok(Arc::clone(prepared));
        }
        self.wire.text_results.expect_statement(sql);
        let statement = self.client.prepare(sql).await?;
        let columns = statement.columns();
        let types: Vec<_> = columns.iter().map(|column| column.type_().clone()).collect();
        let decoder = RowDecoder::new(&types);
        let name = self.wire.text_results.prepared(decoder.format());
        let described =
            columns.iter().map(|column| describe_column(column.name(), column.type_())).collect();
        let prepared = Arc::new(Prepared {
            columns: (!columns.is_empty()).then_some(described),
            name,
            generation: self.generation,
            decoder,
            statement,
        });
        if sql.len() <= LONGEST_KEPT {
            self.prepared.put(sql.to_owned(), Arc::clone(&prepared));
        }
        Ok(prepared)
    }
}

impl ConnectionActivity for ProtocolState {
    fn describe(&self) -> &'static str {
        match (self.last_sent() > self.last_answered(), self.in_transaction()) {
            (true, _) => "active",
            (false, true) => "idle in transaction",
            (false, false) => "idle",
        }
    }
}

/// Opens connections.
pub(crate) struct Opener {
    pub(crate) breaker: Arc<ConnectBreaker>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) statement_cache: std::num::NonZeroUsize,
}

impl Opener {
    /// Opens one that is not the pool's, whatever the breaker says.
    pub(crate) async fn open(&self) -> Result<Connection> {
        let OpenedConnection { client, driver, state: wire, session: kept } =
            self.connector.open().await?;
        Ok(Connection {
            client: ClientWrapper::new(client, driver),
            wire,
            kept,
            opened: Instant::now(),
            prepared: LruCache::new(self.statement_cache),
            sequences_drawn: false,
            question: None,
            incarnation: None,
            generation: 0,
            keys: None,
            held: None,
        })
    }

    /// The same, through the breaker.
    pub(crate) async fn open_through_gate(&self) -> Result<Connection> {
        self.breaker.connect(Box::pin(self.open())).await
    }
}

impl Manager for Opener {
    type Connection = Connection;

    fn may_connect(&self) -> Result<()> {
        self.breaker.may_connect()
    }

    async fn connect(&self) -> Result<Connection> {
        let mut connection = self.open_through_gate().await?;
        connection.held = Some(self.breaker.count_pooled());
        Ok(connection)
    }

    fn is_full(&self, error: &Error) -> bool {
        error.report().is_some_and(|report| report.sqlstate == "53300")
    }

    fn is_usable(&self, connection: &Connection) -> bool {
        // What may be unanswered is the Close of a statement, which the driver sends when it likes:
        // nothing else is behind a connection that came back, as that was idle then.
        !connection.client.is_closed()
            && !connection.has_departed()
            && (!connection.wire.in_transaction() || PlantedBug::RecycledTransaction.is_planted())
    }

    async fn validate(&self, connection: &mut Connection) -> bool {
        connection.client.check_connection().await.is_ok()
    }

    fn activity(&self, connection: &Connection) -> Option<Arc<dyn ConnectionActivity>> {
        Some(Arc::clone(&connection.wire) as Arc<dyn ConnectionActivity>)
    }
}
