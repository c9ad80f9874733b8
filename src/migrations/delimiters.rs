//! The statements of a text for the mysql client that sets DELIMITER, as the bodies of routines and triggers need it.

use crate::sql::{Dialect, Scanner, TokenKind, is_among};

/// A statement, by its bytes in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    /// The byte of its first word.
    pub(crate) first_word: usize,
    pub(crate) end: usize,
}

/// The place in bytes, and the reason for which a text cannot be split.
pub(crate) type SpanError = (usize, String);

/// Splits a text at its delimiters, which lines `DELIMITER …` set.
pub(crate) fn split_delimited(text: &str) -> Result<Vec<Span>, SpanError> {
    let mut spans = Vec::new();
    let mut delimiter = ";";
    let mut start = 0;
    while start < text.len() {
        match next_part(text, start, delimiter)? {
            Part::Delimiter { at, behind } => {
                // As the client, which takes the first word of the line.
                delimiter = text[at..behind].split_whitespace().next().unwrap_or_default();
                if delimiter.is_empty() || delimiter.contains(['\'', '"', '`', '\\']) {
                    return Err((at, "DELIMITER is followed by no delimiter".to_owned()));
                }
                start = behind;
            }
            Part::Statement { first_word, end } => {
                spans.extend(first_word.map(|first_word| Span { start, first_word, end }));
                start = end + delimiter.len();
            }
        }
    }
    Ok(spans)
}

enum Part {
    /// A line `DELIMITER …`: where its word ends, and where the line does.
    Delimiter { at: usize, behind: usize },
    /// A statement, which is empty without a first word.
    Statement { first_word: Option<usize>, end: usize },
}

/// Reads up to the next delimiter.
fn next_part(text: &str, start: usize, delimiter: &str) -> Result<Part, SpanError> {
    let mut first_word = None;
    let mut scanner = Scanner::new(&text[start..], Dialect::Mysql);
    for token in scanner.by_ref() {
        let at = start + token.start;
        if let TokenKind::Unterminated(what) = token.kind {
            return Err((at, format!("{what} does not end")));
        }
        // An executable comment is code of the statement that it stands in, and holds no end of one.
        if token.is_optional {
            first_word.get_or_insert(at);
            continue;
        }
        if first_word.is_none() && is_among(token.text, "DELIMITER") {
            let at = at + token.text.len();
            let behind = text[at..].find('\n').map_or(text.len(), |length| at + length);
            return Ok(Part::Delimiter { at, behind });
        }
        let within = match token.kind {
            // The client finds it within a word, as in `END$$`.
            TokenKind::Word | TokenKind::Number | TokenKind::Parameter => {
                token.text.find(delimiter)
            }
            TokenKind::Symbol => text[at..].starts_with(delimiter).then_some(0),
            TokenKind::QuotedName
            | TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::DollarString
            | TokenKind::Unterminated(_) => None,
        };
        if let Some(within) = within {
            let first_word = first_word.or((within > 0).then_some(at));
            return Ok(Part::Statement { first_word, end: at + within });
        }
        first_word.get_or_insert(at);
    }
    if scanner.is_in_code_comment() {
        return Err((text.len(), "a comment does not end".to_owned()));
    }
    Ok(Part::Statement { first_word, end: text.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_the_delimiter_that_is_set() {
        let body = "create trigger a before insert on t for each row begin set new.b = 1; end";
        for (text, expected) in [
            ("select 1; select 2", vec!["select 1", " select 2"]),
            (
                &format!("delimiter //\n{body}//\nselect ';//'//\nDELIMITER ;\nselect 1;")[..],
                vec![&format!("\n{body}")[..], "\nselect ';//'", "\nselect 1"],
            ),
            (&format!("delimiter $$\n{body}$$ select 1"), vec![&format!("\n{body}"), " select 1"]),
            (
                "delimiter ;;\nselect 1; ;;\n-- ;;\nselect 2;;",
                vec!["\nselect 1; ", "\n-- ;;\nselect 2"],
            ),
            ("delimiter // -- x\nselect 1; // select 2", vec!["\nselect 1; ", " select 2"]),
            (
                "/*!50003 create*/ /*!50017 a*/ /*!50003 b; */;delimiter ;;\n/*! a; b */;;",
                vec!["/*!50003 create*/ /*!50017 a*/ /*!50003 b; */", "\n/*! a; b */"],
            ),
            ("select 'a\nDELIMITER //\n'; b", vec!["select 'a\nDELIMITER //\n'", " b"]),
        ] {
            let spans = split_delimited(text).unwrap();
            let found: Vec<_> = spans.iter().map(|span| &text[span.start..span.end]).collect();
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(split_delimited("delimiter \nselect 1").unwrap_err().0, 9);
        assert_eq!(split_delimited("delimiter //\n/*! a '*/'").unwrap_err().0, 23);
        assert!(split_delimited("delimiter //\nselect 'a").unwrap_err().1.contains("does not end"));
    }
}
