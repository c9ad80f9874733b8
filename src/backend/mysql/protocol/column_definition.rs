//! The description of a column or a parameter, as a server sends it before rows.

use super::length_encoded::PacketReader;

// Types of columns (MySQL, "Column Type"): the bytes that stand for them.
pub(crate) const DECIMAL: u8 = 0;
pub(crate) const TINY: u8 = 1;
pub(crate) const SHORT: u8 = 2;
pub(crate) const LONG: u8 = 3;
pub(crate) const FLOAT: u8 = 4;
pub(crate) const DOUBLE: u8 = 5;
pub(crate) const NULL: u8 = 6;
pub(crate) const TIMESTAMP: u8 = 7;
pub(crate) const LONG_LONG: u8 = 8;
pub(crate) const INT24: u8 = 9;
pub(crate) const DATE: u8 = 10;
pub(crate) const TIME: u8 = 11;
pub(crate) const DATETIME: u8 = 12;
pub(crate) const YEAR: u8 = 13;
pub(crate) const NEW_DATE: u8 = 14;
pub(crate) const VARCHAR: u8 = 15;
pub(crate) const BIT: u8 = 16;
pub(crate) const TIMESTAMP2: u8 = 17;
pub(crate) const DATETIME2: u8 = 18;
pub(crate) const TIME2: u8 = 19;
pub(crate) const VECTOR: u8 = 242;
pub(crate) const JSON: u8 = 245;
pub(crate) const NEW_DECIMAL: u8 = 246;
pub(crate) const ENUM: u8 = 247;
pub(crate) const SET: u8 = 248;
pub(crate) const TINY_BLOB: u8 = 249;
pub(crate) const MEDIUM_BLOB: u8 = 250;
pub(crate) const LONG_BLOB: u8 = 251;
pub(crate) const BLOB: u8 = 252;
pub(crate) const VAR_STRING: u8 = 253;
pub(crate) const STRING: u8 = 254;
pub(crate) const GEOMETRY: u8 = 255;

// Flags of columns.
const NOT_NULL_FLAG: u16 = 1;
const UNSIGNED_FLAG: u16 = 1 << 5;
const ENUM_FLAG: u16 = 1 << 8;
const SET_FLAG: u16 = 1 << 11;

/// The character set of bytes, and of all that is not text.
const BINARY: u16 = 63;

/// MariaDB's own name for a type that travels as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExtendedType {
    /// The name of the type: `uuid`, `inet6`, `point`.
    Name(Box<str>),
    /// The format of text: `json`.
    Format(Box<str>),
}

/// The description of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnDefinition {
    pub(crate) schema: Box<str>,
    /// The alias of the table.
    pub(crate) table: Box<str>,
    pub(crate) org_table: Box<str>,
    /// The name in the result.
    pub(crate) name: Box<str>,
    pub(crate) org_name: Box<str>,
    pub(crate) charset: u16,
    /// The most characters or bytes that a value has in text.
    pub(crate) length: u32,
    pub(crate) column_type: u8,
    pub(crate) flags: u16,
    /// The digits behind the point; above 30 where they are not fixed.
    pub(crate) decimals: u8,
    pub(crate) extended: Option<ExtendedType>,
}

impl ColumnDefinition {
    /// Reads a packet, with MariaDB's EXTENDED_TYPE_INFO where it was negotiated; `None` for a malformed one.
    pub(crate) fn parse(packet: &[u8], with_extended: bool) -> Option<Self> {
        let mut reader = PacketReader::new(packet);
        let catalog = reader.string()?;
        if catalog != b"def" {
            return None;
        }
        let mut name = || reader.string().map(|name| String::from_utf8_lossy(name).into());
        let schema = name()?;
        let table = name()?;
        let org_table = name()?;
        let column = name()?;
        let org_name = name()?;
        let extended = if with_extended { extended_type(reader.string()?)? } else { None };
        let mut fixed = PacketReader::new(reader.string()?);
        Some(Self {
            schema,
            table,
            org_table,
            name: column,
            org_name,
            charset: fixed.u16()?,
            length: fixed.u32()?,
            column_type: fixed.u8()?,
            flags: fixed.u16()?,
            decimals: fixed.u8()?,
            extended,
        })
    }

    /// Tells whether the server says that no value is NULL.
    pub(crate) fn is_not_null(&self) -> bool {
        self.flags & NOT_NULL_FLAG != 0
    }

