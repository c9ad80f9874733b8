//! Streams that the library has written, in pieces, cut, changed, and over the limits.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, i256};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::{ArrowInput, InputPart};
use crate::error::{ErrorKind, Result};
use crate::value::proto::ArrayValue;
use crate::value::{Kind, Row, Value};

const MAX_SIZE: usize = 1 << 20;

fn batch(arrays: Vec<ArrayRef>) -> RecordBatch {
    let named = arrays.into_iter().enumerate().map(|(at, array)| (format!("c{at}"), array, true));
    RecordBatch::try_from_iter_with_nullable(named).expect("they are of one length")
}

fn stream_with(options: IpcWriteOptions, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let schema = batches[0].schema();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    stream_with(IpcWriteOptions::default(), batches).expect("it can be written")
}

/// Reads a stream in pieces of this size; returns the names of its columns and its rows.
fn read(bytes: &[u8], piece: usize, max_size: usize) -> Result<(Vec<String>, Vec<Row>)> {
    let mut input = ArrowInput::new(max_size);
    let (mut names, mut rows) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        input.feed(piece.to_vec());
        while let Some(part) = input.next()? {
            match part {
                InputPart::Columns(columns) => names = columns,
                InputPart::Rows(more) => rows.extend(more),
            }
        }
    }
    input.finish().map(|()| (names, rows))
}

fn refused(bytes: &[u8]) -> (ErrorKind, String) {
    let error = read(bytes, 100, MAX_SIZE).expect_err("it is refused");
    (error.kind(), error.message().to_owned())
}

/// One column of each type, of a value and NULL.
fn all_types() -> RecordBatch {
    let nested = Some(vec![Some(1), None]);
    let dictionary: DictionaryArray<Int8Type> = [Some("word"), None].into_iter().collect();
    batch(vec![
        Arc::new(NullArray::new(2)),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(Int8Array::from(vec![Some(-8), None])),
        Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
        Arc::new(Float32Array::from(vec![Some(0.1), None])),
        Arc::new(Float64Array::from(vec![Some(-1e300), None])),
        Arc::new(StringArray::from(vec![Some("text"), None])),
        Arc::new(LargeStringArray::from(vec![Some("text"), None])),
        Arc::new(StringViewArray::from(vec![Some("a view of more than twelve bytes"), None])),
        Arc::new(BinaryArray::from(vec![Some(b"\xff\0".as_slice()), None])),
        Arc::new(BinaryViewArray::from(vec![Some(b"\xff".as_slice()), None])),
        Arc::new(
            Decimal128Array::from(vec![Some(-5), None])
                .with_precision_and_scale(38, 2)
                .expect("38 is the most"),
        ),
        Arc::new(
            Decimal256Array::from(vec![Some(i256::from_i128(12_345)), None])
                .with_precision_and_scale(76, 3)
                .expect("76 is the most"),
        ),
        Arc::new(Date32Array::from(vec![Some(-1), None])),
        Arc::new(Date64Array::from(vec![Some(86_400_000), None])),
        Arc::new(Time32MillisecondArray::from(vec![Some(1_500), None])),
        Arc::new(Time64NanosecondArray::from(vec![Some(1), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])),
        Arc::new(TimestampSecondArray::from(vec![Some(-1), None]).with_timezone("Asia/Tokyo")),
        Arc::new(
            TimestampSecondArray::from(vec![Some(253_402_300_800), None]).with_timezone("UTC"),
        ),
        Arc::new(DurationSecondArray::from(vec![Some(-93_600), None])),
        Arc::new(IntervalYearMonthArray::from(vec![Some(14), None])),
        Arc::new(IntervalDayTimeArray::from(vec![Some(IntervalDayTime::new(2, 500)), None])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(1, -2, 3_000)),
            None,
        ])),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([nested.clone(), None])),
        Arc::new(LargeListArray::from_iter_primitive::<Int32Type, _, _>([nested.clone(), None])),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>([nested, None], 2)),
        Arc::new(dictionary),
    ])
}

