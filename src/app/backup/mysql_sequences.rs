//! The sequences of other databases from which the defaults of a database of MariaDB take their numbers.

use crate::backend::AdminConnection;
use crate::error::Result;

/// The defaults that may ask a sequence, and the database that they are in. MySQL has no sequences.
const DEFAULTS: &str = "SELECT table_name, column_name, column_default, DATABASE() FROM information_schema.columns \
    WHERE table_schema = DATABASE() AND column_default LIKE '%val(`%' ORDER BY table_name, ordinal_position";

/// The functions that ask a sequence.
const FUNCTIONS: [&str; 3] = ["nextval(`", "lastval(`", "setval(`"];

/// A default that asks a sequence of another database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Borrowed {
    pub(super) table: String,
    pub(super) column: String,
    /// The sequence with its database, in SQL.
    pub(super) sequence: String,
}

/// Looks for defaults that ask sequences of other databases.
pub(super) async fn borrowed_sequences(
    connection: &mut dyn AdminConnection,
) -> Result<Vec<Borrowed>> {
    let rows = connection.run(DEFAULTS).await?;
    let mut found = Vec::new();
    for row in rows {
        let mut fields = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || fields.next().unwrap_or_default();
        let (table, column, default, database) = (next(), next(), next(), next());
        let of_others = names(&default).into_iter().filter(|(of, _)| *of != database);
        found.extend(of_others.map(|(of, name)| Borrowed {
            table: table.clone(),
            column: column.clone(),
            sequence: format!("{of}.{name}"),
        }));
    }
    Ok(found)
}

/// The sequences, with their databases, that an expression of the server's own text asks.
fn names(default: &str) -> Vec<(String, String)> {
    let calls = places(default).into_iter();
    calls
        .filter_map(|place| {
            let (database, rest) = name(&default[place..])?;
            let (sequence, _) = name(rest.strip_prefix(".`")?)?;
            Some((database, sequence))
        })
        .collect()
}

/// Removes a database from the names of sequences in a line of a definition: they are found in the one that the table is in.
pub(super) fn without_database(line: &str, database: &str) -> Option<String> {
    let named = format!("{}`.`", database.replace('`', "``"));
    let mut cut = String::new();
    let mut from = 0;
    for place in places(line) {
        if line[place..].starts_with(&named) {
            cut.push_str(&line[from..place]);
            from = place + named.len();
        }
    }
    cut.push_str(&line[from..]);
    (from > 0).then_some(cut)
}

/// The places behind the functions, at the names, and not in a text or a name.
fn places(line: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut is_escaped = false;
    for (index, byte) in line.bytes().enumerate() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(b'\'') if byte == b'\\' => is_escaped = true,
            Some(mark) if mark == byte => quote = None,
            Some(_) => {}
            None if byte == b'\'' => quote = Some(byte),
            None if byte == b'`' => {
                quote = Some(byte);
                if FUNCTIONS.iter().any(|function| line[..=index].ends_with(function)) {
                    found.push(index + 1);
                }
            }
            None => {}
        }
    }
    found
}

/// A name up to its closing mark, and what is behind that.
fn name(text: &str) -> Option<(String, &str)> {
    let mut end = text.find('`')?;
    while text[end + 1..].starts_with('`') {
        end += 2 + text[end + 2..].find('`')?;
    }
    Some((text[..end].replace("``", "`"), &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequences_of_a_default_are_found_with_their_databases() {
        let pair = |database: &str, name: &str| (database.to_owned(), name.to_owned());
        assert_eq!(names("nextval(`s2`.`sq`)"), [pair("s2", "sq")]);
        assert_eq!(
            names("nextval(`a``b`.`c`) + lastval(`d`.`e`)"),
            [pair("a`b", "c"), pair("d", "e")]
        );
        assert_eq!(names("'nextval(`s2`.`sq`)'"), []);
        assert_eq!(names("concat('it\\'s', nextval(`s`.`q`))"), [pair("s", "q")]);
    }

    #[test]
    fn a_database_is_removed_from_sequences_alone() {
        let line = "  `id` int NOT NULL DEFAULT nextval(`s2`.`sq`) COMMENT 'nextval(`s2`.`sq`)',";
        let cut = "  `id` int NOT NULL DEFAULT nextval(`sq`) COMMENT 'nextval(`s2`.`sq`)',";
        assert_eq!(without_database(line, "s2").as_deref(), Some(cut));
        assert_eq!(without_database(line, "s"), None);
        assert_eq!(without_database("  `nextval(` int DEFAULT (`s2`.`sq`)", "s2"), None);
    }
}
