//! The records of CSV or text that comes in pieces.
//!
//! A record ends with a line, but for line breaks in quotes or behind a backslash. Each byte is looked at once for
//! that, however the pieces are cut.

use crate::backend::copy::{
    BYTE_ORDER_MARK, CopyText, TextFormat, bad_data, behind_end, row_too_large,
};
use crate::error::{Error, Result};

/// The line that ends the data.
const END_OF_DATA: &[u8] = b"\\.";

/// The error of a line break that is none here: PostgreSQL takes it only if all lines end so.
const LONE_RETURN: &str =
    "a carriage return that is neither quoted nor escaped: lines end in LF or CRLF here";

/// A field; `None` is NULL.
pub(super) type Field = Option<Vec<u8>>;

/// A record and its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line with which it ends, from 1, as PostgreSQL counts.
    pub(super) line: u64,
    pub(super) fields: Vec<Field>,
}

/// The parser of one text.
#[derive(Debug)]
pub(super) struct RecordParser {
    form: CopyText,
    max_size: usize,
    buffer: Vec<u8>,
    /// The begin of the record that is not complete, and the first byte that was not looked at.
    start: usize,
    scanned: usize,
    scan: Scan,
    /// The lines that have ended.
    lines: u64,
    /// The line on which the last quotation mark opened.
    quoted_from: u64,
    skips_header: bool,
    /// No record was read.
    is_first: bool,
    /// The end of the data was read.
    pub(super) has_ended: bool,
}

/// The state of the search for the end of a record.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    in_quotes: bool,
    is_escaped: bool,
    /// True behind a mark that ends the quotes, unless the next byte doubles it.
    has_unquoted: bool,
}

impl RecordParser {
    pub(super) fn new(form: &CopyText, max_size: usize) -> Self {
        Self {
            form: form.clone(),
            max_size,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            scan: Scan::default(),
            lines: 0,
            quoted_from: 0,
            skips_header: form.header,
            is_first: true,
            has_ended: false,
        }
    }

    /// Takes the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Returns the next record that is complete.
    ///
    /// # Errors
    /// It is too large, or there is data behind the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        while !self.has_ended {
            let Some(end) = self.find_end() else {
                let size = self.scanned - self.start;
                let is_large = size > self.max_size;
                return if is_large { Err(self.too_large(self.lines + 1)) } else { Ok(None) };
            };
            let record = self.buffer[self.start..end].to_vec();
            self.start = self.scanned;
            if let Some(record) = self.record(&record)? {
                return Ok(Some(record));
            }
        }
        let is_over = self.start == self.buffer.len();
        if is_over { Ok(None) } else { Err(behind_end(self.form.format, self.lines)) }
    }

    /// Returns the last record, if there is one without a line break behind it.
    pub(super) fn finish(&mut self) -> Result<Option<Record>> {
        if self.has_ended || self.start == self.buffer.len() {
            return Ok(None);
        }
        self.lines += 1;
        if self.scan.in_quotes {
            let message = "unterminated CSV quoted field, which begins on this line";
            return Err(bad_data(message, self.quoted_from, None));
        }
        let record = self.buffer.split_off(self.start);
        self.start = self.buffer.len();
        self.record(&record)
    }

    /// Finds the end of a record, before its line break; what was looked at ends behind it.
    fn find_end(&mut self) -> Option<usize> {
        let CopyText { format, quote, escape, .. } = self.form;
        while let Some(byte) = self.buffer.get(self.scanned).copied() {
            self.scanned += 1;
            let Scan { in_quotes, is_escaped, has_unquoted } = self.scan;
            match format {
                TextFormat::Csv => {
                    self.scan.is_escaped =
                        escape != quote && byte == escape && in_quotes && !is_escaped;
                    let is_mark = byte == quote && !is_escaped;
                    self.scan.has_unquoted = is_mark && in_quotes;
                    if is_mark {
                        self.scan.in_quotes = !in_quotes;
                    }
                    if is_mark && !in_quotes && !has_unquoted {
                        self.quoted_from = self.lines + 1;
                    }
                }
                TextFormat::Text => self.scan.is_escaped = byte == b'\\' && !is_escaped,
            }
            if byte != b'\n' {
                continue;
            }
            self.lines += 1;
            let is_within = match format {
                TextFormat::Csv => self.scan.in_quotes,
                TextFormat::Text => is_escaped,
            };
            if !is_within {
                self.scan = Scan::default();
                return Some(self.scanned - 1);
            }
        }
        None
    }

    /// Parses a record; `None` for one that is none: the header, or the end of the data.
    fn record(&mut self, record: &[u8]) -> Result<Option<Record>> {
        let line = self.lines;
        if record.len() > self.max_size {
            return Err(self.too_large(line));
        }
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        // The mark that some programs write before a text in UTF-8: a field of the same is quoted, or escaped.
        let mark = BYTE_ORDER_MARK.as_bytes();
        let marked = record.strip_prefix(mark).filter(|_| self.is_first);
        self.is_first = false;
        let record = marked.unwrap_or(record);
        if std::mem::take(&mut self.skips_header) {
            return Ok(None);
        }
        if record == END_OF_DATA {
            self.has_ended = true;
            return Ok(None);
        }
        let fields = match self.form.format {
            TextFormat::Csv => csv_fields(record, &self.form),
            TextFormat::Text => text_fields(record, &self.form),
        };
        let fields = fields.map_err(|LoneReturn| bad_data(LONE_RETURN, line, None))?;
        Ok(Some(Record { line, fields }))
    }

    fn too_large(&self, line: u64) -> Error {
        let hint = "Check the quotation marks before it, or raise databases.NAME.max_row_size.";
        row_too_large(self.max_size, line).with_hint(hint)
    }
}

