//! Characters that must not reach a terminal or a log as they are: they control it, or change how other text looks.

use std::fmt::Write as _;
use std::io::{self, Write};

/// The ranges of Unicode's format characters, and of its separators of lines and paragraphs.
const FORMAT: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{3164}', '\u{3164}'),
];

/// Returns false for control characters, the line break too, and for those that show nothing and change what is
/// beside them.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !c.is_control() && !FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// The notation of a character that is not printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// `\u009b`, as in a string of JSON.
    Json,
    /// `\u{9b}`, for people. Line breaks are printed.
    Text,
    /// The same, where escape sequences are the writer's own colours.
    ColouredText,
}

impl Notation {
    fn keeps(self, c: char) -> bool {
        is_printable(c) || c == '\n' || self == Self::ColouredText && c == '\u{1b}'
    }

    fn escape(self, c: char, out: &mut String) {
        if self != Self::Json {
            return out.extend(c.escape_default());
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("writing to a String never fails");
        }
    }
}

/// A text with its other characters escaped.
pub(crate) fn escaped(text: &str, notation: Notation) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if notation.keeps(c) {
            out.push(c);
        } else {
            notation.escape(c, &mut out);
        }
    }
    out
}

/// A writer that escapes what is written. Of JSON, only strings can hold such characters.
#[derive(Debug)]
pub(crate) struct EscapingWriter<W> {
    inner: W,
    notation: Notation,
    /// The bytes of a character that has begun.
    begun: Vec<u8>,
}

impl<W: Write> EscapingWriter<W> {
    pub(crate) fn new(inner: W, notation: Notation) -> Self {
        Self { inner, notation, begun: Vec::new() }
    }
}

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_plain = |byte: &u8| *byte == b'\n' || (b' '..=b'~').contains(byte);
        if self.begun.is_empty() && bytes.iter().all(is_plain) {
            self.inner.write_all(bytes)?;
            return Ok(bytes.len());
        }
        self.begun.extend_from_slice(bytes);
        let mut out = String::new();
        let mut rest = &*self.begun;
        while let Err(error) = std::str::from_utf8(rest) {
            let (valid, others) = rest.split_at(error.valid_up_to());
            out.push_str(&escaped(&String::from_utf8_lossy(valid), self.notation));
            rest = others;
            let Some(invalid) = error.error_len() else { break };
            out.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[invalid..];
        }
        if let Ok(valid) = std::str::from_utf8(rest) {
            out.push_str(&escaped(valid, self.notation));
            rest = &[];
        }
        self.begun = rest.to_vec();
        self.inner.write_all(out.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_or_hide_are_escaped() {
        let text = "ü\t\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{feff}\u{e0001}\n";
        assert_eq!(
            escaped(text, Notation::Text),
            "ü\\t\\u{1b}[2J\\u{7f}\\u{9b}\\u{202e}\\u{feff}\\u{e0001}\n"
        );
        assert_eq!(
            escaped(text, Notation::Json),
            "ü\\u0009\\u001b[2J\\u007f\\u009b\\u202e\\ufeff\\udb40\\udc01\n"
        );
        assert_eq!(escaped("\u{1b}[2m\u{9b}", Notation::ColouredText), "\u{1b}[2m\\u{9b}");
        for c in ['a', ' ', 'é', '€', '日', '👍'] {
            assert!(is_printable(c), "{c}");
        }
    }

    #[test]
    fn what_is_written_in_pieces_is_escaped_as_a_whole() {
        let text = "plain\nü\u{202e}👍\u{9b}";
        for size in 1..text.len() {
            let mut writer = EscapingWriter::new(Vec::new(), Notation::Json);
            for piece in text.as_bytes().chunks(size) {
                writer.write_all(piece).expect("memory");
            }
            let written = String::from_utf8(writer.inner).expect("text");
            assert_eq!(written, "plain\nü\\u202e👍\\u009b");
        }
        let mut writer = EscapingWriter::new(Vec::new(), Notation::Text);
        writer.write_all(b"a\xffb").expect("memory");
        assert_eq!(writer.inner, "a\u{fffd}b".as_bytes());
    }
}
