"""Casts around placeholders, which give a parameter the type that the usual driver gives it: `{}::int4`.

psycopg2 writes values into the text, and psycopg 3 names their types, where Rowgate leaves it to PostgreSQL to infer the
type of `$1` from its place. `select %s` with an integer, or `now() - %s` with a timedelta, mean the same with these casts.
Texts and NULL get none: as in psycopg their type is the one that their place asks for.

MySQL computes with a text as with a double, and a decimal is sent as text: with its cast it is the exact literal that PyMySQL
writes.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Optional

from .._values import Json

_INTEGERS = (("int2", 1 << 15), ("int4", 1 << 31), ("int8", 1 << 63))
# PostgreSQL makes a numeric of a float8 with as many digits.
_EXACT = 10**15
# The most digits of a decimal of MySQL, and behind its point.
_MYSQL_DIGITS, _MYSQL_SCALE = 65, 30
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
        element = common(_leaves(value), exact=True)
        return f"{element}[]" if element else ""
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "")


def cast(value: Any) -> str:
    """The cast around the placeholder of a value: `{}::int4`, or nothing."""
    return _named(type_of(value))


def _named(name: str) -> str:
    return f"{{}}::{name}" if name else ""


def cast_mysql(value: Any) -> str:
    """The cast around the placeholder of a decimal, or of an integer of more than 64 bits; nothing for all others."""
    if isinstance(value, decimal.Decimal) and value.is_finite():
        scale = max(0, -int(value.as_tuple().exponent))
        if scale <= _MYSQL_SCALE and max(value.adjusted(), 0) + 1 + scale <= _MYSQL_DIGITS:
            return f"cast({{}} as decimal({_MYSQL_DIGITS},{scale}))"
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        if 0 < value < 1 << 64:
            return "cast({} as unsigned)"
        if abs(value) < 10**_MYSQL_DIGITS:
            return f"cast({{}} as decimal({_MYSQL_DIGITS},0))"
    return ""


def common(values: Iterable[Any], exact: bool = False) -> Optional[str]:
    """One type for all values: the one that they share, or the widest of their integers; empty where their place decides. None: there
    is none, and each value needs its own.

    `exact` says that their place takes numbers of all types as what they are, as a column does. A computation does not: 1 / 2 is
    0, and 1.0 / 2 is not. There integers and decimals share numeric, and floats and integers that a float holds float8.
    """
    given = [value for value in values if value is not None]
    names = {type_of(value) for value in given}
    if len(names) < 2:
        return names.pop() if names else ""
    if names <= {name for name, _ in _INTEGERS} or exact and names <= _WIDTHS.keys():
        return max(names, key=_WIDTHS.__getitem__)
    if not exact or not names <= {"int2", "int4", "int8", "float8"}:
        return None
    return "float8" if all(abs(value) < _EXACT for value in given if isinstance(value, int)) else None


def _leaves(values: list[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _leaves(value)
        else:
            yield value


def uncast(value: Any) -> str:
    """Nothing: parameters of SQLite have no declared types."""
    return ""


def casts_of(backend: str) -> Callable[[Any], str]:
    """The casts for the parameters of a database."""
    return {"postgres": cast, "mysql": cast_mysql}.get(backend, uncast)
