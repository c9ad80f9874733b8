//! Command tags.

use crate::backend::Completion;
use crate::value::Column;

/// The result of a statement beside its command tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    /// Rows, if only none of them: it has columns, or rows without any.
    Rows,
    Nothing,
}

impl Returned {
    /// Returns what a statement returned, by its columns and the number of its rows.
    pub(crate) fn of(columns: Option<&[Column]>, rows: usize) -> Self {
        if columns.is_some() || rows > 0 { Self::Rows } else { Self::Nothing }
    }
}

/// Reads a command tag: the command, for some an OID, and the count of rows (protocol 3.0,
/// CommandComplete).
///
/// Rows that are returned and were only read count as none: those of a SELECT and of a FETCH. CREATE TABLE AS and SELECT INTO
/// have the tag of a SELECT, and return nothing. The count of a MOVE is all that it returns; a COPY has one tag for both of its
/// ways.
pub(crate) fn completion(tag: &str, returned: Returned) -> Completion {
    let (command, count) = match tag.rsplit_once(' ') {
        Some((head, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => {
            (head.strip_suffix(" 0").unwrap_or(head), last.parse().unwrap_or_default())
        }
        _ => (tag, 0),
    };
    let is_read = matches!(command, "SELECT" | "FETCH") && returned == Returned::Rows;
    let rows_affected = if is_read { 0 } else { count };
    Completion { rows_affected, command: command.to_owned() }
}

/// Returns true if a command tag shows that a statement's text controlled its transaction after all.
pub(crate) fn controls_transaction(tag: &str) -> bool {
    matches!(
        tag,
        "COMMIT"
            | "ROLLBACK"
            | "BEGIN"
            | "START TRANSACTION"
            | "PREPARE TRANSACTION"
            | "SAVEPOINT"
            | "RELEASE"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tag_tells_the_command_and_how_many_rows_it_changed() {
        use Returned::{Nothing, Rows};
        let cases = [
            ("INSERT 0 5", Rows, "INSERT", 5),
            ("INSERT 0 0", Nothing, "INSERT", 0),
            ("SELECT 3", Rows, "SELECT", 0),
            ("SELECT 3", Nothing, "SELECT", 3),
            ("UPDATE 10", Nothing, "UPDATE", 10),
            ("COPY 4", Nothing, "COPY", 4),
            ("MOVE 2", Nothing, "MOVE", 2),
            ("FETCH 2", Rows, "FETCH", 0),
            ("CREATE TABLE", Nothing, "CREATE TABLE", 0),
            ("", Nothing, "", 0),
        ];
        for (tag, returned, command, rows_affected) in cases {
            let expected = Completion { rows_affected, command: command.to_owned() };
            assert_eq!(completion(tag, returned), expected, "{tag}");
        }
    }
}
