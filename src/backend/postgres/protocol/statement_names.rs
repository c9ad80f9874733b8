//! The names of prepared statements as the server knows them.
//!
//! The driver counts: `s0`, `s1`, in every process. Behind a pooler that lends its server connections for one
//! transaction, the `s7` of another process answers, and nobody notices. So a name carries a random part of
//! the process and a hash of its text and types: no other statement ever has it. Behind a pooler that was
//! noticed there are no names at all: a statement is parsed again, unnamed, with each of its executions.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// The random part of this process.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));

/// The bytes of the hash in a name: PostgreSQL cuts names off after 63 bytes.
const HASH: usize = 12;

/// The way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Route {
    /// The connection is one to the server.
    #[default]
    Direct,
    /// A pooler is between, which may serve each transaction by another connection of its own.
    Pooler,
}

/// The statements of one connection, by the names that the driver gave them.
#[derive(Debug, Default)]
pub(crate) struct StatementNames {
    pub(crate) route: Route,
    statements: Mutex<HashMap<Vec<u8>, SentStatement>>,
}

/// A statement as it was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentStatement {
    /// Its name; empty if it has none.
    pub(crate) name: Vec<u8>,
    /// The rest of its Parse: text and types. Empty where the name is enough.
    pub(crate) definition: Vec<u8>,
    /// The columns of its result, as [`columns`] returns them.
    pub(super) columns: Arc<[u8]>,
}

impl StatementNames {
    pub(crate) fn new(route: Route) -> Self {
        Self { route, statements: Mutex::default() }
    }

    /// Returns the name under which a statement is prepared; `definition` is its text and types.
    pub(super) fn parse(&self, driver_name: &[u8], definition: &[u8]) -> Vec<u8> {
        let sent = match self.route {
            Route::Pooler => {
                SentStatement { definition: definition.to_vec(), ..SentStatement::default() }
            }
            Route::Direct => SentStatement::named(driver_name, definition),
        };
        let name = sent.name.clone();
        self.statements.lock().insert(driver_name.to_vec(), sent);
        name
    }

    /// Returns a statement by the driver's name. One that is not known gets a name that no server knows; one without a name has none.
    pub(crate) fn get(&self, driver_name: &[u8]) -> SentStatement {
        if driver_name.is_empty() {
            return SentStatement::default();
        }
        let sent = self.statements.lock().get(driver_name).cloned();
        sent.unwrap_or_else(|| SentStatement::named(driver_name, b""))
    }

    /// Keeps what describes a statement: the types of its parameters, as in the message, and its columns.
    pub(super) fn described(&self, driver_name: &[u8], parameters: &[u8], columns: Arc<[u8]>) {
        let mut statements = self.statements.lock();
        let Some(sent) = statements.get_mut(driver_name) else { return };
        let text = sent.definition.iter().position(|byte| *byte == 0);
        sent.definition.truncate(text.map_or(0, |end| end + 1));
        sent.definition.extend_from_slice(parameters);
        sent.columns = columns;
    }

    /// Returns true if all that have a name are among `names`, which are separated by blanks.
    pub(crate) fn are_among(&self, names: &str) -> bool {
        let on_server: HashSet<&[u8]> = names.split(' ').map(str::as_bytes).collect();
        let statements = self.statements.lock();
        statements.values().all(|sent| on_server.contains(sent.name.as_slice()))
    }

    /// Removes a statement, which is closed; returns its name.
    pub(super) fn close(&self, driver_name: &[u8]) -> Vec<u8> {
        let sent = self.statements.lock().remove(driver_name);
        sent.map_or_else(|| name(driver_name, b""), |sent| sent.name)
    }
}

impl SentStatement {
    fn named(driver_name: &[u8], definition: &[u8]) -> Self {
        Self { name: name(driver_name, definition), ..Self::default() }
    }
}

/// Returns the columns in a RowDescription without their formats, which are those of the execution.
pub(super) fn columns(row_description: &[u8]) -> Arc<[u8]> {
    /// The bytes of a column behind its name, and those of them before the format.
    const COLUMN: usize = 18;
    const BEFORE_FORMAT: usize = 16;
    let mut columns = Vec::with_capacity(row_description.len());
    let mut rest = row_description.get(2..).unwrap_or_default();
    while let Some(name) = rest.iter().position(|byte| *byte == 0) {
        let column = &rest[..rest.len().min(name + 1 + COLUMN)];
        columns.extend_from_slice(&column[..column.len().min(name + 1 + BEFORE_FORMAT)]);
        rest = &rest[column.len()..];
    }
    columns.into()
}

/// Returns the name of a statement: of this process, of this number, of this text.
fn name(driver_name: &[u8], definition: &[u8]) -> Vec<u8> {
    let digest = Sha256::digest(definition);
    let hash: String = digest.iter().take(HASH).map(|byte| format!("{byte:02x}")).collect();
    [format!("rg_{:016x}_{hash}_", *PROCESS).as_bytes(), driver_name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_process_text_and_number() {
        let names = StatementNames::default();
        let one = names.parse(b"s1", b"select 1\0\0\0");
        let again = names.parse(b"s2", b"select 1\0\0\0");
        let other = StatementNames::default().parse(b"s1", b"select 2\0\0\0");
        assert!(one != again && one != other && again != other);
        let process = format!("rg_{:016x}_", *PROCESS);
        for (name, number) in [(&one, "_s1"), (&again, "_s2"), (&other, "_s1")] {
            let name = std::str::from_utf8(name).expect("it is text");
            assert!(name.starts_with(&process) && name.ends_with(number), "{name}");
            assert!(name.len() + "12345678901234".len() <= 63, "{name}");
        }
        assert_eq!(names.get(b"s1").name, one);
        assert_eq!(names.close(b"s1"), one);
        assert!(names.get(b"s1").name != one, "it is unknown");
    }

    #[test]
    fn behind_a_pooler_a_statement_is_its_text() {
        let names = StatementNames::new(Route::Pooler);
        assert_eq!(names.parse(b"s1", b"select 1\0\0\0"), b"");
        assert_eq!(names.get(b"s1").definition, b"select 1\0\0\0");
    }
}
