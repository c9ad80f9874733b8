//! The sequences that a definition of MariaDB names: the server names their database, also its own.

/// The functions that ask a sequence.
const FUNCTIONS: [&str; 3] = ["nextval(`", "lastval(`", "setval(`"];

/// Removes a database from the names of sequences in a line of a definition: they are found in the one that the table is in.
pub(crate) fn without_database(line: &str, database: &str) -> Option<String> {
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
pub(crate) fn places(line: &str) -> Vec<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_removed_from_sequences_alone() {
        let line = "  `id` int NOT NULL DEFAULT nextval(`s2`.`sq`) COMMENT 'nextval(`s2`.`sq`)',";
        let cut = "  `id` int NOT NULL DEFAULT nextval(`sq`) COMMENT 'nextval(`s2`.`sq`)',";
        assert_eq!(without_database(line, "s2").as_deref(), Some(cut));
        assert_eq!(without_database(line, "s"), None);
        assert_eq!(without_database("  `nextval(` int DEFAULT (`s2`.`sq`)", "s2"), None);
    }
}
