//! The definition of a foreign key, as messages quote it.

/// The names in the definition of a foreign key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ForeignKey {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) constraint: String,
    /// The referencing column; empty if there are several.
    pub(super) column: String,
}

/// A part of a definition: a name in backticks, or the text between names.
enum Token<'a> {
    Name(String),
    Text(&'a str),
}

impl ForeignKey {
    /// Reads `` `d`.`t`, CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE … ``; `None` for text of another
    /// form, which may be anything.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut key = Self::default();
        let mut columns = Vec::new();
        let mut place = "";
        let mut rest = text;
        while !rest.is_empty() {
            let (token, behind) = token(rest)?;
            rest = behind;
            match token {
                Token::Text(text) if !is_grammar(text) => return None,
                // A list of columns goes on.
                Token::Text(text) if text.trim() == "," && place.ends_with('(') => {}
                Token::Text(text) => place = text.trim(),
                Token::Name(name) => match place {
                    "" => key.schema = name,
                    "." if key.table.is_empty() => key.table = name,
                    ", CONSTRAINT" | "CONSTRAINT" => key.constraint = name,
                    "FOREIGN KEY (" | ", FOREIGN KEY (" => columns.push(name),
                    _ => {}
                },
            }
        }
        if let [column] = &mut columns[..] {
            key.column = std::mem::take(column);
        }
        (!key.table.is_empty()).then_some(key)
    }
}

/// Takes the first token of a text; `None` for a name that does not end.
fn token(text: &str) -> Option<(Token<'_>, &str)> {
    let Some(mut rest) = text.strip_prefix('`') else {
        let (between, behind) = text.split_at(text.find('`').unwrap_or(text.len()));
        return Some((Token::Text(between), behind));
    };
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('`')?;
        name.push_str(part);
        let Some(escaped) = behind.strip_prefix('`') else {
            return Some((Token::Name(name), behind));
        };
        name.push('`');
        rest = escaped;
    }
}

/// Tells whether the text between names has nothing but key words and punctuation.
fn is_grammar(text: &str) -> bool {
    let words = text.split(|c: char| " ,.()".contains(c)).filter(|word| !word.is_empty());
    let grammar = [
        "CONSTRAINT",
        "FOREIGN",
        "KEY",
        "REFERENCES",
        "ON",
        "DELETE",
        "UPDATE",
        "CASCADE",
        "SET",
        "NULL",
        "DEFAULT",
        "NO",
        "ACTION",
        "RESTRICT",
    ];
    words.into_iter().all(|word| grammar.contains(&word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(schema: &str, table: &str, constraint: &str, column: &str) -> Option<ForeignKey> {
        let [schema, table, constraint, column] =
            [schema, table, constraint, column].map(str::to_owned);
        Some(ForeignKey { schema, table, constraint, column })
    }

    #[test]
    fn a_definition_has_its_names() {
        let cases = [
            (
                "`d`.`t`, CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`id`)",
                key("d", "t", "c", "a"),
            ),
            (
                "`d`.`t`, CONSTRAINT `c` FOREIGN KEY (`a`, `b`) REFERENCES `x`.`p` (`i`, `j`) ON DELETE SET NULL",
                key("d", "t", "c", ""),
            ),
            ("`d`.`t``u`, FOREIGN KEY (`a`) REFERENCES `p` (`id`)", key("d", "t`u", "", "a")),
            ("`d`.`t`, CONSTRAINT `c`", key("d", "t", "c", "")),
            ("`d`.`t`, CONSTRAINT `c` SECRET", None),
            ("`d`.`t", None),
            ("secret", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(ForeignKey::parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[`a.,() ]{0,30}") {
            let _key = ForeignKey::parse(&text);
        }
    }
}
