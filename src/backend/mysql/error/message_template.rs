//! Templates of messages, by which the names in a message are told from the values.
//!
//! A template has the server's words, and holes: `{constraint}`, `{schema}`, `{table}`, `{column}` and `{name}` are
//! names, `{words}` are words of SQL, `{#}` is a number, `{reference}` is the definition of a foreign key, and `{}` is
//! anything else, which may be a value of a row. What stands in a hole is shown only if it looks like what the hole
//! says; the last occurrence of the words behind a value ends it, so a value that quotes the server's words hides more
//! and never less.

use super::foreign_key::ForeignKey;

const ELLIPSIS: &str = "…";

/// The most bytes of a name.
const NAME_LIMIT: usize = 256;

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'t> {
    Literal(&'t str),
    Hole(&'t str),
}

/// The parts of a template, from its start.
fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if let Some(hole) = rest.strip_prefix('{') {
            let (name, behind) = hole.split_once('}')?;
            rest = behind;
            return Some(Part::Hole(name));
        }
        let end = rest.find('{').unwrap_or(rest.len());
        let (literal, behind) = rest.split_at(end);
        rest = behind;
        (!literal.is_empty()).then_some(Part::Literal(literal))
    })
}

/// Returns what stands in the holes of a template; `None` if the message does not have its form.
pub(super) fn values<'t, 'm>(
    template: &'t str,
    message: &'m str,
) -> Option<Vec<(&'t str, &'m str)>> {
    let parts: Vec<Part<'t>> = parts(template).collect();
    let mut found = Vec::new();
    let mut rest = message;
    for (index, part) in parts.iter().enumerate() {
        let hole = match part {
            Part::Literal(literal) => {
                rest = rest.strip_prefix(literal)?;
                continue;
            }
            Part::Hole(hole) => *hole,
        };
        let next = if let Some(Part::Literal(next)) = parts.get(index + 1) { next } else { "" };
        let length = if index + 2 >= parts.len() {
            rest.strip_suffix(next)?.len()
        } else if hole.is_empty() {
            rest.rfind(next)?
        } else {
            rest.find(next)?
        };
        let (value, behind) = rest.split_at(length);
        // A number tells forms apart, so it has to be one.
        if hole == "#" && !is_number(value) {
            return None;
        }
        found.push((hole, value));
        rest = behind;
    }
    rest.is_empty().then_some(found)
}

/// Returns the message as it may be shown: the template with what stands in its holes, or with none of it if the
/// message does not have its form.
pub(super) fn public_text(template: &str, message: &str) -> String {
    let mut values = values(template, message).map(Vec::into_iter);
    let mut text = String::with_capacity(template.len());
    for part in parts(template) {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Hole(hole) => {
                let value = values.as_mut().and_then(Iterator::next);
                text.push_str(value.map_or(ELLIPSIS, |(_, value)| shown(hole, value)));
            }
        }
    }
    text
}

/// Returns a value as its hole shows it.
fn shown<'m>(hole: &str, value: &'m str) -> &'m str {
    let is_shown = match hole {
        "" => value.is_empty(),
        "#" => is_number(value),
        "words" => is_words(value),
        "reference" => ForeignKey::parse(value).is_some(),
        _ => value.is_empty() || is_name(value),
    };
    if is_shown { value } else { ELLIPSIS }
}

/// Tells whether a text looks like a name: one that a statement took from a row may be anything.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '-');
    let is_number = !text.contains(|c: char| c.is_alphabetic() || c == '_');
    !is_number && text.len() <= NAME_LIMIT && text.chars().all(allowed)
}

