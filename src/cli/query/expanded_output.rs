//! Rows with one value a line.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The border between a name and its value.
const BORDER: &str = " │ ";

/// The least room for values for which they are wrapped.
const LEAST_ROOM: usize = 16;

/// The length of the line above a row where there is no terminal to fill.
const LINE: usize = 40;

/// Writes rows, the first of which has the number; values are wrapped to the width.
pub(crate) fn write_expanded(
    names: &[String],
    rows: &[Vec<String>],
    (first, width): (u64, Option<u16>),
    out: &mut dyn Write,
) -> io::Result<()> {
    let label = names.iter().map(|name| name.width()).max().unwrap_or_default();
    let width = width.map(usize::from);
    let room = width.and_then(|width| width.checked_sub(label + BORDER.width()));
    let room = room.filter(|room| *room >= LEAST_ROOM);
    for (number, row) in (first..).zip(rows) {
        let head = format!("─[ {number} ]");
        let rest = width.unwrap_or(LINE).saturating_sub(head.width());
        writeln!(out, "{head}{}", "─".repeat(rest))?;
        for (name, value) in names.iter().zip(row) {
            let mut name = name.as_str();
            for line in value.split('\n') {
                for part in wrapped(line, room) {
                    let blanks = " ".repeat(label - name.width());
                    writeln!(out, "{}", format!("{name}{blanks}{BORDER}{part}").trim_end())?;
                    name = "";
                }
            }
        }
    }
    Ok(())
}

/// The parts of a line that each fit into the room.
fn wrapped(line: &str, room: Option<usize>) -> Vec<&str> {
    let Some(room) = room else { return vec![line] };
    let mut parts = Vec::new();
    let mut start = 0;
    let mut used = 0;
    for (at, c) in line.char_indices() {
        let width = c.width().unwrap_or_default();
        if used + width > room {
            parts.push(&line[start..at]);
            start = at;
            used = 0;
        }
        used += width;
    }
    parts.push(&line[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(names: &[&str], row: &[&str], width: Option<u16>) -> String {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mut out = Vec::new();
        let names: Vec<String> = texts(names);
        write_expanded(&names, &[texts(row)], (7, width), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_value_has_its_line() {
        let expected = "\
─[ 7 ]──────────────────────────────────
id   │ 1
漢字 │ one
     │ two
a    │
";
        assert_eq!(written(&["id", "漢字", "a"], &["1", "one\ntwo", ""], None), expected);
    }

    #[test]
    fn long_values_are_wrapped_by_their_width() {
        let text = written(&["id"], &["漢".repeat(20).as_str()], Some(30));
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
        assert_eq!(text.matches('漢').count(), 20);
        // A terminal without room wraps by itself.
        assert_eq!(written(&["id"], &["x".repeat(50).as_str()], Some(10)).lines().count(), 2);
    }
}
