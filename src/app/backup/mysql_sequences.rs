//! The sequences of other databases from which the defaults of a database of MariaDB take their numbers.

use crate::backend::AdminConnection;
use crate::error::Result;
use crate::schema_dump::places;

/// The defaults that may ask a sequence, and the database that they are in. MySQL has no sequences.
const DEFAULTS: &str = "SELECT table_name, column_name, column_default, DATABASE() FROM information_schema.columns \
    WHERE table_schema = DATABASE() AND column_default LIKE '%val(`%' ORDER BY table_name, ordinal_position";

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
        let table = fields.next().unwrap_or_default();
        let column = fields.next().unwrap_or_default();
        let default = fields.next().unwrap_or_default();
        let database = fields.next().unwrap_or_default();
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
}
