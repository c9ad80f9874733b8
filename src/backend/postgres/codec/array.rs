//! Arrays: their dimensions, and their text as `array_out` prints it and `array_in` reads it.

use std::fmt::Write;

use super::quoted_text::parse_quoted;
use crate::error::Result;
use crate::value::{ArrayValue, Kind, Value};

/// The most dimensions that an array of PostgreSQL has.
pub(crate) const MAX_RANK: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub(crate) length: i32,
    pub(crate) lower_bound: i32,
}

/// Returns the number of elements of an array; `None` for dimensions that no array can have.
pub(crate) fn element_count(dimensions: &[Dimension]) -> Option<usize> {
    if dimensions.is_empty() {
        return Some(0);
    }
    dimensions.iter().try_fold(1_usize, |count, dimension| {
        count.checked_mul(usize::try_from(dimension.length).ok()?)
    })
}

/// Returns the value of an array, without the lengths of a single dimension and without lower bounds
/// that are all 1.
pub(crate) fn array_value(elements: Vec<Value>, dimensions: &[Dimension]) -> Value {
    let mut array = ArrayValue { elements, ..ArrayValue::default() };
    if dimensions.len() > 1 {
        array.dimensions = dimensions.iter().map(|dimension| dimension.length).collect();
    }
    if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        array.lower_bounds = dimensions.iter().map(|dimension| dimension.lower_bound).collect();
    }
    Kind::ArrayValue(array).into()
}

/// Reads the text of an array and returns its dimensions; calls `element` with each element unescaped,
/// `None` for NULL.
///
/// The text is bytes, as a database with SQL_ASCII may hold text that is not UTF-8.
pub(crate) fn parse_array(
    raw: &[u8],
    delimiter: u8,
    element: &mut dyn FnMut(Option<&[u8]>),
) -> Option<Vec<Dimension>> {
    let (bounds, body) = parse_bounds(raw)?;
    if body == b"{}" {
        return bounds.is_empty().then_some(bounds);
    }
    let mut parser =
        ArrayParser { rest: body, delimiter, element, lengths: Vec::new(), leaf_depth: None };
    parser.level(0)?;
    if !parser.rest.is_empty() {
        return None;
    }
    let lengths = parser.lengths.into_iter();
    if bounds.is_empty() {
        return Some(lengths.map(|length| Dimension { length, lower_bound: 1 }).collect());
    }
    lengths.eq(bounds.iter().map(|dimension| dimension.length)).then_some(bounds)
}

/// Reads `[2:4][1:2]=`, the prefix of an array whose dimensions do not all begin at 1.
fn parse_bounds(raw: &[u8]) -> Option<(Vec<Dimension>, &[u8])> {
    let mut bounds = Vec::new();
    let mut rest = raw;
    while let Some(inner) = rest.strip_prefix(b"[") {
        let end = inner.iter().position(|byte| *byte == b']')?;
        let (lower, upper) = std::str::from_utf8(&inner[..end]).ok()?.split_once(':')?;
        let lower_bound: i32 = lower.parse().ok()?;
        let upper: i32 = upper.parse().ok()?;
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
    /// The lengths read so far, outermost first.
    lengths: Vec<i32>,
    /// The depth of the elements, which is the same for all.
    leaf_depth: Option<usize>,
}

impl ArrayParser<'_, '_> {
    /// Reads one pair of braces. The depth is bounded, and with it the recursion.
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
            if *next == b'}' {
                break;
            }
            if *next != self.delimiter {
                return None;
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
            let (text, rest) = parse_quoted(rest)?;
            (self.element)(Some(&text));
            self.rest = rest;
            return Some(());
        }
        let is_end = |byte: &u8| *byte == self.delimiter || matches!(byte, b'}' | b'{' | b'"');
        let end = self.rest.iter().position(is_end)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        if text.is_empty() {
            return None;
        }
        (self.element)((text != b"NULL").then_some(text));
        Some(())
    }
}

/// Writes an array, whose dimensions are correct for its elements; `write` writes one by its index.
pub(crate) fn write_array(
    dimensions: &[Dimension],
    delimiter: u8,
    out: &mut String,
    write: &mut dyn FnMut(usize, &mut String) -> Result<()>,
) -> Result<()> {
    if dimensions.is_empty() {
        out.push_str("{}");
        return Ok(());
    }
    if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        for &Dimension { length, lower_bound } in dimensions {
            let upper = i64::from(lower_bound) + i64::from(length) - 1;
            write!(out, "[{lower_bound}:{upper}]").expect("a String accepts all text");
        }
        out.push('=');
    }
    write_level(dimensions, char::from(delimiter), &mut 0, out, write)
}

fn write_level(
    dimensions: &[Dimension],
    delimiter: char,
    next: &mut usize,
    out: &mut String,
    write: &mut dyn FnMut(usize, &mut String) -> Result<()>,
) -> Result<()> {
    let Some((dimension, inner)) = dimensions.split_first() else {
        write(*next, out)?;
        *next += 1;
        return Ok(());
    };
    out.push('{');
    for position in 0..dimension.length {
        if position > 0 {
            out.push(delimiter);
        }
        write_level(inner, delimiter, next, out, write)?;
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::quoted_text::write_quoted;
    use super::*;

    type Texts = Vec<Option<String>>;

    fn array(raw: &str, delimiter: u8) -> Option<(Vec<(i32, i32)>, Texts)> {
        let mut elements = Vec::new();
        let dimensions = parse_array(raw.as_bytes(), delimiter, &mut |element| {
            elements.push(element.map(|raw| String::from_utf8(raw.to_vec()).unwrap()));
        })?;
        Some((dimensions.iter().map(|d| (d.lower_bound, d.length)).collect(), elements))
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
    fn malformed_arrays_are_rejected() {
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

    fn written(elements: &Texts, dimensions: &[Dimension], delimiter: u8) -> String {
        let mut out = String::new();
        write_array(dimensions, delimiter, &mut out, &mut |index, out| {
            match &elements[index] {
                None => out.push_str("NULL"),
                Some(text) => write_quoted(text, out),
            }
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn a_value_leaves_out_default_dimensions() {
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
        fn arbitrary_text_never_panics(raw in r#"[\[\]{}(),:;"\\=a1-]{0,40}"#, bytes: Vec<u8>) {
            for raw in [raw.as_bytes(), &bytes] {
                let _array = parse_array(raw, b',', &mut |_element| {});
            }
        }
    }
}
