//! The header of a text: the names of its columns, from the pieces in which it comes.

use super::record_parser::{Record, RecordParser};
use crate::backend::copy::{CopyText, bad_data};
use crate::error::Result;

/// The reader of the first line.
#[derive(Debug)]
pub(crate) struct HeaderReader(RecordParser);

impl HeaderReader {
    /// Makes a reader of a header of up to `max_size` bytes.
    pub(crate) fn new(form: &CopyText, max_size: usize) -> Self {
        let form = CopyText { header: false, ..form.clone() };
        Self(RecordParser::new(&form, max_size))
    }

    /// Takes the next piece; returns the names once the line is complete.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<Option<Vec<String>>> {
        self.0.feed(piece);
        if let Some(record) = self.0.next()? {
            return names_of(record).map(Some);
        }
        if self.0.has_ended {
            return Err(bad_data("the header is missing: there is no data", 1, None));
        }
        Ok(None)
    }

    /// Returns the names of a text that ends with its first line.
    pub(crate) fn finish(&mut self) -> Result<Vec<String>> {
        let record = self.0.finish()?;
        record.map_or_else(
            || Err(bad_data("the header is missing: there is no data", 1, None)),
            names_of,
        )
    }
}

fn names_of(record: Record) -> Result<Vec<String>> {
    let Record { line, fields } = record;
    let names = fields.into_iter().enumerate().map(|(index, field)| {
        let place = index + 1;
        let name = field.filter(|name| !name.is_empty()).ok_or_else(|| {
            bad_data(&format!("column {place} of the header has no name"), line, None)
        })?;
        String::from_utf8(name).map_err(|_error| {
            bad_data(&format!("column {place} of the header is not text in UTF-8"), line, None)
        })
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &CopyText, text: &str, piece: usize) -> Result<Vec<String>> {
        let mut reader = HeaderReader::new(form, 32);
        for piece in text.as_bytes().chunks(piece) {
            if let Some(names) = reader.feed(piece)? {
                return Ok(names);
            }
        }
        reader.finish()
    }

    #[test]
    fn names_are_those_of_the_first_line_however_it_is_cut() {
        for piece in [1, 3, 100] {
            let names = |text: &str| read(&CopyText::CSV, text, piece).expect(text);
            assert_eq!(names("id,name\r\n1,a\r\n"), ["id", "name"]);
            assert_eq!(names("id,\"a\"\"b\nc\"\n1,2\n"), ["id", "a\"b\nc"]);
            assert_eq!(names("id"), ["id"]);
            assert_eq!(names("\u{feff}id,name\n"), ["id", "name"]);
            assert_eq!(names("\u{feff}\"i,d\",name\n"), ["i,d", "name"]);
            let text = read(&CopyText::TEXT, "id\ta\\tb\n1\t2\n", piece).expect("it is text");
            assert_eq!(text, ["id", "a\tb"]);
        }
    }

    #[test]
    fn what_is_no_header_is_an_error_of_its_line() {
        let long = "x".repeat(100);
        for (text, why) in [
            ("", "line 1: the header is missing: there is no data"),
            ("\\.\n", "line 1: the header is missing: there is no data"),
            ("id,\n1,2\n", "line 1: column 2 of the header has no name"),
            (
                "id\r1\r2\r",
                "line 1: a carriage return that is neither quoted nor escaped: lines end in LF or CRLF here",
            ),
            (&long, "line 1: the row has more than 32 bytes"),
        ] {
            let error = read(&CopyText::CSV, text, 5).expect_err(text);
            assert_eq!(error.message(), why, "{text:?}");
        }
        let mut reader = HeaderReader::new(&CopyText::CSV, 32);
        let error = reader.feed(b"id,\xff\n").expect_err("no text");
        assert_eq!(error.message(), "line 1: column 2 of the header is not text in UTF-8");
    }
}
