//! The analysis of statements' texts.

use crate::sql::{
    Analyzer, Dialect, StatementClass, excess_parameter, is_atomic, split_statements,
};

/// The facts that are known of a text of PostgreSQL.
#[derive(Debug)]
pub struct AnalyzedText {
    /// The transaction control that it starts with.
    pub transaction_control: Option<&'static str>,
    /// True if it may be a COPY to or from the client.
    pub client_copy: bool,
    /// True if it is applied completely or not at all.
    pub is_atomic: bool,
    /// A number of a parameter that is over what a statement can have.
    pub excess_parameter: Option<usize>,
    /// Its first words without literals.
    pub summary: String,
    /// Its class.
    pub class: ClassifiedAs,
}

/// The class of a statement, and the things in it that can run somebody's code.
#[derive(Debug)]
pub enum ClassifiedAs {
    /// A query that only reads, or a change of rows.
    Plain {
        /// True for a query that only reads.
        reads: bool,
        /// The functions that may be called, without `pg_catalog.`.
        functions: Vec<String>,
        /// The names behind a point, which may be calls.
        attributes: Vec<String>,
        /// The relations, as written.
        relations: Vec<String>,
        /// True if operators or types are not all ordinary ones.
        exotic: bool,
    },
    /// Anything else.
    Other,
}

/// Analyzes a text of PostgreSQL. The analysis of it by other dialects must not panic.
#[must_use]
pub fn analyze_text(sql: &str) -> AnalyzedText {
    for dialect in [Dialect::Sqlite, Dialect::Mysql] {
        drop(Analyzer::new(dialect, 1 << 10).analyze(sql));
        drop(split_statements(sql, dialect));
        let _excess = excess_parameter(sql, dialect);
    }
    let analysis = Analyzer::new(Dialect::Postgres, 1 << 10).analyze(sql);
    let class = match &analysis.class {
        StatementClass::Other => ClassifiedAs::Other,
        StatementClass::Read(uses) | StatementClass::Change(uses) => ClassifiedAs::Plain {
            reads: matches!(analysis.class, StatementClass::Read(_)),
            functions: uses.functions.clone(),
            attributes: uses.attributes.clone(),
            relations: uses.relations.clone(),
            exotic: uses.exotic,
        },
    };
    AnalyzedText {
        transaction_control: analysis.transaction_control,
        client_copy: analysis.client_copy,
        is_atomic: is_atomic(sql),
        excess_parameter: excess_parameter(sql, Dialect::Postgres),
        summary: analysis.summary.to_string(),
        class,
    }
}

/// Splits a text of PostgreSQL into statements.
///
/// # Errors
/// The reason for which it cannot be split.
pub fn split_text(sql: &str) -> Result<Vec<&str>, String> {
    let statements = split_statements(sql, Dialect::Postgres).map_err(|error| error.why)?;
    Ok(statements.into_iter().map(|statement| statement.sql).collect())
}
