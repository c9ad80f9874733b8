"""Type objects and constructors of PEP 249, and the type codes in `Cursor.description`."""

from __future__ import annotations

import datetime
import time
from typing import Any

# The numbers of rowgate.v1.DataType.
BOOL, INT16, INT32, INT64, FLOAT32, FLOAT64, NUMERIC, TEXT, BYTES, UUID, JSON = range(1, 12)
DATE, TIME, TIMETZ, TIMESTAMP, TIMESTAMPTZ, INTERVAL, ENUM, ARRAY, RANGE, RECORD, OTHER = range(12, 23)

_OID_OF_OID = 26


class TypeCode(int):
    """The type of a column: PostgreSQL's OID of it, on other databases the negative number of its DataType.

    `data_type` is the DataType, and `name` the database's own name of the type.
    """

    data_type: int
    name: str

    @classmethod
    def of(cls, column: Any) -> TypeCode:
        code = cls(column.type_oid or -column.type)
        code.data_type = column.type
        code.name = column.type_name
        return code


class TypeObject:
    """One of PEP 249's type objects: equal to the type codes of its kind."""

    def __init__(self, name: str, *data_types: int) -> None:
        self._name = name
        self._data_types = frozenset(data_types)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TypeCode):
            return other.data_type in self._data_types
        return self is other

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return self._name


class _RowId(TypeObject):
    def __eq__(self, other: object) -> bool:
        return int(other) == _OID_OF_OID if isinstance(other, TypeCode) else self is other

    __hash__ = TypeObject.__hash__


STRING = TypeObject("STRING", TEXT, UUID, JSON, ENUM, RANGE, OTHER)
BINARY = TypeObject("BINARY", BYTES)
NUMBER = TypeObject("NUMBER", BOOL, INT16, INT32, INT64, FLOAT32, FLOAT64, NUMERIC)
DATETIME = TypeObject("DATETIME", DATE, TIME, TIMETZ, TIMESTAMP, TIMESTAMPTZ, INTERVAL)
ROWID = _RowId("ROWID")

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:
    """The local date of a time in seconds since the epoch."""
    return datetime.date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:
    """The local time of the day of a time in seconds since the epoch."""
    return datetime.time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """The local date and time of a time in seconds since the epoch."""
    return datetime.datetime(*time.localtime(ticks)[:6])