fn expected_of_all_types() -> Vec<Value> {
    let elements = vec![Value::int64(1), Value::null()];
    let list: Value = Kind::ArrayValue(ArrayValue { elements, ..ArrayValue::default() }).into();
    vec![
        Value::null(),
        Value::bool(true),
        Value::int64(-8),
        Value::int64(u32::MAX.into()),
        Value::text("18446744073709551615"),
        Value::float64(0.1_f32.into()),
        Value::float64(-1e300),
        Value::text("text"),
        Value::text("text"),
        Value::text("a view of more than twelve bytes"),
        Value::bytes([255, 0]),
        Value::bytes([255]),
        Value::text("-0.05"),
        Value::text("12.345"),
        Value::text("1969-12-31"),
        Value::text("1970-01-02"),
        Value::text("00:00:01.500"),
        Value::text("00:00:00.000000001"),
        Value::text("1969-12-31 23:59:59.999999"),
        Value::timestamp(-1, 0),
        Value::text("10000-01-01 00:00:00+00"),
        Value::text("-26:00:00"),
        Value::text("14 mons"),
        Value::text("2 days 00:00:00.500"),
        Value::text("1 mons -2 days 00:00:00.000003"),
        list.clone(),
        list.clone(),
        list,
        Value::text("word"),
    ]
}

#[test]
fn every_type_has_its_value_however_the_stream_is_cut() {
    let bytes = stream(&[all_types(), all_types().slice(0, 0), all_types()]);
    let row = Row { values: expected_of_all_types() };
    let nulls = Row { values: vec![Value::null(); row.values.len()] };
    for piece in [1, 2, 7, 1_000, bytes.len()] {
        let (names, rows) = read(&bytes, piece, MAX_SIZE).expect("it is well-formed");
        assert_eq!((names.len(), names[1].as_str()), (row.values.len(), "c1"));
        assert_eq!(rows, [row.clone(), nulls.clone(), row.clone(), nulls.clone()], "{piece}");
    }
    let empty = stream(&[all_types().slice(0, 0)]);
    assert_eq!(read(&empty, 3, MAX_SIZE).expect("it is well-formed").1, []);
}

#[test]
fn a_stream_that_was_changed_anywhere_is_an_error_or_other_rows() {
    let bytes = stream(&[all_types()]);
    let (mut errors, mut random) = (0, fastrand::Rng::with_seed(16));
    for at in 0..bytes.len() {
        for byte in [0xff, random.u8(..)] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            errors += usize::from(read(&changed, 512, MAX_SIZE).is_err());
        }
    }
    assert!(errors > bytes.len() / 4, "{errors} of {}", bytes.len());
    // Several at once reach what the first one would hide.
    for _ in 0..4_000 {
        let mut changed = bytes.clone();
        for _ in 0..random.usize(2..6) {
            let at = random.usize(..changed.len());
            changed[at] = random.u8(..);
        }
        drop(read(&changed, 4_096, MAX_SIZE));
    }
}

#[test]
fn a_stream_that_was_cut_off_is_not_taken_for_whole() {
    let bytes = stream(&[all_types()]);
    for length in 0..bytes.len() {
        let error = read(&bytes[..length], 64, MAX_SIZE).expect_err("some of it is missing");
        assert_eq!(error.reason(), "BAD_COPY_FILE_FORMAT", "{length}");
        assert!(error.message().contains("it has no end"), "{length}: {error:?}");
    }
    let mut more = bytes;
    more.push(0);
    assert!(refused(&more).1.contains("data behind its end"));
    let file = refused(b"ARROW1\0\0");
    assert!(file.1.contains("an Arrow file, not a stream"), "{file:?}");
}

#[test]
fn what_is_not_supported_is_named() {
    let fields = vec![(
        Arc::new(Field::new("x", DataType::Int32, true)),
        Arc::new(Int32Array::from(vec![1])) as ArrayRef,
    )];
    let (kind, message) = refused(&stream(&[batch(vec![Arc::new(StructArray::from(fields))])]));
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.starts_with("column \"c0\" is of Arrow's type Struct("), "{message}");

    // No codec is linked: an empty batch has nothing to compress.
    let empty = batch(vec![Arc::new(Int32Array::from(Vec::<i32>::new()))]);
    for (codec, name) in
        [(CompressionType::ZSTD, "ZSTD"), (CompressionType::LZ4_FRAME, "LZ4_FRAME")]
    {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec));
        let bytes = stream_with(options.expect("it is known"), std::slice::from_ref(&empty));
        let (kind, message) = refused(&bytes.expect("there is nothing to compress"));
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(message.ends_with(&format!("are compressed with {name}")), "{message}");
    }

    let words = |words: &[&str]| {
        let dictionary: DictionaryArray<Int8Type> = words.iter().copied().collect();
        batch(vec![Arc::new(dictionary)])
    };
    let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let grown = stream_with(options, &[words(&["a"]), words(&["a", "b"])]).expect("it is written");
    let (kind, message) = refused(&grown);
    assert!(kind == ErrorKind::Unsupported && message.contains("(a delta)"), "{message}");

    let none = StreamWriter::try_new(Vec::new(), &Schema::empty()).and_then(|it| it.into_inner());
    assert_eq!(refused(&none.expect("it is written")).1, "the Arrow stream has no columns");
}

