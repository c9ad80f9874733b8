//! The text of arrays and records, read (`array_out`, `record_out`) and written (`array_in`,
//! `record_in`).
//!
//! All of it works on bytes: a database with SQL_ASCII may hold elements that are not UTF-8.

use std::borrow::Cow;
use std::fmt::Write;

use crate::value::{ArrayValue, Kind, Value};

/// The most dimensions an array of PostgreSQL has.
pub(crate) const MAX_RANK: usize = 6;

/// One dimension of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub(crate) length: i32,
    pub(crate) lower_bound: i32,
}

/// How many elements an array of these dimensions has; `None` when it can have no such dimensions.
pub(crate) fn element_count(dimensions: &[Dimension]) -> Option<usize> {
    if dimensions.is_empty() {
        return Some(0);
    }
    dimensions.iter().try_fold(1_usize, |count, dimension| {
        count.checked_mul(usize::try_from(dimension.length).ok()?)
    })
}

/// The value of an array: dimensions and lower bounds are left out where they say nothing.
pub(crate) fn array_value(elements: Vec<Value>, dimensions: &[Dimension]) -> Value {
    let lengths = dimensions.iter().map(|dimension| dimension.length);
    let lower_bounds = dimensions.iter().map(|dimension| dimension.lower_bound);
    Kind::ArrayValue(ArrayValue {
        elements,
        dimensions: if dimensions.len() > 1 { lengths.collect() } else { Vec::new() },
        lower_bounds: if lower_bounds.clone().all(|bound| bound == 1) {
            Vec::new()
        } else {
            lower_bounds.collect()
        },
    })
    .into()
}

/// Reads the text of an array. Each element is handed over unescaped, `None` for NULL.
pub(crate) fn parse_array(
    raw: &[u8],
    delimiter: u8,
    element: &mut dyn FnMut(Option<&[u8]>),
) -> Option<Vec<Dimension>> {
    let (bounds, body) = parse_bounds(raw)?;
    if body == b"{}" {
        return bounds.is_empty().then(Vec::new);
    }
    let mut parser =
        ArrayParser { rest: body, delimiter, element, lengths: Vec::new(), leaf_depth: None };
    parser.level(0)?;
    if !parser.rest.is_empty() {
        return None;
    }
    let lengths = parser.lengths;
    if bounds.is_empty() {
        return Some(
            lengths.into_iter().map(|length| Dimension { length, lower_bound: 1 }).collect(),
        );
    }
    let declared = bounds.iter().map(|dimension| dimension.length);
    lengths.into_iter().eq(declared).then_some(bounds)
}

/// `[2:4][1:2]=`, the prefix of an array whose dimensions do not all begin at 1.
fn parse_bounds(raw: &[u8]) -> Option<(Vec<Dimension>, &[u8])> {
    let mut bounds = Vec::new();
    let mut rest = raw;
    while let Some(inner) = rest.strip_prefix(b"[") {
        let end = inner.iter().position(|byte| *byte == b']')?;
        let (lower, upper) = std::str::from_utf8(&inner[..end]).ok()?.split_once(':')?;
        let (lower_bound, upper): (i32, i32) = (lower.parse().ok()?, upper.parse().ok()?);
        let length = i32::try_from(i64::from(upper) - i64::from(lower_bound) + 1).ok()?;
        bounds.push(Dimension { length, lower_bound });
        rest = &inner[end + 1..];
    }
    if bounds.is_empty() { Some((bounds, rest)) } else { Some((bounds, rest.strip_prefix(b"=")?)) }
}

struct ArrayParser<'a, 'f> {
    rest: &'a [u8],
    delimiter: u8,
    element: &'f mut dyn FnMut(Option<&[u8]>),
    /// The lengths found so far, outermost first.
    lengths: Vec<i32>,
    /// How deep the elements are; the same for all.
    leaf_depth: Option<usize>,
}

