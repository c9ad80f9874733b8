//! The prepared statements of whose results some columns are requested as text.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_postgres::types::Format;

#[derive(Debug, Default)]
pub(crate) struct TextResults(Mutex<Statements>);

#[derive(Debug, Default)]
struct Statements {
    expected: Option<ExpectedStatement>,
    /// The formats of the columns by name, each until its Close is sent: no more than the driver holds.
    formats: HashMap<Vec<u8>, Arc<[Format]>>,
    /// True if the name of one of them was not seen.
    is_incomplete: bool,
}

/// The statement that is being prepared. The driver does not tell the name that it chooses.
#[derive(Debug)]
struct ExpectedStatement {
    text: Arc<[u8]>,
    name: Option<Vec<u8>>,
    /// The first description that came after its Parse: true if it returns rows.
    returns_rows: Option<bool>,
}

impl TextResults {
    /// Requests all columns of statements without a name as text, from now on.
    pub(crate) fn request_unnamed(&self) {
        self.0.lock().formats.insert(Vec::new(), Arc::from([Format::Text]));
    }

    /// Announces that a statement with this text is about to be prepared.
    pub(crate) fn expect_statement(&self, sql: &str) {
        let text = Arc::from(sql.as_bytes());
        let expected = ExpectedStatement { text, name: None, returns_rows: None };
        self.0.lock().expected = Some(expected);
    }

    /// Sets the formats of the columns of the expected statement, which is prepared now, unless all are binary.
    /// Returns its name if its Parse was seen.
    pub(crate) fn prepared(&self, formats: &[Format]) -> Option<Vec<u8>> {
        let mut statements = self.0.lock();
        let name = statements.expected.take().and_then(|expected| expected.name);
        if formats.iter().any(|format| matches!(format, Format::Text)) {
            match name.clone() {
                Some(name) => drop(statements.formats.insert(name, Arc::from(formats))),
                None => statements.is_incomplete = true,
            }
        }
        name
    }

    /// Returns true if there is no such statement, as on most connections.
    pub(crate) fn is_empty(&self) -> bool {
        let statements = self.0.lock();
        statements.formats.is_empty() && !statements.is_incomplete
    }

    /// Returns true if a statement for text results was prepared whose name was not seen.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.0.lock().is_incomplete
    }

    /// Returns the formats of a statement's columns, `None` when all are binary.
    pub(crate) fn formats(&self, name: &[u8]) -> Option<Arc<[Format]>> {
        self.0.lock().formats.get(name).cloned()
    }

    /// Returns the text of the statement that is being prepared.
    pub(crate) fn expected_text(&self) -> Option<Arc<[u8]>> {
        self.0.lock().expected.as_ref().map(|expected| Arc::clone(&expected.text))
    }

    /// Notes the name in a Parse of the expected text. The last one counts: a Parse before it is of a
    /// call that was given up.
    pub(crate) fn parse_sent(&self, name: &[u8]) {
        if let Some(expected) = &mut self.0.lock().expected {
            expected.name = Some(name.to_vec());
            expected.returns_rows = None;
        }
    }

    /// Notes a description: RowDescription or NoData. The driver does not tell them apart when there are no
    /// columns. It may query types before it is done: theirs come later.
    pub(super) fn described(&self, message: u8) {
        if let Some(expected) = &mut self.0.lock().expected
            && expected.name.is_some()
        {
            expected.returns_rows.get_or_insert(message == b'T');
        }
    }

    /// Returns true if the statement that is being prepared returns rows, with columns or without.
    pub(crate) fn returns_rows(&self) -> bool {
        let statements = self.0.lock();
        statements.expected.as_ref().is_some_and(|expected| expected.returns_rows == Some(true))
    }

    /// Removes the name in a Close. The driver uses no name twice.
    pub(crate) fn close_sent(&self, name: &[u8]) {
        self.0.lock().formats.remove(name);
    }
}
