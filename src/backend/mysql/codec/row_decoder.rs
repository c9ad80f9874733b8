//! Decoders of whole rows, compiled once per result.

use super::wire_types::{WireType, WireValue};
use crate::backend::mysql::protocol::column_definition::ColumnDefinition;
use crate::backend::mysql::protocol::length_encoded::PacketReader;
use crate::error::{Error, ErrorKind, Result};
use crate::value::RowEncoder;
use crate::value::cell::Cell;

/// The bits of a row's null bitmap that stand before its first column.
const BITMAP_OFFSET: usize = 2;

/// A decoder of the rows of one result: those of the binary protocol, and those in text of statements that cannot be
/// prepared.
#[derive(Debug, Clone)]
pub(crate) struct RowDecoder {
    columns: Box<[WireType]>,
}

impl RowDecoder {
    /// Makes the decoder of a result's rows, in a session whose time zone is UTC.
    ///
    /// # Errors
    /// A column of a type that is not known: its values cannot be told from those behind it.
    pub(crate) fn new(columns: &[ColumnDefinition]) -> Result<Self> {
        let of = |(index, column): (usize, &ColumnDefinition)| {
            WireType::of(column).ok_or_else(|| {
                let number = index + 1;
                let code = column.column_type;
                Error::new(
                    ErrorKind::Unsupported,
                    format!("column {number} of the result has the unknown type {code}"),
                )
                .with_hint("Cast it to char or to binary.")
            })
        };
        Ok(Self { columns: columns.iter().enumerate().map(of).collect::<Result<_>>()? })
    }

    /// Reads TIMESTAMP columns in a session whose time zone is this many seconds ahead of UTC.
    pub(crate) fn in_zone(mut self, seconds: i32) -> Self {
        for column in &mut self.columns {
            if let WireType::Timestamp { ahead, .. } = column {
                *ahead = seconds;
            }
        }
        self
    }

    /// Returns the number of columns.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Encodes a row of the binary protocol. Only a defect of the connection can make it fail, never the data.
    pub(crate) fn encode_binary_row(&self, packet: &[u8], row: &mut RowEncoder) -> Result<()> {
        row.begin_row();
        for value in self.binary_values(packet) {
            value?.encode(row);
        }
        Ok(())
    }

    /// Encodes a row in text, as [`RowDecoder::encode_binary_row`].
    pub(crate) fn encode_text_row(&self, packet: &[u8], row: &mut RowEncoder) -> Result<()> {
        row.begin_row();
        for value in self.text_values(packet) {
            value?.encode(row);
        }
        Ok(())
    }

    /// As [`RowDecoder::encode_binary_row`], with values on their way into Arrow's arrays.
    pub(crate) fn binary_cells<'a>(
        &'a self,
        packet: &'a [u8],
    ) -> impl Iterator<Item = Result<Cell<'a>>> {
        self.binary_values(packet).map(|value| value.map(WireValue::cell))
    }

    /// As [`RowDecoder::binary_cells`], of a row in text.
    pub(crate) fn text_cells<'a>(
        &'a self,
        packet: &'a [u8],
    ) -> impl Iterator<Item = Result<Cell<'a>>> {
        self.text_values(packet).map(|value| value.map(WireValue::cell))
    }

    /// The values of a row of the binary protocol: a zero, the bits of the columns that are NULL, and all other values.
    fn binary_values<'a>(
        &'a self,
        packet: &'a [u8],
    ) -> impl Iterator<Item = Result<WireValue<'a>>> {
        let mut reader = PacketReader::new(packet);
        let head = reader.u8().filter(|mark| *mark == 0);
        let bitmap_length = (self.width() + BITMAP_OFFSET).div_ceil(8);
        let nulls = head.and_then(|_| reader.bytes(bitmap_length));
        self.values(reader, move |wire_type, reader, index| {
            let bit = index + BITMAP_OFFSET;
            let is_null = nulls?.get(bit / 8)? & (1 << (bit % 8)) != 0;
            if is_null { Some(WireValue::Null) } else { wire_type.read(reader) }
        })
    }

    /// The values of a row in text.
    fn text_values<'a>(&'a self, packet: &'a [u8]) -> impl Iterator<Item = Result<WireValue<'a>>> {
        self.values(PacketReader::new(packet), |wire_type, reader, _| {
            match reader.nullable_string()? {
                None => Some(WireValue::Null),
                Some(raw) => wire_type.parse(raw),
            }
        })
    }

    /// Reads each value, and checks that nothing is left behind the last.
    fn values<'a>(
        &'a self,
        mut reader: PacketReader<'a>,
        read: impl Fn(WireType, &mut PacketReader<'a>, usize) -> Option<WireValue<'a>>,
    ) -> impl Iterator<Item = Result<WireValue<'a>>> {
        let width = self.width();
        self.columns.iter().enumerate().map(move |(index, wire_type)| {
            let value = read(*wire_type, &mut reader, index);
            let value = value.ok_or_else(|| malformed(format!("in column {}", index + 1)))?;
            if index + 1 == width && !reader.is_empty() {
                return Err(malformed(format!("behind its {width} columns")));
            }
            Ok(value)
        })
    }
}