impl<'a> ArrayParser<'a, '_> {
    /// One pair of braces. Its depth is bounded, so the recursion is.
    fn level(&mut self, depth: usize) -> Option<()> {
        if depth >= MAX_RANK {
            return None;
        }
        if self.lengths.len() == depth {
            self.lengths.push(0);
        }
        self.rest = self.rest.strip_prefix(b"{")?;
        let mut count = 0_i32;
        loop {
            if self.rest.first() == Some(&b'{') {
                self.level(depth + 1)?;
            } else {
                if *self.leaf_depth.get_or_insert(depth) != depth {
                    return None;
                }
                self.leaf()?;
            }
            count = count.checked_add(1)?;
            let (next, rest) = self.rest.split_first()?;
            self.rest = rest;
            match *next {
                b'}' => break,
                next if next == self.delimiter => {}
                _ => return None,
            }
        }
        let length = self.lengths.get_mut(depth)?;
        if *length == 0 {
            *length = count;
        }
        (*length == count).then_some(())
    }

    fn leaf(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix(b"\"") {
            let (text, rest) = quoted(rest)?;
            (self.element)(Some(&text));
            self.rest = rest;
            return Some(());
        }
        let is_end = |byte: &u8| *byte == self.delimiter || matches!(byte, b'}' | b'{' | b'"');
        let end = self.rest.iter().position(is_end)?;
        let (text, rest): (&'a [u8], &'a [u8]) = self.rest.split_at(end);
        self.rest = rest;
        match text {
            b"" => return None,
            b"NULL" => (self.element)(None),
            text => (self.element)(Some(text)),
        }
        Some(())
    }
}

/// The text after an opening quote, unescaped, and what follows the closing one. A quote within is
/// escaped by a backslash in arrays, and doubled in records.
fn quoted(raw: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
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
            [b'"', b'"', tail @ ..] => {
                text.push(b'"');
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                text.push(*escaped);
                rest = tail;
            }
            [b'"', tail @ ..] => return Some((Cow::Owned(text), tail)),
            _ => return None,
        }
    }
}

/// Reads the text of a record. Each field is handed over unescaped, `None` for NULL.
///
/// `()` counts as one NULL field; a type without fields prints the same.
pub(crate) fn parse_record(raw: &[u8], field: &mut dyn FnMut(Option<&[u8]>)) -> Option<()> {
    let mut rest = raw.strip_prefix(b"(")?;
    loop {
        if let Some(after) = rest.strip_prefix(b"\"") {
            let (text, after) = quoted(after)?;
            field(Some(&text));
            rest = after;
        } else {
            let end = rest.iter().position(|byte| matches!(byte, b',' | b')' | b'"' | b'('))?;
            let (text, after) = rest.split_at(end);
            field((!text.is_empty()).then_some(text));
            rest = after;
        }
        let (next, after) = rest.split_first()?;
        rest = after;
        match next {
            b',' => {}
            b')' => return rest.is_empty().then_some(()),
            _ => return None,
        }
    }
}

/// Writes an array: its dimensions are correct for its elements, which `write` adds by their index.
///
/// # Errors
/// Those of `write`.
pub(crate) fn write_array<E>(
    dimensions: &[Dimension],
    delimiter: u8,
    out: &mut String,
    write: &mut dyn FnMut(usize, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        for &Dimension { length, lower_bound } in dimensions {
            let upper = i64::from(lower_bound) + i64::from(length) - 1;
            write!(out, "[{lower_bound}:{upper}]").expect("a String takes all text");
        }
        out.push('=');
    }
    if dimensions.is_empty() {
        out.push_str("{}");
        return Ok(());
    }
    let mut next = 0;
    write_level(dimensions, &mut next, out, &mut |index, first, out| {
        if !first {
            out.push(char::from(delimiter));
        }
        match index {
            Some(index) => write(index, out),
            None => Ok(()),
        }
    })
}

