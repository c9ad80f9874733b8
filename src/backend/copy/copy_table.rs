//! The table of a copy, and the statements on it.

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