/// A carriage return within a record that is part of no field, nor of a line's end.
#[derive(Debug)]
struct LoneReturn;

fn csv_fields(record: &[u8], form: &CopyText) -> Result<Vec<Field>, LoneReturn> {
    let CopyText { delimiter, null, quote, escape, .. } = form;
    let mut fields = Vec::new();
    let mut bytes = record.iter().copied().peekable();
    loop {
        let mut field = Vec::new();
        let mut was_quoted = false;
        let mut in_quotes = false;
        let mut has_more = false;
        while let Some(byte) = bytes.next() {
            let follows = bytes.peek().copied();
            if in_quotes
                && byte == *escape
                && follows.is_some_and(|it| it == *escape || it == *quote)
            {
                field.extend(bytes.next());
            } else if byte == *quote {
                in_quotes = !in_quotes;
                was_quoted = true;
            } else if byte == *delimiter && !in_quotes {
                has_more = true;
                break;
            } else if byte == b'\r' && !in_quotes {
                return Err(LoneReturn);
            } else {
                field.push(byte);
            }
        }
        let is_null = !was_quoted && field == null.as_bytes();
        fields.push((!is_null).then_some(field));
        if !has_more {
            return Ok(fields);
        }
    }
}

fn text_fields(record: &[u8], form: &CopyText) -> Result<Vec<Field>, LoneReturn> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let mut at = 0;
        while at < rest.len() && rest[at] != form.delimiter {
            if rest[at] == b'\r' {
                return Err(LoneReturn);
            }
            at += if rest[at] == b'\\' { 2 } else { 1 };
        }
        let end = at.min(rest.len());
        let raw = &rest[..end];
        // Before escapes mean anything.
        fields.push((raw != form.null.as_bytes()).then(|| unescaped(raw)));
        if end == rest.len() {
            return Ok(fields);
        }
        rest = &rest[end + 1..];
    }
}

