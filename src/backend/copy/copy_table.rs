//! The table of a copy, and the statements on it.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::sql::Dialect;

/// A table and some of its columns, by their exact names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyTable {
    /// Empty: as the session finds the table.
    pub(crate) schema: String,
    pub(crate) table: String,
    /// Empty: all.
    pub(crate) columns: Vec<String>,
}

impl CopyTable {
    /// The name of the table in SQL.
    pub(crate) fn name(&self, dialect: Dialect) -> String {
        let table = quoted(&self.table, dialect);
        if self.schema.is_empty() {
            return table;
        }
        format!("{}.{table}", quoted(&self.schema, dialect))
    }

    /// The columns in SQL; empty for all.
    pub(crate) fn column_list(&self, dialect: Dialect) -> String {
        let columns = self.columns.iter().map(|column| quoted(column, dialect));
        columns.collect::<Vec<_>>().join(",")
    }

    /// The first column that is named again.
    pub(crate) fn repeated_column(&self, dialect: Dialect) -> Option<&str> {
        let mut seen = HashSet::new();
        let columns = self.columns.iter().map(String::as_str);
        columns.into_iter().find(|column| !seen.insert(folded(column, dialect)))
    }

    /// The query of its rows.
    pub(crate) fn select(&self, dialect: Dialect) -> String {
        let columns = self.column_list(dialect);
        let columns = if columns.is_empty() { "*" } else { &columns };
        format!("select {columns} from {}", self.name(dialect))
    }

    /// The statement that inserts so many rows with so many columns.
    pub(crate) fn insert(&self, dialect: Dialect, width: usize, rows: usize) -> String {
        let columns = self.column_list(dialect);
        let columns = if columns.is_empty() { columns } else { format!(" ({columns})") };
        let mut insert = format!("insert into {}{columns} values ", self.name(dialect));
        for row in 0..rows {
            insert.push_str(if row == 0 { "(" } else { ",(" });
            for column in 1..=width {
                let separator = if column == 1 { "$" } else { ",$" };
                insert.push_str(separator);
                insert.push_str(&(row * width + column).to_string());
            }
            insert.push(')');
        }
        insert
    }
}

/// Returns true for two names of one column.
pub(crate) fn is_same_column(one: &str, other: &str, dialect: Dialect) -> bool {
    folded(one, dialect) == folded(other, dialect)
}

/// A column's name as it is compared: only PostgreSQL tells upper case from lower case. MySQL folds more letters than those of
/// ASCII, and refuses itself what is the same then.
fn folded(name: &str, dialect: Dialect) -> Cow<'_, str> {
    match dialect {
        Dialect::Postgres => Cow::Borrowed(name),
        Dialect::Sqlite | Dialect::Mysql => Cow::Owned(name.to_ascii_lowercase()),
    }
}

/// A name in quotes. SQLite takes one in double quotes for a text where there is no such column, but not one in backticks.
fn quoted(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Dialect::Sqlite | Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_named_twice_is_found_as_the_database_compares() {
        let table = |columns: [&str; 2]| CopyTable {
            schema: String::new(),
            table: "t".to_owned(),
            columns: columns.map(str::to_owned).to_vec(),
        };
        let twice = table(["id", "id"]);
        let folded = table(["id", "ID"]);
        for dialect in [Dialect::Postgres, Dialect::Sqlite, Dialect::Mysql] {
            assert_eq!(twice.repeated_column(dialect), Some("id"), "{dialect:?}");
            assert_eq!(table(["id", "name"]).repeated_column(dialect), None, "{dialect:?}");
        }
        assert_eq!(folded.repeated_column(Dialect::Sqlite), Some("ID"));
        assert_eq!(folded.repeated_column(Dialect::Postgres), None);
    }

    #[test]
    fn names_are_quoted_in_each_dialect() {
        let table = CopyTable {
            schema: "s".to_owned(),
            table: "a\"`b".to_owned(),
            columns: vec!["x".to_owned(), "Y z".to_owned()],
        };
        let cases = [
            (Dialect::Postgres, "select \"x\",\"Y z\" from \"s\".\"a\"\"`b\""),
            (Dialect::Sqlite, "select `x`,`Y z` from `s`.`a\"``b`"),
            (Dialect::Mysql, "select `x`,`Y z` from `s`.`a\"``b`"),
        ];
        for (dialect, select) in cases {
            assert_eq!(table.select(dialect), select);
        }
        assert_eq!(
            table.insert(Dialect::Sqlite, 2, 2),
            "insert into `s`.`a\"``b` (`x`,`Y z`) values ($1,$2),($3,$4)"
        );
        let all = CopyTable { schema: String::new(), columns: Vec::new(), ..table };
        assert_eq!(all.insert(Dialect::Mysql, 1, 1), "insert into `a\"``b` values ($1)");
        assert_eq!(all.select(Dialect::Postgres), "select * from \"a\"\"`b\"");
    }
}
