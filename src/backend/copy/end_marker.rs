//! The line `\.`, which ends data that is text, and the search for it in data that is passed on.
//!
//! PostgreSQL reads no further than such a line (in CSV before 18), and keeps what stood before it. Here data behind the line
//! is an error, so that no row is lost in silence. The search looks at marks alone, never at each byte, and keeps nothing.

use memchr::{memchr, memchr_iter, memchr2, memchr2_iter};

use super::data_place::bad_data;
use super::text_form::{CopyText, TextFormat};
use crate::error::{Error, Result};
use crate::wire_size::widen;

/// The hint of the error, by the format.
const QUOTE_IT: &str =
    "Nothing was copied. A value is quoted: `\"\\.\"`. A line that ends the data is the last one.";
const ESCAPE_IT: &str =
    "Nothing was copied. A value is written `\\\\.`. A line that ends the data is the last one.";

/// The error of data behind the end.
pub(crate) fn behind_end(format: TextFormat, line: u64) -> Error {
    let hint = match format {
        TextFormat::Csv => QUOTE_IT,
        TextFormat::Text => ESCAPE_IT,
    };
    bad_data("the line \\. ends the data, and there is more behind it", line, None).with_hint(hint)
}

/// The search for the end in data that comes in pieces.
#[derive(Debug)]
pub(crate) struct EndSearch {
    format: TextFormat,
    quote: u8,
    /// The mark before a quotation mark, unless quotation marks are doubled.
    escape: Option<u8>,
    in_quotes: bool,
    is_escaped: bool,
    place: Place,
    /// The byte that ends lines, which is known from the first one on.
    line_break: Option<u8>,
    /// The lines that have ended.
    lines: u64,
    /// The line of the marker.
    marker: u64,
}

/// The place of the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    Within,
    /// Behind a backslash that may begin the marker.
    Backslash,
    /// Behind the marker, which counts if the line ends here.
    Marker,
    /// Behind the carriage return that ends the marker's line.
    Return,
    /// Behind the marker's line.
    End,
}

impl EndSearch {
    pub(crate) fn new(form: &CopyText) -> Self {
        Self {
            format: form.format,
            quote: form.quote,
            escape: Some(form.escape).filter(|escape| *escape != form.quote),
            in_quotes: false,
            is_escaped: false,
            place: Place::LineStart,
            line_break: None,
            lines: 0,
            marker: 0,
        }
    }

    /// Looks at the next piece.
    ///
    /// # Errors
    /// The marker's line was not the last one.
    pub(crate) fn look(&mut self, piece: &[u8]) -> Result<()> {
        let mut counted = 0;
        let mut at = 0;
        while let Some(byte) = piece.get(at).copied() {
            match self.place {
                Place::End => return Err(behind_end(self.format, self.marker)),
                Place::Return => {
                    self.place = Place::End;
                    at += usize::from(byte == b'\n');
                }
                Place::Marker => {
                    self.place = match byte {
                        b'\n' => Place::End,
                        b'\r' => Place::Return,
                        _ => Place::Within,
                    };
                    at += usize::from(self.place != Place::Within);
                }
                Place::Backslash if byte == b'.' => {
                    self.count_lines(&piece[counted..at]);
                    counted = at;
                    self.marker = self.lines + 1;
                    self.place = Place::Marker;
                    at += 1;
                }
                Place::Backslash => {
                    self.place = Place::Within;
                    // It has no other meaning behind a backslash.
                    at += usize::from(self.format == TextFormat::Text);
                }
                Place::LineStart | Place::Within => at = self.find_backslash(piece, at),
            }
        }
        self.count_lines(&piece[counted..]);
        Ok(())
    }

    /// Finds a backslash that may begin the marker, and returns the place behind it; the piece's end if there is none.
    fn find_backslash(&mut self, piece: &[u8], start: usize) -> usize {
        if self.format == TextFormat::Text {
            let Some(found) = memchr(b'\\', &piece[start..]) else { return piece.len() };
            self.place = Place::Backslash;
            return start + found + 1;
        }
        let mut read = start;
        for found in memchr_iter(b'\\', &piece[start..]) {
            let at = start + found;
            let begins_line =
                if at == start { self.place == Place::LineStart } else { is_break(piece[at - 1]) };
            if begins_line {
                self.follow_quotes(&piece[read..at]);
                read = at;
                if !self.in_quotes {
                    self.place = Place::Backslash;
                    return at + 1;
                }
            }
        }
        self.follow_quotes(&piece[read..]);
        let is_start = piece.last().copied().is_some_and(is_break);
        self.place = if is_start { Place::LineStart } else { Place::Within };
        piece.len()
    }