/// Called with the index of an element, or without one before an inner pair of braces.
type WriteItem<'a, E> = dyn FnMut(Option<usize>, bool, &mut String) -> Result<(), E> + 'a;

fn write_level<E>(
    dimensions: &[Dimension],
    next: &mut usize,
    out: &mut String,
    item: &mut WriteItem<'_, E>,
) -> Result<(), E> {
    let Some((dimension, inner)) = dimensions.split_first() else { return Ok(()) };
    out.push('{');
    for position in 0..dimension.length {
        if inner.is_empty() {
            item(Some(*next), position == 0, out)?;
            *next += 1;
        } else {
            item(None, position == 0, out)?;
            write_level(inner, next, out, item)?;
        }
    }
    out.push('}');
    Ok(())
}

/// Writes text as an element of an array or a field of a record. Quoted and escaped by backslash,
/// which both take.
pub(crate) fn write_quoted(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while let Some(special) = rest.find(['"', '\\']) {
        let (plain, tail) = rest.split_at(special);
        out.push_str(plain);
        out.push('\\');
        out.push_str(&tail[..1]);
        rest = &tail[1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    type Texts = Vec<Option<String>>;

    fn array(raw: &str, delimiter: u8) -> Option<(Vec<(i32, i32)>, Texts)> {
        let mut elements = Vec::new();
        let dimensions = parse_array(raw.as_bytes(), delimiter, &mut |element| {
            elements.push(element.map(|raw| String::from_utf8(raw.to_vec()).unwrap()));
        })?;
        Some((dimensions.iter().map(|d| (d.lower_bound, d.length)).collect(), elements))
    }

    fn record(raw: &str) -> Option<Texts> {
        let mut fields = Vec::new();
        parse_record(raw.as_bytes(), &mut |field| {
            fields.push(field.map(|raw| String::from_utf8(raw.to_vec()).unwrap()));
        })?;
        Some(fields)
    }

    fn texts(of: &[&str]) -> Texts {
        of.iter().map(|text| (*text != "-").then(|| (*text).to_owned())).collect()
    }

    #[test]
    fn arrays_are_read_as_the_database_prints_them() {
        type Case = (&'static str, &'static [(i32, i32)], &'static [&'static str]);
        let cases: &[Case] = &[
            ("{}", &[], &[]),
            ("{1,2,NULL}", &[(1, 3)], &["1", "2", "-"]),
            (r#"{"NULL","",null}"#, &[(1, 3)], &["NULL", "", "null"]),
            (r#"{"a\"b","c\\d","e,f","{}"}"#, &[(1, 4)], &["a\"b", "c\\d", "e,f", "{}"]),
            ("{{1,2},{3,4}}", &[(1, 2), (1, 2)], &["1", "2", "3", "4"]),
            ("[2:4]={1,2,3}", &[(2, 3)], &["1", "2", "3"]),
            ("[-1:0][5:5]={{a},{NULL}}", &[(-1, 2), (5, 1)], &["a", "-"]),
            ("{{{{{{1}}}}}}", &[(1, 1); 6], &["1"]),
        ];
        for (raw, dimensions, elements) in cases {
            assert_eq!(array(raw, b','), Some((dimensions.to_vec(), texts(elements))), "{raw}");
        }
        let boxes = texts(&["(1,1),(0,0)", "(3,3),(2,2)"]);
        assert_eq!(array("{(1,1),(0,0);(3,3),(2,2)}", b';'), Some((vec![(1, 2)], boxes)));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let cases = [
            "",
            "{",
            "}",
            "1,2",
            "{1,2",
            "{1,2}}",
            "{1}2",
            "{,}",
            "{1,}",
            "{{1},{2,3}}",
            "{{1},2}",
            "{1,{2}}",
            "{{}}",
            "{\"a}",
            "{\"a\\",
            "{\"a\"b}",
            "[1:2]={1}",
            "[1:2]{1,2}",
            "[1]={1}",
            "[a:b]={1}",
            "{{{{{{{1}}}}}}}",
            "[-2147483648:2147483647]={1}",
            "[1:0]={}",
        ];
        for raw in cases {
            assert_eq!(array(raw, b','), None, "{raw}");
        }
    }

    #[test]
    fn records_are_read_as_the_database_prints_them() {
        let cases: &[(&str, &[&str])] = &[
            ("()", &["-"]),
            ("(1,a)", &["1", "a"]),
            ("(,\"\",)", &["-", "", "-"]),
            (r#"("a ""b""","c\\d","e,f","(1,""x"")")"#, &["a \"b\"", "c\\d", "e,f", "(1,\"x\")"]),
        ];
        for (raw, fields) in cases {
            assert_eq!(record(raw), Some(texts(fields)), "{raw}");
        }
        for raw in ["", "(", ")", "1", "(1", "(1)2", "(\"a)", "(\"a\"b)", "(a\"b\")"] {
            assert_eq!(record(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_value_leaves_out_dimensions_that_say_nothing() {
        let of = |dimensions: &[(i32, i32)]| {
            let dimensions: Vec<Dimension> = dimensions
                .iter()
                .map(|&(lower_bound, length)| Dimension { length, lower_bound })
                .collect();
            match array_value(Vec::new(), &dimensions).kind {
                Some(Kind::ArrayValue(array)) => (array.dimensions, array.lower_bounds),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(&[]), (vec![], vec![]));
        assert_eq!(of(&[(1, 3)]), (vec![], vec![]));
        assert_eq!(of(&[(2, 3)]), (vec![], vec![2]));
        assert_eq!(of(&[(1, 3), (1, 2)]), (vec![3, 2], vec![]));
        assert_eq!(of(&[(1, 3), (0, 2)]), (vec![3, 2], vec![1, 0]));
    }

    fn written(elements: &Texts, dimensions: &[Dimension], delimiter: u8) -> String {
        let mut out = String::new();
        write_array::<Infallible>(dimensions, delimiter, &mut out, &mut |index, out| {
            match &elements[index] {
                None => out.push_str("NULL"),
                Some(text) => write_quoted(text, out),
            }
            Ok(())
        })
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn arrays_come_back_as_they_were_written(
            lengths in prop::collection::vec((1..4_i32, prop_oneof![Just(1), -5..5_i32]), 1..4),
            pool in prop::collection::vec(prop::option::of(".*"), 27),
            delimiter in prop_oneof![Just(b','), Just(b';'), Just(b':')],
        ) {
            let dimensions: Vec<Dimension> = lengths
                .iter()
                .map(|&(length, lower_bound)| Dimension { length, lower_bound })
                .collect();
            let count = element_count(&dimensions).unwrap();
            let elements: Texts = pool[..count].to_vec();
            let text = written(&elements, &dimensions, delimiter);
            let found = array(&text, delimiter).expect("it was written by the rules");
            let expected = dimensions.iter().map(|d| (d.lower_bound, d.length)).collect();
            prop_assert_eq!(found, (expected, elements));
        }

        #[test]
        fn records_come_back_as_they_were_written(
            fields in prop::collection::vec(prop::option::of(".*"), 1..5),
        ) {
            let mut text = String::from("(");
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                if let Some(field) = field {
                    write_quoted(field, &mut text);
                }
            }
            text.push(')');
            prop_assert_eq!(record(&text), Some(fields));
        }

        #[test]
        fn arbitrary_text_never_panics(raw in r#"[\[\]{}(),:;"\\=a1-]{0,40}"#, bytes: Vec<u8>) {
            for raw in [raw.as_bytes(), &bytes] {
                let _array = parse_array(raw, b',', &mut |_element| {});
                let _record = parse_record(raw, &mut |_field| {});
            }
        }
    }
}
