"""Results: what the values of a column become in Python.

The column's type decides once, when a result begins. A value of another kind than the type promises (SQLite types values, not
columns) is decoded by its kind, and a text that the type cannot hold stays text: decoding never fails in the middle of a
result, and never returns another value than the database has.
"""

import json
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple
from uuid import UUID

from ._interval import parse_interval
from ._ranges import parse_multirange, parse_range
from ._temporal import datetime_of, parse_date, parse_datetime, parse_time, parse_timetz
from ._types import Array, DatabaseText

Loads = Callable[[str], Any]


class DataType(IntEnum):
    """The type of a column, as the contract's `DataType`."""

    UNSPECIFIED = 0
    BOOL = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    FLOAT32 = 5
    FLOAT64 = 6
    NUMERIC = 7
    TEXT = 8
    BYTES = 9
    UUID = 10
    JSON = 11
    DATE = 12
    TIME = 13
    TIMETZ = 14
    TIMESTAMP = 15
    TIMESTAMPTZ = 16
    INTERVAL = 17
    ENUM = 18
    ARRAY = 19
    RANGE = 20
    RECORD = 21
    OTHER = 22

    @classmethod
    def _missing_(cls, value: object) -> "DataType":
        return cls.OTHER


class Nullability(IntEnum):
    """The nullability of a column; known only where it was asked for."""

    UNSPECIFIED = 0
    NOT_NULL = 1
    NULLABLE = 2

    @classmethod
    def _missing_(cls, value: object) -> "Nullability":
        return cls.UNSPECIFIED


class ColumnOrigin(NamedTuple):
    """The column of a table that a column of a result is taken from."""

    schema: str
    table: str
    column: str
    table_oid: int


class Column(NamedTuple):
    """A column of a result."""

    name: str
    type: DataType
    element_type: DataType = DataType.UNSPECIFIED
    type_name: str = ""
    type_oid: int = 0
    nullability: Nullability = Nullability.UNSPECIFIED
    origin: Optional[ColumnOrigin] = None

    @classmethod
    def of(cls, message: Any) -> "Column":
        """The column that a message describes."""
        origin = None
        if message.HasField("origin"):
            found = message.origin
            origin = ColumnOrigin(found.schema, found.table, found.column, found.table_oid)
        return cls(
            message.name,
            DataType(message.type),
            DataType(message.element_type),
            message.type_name,
            message.type_oid,
            Nullability(message.nullability),
            origin,
        )


class Plan(NamedTuple):
    """A way to decode the values of a column.

    Where the value's `field` is set and not its default (0, the empty text), it is the value, or `convert` makes the value of
    it. `general` decodes every value; without a field it is the only way.
    """

    field: Optional[str]
    convert: Optional[Callable[[Any], Any]]
    general: Callable[[Any], Any]


def decoder(column: Any, json_loads: Loads = json.loads) -> Callable[[Any], Any]:
    """The decoder of a column's values: of a `Column`, or of anything with its type, element_type and type_name."""
    return plan(column, json_loads).general


def planner(json_loads: Loads) -> Callable[[Any], Plan]:
    """The function `plan` with another reader of JSON."""
    return lambda column: plan(column, json_loads)


def plan(column: Any, json_loads: Loads = json.loads, float32: Optional[Callable[[float], float]] = None) -> Plan:
    """The plan for a column. `float32` makes floats of those with 32 bits, which come as the same number with 64."""
    kind = DataType(column.type)
    text: Optional[Callable[[str], Any]] = None
    elements: Optional[Callable[[Any], Any]] = None
    if kind is DataType.ARRAY:
        name = column.type_name
        inner = Column("", DataType(column.element_type), type_name=name[:-2] if name.endswith("[]") else name)
        elements = plan(inner, json_loads, float32).general
    else:
        text = _text_converter(kind, column.type_name, json_loads)
    general = _general(text, elements)
    if kind is DataType.FLOAT32 and float32 is not None:
        return Plan("float64_value", float32, _converted(general, float32))
    field = _FIELDS.get(kind)
    if field is None:
        return Plan(None, None, general)
    convert = {"timestamp_value": datetime_of, "text_value": text}.get(field)
    return Plan(field, convert, general)


_FIELDS: Dict[DataType, str] = {
    DataType.BOOL: "bool_value",
    DataType.INT16: "int64_value",
    DataType.INT32: "int64_value",
    DataType.INT64: "int64_value",
    DataType.FLOAT32: "float64_value",
    DataType.FLOAT64: "float64_value",
    DataType.NUMERIC: "text_value",
    DataType.TEXT: "text_value",
    DataType.BYTES: "bytes_value",
    DataType.UUID: "text_value",
    DataType.JSON: "text_value",
    DataType.DATE: "text_value",
    DataType.TIME: "text_value",
    DataType.TIMETZ: "text_value",
    DataType.TIMESTAMP: "text_value",
    DataType.TIMESTAMPTZ: "timestamp_value",
    DataType.INTERVAL: "text_value",
    DataType.ENUM: "text_value",
    DataType.RANGE: "text_value",
    DataType.OTHER: "text_value",
}


