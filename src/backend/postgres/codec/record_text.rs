//! The text of records, as `record_out` prints it.

use super::quoted_text::parse_quoted;

/// Reads the text of a record; calls `field` with each field unescaped, `None` for NULL.
///
/// The text is bytes, as a database with SQL_ASCII may hold text that is not UTF-8. `()` is read as
/// one NULL field; a type without fields prints the same.
pub(crate) fn parse_record(raw: &[u8], field: &mut dyn FnMut(Option<&[u8]>)) -> Option<()> {
    let mut rest = raw.strip_prefix(b"(")?;
    loop {
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let (text, after) = parse_quoted(quoted)?;
            field(Some(&text));
            rest = after;
        } else {
            let end = rest.iter().position(|byte| matches!(byte, b',' | b')' | b'"' | b'('))?;
            let (text, after) = rest.split_at(end);
            field((!text.is_empty()).then_some(text));
            rest = after;
        }
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b')', after) => return after.is_empty().then_some(()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::quoted_text::write_quoted;
    use super::*;

    type Texts = Vec<Option<String>>;

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

    proptest! {
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
                let _record = parse_record(raw, &mut |_field| {});
            }
        }
    }
}
