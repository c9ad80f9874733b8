//! The names of a database, read from it when they are first asked for.
//!
//! Whoever asks waits a short time at most: names that come later are there for the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::completion::{Names, TableName};
use crate::grpc::client::{CallError, Client};
use crate::printable::is_printable;
use crate::sql::Dialect;
use crate::value::proto::QueryRequest;
use crate::value::proto::stream_query_response::Part;
use crate::value::{Kind, Row};

/// The longest wait of the prompt.
const WAIT: Duration = Duration::from_millis(300);

/// The limit on reading them.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for which they are taken for right, and after which a failure is tried again.
const LIFETIME: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The names, which the prompt and the client share.
#[derive(Debug)]
pub(super) struct NameCache {
    state: Mutex<CacheState>,
    arrived: Condvar,
    runtime: Handle,
}

#[derive(Debug)]
struct CacheState {
    source: NameSource,
    names: Arc<Names>,
    /// The moment at which they are read anew; `None` while nobody has read them.
    read_again: Option<Instant>,
    is_reading: bool,
    /// The number of the source: what was read from an earlier one is thrown away.
    generation: u64,
}

/// The way to read names.
#[derive(Debug, Clone)]
pub(super) struct NameSource {
    pub(super) client: Client,
    pub(super) request: QueryRequest,
    pub(super) dialect: Dialect,
    /// The logical names of the server's databases.
    pub(super) databases: Arc<[String]>,
}

impl NameCache {
    /// A cache without names, in the runtime of now.
    pub(super) fn new(source: NameSource) -> Arc<Self> {
        let state = CacheState {
            source,
            names: Arc::default(),
            read_again: None,
            is_reading: false,
            generation: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            runtime: Handle::current(),
        })
    }

    /// Forgets the names, and reads later ones elsewhere.
    pub(super) fn read_from(&self, source: NameSource) {
        let mut state = self.state.lock();
        let generation = state.generation + 1;
        *state = CacheState {
            source,
            names: Arc::default(),
            read_again: None,
            is_reading: false,
            generation,
        };
    }

    /// Reads the names again before they are next used: definitions may have changed.
    pub(super) fn expire(&self) {
        self.state.lock().read_again = None;
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.state.lock().source.dialect
    }

    pub(super) fn databases(&self) -> Arc<[String]> {
        Arc::clone(&self.state.lock().source.databases)
    }

    /// Returns the names; those of before, or none, if they are not read in time.
    pub(super) fn names(self: &Arc<Self>) -> Arc<Names> {
        let mut state = self.state.lock();
        let is_due = state.read_again.is_none_or(|at| at <= Instant::now());
        if is_due && !state.is_reading {
            state.is_reading = true;
            self.runtime.spawn(Arc::clone(self).read(state.source.clone(), state.generation));
        }
        let generation = state.generation;
        let still_reads =
            |state: &mut CacheState| state.is_reading && state.generation == generation;
        if is_due {
            self.arrived.wait_while_for(&mut state, still_reads, WAIT);
        }
        Arc::clone(&state.names)
    }

    async fn read(self: Arc<Self>, source: NameSource, generation: u64) {
        let read = timeout(READ_TIMEOUT, read_names(&source)).await;
        let mut state = self.state.lock();
        if state.generation != generation {
            return;
        }
        state.is_reading = false;
        let lifetime = match read {
            Ok(Ok(names)) => {
                state.names = Arc::new(names);
                LIFETIME
            }
            // Completion goes on without them; the statement itself will tell what is wrong.
            Ok(Err(_)) | Err(_) => RETRY_AFTER,
        };
        state.read_again = Some(Instant::now() + lifetime);
        self.arrived.notify_all();
    }
}

async fn read_names(source: &NameSource) -> Result<Names, CallError> {
    let mut names = Names::default();
    let mut stream = source.client.stream_query(source.request.clone()).await?;
    while let Some(part) = stream.next().await? {
        if let Part::Rows(batch) = part {
            batch.rows.iter().for_each(|row| add(&mut names, row));
        }
    }
    Ok(names)
}

/// Adds a column, which is behind the others of its table.
fn add(names: &mut Names, row: &Row) {
    let text = |at: usize| match row.values.get(at).and_then(|value| value.kind.as_ref()) {
        Some(Kind::TextValue(text)) => text.clone(),
        _ => String::new(),
    };
    let schema = text(0);
    let name = text(1);
    let column = text(3);
    // The list of candidates goes to the terminal as it is.
    if ![&schema, &name, &column].into_iter().all(|name| name.chars().all(is_printable)) {
        return;
    }
    let last = names.tables.last_mut();
    if let Some(last) = last.filter(|last| last.schema == schema && last.name == name) {
        last.columns.push(column);
        return;
    }
    let is_visible = matches!(
        row.values.get(2).and_then(|value| value.kind.as_ref()),
        Some(Kind::Int64Value(1))
    );
    let columns = if column.is_empty() { Vec::new() } else { vec![column] };
    names.tables.push(TableName { schema, name, is_visible, columns });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn rows_become_tables_with_their_columns() {
        let row = |schema: &str, table: &str, visible, column| Row {
            values: vec![Value::text(schema), Value::text(table), Value::int64(visible), column],
        };
        let mut names = Names::default();
        add(&mut names, &row("public", "orders", 1, Value::text("id")));
        add(&mut names, &row("public", "orders", 1, Value::text("state")));
        add(&mut names, &row("sales", "orders", 0, Value::null()));
        add(&mut names, &row("sales", "\u{1b}[2J", 1, Value::text("id")));
        let tables: Vec<_> = names
            .tables
            .iter()
            .map(|one| (&*one.schema, one.is_visible, one.columns.len()))
            .collect();
        assert_eq!(tables, [("public", true, 2), ("sales", false, 0)]);
    }
}