/// Resolves the escapes of the text format.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        text.extend_from_slice(&rest[..at]);
        let Some((escaped, after)) = rest[at + 1..].split_first() else {
            text.push(b'\\');
            return text;
        };
        rest = after;
        match escaped {
            b'b' => text.push(8),
            b't' => text.push(b'\t'),
            b'n' => text.push(b'\n'),
            b'v' => text.push(11),
            b'f' => text.push(12),
            b'r' => text.push(b'\r'),
            b'x' if after.first().is_some_and(u8::is_ascii_hexdigit) => {
                rest = number(after, 16, 2, &mut text);
            }
            b'0'..=b'7' => rest = number(&raw[raw.len() - after.len() - 1..], 8, 3, &mut text),
            other => text.push(*other),
        }
    }
    text.extend_from_slice(rest);
    text
}

/// Reads a byte by its digits, of which there are up to `longest`; returns what follows.
fn number<'a>(digits: &'a [u8], radix: u32, longest: usize, text: &mut Vec<u8>) -> &'a [u8] {
    let mut value: u32 = 0;
    let mut length = 0;
    for digit in digits.iter().take(longest).map_while(|it| char::from(*it).to_digit(radix)) {
        value = value * radix + digit;
        length += 1;
    }
    text.push(u8::try_from(value & 0xff).unwrap_or_default());
    &digits[length..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::copy::BAD_FORMAT;
    use crate::error::ErrorKind;

    /// All records of a text that comes in pieces of this size.
    fn records(
        form: &CopyText,
        text: &str,
        piece: usize,
    ) -> Result<Vec<(u64, Vec<Option<String>>)>> {
        let mut parser = RecordParser::new(form, 64);
        let mut found = Vec::new();
        let mut add = |record: Record| {
            let text = |field: Field| field.map(|raw| String::from_utf8_lossy(&raw).into_owned());
            found.push((record.line, record.fields.into_iter().map(text).collect()));
        };
        for piece in text.as_bytes().chunks(piece) {
            parser.feed(piece);
            while let Some(record) = parser.next()? {
                add(record);
            }
        }
        if let Some(record) = parser.finish()? {
            add(record);
        }
        Ok(found)
    }

    /// Checks the records, `-` for NULL, however the text is cut.
    #[track_caller]
    fn check(form: &CopyText, text: &str, expected: &[(u64, &[&str])]) {
        for piece in [1, 2, 3, 7, 1000] {
            let found = records(form, text, piece).expect("it is of its form");
            let expected: Vec<(u64, Vec<Option<String>>)> = expected
                .iter()
                .map(|(line, fields)| {
                    let field = |it: &&str| (*it != "-").then(|| (*it).to_owned());
                    (*line, fields.iter().map(field).collect())
                })
                .collect();
            assert_eq!(found, expected, "{text:?} in pieces of {piece}");
        }
    }

    #[test]
    fn csv_is_read_as_postgresql_reads_it() {
        let csv = &CopyText::CSV;
        check(csv, "a,b\n", &[(1, &["a", "b"])]);
        check(csv, "a,b\r\nc,\"\"\r\n", &[(1, &["a", "b"]), (2, &["c", ""])]);
        check(csv, ",\"\",x", &[(1, &["-", "", "x"])]);
        check(csv, "\"a\nb\",\"c\"\"d\"\n1,2\n", &[(2, &["a\nb", "c\"d"]), (3, &["1", "2"])]);
        check(csv, "a\"b,c\"d,e\n", &[(1, &["ab,cd", "e"])]);
        check(csv, "a\n\\.\n", &[(1, &["a"])]);
        check(csv, "a\n\\.", &[(1, &["a"])]);
        check(csv, "\"\\.\"\n", &[(1, &["\\."])]);
        check(csv, "\n", &[(1, &["-"])]);
        check(
            csv,
            "\u{feff}1,\u{feff}\n\u{feff}2,3\n",
            &[(1, &["1", "\u{feff}"]), (2, &["\u{feff}2", "3"])],
        );
        check(csv, "\"\u{feff}1\",2", &[(1, &["\u{feff}1", "2"])]);
        check(csv, "", &[]);
        let header = CopyText { header: true, ..CopyText::CSV };
        check(&header, "x,y\n1,2\n", &[(2, &["1", "2"])]);
        let other = CopyText {
            delimiter: b';',
            null: "NULL".into(),
            quote: b'\'',
            escape: b'\\',
            ..CopyText::CSV
        };
        check(&other, "'a\\'\\\\;';NULL;'NULL';\n", &[(1, &["a'\\;", "-", "NULL", ""])]);
    }

    #[test]
    fn a_carriage_return_alone_ends_no_line_and_is_no_data() {
        for (form, text, line) in [
            (&CopyText::CSV, "a\rb\rc\r", 1),
            (&CopyText::CSV, "a\nb\rc\n", 2),
            (&CopyText::CSV, "a\n\"b\"\rc", 2),
            (&CopyText::TEXT, "a\rb\r", 1),
            (&CopyText::TEXT, "a\nb\r\r\n", 2),
        ] {
            for piece in [1, 3, 1000] {
                let error = records(form, text, piece).expect_err("it is no line's end");
                assert!(error.message().contains("carriage return"), "{text:?}: {error}");
                assert_eq!(error.report().map(|report| report.line), Some(line), "{text:?}");
            }
        }
        check(&CopyText::CSV, "\"a\rb\"\r\n", &[(1, &["a\rb"])]);
        check(&CopyText::TEXT, "a\\\rb\r\n", &[(1, &["a\rb"])]);
    }

    #[test]
    fn text_is_read_as_postgresql_reads_it() {
        let text = &CopyText::TEXT;
        check(text, "a\t\\N\t\n", &[(1, &["a", "-", ""])]);
        check(text, "\\t\\n\\r\\b\\v\\f\\\\\\q\n", &[(1, &["\t\n\r\u{8}\u{b}\u{c}\\q"])]);
        check(text, "\\101\\x42\\x4g\\7\n", &[(1, &["AB\u{4}g\u{7}"])]);
        check(text, "a\\\nb\tc\nd\te\n", &[(2, &["a\nb", "c"]), (3, &["d", "e"])]);
        check(text, "a\\\tb\tc", &[(1, &["a\tb", "c"])]);
        check(text, "1\n\\.\n", &[(1, &["1"])]);
        check(text, "\u{feff}1\t2\n", &[(1, &["1", "2"])]);
        check(text, "\\xef\\xbb\\xbf1\t2\n", &[(1, &["\u{feff}1", "2"])]);
        check(text, "1\r\n\\.\r\n", &[(1, &["1"])]);
    }

    #[test]
    fn data_behind_the_end_is_an_error_however_it_is_cut() {
        for form in [&CopyText::CSV, &CopyText::TEXT] {
            for text in ["1\n\\.\n2\n", "1\n\\.\n2", "1\r\n\\.\r\n\r\n", "1\n\\.\n\\.\n"] {
                for piece in 1..=text.len() {
                    let error = records(form, text, piece).expect_err(text);
                    let line = error.report().map(|report| report.line);
                    assert_eq!((error.reason(), line), (BAD_FORMAT, Some(2)), "{text:?}, {piece}");
                }
            }
        }
    }

    #[test]
    fn a_quotation_mark_that_does_not_end_is_an_error_with_its_line() {
        let error = records(&CopyText::CSV, "1\n\"2\n3\n", 2).expect_err("it does not end");
        assert_eq!(error.reason(), BAD_FORMAT);
        assert_eq!(error.report().map(|report| report.line), Some(2));
        let doubled =
            records(&CopyText::CSV, "1\n\"2\n3\"\"\n4\n", 2).expect_err("it does not end");
        assert_eq!(doubled.report().map(|report| report.line), Some(2));
        let long = format!("1\n\"{}\n", "x".repeat(100));
        let error = records(&CopyText::CSV, &long, 10).expect_err("it is too long");
        assert_eq!(error.kind(), ErrorKind::RowTooLarge);
        assert_eq!(error.report().map(|report| report.line), Some(2));
    }
}
