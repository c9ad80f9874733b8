"""Reads an Arrow IPC stream with pyarrow and compares it with what the statement of arrow.sql selects."""

import datetime
import decimal
import sys

import pyarrow

UTC = datetime.timezone.utc
TYPES = {
    "bool": pyarrow.bool_(), "i2": pyarrow.int16(), "i4": pyarrow.int32(), "i8": pyarrow.int64(),
    "f4": pyarrow.float32(), "f8": pyarrow.float64(), "decimal": pyarrow.decimal128(12, 2),
    "text": pyarrow.string(), "bytes": pyarrow.binary(), "date": pyarrow.date32(), "time": pyarrow.time64("us"),
    "stamp": pyarrow.timestamp("us"), "instant": pyarrow.timestamp("us", "UTC"), "json": pyarrow.string(),
    "list": pyarrow.list_(pyarrow.int32()), "nothing": pyarrow.int32(), "n": pyarrow.int32(),
}
ROW = {
    "bool": True, "i2": 1, "i4": 2, "i8": 9007199254740993, "f4": 0.5, "f8": 1e300,
    "decimal": decimal.Decimal("-1234.50"), "text": "naïve", "bytes": b"\x00\xff",
    "date": datetime.date(2026, 1, 31), "time": datetime.time(23, 59, 59, 999999),
    "stamp": datetime.datetime(1969, 12, 31, 23, 59, 59, 999999),
    "instant": datetime.datetime(2026, 1, 31, 10, 0, 0, 500000, UTC), "json": '{"a": [1]}', "list": [1, None, 3],
    "nothing": None,
}

with pyarrow.ipc.open_stream(sys.argv[1]) as reader:
    table = reader.read_all()
table.validate(full=True)
found = {field.name: field.type for field in table.schema}
assert found == TYPES, found
assert table["n"].to_pylist() == list(range(1, 20001))
for name, value in ROW.items():
    for at in (0, 19999):
        assert table[name][at].as_py() == value, (name, at, table[name][at])
print(f"pyarrow {pyarrow.__version__}: {table.num_rows} rows in {table['n'].num_chunks} batches")
