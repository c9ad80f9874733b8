//! Quoted elements of arrays and fields of records.

use std::borrow::Cow;

/// Reads the text after an opening quote; returns it unescaped, and the bytes behind the closing
/// quote. A quote inside is escaped by a backslash in arrays, and doubled in records.
pub(crate) fn parse_quoted(raw: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\');
    let plain = raw.iter().position(special)?;
    if raw[plain] == b'"' && raw.get(plain + 1) != Some(&b'"') {
        return Some((Cow::Borrowed(&raw[..plain]), &raw[plain + 1..]));
    }
    let mut text = Vec::with_capacity(raw.len().min(plain * 2 + 16));
    let mut rest = raw;
    loop {
        let plain = rest.iter().position(special)?;
        text.extend_from_slice(&rest[..plain]);
        match &rest[plain..] {
            [b'"', escaped @ b'"', tail @ ..] | [b'\\', escaped, tail @ ..] => {
                text.push(*escaped);
                rest = tail;
            }
            [b'"', tail @ ..] => return Some((Cow::Owned(text), tail)),
            _ => return None,
        }
    }
}

/// Writes text in quotes, escaped by backslashes, which arrays and records both accept.
pub(crate) fn write_quoted(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while let Some(special) = rest.find(['"', '\\']) {
        out.push_str(&rest[..special]);
        out.push('\\');
        out.push_str(&rest[special..=special]);
        rest = &rest[special + 1..];
    }
    out.push_str(rest);
    out.push('"');
}