#[test]
fn a_value_that_cannot_be_sent_is_named_by_its_row_and_column() {
    let dates = Date64Array::from(vec![0, 86_400_000, 1]);
    let (kind, message) = refused(&stream(&[batch(vec![Arc::new(dates)])]));
    assert_eq!(kind, ErrorKind::InvalidStatement);
    assert_eq!(message, "line 3, column \"c0\": a date that is not a whole day");
    let times = Time64MicrosecondArray::from(vec![86_400_000_000, -1]);
    let first = batch(vec![Arc::new(times.slice(0, 1))]);
    let second = batch(vec![Arc::new(times.slice(1, 1))]);
    let (_, message) = refused(&stream(&[first, second]));
    assert_eq!(message, "line 2, column \"c0\": a time that is not one of a day");
}

#[test]
fn uuids_are_text() {
    let array = FixedSizeBinaryArray::try_from_iter([[0xabu8; 16]].iter()).expect("of one size");
    let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
    let field = Field::new("u", DataType::FixedSizeBinary(16), true).with_metadata(metadata);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(array)]).expect("it fits");
    let (_, rows) = read(&stream(&[batch]), 100, MAX_SIZE).expect("it is well-formed");
    assert_eq!(rows[0].values, [Value::text("abababab-abab-abab-abab-abababababab")]);
}

#[test]
fn messages_rows_and_dictionaries_are_bounded() {
    let text = "x".repeat(5_000);
    let large = stream(&[batch(vec![Arc::new(StringArray::from(vec![text.as_str(); 3]))])]);
    let error = read(&large, 1_000, 10_000).expect_err("it is too large");
    assert_eq!((error.kind(), error.reason()), (ErrorKind::RowTooLarge, "ROW_TOO_LARGE"));
    assert!(error.message().contains("a record batch"), "{error:?}");

    // The text is in the stream once, and three times in the row.
    let dictionary: DictionaryArray<Int8Type> = [text.as_str()].into_iter().collect();
    let column: ArrayRef = Arc::new(dictionary);
    let wide = stream(&[batch(vec![Arc::clone(&column)])]);
    assert_eq!(read(&wide, 1_000, 10_000).expect("it fits").1.len(), 1);
    let keys = Int8Array::from(vec![0, 0, 0]);
    let values = DictionaryArray::new(keys, column.as_any_dictionary().values().clone());
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let list = FixedSizeListArray::new(field, 3, Arc::new(values), None);
    let error = read(&stream(&[batch(vec![Arc::new(list)])]), 1_000, 10_000).expect_err("large");
    assert_eq!((error.kind(), error.report().map(|it| it.line)), (ErrorKind::RowTooLarge, Some(1)));

    // Two dictionaries, each of which fits.
    let second: DictionaryArray<Int8Type> = [text.as_str()].into_iter().collect();
    let two = stream(&[batch(vec![column, Arc::new(second)])]);
    let error = read(&two, 1_000, 8_000).expect_err("together they are too large");
    assert!(error.message().starts_with("the dictionaries of the Arrow stream"), "{error:?}");
    assert_eq!(read(&two, 1_000, 20_000).expect("they fit").1.len(), 1);
}

#[test]
fn rows_are_handed_out_in_small_parts() {
    let numbers = Int32Array::from_iter_values(0..100_000);
    let mut input = ArrowInput::new(MAX_SIZE);
    input.feed(stream(&[batch(vec![Arc::new(numbers)])]));
    let (mut parts, mut rows) = (0, 0);
    while let Some(part) = input.next().expect("it is well-formed") {
        if let InputPart::Rows(some) = part {
            assert!(some.len() <= 10_000, "{}", some.len());
            parts += 1;
            rows += some.len();
        }
    }
    assert!(parts >= 10 && rows == 100_000, "{rows} rows in {parts} parts");
}
