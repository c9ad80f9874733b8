//! An open connection with its protocol state and its prepared statements.

pub(crate) mod cancel_target;
pub(crate) mod claim_signature;
pub(crate) mod idempotency_table;
pub(crate) mod opener;
pub(crate) mod pipeline;
pub(crate) mod prepared;
pub(crate) mod prepared_cache;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use tokio::task::AbortHandle;
use tokio_postgres::types::Type;

use super::codec::{Intervals, RowDecoder, describe_column};
use super::connect::OpenedConnection;
use super::connect::capabilities::Capabilities;
use super::protocol::session_attrs::SessionAttrs;
use super::protocol::simple_query::first_value;
use crate::backend::definitions::{KnownDefinitions, StatementRules};
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::config::TargetSession;
use claim_signature::ClaimSession;
use idempotency_table::KeyTable;
use prepared::Prepared;
use prepared_cache::PreparedCache;

type DriverResult<T> = Result<T, tokio_postgres::Error>;

pub(crate) struct Connection {
    pub(crate) client: ClientWrapper,
    pub(crate) protocol: Arc<ProtocolState>,
    prepared: PreparedCache,
    rules: StatementRules,
    known: KnownDefinitions,
    /// Grows when statements that were prepared before must not be used any more.
    generation: u64,
    /// True if the session remembers values drawn from sequences.
    pub(crate) sequences_drawn: bool,
    catalog_query: Option<tokio_postgres::Statement>,
    /// The table of idempotency keys as this session resolves its name, once it was asked.
    pub(crate) key_table: Option<Arc<KeyTable>>,
    /// The incarnation of the server, once it was asked.
    pub(crate) incarnation: Option<String>,
    /// The session as claims are signed for it, once it was asked.
    pub(crate) claim_session: Option<ClaimSession>,
    /// The role that its session must keep.
    pub(crate) required_role: TargetSession,
    /// The statements that bring its settings back to the baseline after `RESET ALL`; may be none.
    pub(crate) settings: String,
    /// The abilities of its server, less those that this session has lost.
    pub(crate) capabilities: Capabilities,
    pub(crate) opened_at: Instant,
    /// Set where the connection is the pool's.
    held: Option<Arc<()>>,
    driver: AbortHandle,
}

impl Connection {
    fn new(opened: OpenedConnection, rules: &StatementRules) -> Self {
        let OpenedConnection { client, driver, state, session, settings, capabilities, .. } =
            opened;
        Self {
            driver: driver.abort_handle(),
            client: ClientWrapper::new(client, driver),
            protocol: state,
            required_role: session,
            settings,
            capabilities,
            opened_at: Instant::now(),
            prepared: PreparedCache::new(rules),
            rules: rules.clone(),
            known: KnownDefinitions::new(rules),
            sequences_drawn: false,
            catalog_query: None,
            incarnation: None,
            claim_session: None,
            generation: 0,
            key_table: None,
            held: None,
        }
    }

    /// Ends it at once: what it is asked fails.
    pub(crate) fn abort(&self) {
        self.driver.abort();
    }

    /// Returns true if the server is known to have left the role that it was connected to for.
    pub(crate) fn has_changed_role(&self) -> bool {
        self.protocol.session_attrs().satisfies(self.required_role) == Some(false)
    }

    /// As [`Self::has_changed_role`]; asks a server that does not report its role.
    pub(crate) async fn check_changed_role(&self) -> DriverResult<bool> {
        let fits = match self.protocol.session_attrs().satisfies(self.required_role) {
            None => SessionAttrs::query(&self.client).await?.satisfies(self.required_role),
            known => known,
        };
        Ok(fits == Some(false))
    }

    /// Notes that a statement drew from sequences; behind a pooler another session may have.
    pub(crate) fn has_drawn(&mut self) {
        self.sequences_drawn = !self.protocol.is_behind_pooler();
    }

    /// Has every statement prepared anew when it is used again: it may be gone, or mean something else.
    pub(crate) fn forget_statements(&mut self) {
        self.generation += 1;
        self.catalog_query = None;
    }

    /// As [`Self::forget_statements`]; also has the driver look up types anew.
    pub(crate) fn forget_definitions(&mut self) {
        self.forget_statements();
        self.client.clear_type_cache();
        self.known = KnownDefinitions::new(&self.rules);
    }

    /// Closes the statements that are kept: the server lists their texts.
    pub(crate) fn close_statements(&mut self) {
        self.prepared.clear();
    }