fn malformed(place: String) -> Error {
    let message = format!("the database sent a row with malformed bytes {place}");
    Error::new(ErrorKind::Internal, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::backend::mysql::codec::column_types::{decimal, describe_column};
    use crate::value::{Row, RowsField};

    /// Rows of one column as MariaDB 10.11 sent them, one a line: the declared type and the literal, then in
    /// hexadecimal the definition with EXTENDED_TYPE_INFO, the row of the binary protocol and the row in text; then
    /// what becomes of them: the described type and the value.
    const CAPTURED: &str = include_str!("captured_rows.txt");

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.map(|pair| byte(pair).expect("hexadecimal")).collect()
    }

    fn row(encode: impl FnOnce(&mut RowEncoder) -> Result<()>) -> Result<Row> {
        let mut encoder = RowEncoder::new(RowsField::OfResult);
        encode(&mut encoder)?;
        Ok(Row::decode(encoder.row()).expect("a row"))
    }

    fn definition(column_type: u8) -> ColumnDefinition {
        ColumnDefinition {
            schema: "".into(),
            table: "".into(),
            org_table: "".into(),
            name: "c".into(),
            org_name: "".into(),
            charset: 45,
            length: 20,
            column_type,
            flags: 0,
            decimals: 0,
            extended: None,
        }
    }

    /// Decodes one of the captured lines, and writes it with what becomes of it.
    fn decoded(line: &str) -> String {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [declared, literal, packet, binary, text, ..] = parts[..] else { panic!("{line}") };
        let column = ColumnDefinition::parse(&bytes(packet), true).expect(line);
        let decoder = RowDecoder::new(std::slice::from_ref(&column)).expect(line);
        let of_binary = row(|row| decoder.encode_binary_row(&bytes(binary), row)).expect(line);
        let of_text = row(|row| decoder.encode_text_row(&bytes(text), row)).expect(line);
        assert_eq!(of_text, of_binary, "{declared} {literal}");
        let described = describe_column(&column);
        let digits = decimal(&column).map(|it| format!("({},{})", it.precision, it.scale));
        let is = [&described.type_name[..], &digits.unwrap_or_default()].concat();
        let data_type = described.r#type();
        let kind = of_binary.values[0].kind.as_ref().expect("a kind");
        format!(
            "{declared} | {literal} | {packet} | {binary} | {text} | {data_type:?} {is} | {kind:?}\n"
        )
    }

    #[test]
    fn rows_of_every_type_are_described_and_decoded_in_both_protocols() {
        let decoded: String = CAPTURED.lines().map(decoded).collect();
        assert!(decoded == CAPTURED, "it should be:\n{decoded}");
    }

    #[test]
    fn cells_of_dates_are_counted_unless_no_calendar_has_them() {
        let types = [10, 11, 12, 7, 10, 11, 12, 7, 8];
        let columns: Vec<_> = types.map(definition).into();
        let decoder = RowDecoder::new(&columns).expect("known types");
        let zeros = [0; 3];
        let set = [
            &[0, 0, 0][..],
            &[4, 0xB2, 7, 1, 2],
            &[8, 0, 0, 0, 0, 0, 0, 0, 1],
            &[7, 0xB2, 7, 1, 1, 0, 0, 2],
            &[7, 0xB2, 7, 1, 1, 0, 0, 3],
            &[0],
            &[8, 1, 0, 0, 0, 0, 0, 0, 1],
            &zeros[..2],
            &[5, 0, 0, 0, 0, 0, 0, 0],
        ];
        let packet = set.concat();
        let cells: Result<Vec<_>> = decoder.binary_cells(&packet).collect();
        let cells: Vec<_> =
            cells.expect("well-formed").iter().map(|it| format!("{it:?}")).collect();
        let text = |text: &str| format!("Value(Value {{ kind: Some(TextValue({text:?})) }})");
        let expected = [
            "Date(1)".to_owned(),
            "Time(1000000)".to_owned(),
            "Timestamp(2000000)".to_owned(),
            "Timestamptz(3000000)".to_owned(),
            text("0000-00-00"),
            text("-00:00:01"),
            text("0000-00-00 00:00:00"),
            text("0000-00-00 00:00:00"),
            "Integer(5)".to_owned(),
        ];
        assert_eq!(cells, expected);
        let local = RowDecoder::new(&columns[3..4]).expect("a known type").in_zone(-7200);
        let packet = [&[0, 0][..], set[4]].concat();
        let cells: Vec<_> = local.binary_cells(&packet).collect();
        assert_eq!(format!("{cells:?}"), "[Ok(Timestamptz(7203000000))]");
        let value = row(|row| local.encode_binary_row(&packet, row)).expect("a row").values;
        assert_eq!(value, [crate::value::Value::timestamp(7_203, 0)]);
        let cells: Vec<_> = decoder.text_cells(b"\x0a1970-01-02\xfb").take(2).collect();
        assert_eq!(format!("{cells:?}"), "[Ok(Text(\"1970-01-02\")), Ok(Null)]");
    }

    #[test]
    fn a_row_that_does_not_fit_is_an_internal_error() {
        let columns = [definition(3), definition(253)];
        let decoder = RowDecoder::new(&columns).expect("known types");
        let whole = b"\0\0\x01\0\0\0\x01a";
        let values = [crate::value::Value::int64(1), crate::value::Value::text("a")];
        assert_eq!(row(|row| decoder.encode_binary_row(whole, row)).expect("whole").values, values);
        for end in 0..whole.len() {
            let error = row(|row| decoder.encode_binary_row(&whole[..end], row));
            assert_eq!(error.expect_err("cut").kind(), ErrorKind::Internal);
        }
        for packet in
            [&b"\0\0\x01\0\0\0\x01ab"[..], b"\x01\0\x01\0\0\0\x01a", b"\0\0\x01\0\0\0\xffa"]
        {
            let error = row(|row| decoder.encode_binary_row(packet, row)).expect_err("malformed");
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        for packet in
            [&b"\x011"[..], b"\x011\x01ab", b"\x01x\x01a", b"\x0b99999999999\x01a\xfb", b""]
        {
            let error = row(|row| decoder.encode_text_row(packet, row)).expect_err("malformed");
            assert_eq!(error.kind(), ErrorKind::Internal, "{packet:?}");
        }
        assert_eq!(
            row(|row| decoder.encode_text_row(b"\x011\x01a", row)).expect("whole").values,
            values
        );
    }

    #[test]
    fn a_column_of_an_unknown_type_is_refused_by_name() {
        let error = RowDecoder::new(&[definition(3), definition(20)]).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.message(), "column 2 of the result has the unknown type 20");
    }

    #[test]
    fn types_that_mariadb_does_not_have_are_those_of_mysql() {
        let decode = |column_type, charset| {
            let column = ColumnDefinition { charset, ..definition(column_type) };
            let decoder = RowDecoder::new(std::slice::from_ref(&column)).expect("known");
            let row = row(|row| decoder.encode_binary_row(b"\0\0\x02{}", row)).expect("a row");
            let kind = row.values[0].kind.clone().expect("a kind");
            let column = describe_column(&column);
            format!("{:?} {} {}", column.r#type(), column.type_name, kind.name())
        };
        assert_eq!(decode(245, 63), "Json json text_value");
        assert_eq!(decode(242, 63), "Bytes vector bytes_value");
        assert_eq!(decode(15, 45), "Text varchar text_value");
        assert_eq!(decode(247, 45), "Enum enum text_value");
        assert_eq!(decode(248, 45), "Other set text_value");
        assert_eq!(decode(254, 63), "Bytes binary bytes_value");
    }

    fn any_column() -> impl Strategy<Value = ColumnDefinition> {
        (any::<u8>(), any::<[u16; 2]>(), 0..70_u32, any::<u8>()).prop_map(
            |(column_type, [charset, flags], length, decimals)| ColumnDefinition {
                charset: if charset % 2 == 0 { 63 } else { charset },
                flags,
                length,
                decimals,
                ..definition(column_type)
            },
        )
    }

    proptest! {
        #[test]
        fn any_packet_is_decoded_or_refused(
            columns in prop::collection::vec(any_column(), 1..9),
            mut packet in prop::collection::vec(any::<u8>(), 0..80),
            is_marked in any::<bool>(),
        ) {
            if is_marked && let Some(first) = packet.first_mut() {
                *first = 0;
            }
            for column in &columns {
                let _described = (describe_column(column), decimal(column));
            }
            if let Ok(decoder) = RowDecoder::new(&columns) {
                let mut encoder = RowEncoder::new(RowsField::OfBatch);
                for result in [
                    decoder.encode_binary_row(&packet, &mut encoder),
                    decoder.encode_text_row(&packet, &mut encoder),
                ] {
                    prop_assert!(result.is_ok_and(|()| true) || encoder.take().is_empty());
                }
                prop_assert_eq!(decoder.binary_cells(&packet).count(), columns.len());
                prop_assert_eq!(decoder.text_cells(&packet).count(), columns.len());
            }
        }
    }
}
