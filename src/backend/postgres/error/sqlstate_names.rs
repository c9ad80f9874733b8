//! The condition names of SQLSTATEs.

/// One line a SQLSTATE, with its condition name in upper case: PostgreSQL's documentation, appendix A,
/// to version 18.
const NAMES: &str = include_str!("sqlstate_names.txt");

/// Returns the condition name; `None` for a code that PostgreSQL does not define.
pub(crate) fn condition(sqlstate: &str) -> Option<&'static str> {
    NAMES.lines().find_map(|line| line.strip_prefix(sqlstate)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_well_formed() {
        let codes: Vec<&str> = NAMES.lines().map(|line| &line[..5]).collect();
        assert!(codes.is_sorted_by(|left, right| left < right));
        for line in NAMES.lines() {
            let (code, name) = line.split_once(' ').unwrap();
            assert_eq!(code.len(), 5, "{code}");
            let is_upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            assert!(name.bytes().all(is_upper), "{name}");
        }
    }

    #[test]
    fn conditions_are_found_by_code() {
        assert_eq!(condition("42P01"), Some("UNDEFINED_TABLE"));
        assert_eq!(condition("23514"), Some("CHECK_VIOLATION"));
        assert_eq!(condition("00000"), Some("SUCCESSFUL_COMPLETION"));
        assert_eq!(condition("XX002"), Some("INDEX_CORRUPTED"));
        assert_eq!(condition("RG001"), None);
        assert_eq!(condition(""), None);
    }
}