    /// Has one statement prepared anew when it is used again, with its types looked up anew.
    pub(crate) fn forget_statement(&mut self, key: &str) {
        self.prepared.remove(key);
        self.client.clear_type_cache();
    }

    /// Returns true if a statement is prepared, and its meaning is not known to have changed.
    pub(crate) fn is_prepared(&self, key: &str) -> bool {
        let is_current = |kept: &Arc<Prepared>| kept.generation == self.generation;
        self.prepared.peek(key).is_some_and(is_current) && !self.known.are_stale(&self.rules)
    }

    /// Returns true if all cached statements are among `names`, which are separated by blanks.
    pub(crate) fn has_all_statements(&self, names: &str) -> bool {
        let on_server: HashSet<&[u8]> = names.split(' ').map(str::as_bytes).collect();
        let names = &self.protocol.statement_names;
        let mut cached = self.prepared.iter().filter_map(|prepared| prepared.name.as_deref());
        cached.all(|name| on_server.contains(names.get(name).name.as_slice()))
    }

    /// The query on the catalogs, prepared once on each connection and never evicted.
    pub(crate) async fn catalog_query(
        &mut self,
        sql: &str,
        types: &[Type],
    ) -> DriverResult<tokio_postgres::Statement> {
        if let Some(query) = &self.catalog_query {
            return Ok(query.clone());
        }
        let query = self.client.prepare_typed(sql, types).await?;
        Ok(self.catalog_query.insert(query).clone())
    }

    /// The table of keys as the session resolved its name first, whatever search path a caller sets
    /// later; `None` when there is none. Asked once, before any statement of a caller.
    pub(crate) async fn key_table(
        &mut self,
        configured: &KeyTable,
    ) -> DriverResult<Option<Arc<KeyTable>>> {
        if let Some(table) = &self.key_table {
            return Ok(Some(Arc::clone(table)));
        }
        let messages = self.client.simple_query(&configured.schema_query()).await?;
        let table = first_value(&messages).map(|schema| Arc::new(configured.in_schema(&schema)));
        if !self.protocol.is_behind_pooler() {
            self.key_table.clone_from(&table);
        }
        Ok(table)
    }

    /// The intervals that the server knows.
    fn intervals(&self) -> Intervals {
        if self.protocol.is_before(17) { Intervals::Finite } else { Intervals::WithInfinity }
    }

    /// Prepares a statement under its text.
    pub(crate) async fn prepare(&mut self, sql: &str) -> DriverResult<Arc<Prepared>> {
        self.prepare_as(sql, sql).await
    }

    /// Prepares a statement, unless this connection has under the same key. One that may not be kept, or is long, is closed
    /// after its last use.
    ///
    /// # Cancel safety
    /// May be dropped at any await: a half-prepared statement is closed by the driver, or ends with the
    /// connection.
    pub(crate) async fn prepare_as(&mut self, key: &str, sql: &str) -> DriverResult<Arc<Prepared>> {
        if self.known.are_stale(&self.rules) {
            self.forget_definitions();
        }
        if let Some(prepared) = self.prepared.get(key)
            && prepared.generation == self.generation
        {
            return Ok(Arc::clone(prepared));
        }
        // The future is large, and nearly no call needs it.
        Box::pin(self.prepare_and_keep(key, sql)).await
    }

    async fn prepare_and_keep(&mut self, key: &str, sql: &str) -> DriverResult<Arc<Prepared>> {
        let prepared = Arc::new(self.prepare_new(sql).await?);
        // Behind a pooler nothing tells that what the text means has changed since.
        if !self.protocol.is_behind_pooler() && self.prepared.takes(sql) {
            self.prepared.keep(key, &prepared);
        }
        Ok(prepared)
    }

    /// Prepares a statement, whether this connection has or not. One at a time: the protocol state expects it.
    pub(crate) async fn prepare_new(&self, sql: &str) -> DriverResult<Prepared> {
        self.protocol.text_results.expect_statement(sql);
        let statement = self.client.prepare(sql).await?;
        let columns = statement.columns();
        let types: Vec<_> = columns.iter().map(|column| column.type_().clone()).collect();
        let decoder = RowDecoder::new(&types, self.intervals());
        let returns_rows = self.protocol.text_results.returns_rows();
        let name = self.protocol.text_results.prepared(decoder.formats());
        let described =
            columns.iter().map(|column| describe_column(column.name(), column.type_())).collect();
        Ok(Prepared {
            columns: (returns_rows || !columns.is_empty()).then_some(described),
            name,
            generation: self.generation,
            decoder,
            statement,
        })
    }
}