def _general(
    text: Optional[Callable[[str], Any]] = None, elements: Optional[Callable[[Any], Any]] = None
) -> Callable[[Any], Any]:
    """A decoder by kind, with what the column knows of its texts and elements."""

    def decode(value: Any) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "null_value" or kind is None:
            return None
        if kind == "text_value":
            return value.text_value if text is None else text(value.text_value)
        if kind == "timestamp_value":
            return datetime_of(value.timestamp_value)
        if kind == "array_value":
            return _array(value.array_value, elements or _BY_KIND)
        if kind == "record_value":
            return tuple([_BY_KIND(field) for field in value.record_value.fields])
        return getattr(value, kind)

    return decode


def _converted(decode: Callable[[Any], Any], convert: Callable[[float], float]) -> Callable[[Any], Any]:
    def decode_and_convert(value: Any) -> Any:
        found = decode(value)
        return convert(found) if isinstance(found, float) else found

    return decode_and_convert


_BY_KIND = _general()


def _array(array: Any, element: Callable[[Any], Any]) -> Any:
    values = [element(value) for value in array.elements]
    for length in reversed(array.dimensions[1:]):
        values = [values[at : at + length] for at in range(0, len(values), length)]
    bounds: Tuple[int, ...] = tuple(array.lower_bounds)
    if bounds and any(bound != 1 for bound in bounds):
        return Array(values, bounds)
    return values


def _text_converter(kind: DataType, type_name: str, json_loads: Loads) -> Optional[Callable[[str], Any]]:
    """The converter of a column's texts; None where they stay texts."""
    if kind is DataType.JSON:
        return _json_converter(json_loads)
    if kind is DataType.RANGE:
        return _range_converter(type_name)
    if kind is DataType.OTHER:
        return _NETWORK.get(type_name.lower())
    return _TEXTS.get(kind)


def _or_text(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        parsed = parse(text)
        return DatabaseText(text) if parsed is None else parsed

    return convert


def _numeric(text: str) -> Any:
    # SQLite may hold any text in a column of numbers, and Python reads more as a number than a database does.
    try:
        return DatabaseText(text) if "_" in text or " " in text else Decimal(text)
    except InvalidOperation:
        return DatabaseText(text)


def _integer(text: str) -> Any:
    try:
        number = int(text)
    except ValueError:
        return DatabaseText(text)
    return number if str(number) == text else DatabaseText(text)


def _uuid(text: str) -> Any:
    if len(text) != 36 or text != text.lower():
        return DatabaseText(text)
    try:
        return UUID(int=int(text.replace("-", ""), 16))
    except ValueError:
        return DatabaseText(text)


def _json_converter(loads: Loads) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return loads(text)
        except (ValueError, RecursionError):
            return DatabaseText(text)

    return convert


def _network(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            return DatabaseText(text)

    return convert


def _inet(text: str) -> Any:
    return ip_interface(text) if "/" in text else ip_address(text)


_NETWORK = {"inet": _network(_inet), "cidr": _network(ip_network)}
_TEXTS: Dict[DataType, Callable[[str], Any]] = {
    DataType.INT16: _integer,
    DataType.INT32: _integer,
    DataType.INT64: _integer,
    DataType.NUMERIC: _numeric,
    DataType.UUID: _uuid,
    DataType.DATE: _or_text(parse_date),
    DataType.TIME: _or_text(parse_time),
    DataType.TIMETZ: _or_text(parse_timetz),
    DataType.TIMESTAMP: _or_text(parse_datetime),
    DataType.TIMESTAMPTZ: _or_text(parse_datetime),
    DataType.INTERVAL: _or_text(parse_interval),
}
_BOUNDS: Dict[str, Callable[[str], Any]] = {
    "int4": int,
    "int8": int,
    "num": _numeric,
    "date": _TEXTS[DataType.DATE],
    "ts": _TEXTS[DataType.TIMESTAMP],
    "tstz": _TEXTS[DataType.TIMESTAMPTZ],
}


def _range_converter(type_name: str) -> Callable[[str], Any]:
    """The converter of a range or multirange; the bounds of types of the user's own are text."""
    name = type_name.rpartition(".")[2].replace("multirange", "").replace("range", "")
    bound = _BOUNDS.get(name, str)

    def convert(text: str) -> Any:
        try:
            return parse_multirange(text, bound) if text.startswith("{") else parse_range(text, bound)
        except (ValueError, IndexError):
            return DatabaseText(text)

    return convert
