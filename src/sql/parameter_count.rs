//! The number of parameters that a text has.

use super::scanner::{Dialect, Scanner, TokenKind};

impl Dialect {
    /// The most parameters that one statement can have.
    pub(crate) fn max_parameters(self) -> usize {
        match self {
            // Its protocol counts them in 16 bits.
            Self::Postgres | Self::Mysql => 65_535,
            // SQLITE_MAX_VARIABLE_NUMBER.
            Self::Sqlite => 32_766,
        }
    }
}

/// The highest number of a parameter in the text, as far as it is over what one statement can have.
pub(crate) fn excess_parameter(sql: &str, dialect: Dialect) -> Option<usize> {
    let max = dialect.max_parameters();
    // Nearly no text has so long a number behind a dollar.
    let has_long_number = sql
        .split('$')
        .skip(1)
        .any(|after| after.len() >= 5 && after.bytes().take(5).all(|byte| byte.is_ascii_digit()));
    if !has_long_number {
        return None;
    }
    let parameters = Scanner::new(sql, dialect).filter(|token| token.kind == TokenKind::Parameter);
    let digits = parameters.filter_map(|token| token.text.strip_prefix('$'));
    let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    // A number of more digits than a usize has is over every limit.
    let numbers = digits.map(|digits| digits.parse().unwrap_or(usize::MAX));
    numbers.max().filter(|highest| *highest > max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_over_the_limit_is_found_where_it_is_a_parameter() {
        for (sql, expected) in [
            ("select $1, $65535", None),
            ("select $65536", Some(65_536)),
            ("select $000065536, $2", Some(65_536)),
            ("select $99999999999999999999999", Some(usize::MAX)),
            ("select '$70000', \"$70000\", $$70000$70000$$ -- $70000", None),
            ("select a$70000", None),
        ] {
            assert_eq!(excess_parameter(sql, Dialect::Postgres), expected, "{sql}");
        }
        assert_eq!(excess_parameter("select $32766", Dialect::Sqlite), None);
        assert_eq!(excess_parameter("select $32767", Dialect::Sqlite), Some(32_767));
    }
}
