//! The dialects of SQL.

/// The SQL dialect that a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// PostgreSQL: nested comments, dollar quotes, strings with backslash escapes.
    Postgres,
    /// SQLite: names in backticks and brackets.
    Sqlite,
    /// MySQL and MariaDB: strings in either quotes with backslash escapes, names in backticks, `#` comments.
    Mysql,
}
