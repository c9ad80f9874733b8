//! The tables that statements name.

/// A table that a statement names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MysqlTable {
    /// `None`: the schema of the session.
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}
