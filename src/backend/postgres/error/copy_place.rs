//! The place of a failure in the data of a COPY: PostgreSQL tells it in the context of its error, and nowhere else.

/// A place in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyPlace {
    /// From 1.
    pub(crate) line: u64,
    pub(crate) column: Option<String>,
}

/// Finds the place in a context of several lines, as in `COPY orders, line 3, column price: "x"`. Its words may be
/// translated, and what follows the column is data.
pub(crate) fn copy_place(context: &str, table: &str) -> Option<CopyPlace> {
    let start = format!("COPY {table}, ");
    let place = context.lines().find_map(|line| line.strip_prefix(&start))?;
    let digits = place.find(|c: char| c.is_ascii_digit())?;
    let rest = &place[digits..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let line = rest[..end].parse().ok()?;
    let column = rest[end..].strip_prefix(", column ").and_then(|rest| rest.split_once(": "));
    Some(CopyPlace { line, column: column.map(|(name, _data)| name.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_from_the_context_whatever_its_language() {
        let cases = [
            ("COPY t, line 3, column b: \"x, line 7\"", Some((3, Some("b")))),
            ("COPY t, line 3, column b: null input", Some((3, Some("b")))),
            ("COPY t, line 12: \"1,2\"", Some((12, None))),
            ("COPY t, line 12", Some((12, None))),
            ("COPY t, Zeile 3, Spalte b: \u{bb}x\u{ab}", Some((3, None))),
            ("PL/pgSQL function f() line 4 at RAISE\nCOPY t, line 9: \"1\"", Some((9, None))),
            ("COPY other, line 9", None),
            ("SQL statement \"x\"", None),
            ("COPY t, ", None),
        ];
        for (context, expected) in cases {
            let place = copy_place(context, "t");
            let place = place.as_ref().map(|place| (place.line, place.column.as_deref()));
            assert_eq!(place, expected, "{context}");
        }
    }
}