    pub(crate) fn is_unsigned(&self) -> bool {
        self.flags & UNSIGNED_FLAG != 0
    }

    pub(crate) fn is_enum(&self) -> bool {
        self.column_type == ENUM || (self.column_type == STRING && self.flags & ENUM_FLAG != 0)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.column_type == SET || (self.column_type == STRING && self.flags & SET_FLAG != 0)
    }

    /// Tells whether the values are JSON, of MySQL's type or of MariaDB's format.
    pub(crate) fn is_json(&self) -> bool {
        let is_format =
            |it: &ExtendedType| matches!(it, ExtendedType::Format(name) if &**name == "json");
        self.column_type == JSON || self.extended.as_ref().is_some_and(is_format)
    }

    /// Tells whether values of a type of strings are bytes.
    pub(crate) fn is_binary(&self) -> bool {
        self.charset == BINARY
    }
}

/// Reads the chunks of MariaDB's extended type information; the name goes before the format.
fn extended_type(chunks: &[u8]) -> Option<Option<ExtendedType>> {
    let mut reader = PacketReader::new(chunks);
    let mut extended = None;
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let text: Box<str> = String::from_utf8_lossy(reader.string()?).into();
        match kind {
            0 => extended = Some(ExtendedType::Name(text)),
            1 if extended.is_none() => extended = Some(ExtendedType::Format(text)),
            _ => {}
        }
    }
    Some(extended)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::mysql::protocol::length_encoded::write_string;

    fn packet(names: [&str; 5], extended: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(b"def", &mut out);
        for name in names {
            write_string(name.as_bytes(), &mut out);
        }
        if let Some(extended) = extended {
            write_string(extended, &mut out);
        }
        out.extend([12, 45, 0, 80, 0, 0, 0, VAR_STRING, 1, 8, 39, 0, 0]);
        out
    }

    #[test]
    fn all_parts_of_a_definition_are_read() {
        let names = ["d", "alias", "t", "shown", "c"];
        let definition = ColumnDefinition::parse(&packet(names, None), false).expect("well-formed");
        assert_eq!(
            definition,
            ColumnDefinition {
                schema: "d".into(),
                table: "alias".into(),
                org_table: "t".into(),
                name: "shown".into(),
                org_name: "c".into(),
                charset: 45,
                length: 80,
                column_type: VAR_STRING,
                flags: 0x0801,
                decimals: 39,
                extended: None,
            }
        );
        assert!(definition.is_not_null());
        assert!(!definition.is_binary() && !definition.is_set() && !definition.is_unsigned());
    }

    #[test]
    fn extended_types_are_read_where_they_were_negotiated() {
        let read = |extended: &[u8]| {
            let packet = packet(["", "", "", "c", ""], Some(extended));
            ColumnDefinition::parse(&packet, true).map(|definition| definition.extended)
        };
        let name = |name: &str| Some(Some(ExtendedType::Name(name.into())));
        assert_eq!(read(b""), Some(None));
        assert_eq!(read(b"\0\x04uuid"), name("uuid"));
        assert_eq!(read(b"\x01\x04json"), Some(Some(ExtendedType::Format("json".into()))));
        assert_eq!(read(b"\x01\x04json\0\x05inet6"), name("inet6"));
        assert_eq!(read(b"\x07\x01x\0\x05inet4\x01\x04json"), name("inet4"));
        assert_eq!(read(b"\0\x09uuid"), None);
        assert_eq!(read(b"\0"), None);
    }

    #[test]
    fn a_definition_that_is_cut_anywhere_is_refused() {
        let whole = packet(["d", "t", "t", "c", "c"], Some(b"\0\x04uuid"));
        assert!(ColumnDefinition::parse(&whole, true).is_some());
        for end in 0..whole.len() {
            assert_eq!(ColumnDefinition::parse(&whole[..end], true), None, "{end}");
        }
        assert_eq!(ColumnDefinition::parse(&packet(["", "", "", "", ""], None)[1..], false), None);
    }

    proptest! {
        #[test]
        fn any_packet_is_read_or_refused(
            packet in prop::collection::vec(any::<u8>(), 0..80),
            extended in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let _definition = ColumnDefinition::parse(&packet, true);
            let _types = extended_type(&extended);
        }
    }
}
