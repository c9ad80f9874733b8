"""Rows as Arrow tables: from the server's own Arrow stream, or built from rows that are here already. Needs pyarrow."""

import io
import json
from datetime import date, datetime, time
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


def to_pandas(table: Any, options: Dict[str, Any]) -> Any:
    """The data frame of a table."""
    try:
        import pandas  # noqa: F401 - pyarrow needs it
    except ImportError:
        raise NotSupportedError("pandas is not installed", hint="pip install 'rowgate[pandas]'") from None
    return table.to_pandas(**options)


def table(columns: Sequence[Column], rows: List[Any]) -> Any:
    """The table of decoded rows, with the types of the server's Arrow streams."""
    arrow = pyarrow()
    arrays = [_array(arrow, column, [tuple.__getitem__(row, at) for row in rows]) for at, column in enumerate(columns)]
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
