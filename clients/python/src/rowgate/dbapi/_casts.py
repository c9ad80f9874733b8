"""Casts behind the placeholders of PostgreSQL, which give a parameter the type that psycopg gives it.

psycopg2 writes values into the text, and psycopg 3 names their types, where Rowgate leaves it to PostgreSQL to infer the
type of `$1` from its place. `select %s` with an integer, or `now() - %s` with a timedelta, mean the same with these casts.
Texts and NULL get none: as in psycopg their type is the one that their place asks for.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterable
from typing import Any, Optional

from .._values import Json

_INTEGERS = (("int2", 1 << 15), ("int4", 1 << 31), ("int8", 1 << 63))
# PostgreSQL makes a numeric of a float8 with as many digits.
_EXACT = 10**15
_WIDTHS = {"int2": 0, "int4": 1, "int8": 2, "numeric": 3}
# In this order: a bool is an int, and a datetime is a date.
_TYPES: tuple[tuple[type, str], ...] = (
    (float, "float8"),
    (decimal.Decimal, "numeric"),
    (bytes, "bytea"),
    (bytearray, "bytea"),
    (memoryview, "bytea"),
    (datetime.date, "date"),
    (datetime.timedelta, "interval"),
    (uuid.UUID, "uuid"),
    (dict, "jsonb"),
    (Json, "jsonb"),
)


def type_of(value: Any) -> str:
    """PostgreSQL's type for a value; empty where its place decides."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return next((name for name, bound in _INTEGERS if -bound <= value < bound), "numeric")
    if isinstance(value, datetime.datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    if isinstance(value, datetime.time):
        return "time" if value.tzinfo is None else "timetz"
    if isinstance(value, list):
        element = common(_leaves(value))
        return f"{element}[]" if element else ""
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "")


def cast(value: Any) -> str:
    """The cast behind the placeholder of a value: `::int4`, or nothing."""
    name = type_of(value)
    return f"::{name}" if name else ""


def common(values: Iterable[Any]) -> Optional[str]:
    """One type for all values: the widest of their integers, float8 where floats and integers that it holds are mixed, else the one
    that they share; empty where their place decides. None: there is none, and each value needs its own."""
    given = [value for value in values if value is not None]
    names = {type_of(value) for value in given}
    if len(names) < 2:
        return names.pop() if names else ""
    if names <= _WIDTHS.keys():
        return max(names, key=_WIDTHS.__getitem__)
    if "float8" not in names:
        return ""
    is_exact = names <= {"int2", "int4", "int8", "float8"} and all(abs(value) < _EXACT for value in given if isinstance(value, int))
    return "float8" if is_exact else None


def _leaves(values: list[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _leaves(value)
        else:
            yield value


def uncast(value: Any) -> str:
    """Nothing: parameters of databases other than PostgreSQL have no declared types."""
    return ""
