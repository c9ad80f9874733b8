//! The position of a syntax error, which servers tell by the text that follows it: `near 'form t' at line 2`.

/// The fewest bytes of a text that the server may have cut.
const CUT: usize = 80;

/// Returns the position of a syntax error in the caller's text, in characters from 1; `None` where the message does not
/// tell, or fits several places. The server saw `?` in place of each `$n`.
pub(super) fn position(message: &str, sql: &str) -> Option<u32> {
    let (before, line) = message.rsplit_once("' at line ")?;
    let (_, near) = before.split_once("near '")?;
    let line: usize = line.parse().ok()?;
    // MariaDB ends a text that it cut by dots.
    let cut = near.strip_suffix("...").filter(|near| near.len() >= CUT - "...".len());
    let is_cut = cut.is_some() || near.len() >= CUT;
    let near = cut.unwrap_or(near);
    let (start, end) = bounds(sql, line)?;
    let places = sql.get(start..end)?.char_indices().map(|(at, _)| start + at).chain([end]);
    let mut fitting = places.filter(|at| {
        sql.get(*at..)
            .and_then(|text| behind(text, near))
            .is_some_and(|rest| is_cut || is_end(rest))
    });
    let at = fitting.next()?;
    // At the end of the text any blank before it fits as well.
    if !near.is_empty() && fitting.next().is_some() {
        return None;
    }
    u32::try_from(sql.get(..at)?.chars().count() + 1).ok()
}

/// Returns the bounds of a line, from 1, without its end.
fn bounds(sql: &str, line: usize) -> Option<(usize, usize)> {
    let mut start = 0;
    for _ in 1..line {
        start += sql.get(start..)?.find('\n')? + 1;
    }
    let length = sql.get(start..)?.find('\n').unwrap_or(sql.len() - start);
    Some((start, start + length))
}

/// Returns the rest of the caller's text behind what the server quotes; `None` if it does not begin with that.
fn behind<'a>(text: &'a str, near: &str) -> Option<&'a str> {
    let mut rest = text;
    for c in near.chars() {
        rest = match rest.strip_prefix(c) {
            Some(behind) => behind,
            None if c == '?' => {
                let digits = rest.strip_prefix('$')?;
                let behind = digits.trim_start_matches(|c: char| c.is_ascii_digit());
                (behind.len() < digits.len()).then_some(behind)?
            }
            None => return None,
        };
    }
    Some(rest)
}

/// Tells whether nothing but the end of a statement is left.
fn is_end(rest: &str) -> bool {
    rest.trim_end().trim_end_matches(';').trim().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(near: &str, line: u32, sql: &str) -> Option<u32> {
        let text = "You have an error in your SQL syntax; check the manual that corresponds to your \
                    MariaDB server version for the right syntax to use";
        position(&format!("{text} near '{near}' at line {line}"), sql)
    }

    #[test]
    fn the_text_behind_the_error_tells_its_place() {
        assert_eq!(at("form t", 1, "select * form t"), Some(10));
        assert_eq!(at("form t", 1, "select * form t;  "), Some(10));
        assert_eq!(at("form t where a = ?", 1, "select $1 form t where a = $22"), Some(11));
        assert_eq!(at("form 'it's'", 2, "select 'ä',\n  1 form 'it's'"), Some(17));
        assert_eq!(at("", 1, "select * from"), Some(14));
        assert_eq!(at("", 2, "select *\nfrom"), Some(14));
        let long = "x".repeat(200);
        let sql = format!("select a b c {long}");
        assert_eq!(at(&format!("c {}", &long[..78]), 1, &sql), Some(12));
        assert_eq!(at(&format!("c {}...", &long[..75]), 1, &sql), Some(12));
    }

    #[test]
    fn a_text_that_is_not_there_or_twice_has_no_place() {
        assert_eq!(at("nope", 1, "select * form t"), None);
        assert_eq!(at("form t", 2, "select * form t"), None);
        assert_eq!(at("form t", 0, "select * frm t"), None);
        let twice = "x ".repeat(100);
        assert_eq!(at(&twice[..80], 1, &twice), None);
        assert_eq!(position("near 'a", "a"), None);
        assert_eq!(position("", ""), None);
    }

    proptest! {
        #[test]
        fn any_message_and_text_have_a_place_inside_or_none(
            near in "[a$? é1]{0,9}", line in 0..4_u32, sql in "[a$1? \né;]{0,20}",
        ) {
            if let Some(at) = at(&near, line, &sql) {
                prop_assert!(usize::try_from(at).is_ok_and(|at| at <= sql.chars().count() + 1));
            }
        }
    }
}
