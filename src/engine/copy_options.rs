//! The validation of what a copy is of, and in which form.

use super::validate::invalid_option;
use crate::backend::copy::{CopyTable, CopyText};
use crate::error::Result;
use crate::sql::Dialect;
use crate::value::proto::{CopyFormat, CopyTextOptions};

/// The longest text that stands for NULL, in bytes.
const LONGEST_NULL: usize = 64;

/// Validates a table and its columns.
pub(super) fn table(schema: String, table: String, columns: Vec<String>) -> Result<CopyTable> {
    if table.is_empty() {
        return Err(invalid_option("table", "the name of the table is missing"));
    }
    let names = [("schema", &schema), ("table", &table)];
    let names = names.into_iter().chain(columns.iter().map(|column| ("columns", column)));
    for (field, name) in names {
        if name.contains('\0') {
            return Err(invalid_option(field, "a name holds a NUL character"));
        }
    }
    if columns.iter().any(String::is_empty) {
        return Err(invalid_option("columns", "the name of a column is empty"));
    }
    Ok(CopyTable { schema, table, columns })
}

/// Validates a table that rows go into, and its columns: one that is named twice would lose a value on SQLite.
pub(super) fn into_table(
    schema: String,
    table: String,
    columns: Vec<String>,
    dialect: Dialect,
) -> Result<CopyTable> {
    let table = self::table(schema, table, columns)?;
    if let Some(column) = table.repeated_column(dialect) {
        return Err(invalid_option("columns", &format!("\"{column}\" is named twice")));
    }
    Ok(table)
}

/// Validates a format.
pub(super) fn format(format: i32) -> Result<CopyFormat> {
    let format = CopyFormat::try_from(format)
        .map_err(|unknown| invalid_option("format", &unknown.to_string()))?;
    Ok(if format == CopyFormat::Unspecified { CopyFormat::Rows } else { format })
}

/// Validates the form of a format that is text; `None` for any other.
pub(super) fn text(
    format: CopyFormat,
    options: Option<&CopyTextOptions>,
) -> Result<Option<CopyText>> {
    let base = match format {
        CopyFormat::Csv => CopyText::CSV,
        CopyFormat::Text => CopyText::TEXT,
        CopyFormat::Unspecified | CopyFormat::Rows | CopyFormat::Arrow => {
            let is_unset = options.is_none_or(|options| *options == CopyTextOptions::default());
            return if is_unset {
                Ok(None)
            } else {
                Err(invalid_option("text", "only COPY_FORMAT_CSV and COPY_FORMAT_TEXT have it"))
            };
        }
    };
    let options = options.cloned().unwrap_or_default();
    let is_csv = format == CopyFormat::Csv;
    let has_quotes = !options.quote.is_empty() || !options.escape.is_empty();
    if has_quotes && !is_csv {
        return Err(invalid_option("text.quote", "only COPY_FORMAT_CSV has quotation marks"));
    }
    let quote = character(&options.quote, base.quote, "text.quote")?;
    let form = CopyText {
        delimiter: character(&options.delimiter, base.delimiter, "text.delimiter")?,
        null: options.null_text.map_or(base.null, Into::into),
        header: options.header,
        quote,
        escape: character(&options.escape, quote, "text.escape")?,
        format: base.format,
        source: None,
    };
    check(&form, is_csv)?;
    Ok(Some(form))
}

fn check(form: &CopyText, is_csv: bool) -> Result<()> {
    if is_csv && form.delimiter == form.quote {
        return Err(invalid_option("text.delimiter", "it must differ from the quotation mark"));
    }
    // They would be parts of escapes, of numbers, or of `\\N` and `\\.`.
    if !is_csv && (form.delimiter.is_ascii_alphanumeric() || b"\\.".contains(&form.delimiter)) {
        return Err(invalid_option(
            "text.delimiter",
            "COPY_FORMAT_TEXT has another meaning for it",
        ));
    }
    let null = &form.null;
    if null.len() > LONGEST_NULL || null.contains(['\n', '\r', '\0']) {
        let description = format!("it has at most {LONGEST_NULL} bytes, and no line break");
        return Err(invalid_option("text.null_text", &description));
    }
    let is_part = |byte: u8| null.as_bytes().contains(&byte);
    if is_part(form.delimiter) || is_csv && is_part(form.quote) {
        let description = "it may not hold the delimiter or the quotation mark";
        return Err(invalid_option("text.null_text", description));
    }
    Ok(())
}

fn character(text: &str, default: u8, field: &str) -> Result<u8> {
    match text.as_bytes() {
        [] => Ok(default),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(invalid_option(field, "it is one character of ASCII, and no line break")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_have_the_defaults_of_postgresql() {
        let csv = text(CopyFormat::Csv, None).expect("it is valid").expect("it is text");
        assert_eq!(csv, CopyText::CSV);
        let plain = text(CopyFormat::Text, None).expect("it is valid").expect("it is text");
        assert_eq!(plain, CopyText::TEXT);
        assert_eq!(text(CopyFormat::Rows, None).expect("it is valid"), None);
        let options = CopyTextOptions { quote: "'".to_owned(), ..CopyTextOptions::default() };
        let csv = text(CopyFormat::Csv, Some(&options)).expect("it is valid").expect("it is text");
        assert_eq!((csv.quote, csv.escape), (b'\'', b'\''));
    }

    #[test]
    fn forms_that_cannot_be_read_back_are_refused() {
        let none = CopyTextOptions::default;
        let null = |text: &str| CopyTextOptions { null_text: Some(text.to_owned()), ..none() };
        let delimiter = |text: &str| CopyTextOptions { delimiter: text.to_owned(), ..none() };
        let quote = |text: &str| CopyTextOptions { quote: text.to_owned(), ..none() };
        let cases = [
            (CopyFormat::Csv, delimiter("ab"), "text.delimiter"),
            (CopyFormat::Csv, delimiter("\n"), "text.delimiter"),
            (CopyFormat::Csv, delimiter("\u{e9}"), "text.delimiter"),
            (CopyFormat::Csv, delimiter("\""), "text.delimiter"),
            (CopyFormat::Text, delimiter("n"), "text.delimiter"),
            (CopyFormat::Text, delimiter("\\"), "text.delimiter"),
            (CopyFormat::Csv, null("a,b"), "text.null_text"),
            (CopyFormat::Csv, null("\""), "text.null_text"),
            (CopyFormat::Csv, null(&"x".repeat(65)), "text.null_text"),
            (CopyFormat::Text, quote("'"), "text.quote"),
            (CopyFormat::Rows, quote("'"), "text"),
        ];
        for (format, options, field) in cases {
            let error = text(format, Some(&options)).expect_err(field);
            let violation = error.violation().map(|violation| violation.field.as_str());
            assert_eq!(violation, Some(field), "{options:?}");
        }
        for (wrong, field) in [("", "table"), ("a\0", "table")] {
            let error = table(String::new(), wrong.to_owned(), Vec::new()).expect_err("no name");
            assert_eq!(error.violation().map(|it| it.field.as_str()), Some(field));
        }
    }
}