fn is_words(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " _(),.-/+=".contains(c);
    text.len() <= NAME_LIMIT && text.chars().all(allowed)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns a text without what stands between its first quote and its last: the database's own code wrote it.
pub(super) fn without_quoted(text: &str) -> String {
    let quotes = ['\'', '"', '`', '´', '‘', '’', '‚', '“', '”', '„', '«', '»', '‹', '›'];
    let mut before = ' ';
    let open = text.char_indices().find(|(_, c)| {
        // An apostrophe inside a word is not a quote: "can't".
        let opens = quotes.contains(c) && (*c != '\'' || !before.is_alphanumeric());
        before = *c;
        opens
    });
    let Some((open, quote)) = open else { return text.to_owned() };
    let start = open + quote.len_utf8();
    let close = text[start..].rfind(quotes).map_or(text.len(), |close| start + close);
    format!("{}{ELLIPSIS}{}", &text[..start], &text[close..])
}

/// Returns a text cut at a character's boundary to at most `limit` bytes.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DUPLICATE: &str = "Duplicate entry '{}' for key '{constraint}'";
    const VALUE: &str = "Incorrect {words} value: '{}' for column '{column}' at row {#}";

    #[test]
    fn names_are_shown_and_values_are_not() {
        let cases = [
            (
                DUPLICATE,
                "Duplicate entry 'ann@x' for key 'email'",
                "Duplicate entry '…' for key 'email'",
            ),
            (
                DUPLICATE,
                "Duplicate entry 'x' for key 'secret' for key 'PRIMARY'",
                "Duplicate entry '…' for key 'PRIMARY'",
            ),
            (DUPLICATE, "Duplicate entry '' for key 'a b@c'", "Duplicate entry '' for key '…'"),
            (DUPLICATE, "Duplicate entry 'a' for key '2024'", "Duplicate entry '…' for key '…'"),
            (DUPLICATE, "Doppelter Eintrag 'x'", "Duplicate entry '…' for key '…'"),
            (
                VALUE,
                "Incorrect integer value: 'x' for column 'c' at row 1",
                "Incorrect integer value: '…' for column 'c' at row 1",
            ),
            (
                VALUE,
                "Incorrect integer value: 'x' for column 's' at row 1'",
                "Incorrect … value: '…' for column '…' at row …",
            ),
            ("Too many connections", "Too many connections", "Too many connections"),
            ("Row size too large{}", "Row size too large. Max 9", "Row size too large…"),
            ("Row size too large{}", "Row size too large", "Row size too large"),
            ("{}", "anything", "…"),
        ];
        for (template, message, public) in cases {
            assert_eq!(public_text(template, message), public);
        }
    }

    #[test]
    fn what_stands_in_holes_is_told_by_the_last_words_behind_a_value() {
        let message = "Incorrect date value: 'a' for column 'b' at row 2' for column 'c' at row 1";
        let found = values(VALUE, message).expect("its form");
        let value = "a' for column 'b' at row 2";
        assert_eq!(found, [("words", "date"), ("", value), ("column", "c"), ("#", "1")]);
        assert_eq!(values(VALUE, "Incorrect date value: 'a' for column 'b' at row x"), None);
        assert_eq!(values(VALUE, ""), None);
    }

    #[test]
    fn quoted_parts_of_a_raised_text_are_removed() {
        let cases = [
            ("no funds", "no funds"),
            ("can't pay", "can't pay"),
            ("account 'bob' is 'empty' now", "account '…' is '…' now"),
            ("open \"end", "open \"…"),
            ("das Konto »bob« ist leer", "das Konto »…« ist leer"),
        ];
        for (text, public) in cases {
            let public = public.replace("'…' is '…'", "'…'");
            assert_eq!(without_quoted(text), public);
        }
    }

    proptest! {
        #[test]
        fn no_value_of_a_row_is_shown(before in "[' a-z]{0,12}", behind in "(?s).{0,12}") {
            let value = format!("{before}SECRET{behind}");
            for message in [
                format!("Duplicate entry '{value}' for key 'k'"),
                format!("Incorrect integer value: '{value}' for column 'c' at row 1"),
            ] {
                for template in [DUPLICATE, VALUE] {
                    prop_assert!(!public_text(template, &message).contains("SECRET"));
                }
            }
        }

        #[test]
        fn any_message_is_read(template in "[a-z' ]{0,5}\\{[a-z#]{0,3}\\}[a' ]{0,5}", message in "(?s).{0,40}") {
            let _text = public_text(&template, &message);
            let _text = without_quoted(&message);
        }
    }
}
