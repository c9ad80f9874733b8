"""Rows as Arrow tables: from the server's own Arrow stream, or built from rows that are here already. Needs pyarrow."""

import io
import json
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Dict, List, Sequence

from .._errors import NotSupportedError
from .._reasons import NotInArrow
from .._values._decode import Column, DataType
from .._values._encode import encode


def pyarrow() -> Any:
    """The module pyarrow."""
    try:
        import pyarrow as module
    except ImportError:
        raise NotSupportedError(
            "pyarrow is not installed", hint="pip install 'rowgate[arrow]', or 'rowgate[pandas]'"
        ) from None
    return module


def read_stream(parts: Sequence[bytes]) -> Any:
    """The table of a whole Arrow IPC stream."""
    with pyarrow().ipc.open_stream(io.BytesIO(b"".join(parts))) as reader:
        return reader.read_all()


def to_pandas(table: Any, options: Dict[str, Any], columns: Sequence[Column]) -> Any:
    """The data frame of a table: decimals are Decimals, and integers with NULLs keep their digits, as pandas' nullable integers."""
    try:
        import pandas
    except ImportError:
        raise NotSupportedError("pandas is not installed", hint="pip install 'rowgate[pandas]'") from None
    exact = _exact_series(pandas, table, columns) if not _OWN_TYPES & options.keys() else {}
    frame = table.to_pandas(**options)
    for at, series in exact.items():
        frame.isetitem(at, series)
    return frame


# Options with which the caller chooses the types.
_OWN_TYPES = frozenset(("types_mapper", "integer_object_nulls", "categories", "strings_to_categorical"))


def _exact_series(pandas: Any, table: Any, columns: Sequence[Column]) -> Dict[int, Any]:
    """The columns that pandas would change: by their positions, as two may have one name."""
    arrow = pyarrow()
    nullable = {arrow.int16(): pandas.Int16Dtype(), arrow.int32(): pandas.Int32Dtype(), arrow.int64(): pandas.Int64Dtype()}
    found: Dict[int, Any] = {}
    for at, values in enumerate(table.columns):
        if values.type in nullable and values.null_count:
            found[at] = values.to_pandas(types_mapper=nullable.get)
        elif at < len(columns) and columns[at].type is DataType.NUMERIC and values.type == arrow.string():
            found[at] = pandas.Series([_decimal(text) for text in values.to_pylist()], dtype=object)
    return found


def _decimal(text: Any) -> Any:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:  # SQLite's columns of numbers may hold any text
        return text


def table(columns: Sequence[Column], rows: List[Any], messages: Any = None) -> Any:
    """The table of decoded rows, with the types of the server's Arrow streams. Intervals are the database's texts where the
    `messages` of the rows are still there."""
    arrow = pyarrow()
    arrays = []
    for at, column in enumerate(columns):
        if column.type is DataType.INTERVAL and messages is not None:
            texts = [row.values[at].text_value if row.values[at].HasField("text_value") else None for row in messages]
            arrays.append(arrow.array(texts, arrow.string()))
        else:
            arrays.append(_array(arrow, column, [tuple.__getitem__(row, at) for row in rows]))
    fields = [arrow.field(column.name, array.type) for column, array in zip(columns, arrays)]
    return arrow.Table.from_arrays(arrays, schema=arrow.schema(fields))


def _array(arrow: Any, column: Column, values: List[Any]) -> Any:
    kind = _arrow_type(arrow, column.type)
    if column.type is DataType.ARRAY:
        inner = _arrow_type(arrow, column.element_type)
        if inner is None:
            inner, values = arrow.string(), [value and [_text(element) for element in value] for value in values]
        kind = arrow.list_(inner)
    if kind is None:
        return arrow.array([_text(value) for value in values], arrow.string())
    try:
        return arrow.array(values, kind)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError) as error:
        raise NotInArrow(
            f"the column {column.name!r} has a value that Arrow's {kind} cannot hold: {error}",
            hint="Cast the column to text.",
        ) from None


def _arrow_type(arrow: Any, kind: DataType) -> Any:
    """The type of the column in Arrow; None for text."""
    return {
        DataType.BOOL: arrow.bool_(),
        DataType.INT16: arrow.int16(),
        DataType.INT32: arrow.int32(),
        DataType.INT64: arrow.int64(),
        DataType.FLOAT32: arrow.float32(),
        DataType.FLOAT64: arrow.float64(),
        DataType.BYTES: arrow.binary(),
        DataType.DATE: arrow.date32(),
        DataType.TIME: arrow.time64("us"),
        DataType.TIMESTAMP: arrow.timestamp("us"),
        DataType.TIMESTAMPTZ: arrow.timestamp("us", "UTC"),
    }.get(kind)


def _text(value: Any) -> Any:
    """The database's text of a value, as far as Python kept it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, dict, list, tuple)):
        return json.dumps(value, default=str)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    sent = encode(value)
    return sent.text_value if sent.WhichOneof("kind") == "text_value" else str(value)
