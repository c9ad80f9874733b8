//! The classes of statements.

/// The class of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum StatementClass {
    /// A query without locking clauses and without INTO.
    Read(Uses),
    /// INSERT, UPDATE, DELETE or MERGE; also a query with a locking clause or with one of these in a
    /// common table expression.
    Change(Uses),
    /// Anything else, and whatever was not understood.
    Other,
}

/// The weight of a name beyond its text.
const NAME_BYTES: usize = 40;

impl StatementClass {
    /// The bytes that it takes in a cache beyond its own size, roughly.
    pub(crate) fn weight(&self) -> usize {
        let (Self::Read(uses) | Self::Change(uses)) = self else { return 0 };
        let names = [&uses.functions, &uses.attributes, &uses.relations];
        names.into_iter().flatten().map(|name| NAME_BYTES + name.len()).sum()
    }
}

/// The things in a statement that can run user-defined code: all the ways in which a statement that
/// looks harmless can leave something behind in its session.
///
/// Operators with the names of built-in ones, and casts, are not listed: a database in which somebody defined one
/// is known by its catalogs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Uses {
    /// Function names, folded as PostgreSQL folds them, without `pg_catalog.`, other schemas kept as
    /// `schema.name`; sorted, each once.
    pub functions: Vec<String>,
    /// Names of columns that stand after a point, folded: `t.f` is read as `f(t)` where `t` has no such column,
    /// so a function of this name that takes a row may be called. Sorted, each once.
    pub attributes: Vec<String>,
    /// Relations as written, parts quoted where needed, so that `to_regclass` takes them; without
    /// the names of common table expressions; sorted, each once.
    pub relations: Vec<String>,
    /// True if it uses an operator beyond SQL's ordinary ones, or casts to a type that is not a
    /// built-in one.
    pub exotic: bool,
}
