//! The texts of COPY statements.

use crate::backend::copy::{CopyTable, CopyText, TextFormat};
use crate::sql::Dialect;

/// The statement that copies data from the client into a table; without `text`, in the text format.
pub(crate) fn copy_in_statement(table: &CopyTable, text: Option<&CopyText>) -> String {
    let options = options(text.unwrap_or(&CopyText::TEXT));
    let columns = table.column_list(Dialect::Postgres);
    let columns = if columns.is_empty() { columns } else { format!(" ({columns})") };
    format!("COPY {}{columns} FROM STDIN {options}", table.name(Dialect::Postgres))
}

/// The statement that copies the rows of a query to the client.
pub(crate) fn copy_out_statement(query: &str, text: &CopyText) -> String {
    // A comment at the end of the query ends with its line.
    format!("COPY ({query}\n) TO STDOUT {}", options(text))
}

fn options(text: &CopyText) -> String {
    let CopyText { format, delimiter, null, header, quote, escape, source: _ } = text;
    let character = |byte: &u8| literal(char::from(*byte).encode_utf8(&mut [0; 4]));
    let mut options = match format {
        TextFormat::Csv => {
            format!("FORMAT csv, QUOTE {}, ESCAPE {}", character(quote), character(escape))
        }
        TextFormat::Text => "FORMAT text".to_owned(),
    };
    options.push_str(&format!(", DELIMITER {}, NULL {}", character(delimiter), literal(null)));
    if *header {
        options.push_str(", HEADER true");
    }
    format!("WITH ({options}, ENCODING 'UTF8')")
}

/// A literal that no setting gives another meaning.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_cannot_carry_sql() {
        let table = CopyTable {
            schema: "s\"; drop".to_owned(),
            table: "t".to_owned(),
            columns: vec!["a".to_owned(), "b\"c".to_owned()],
        };
        let text =
            CopyText { delimiter: b'\'', null: "\\N'".into(), header: true, ..CopyText::CSV };
        assert_eq!(
            copy_in_statement(&table, Some(&text)),
            "COPY \"s\"\"; drop\".\"t\" (\"a\",\"b\"\"c\") FROM STDIN WITH (FORMAT csv, QUOTE E'\"', \
             ESCAPE E'\"', DELIMITER E'\\'', NULL E'\\\\N\\'', HEADER true, ENCODING 'UTF8')"
        );
        let table = CopyTable { schema: String::new(), columns: Vec::new(), ..table };
        assert_eq!(
            copy_in_statement(&table, None),
            "COPY \"t\" FROM STDIN WITH (FORMAT text, DELIMITER E'\t', NULL E'\\\\N', ENCODING 'UTF8')"
        );
        assert_eq!(
            copy_out_statement("select 1 -- one", &CopyText::TEXT),
            "COPY (select 1 -- one\n) TO STDOUT WITH (FORMAT text, DELIMITER E'\t', NULL E'\\\\N', \
             ENCODING 'UTF8')"
        );
    }
}
