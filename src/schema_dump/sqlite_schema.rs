//! The schema of a SQLite file.

use crate::backend::AdminConnection;
use crate::error::Result;

/// Tells the definitions, by type and name. The tables behind a virtual table come with it, and indexes of constraints with
/// their table.
const DEFINITIONS: &str = "SELECT sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') \
    ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 WHEN 'view' THEN 3 ELSE 4 END, name COLLATE BINARY";

/// Returns the definitions as SQL.
pub(crate) async fn sqlite_schema(connection: &mut dyn AdminConnection) -> Result<String> {
    let rows = connection.run(DEFINITIONS).await?;
    let definitions = rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
    let statements: Vec<_> = definitions.map(|sql| ended(&sql)).collect();
    Ok(statements.join("\n"))
}

/// A definition with the semicolon behind it, and behind a comment at its end, which SQLite keeps.
fn ended(sql: &str) -> String {
    let end = match comment_at_end(sql) {
        None => ";",
        Some(Comment::Line) => "\n;",
        Some(Comment::Block) => "*/;",
    };
    format!("{sql}{end}\n")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comment {
    Line,
    Block,
}

/// The comment that the end of a text is in. One of a block ends with the text, to SQLite.
fn comment_at_end(sql: &str) -> Option<Comment> {
    let mut rest = sql;
    while let Some(at) = rest.find(['\'', '"', '`', '[', '-', '/']) {
        let (token, comment) = match &rest[at..] {
            text if text.starts_with("--") => ("\n", Some(Comment::Line)),
            text if text.starts_with("/*") => ("*/", Some(Comment::Block)),
            text if text.starts_with('[') => ("]", None),
            text if text.starts_with(['-', '/']) => ("", None),
            text => (&text[..1], None),
        };
        let start = at + if comment == Some(Comment::Block) { 2 } else { 1 };
        let behind = &rest[start..];
        match behind.find(token) {
            Some(end) => rest = &behind[end + token.len()..],
            None => return comment,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_stands_behind_a_comment_and_nowhere_else_on_a_line_of_its_own() {
        for (sql, expected) in [
            ("create view v as select 1", "create view v as select 1;\n"),
            ("create view v as select 1 -- x", "create view v as select 1 -- x\n;\n"),
            ("create view v as select 1 /* x", "create view v as select 1 /* x*/;\n"),
            ("create view v as select 1 /* -- */", "create view v as select 1 /* -- */;\n"),
            ("create view v as select '--'", "create view v as select '--';\n"),
            (
                "create view v as select 'it''s' as \"--\"",
                "create view v as select 'it''s' as \"--\";\n",
            ),
            ("create table t (a, [--] int) -- it's\n", "create table t (a, [--] int) -- it's\n;\n"),
            (
                "create view v as select 2 - 1 / 1 -- '",
                "create view v as select 2 - 1 / 1 -- '\n;\n",
            ),
        ] {
            assert_eq!(ended(sql), expected, "{sql}");
        }
    }
}
