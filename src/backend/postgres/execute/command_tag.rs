//! Command tags.

use crate::backend::Completion;

/// Reads a command tag: the command, for some an OID, and the count of rows (protocol 3.0,
/// CommandComplete).
pub(crate) fn completion(tag: &str) -> Completion {
    let (command, count) = match tag.rsplit_once(' ') {
        Some((head, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => {
            (head.strip_suffix(" 0").unwrap_or(head), last.parse().unwrap_or_default())
        }
        _ => (tag, 0),
    };
    let changes = matches!(command, "INSERT" | "UPDATE" | "DELETE" | "MERGE");
    let rows_affected = if changes { count } else { 0 };
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
        let cases = [
            ("INSERT 0 5", "INSERT", 5),
            ("INSERT 0 0", "INSERT", 0),
            ("SELECT 3", "SELECT", 0),
            ("UPDATE 10", "UPDATE", 10),
            ("CREATE TABLE", "CREATE TABLE", 0),
            ("", "", 0),
        ];
        for (tag, command, rows_affected) in cases {
            let expected = Completion { rows_affected, command: command.to_owned() };
            assert_eq!(completion(tag), expected, "{tag}");
        }
    }
}