    /// Follows the quotation marks, as PostgreSQL does (`CopyReadLineText`): each opens or closes, wherever it stands.
    fn follow_quotes(&mut self, bytes: &[u8]) {
        let Some(escape) = self.escape else {
            self.in_quotes ^= memchr_iter(self.quote, bytes).count() % 2 == 1;
            return;
        };
        let mut next = 0;
        for at in memchr2_iter(self.quote, escape, bytes) {
            let is_escaped = self.is_escaped && at == next;
            let is_escape = bytes[at] == escape;
            self.is_escaped = is_escape && self.in_quotes && !is_escaped;
            self.in_quotes ^= !is_escape && !is_escaped;
            next = at + 1;
        }
        self.is_escaped &= next == bytes.len();
    }

    fn count_lines(&mut self, bytes: &[u8]) {
        if self.line_break.is_none() {
            self.line_break = memchr2(b'\n', b'\r', bytes).map(|at| bytes[at]);
        }
        if let Some(line_break) = self.line_break {
            self.lines += widen(memchr_iter(line_break, bytes).count());
        }
    }
}

fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The line of the marker behind which there is more, in pieces of this size.
    fn found(form: &CopyText, text: &[u8], piece: usize) -> Option<u64> {
        let mut search = EndSearch::new(form);
        let searched = text.chunks(piece).try_for_each(|piece| search.look(piece));
        searched.err().and_then(|error| error.report().map(|report| report.line))
    }

    /// Checks the line, however the text is cut.
    #[track_caller]
    fn check(form: &CopyText, text: &str, expected: Option<u64>) {
        for piece in 1..=text.len().max(1) {
            let found = found(form, text.as_bytes(), piece);
            assert_eq!(found, expected, "{text:?} in pieces of {piece}");
        }
    }

    fn escaped(escape: u8) -> CopyText {
        CopyText { escape, ..CopyText::CSV }
    }

    #[test]
    fn data_behind_the_end_is_found_with_the_line_of_the_end() {
        for form in [&CopyText::CSV, &CopyText::TEXT] {
            check(form, "a\n\\.\nb\n", Some(2));
            check(form, "\\.\nb", Some(1));
            check(form, "a\r\n\\.\r\nb\r\n", Some(2));
            check(form, "a\r\\.\rb\r", Some(2));
            check(form, "a\n\\.\n\n", Some(2));
            check(form, "a\nb\n\\.\n\\.\n", Some(3));
        }
        check(&CopyText::CSV, "\"a\n\n\"\n\\.\nb\n", Some(4));
        check(&CopyText::CSV, "\"\"\"\"\n\\.\nb\n", Some(2));
        check(&escaped(b'\\'), "\"a\\\"\\\\\"\n\\.\nb\n", Some(2));
        // PostgreSQL before 18 takes it anywhere in a line.
        check(&CopyText::TEXT, "a\\.\nb\n", Some(1));
        check(&CopyText::TEXT, "a\\\\\\.\nb\n", Some(1));
    }

    #[test]
    fn an_end_that_is_the_last_line_and_values_are_no_error() {
        for form in [&CopyText::CSV, &CopyText::TEXT] {
            for text in ["", "a\n", "\\.\n", "a\n\\.", "a\n\\.\n", "a\r\n\\.\r\n", "a\r\\.\r"] {
                check(form, text, None);
            }
        }
        let csv = &CopyText::CSV;
        for text in
            ["\"\\.\"\nb\n", "\"a\n\\.\nb\"\nc\n", "a\\.\nb\n", "\\.,1\nb\n", "\\.\"\"\nb\n"]
        {
            check(csv, text, None);
        }
        check(csv, "\"\"\"\n\\.\n\"\nb\n", None);
        check(&escaped(b'\\'), "\"a\\\"\n\\.\n\\\\\"\nb\n", None);
        check(&CopyText::TEXT, "\\\\.\nb\n", None);
        check(&CopyText::TEXT, "\\N\ta\\\n.\nb\n", None);
    }

    /// The same by a look at each byte, of CSV whose lines end with a newline.
    fn by_bytes(form: &CopyText, text: &[u8]) -> Option<u64> {
        let (mut in_quotes, mut is_escaped, mut began_in_quotes) = (false, false, false);
        let (mut line, mut start) = (1, 0);
        for (at, byte) in text.iter().copied().enumerate() {
            let is_mark = byte == form.quote && !is_escaped;
            let is_escape = form.escape != form.quote && byte == form.escape;
            is_escaped = is_escape && in_quotes && !is_escaped;
            in_quotes ^= is_mark;
            if byte != b'\n' {
                continue;
            }
            let is_marker = &text[start..at] == b"\\." && !began_in_quotes;
            if is_marker && at + 1 < text.len() {
                return Some(line);
            }
            (line, start, began_in_quotes) = (line + 1, at + 1, in_quotes);
        }
        None
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_each_byte_finds(
            text in "[a\"e\\\\.,\n]{0,40}",
            piece in 1_usize..9,
            escape in prop_oneof![Just(b'"'), Just(b'e'), Just(b'\\')],
        ) {
            let form = escaped(escape);
            let text = text.as_bytes();
            prop_assert_eq!(found(&form, text, piece), by_bytes(&form, text));
        }
    }
}
