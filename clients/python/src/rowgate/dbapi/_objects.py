"""Objects of each database's usual driver: what rows hold, and what parameters become before they are sent.

On PostgreSQL they are those of psycopg, which `rowgate` has as well. SQLite gives what sqlite3 gives, the value as it is
stored, and MySQL what PyMySQL gives, so that a program finds the objects that it was written for.
"""

from __future__ import annotations

import datetime
import decimal
import json
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Callable, Optional

from .. import _errors as errors
from .._values._decode import Plan, plan
from . import _types as types

Decoder = Callable[[Any], Any]

# The field in which the values of a column of SQLite or MySQL usually come; others are told by their kind.
_FIELDS = {
    types.INT16: "int64_value",
    types.INT32: "int64_value",
    types.INT64: "int64_value",
    types.FLOAT32: "float64_value",
    types.FLOAT64: "float64_value",
}


def decoder(backend: str, json_loads: Optional[Callable[[str], Any]]) -> Callable[[Any], Plan]:
    """The argument `decoder` of `rowgate.connect`: the objects that the rows of this database hold."""
    return _planner_postgres(json_loads or json.loads) if backend == "postgres" else _PLANS[backend]


@lru_cache(maxsize=16)
def _planner_postgres(json_loads: Callable[[str], Any]) -> Callable[[Any], Plan]:
    # One for all connections: decoders of rows are kept by it.
    return lambda column: plan(column, json_loads, _shortest)


def _shortest(number: float) -> float:
    """The float of the fewest digits that is this one in 32 bits: 0.1 in the place of 0.10000000149011612, as drivers read it."""
    if number - number != 0 or abs(number) == _MOST_FLOAT32:  # rounded, MySQL would not take it again
        return number
    for digits in (6, 7, 8):
        short = float(f"{number:.{digits}g}")
        if _FLOAT32.unpack(_FLOAT32.pack(short))[0] == number:
            return short
    return float(f"{number:.9g}")


_FLOAT32 = struct.Struct("f")
_MOST_FLOAT32 = 3.4028234663852886e38


def _plan_sqlite(column: Any) -> Plan:
    if column.type == types.NUMERIC:
        return Plan(None, None, _text_as(_number))
    return Plan(_FIELDS.get(column.type, "text_value"), None, _stored)


def _plan_mysql(column: Any) -> Plan:
    if column.type == types.INT64:  # unsigned ones beyond 63 bits come as text
        return Plan("int64_value", None, _text_as(int))
    decode = _MYSQL.get(column.type)
    return _plan_sqlite(column) if decode is None else Plan(None, None, decode)


def _float32(value: Any) -> Any:
    return _shortest(value.float64_value) if value.HasField("float64_value") else _stored(value)


def _stored(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "null_value":
        return None
    return int(value.bool_value) if kind == "bool_value" else getattr(value, kind)


def _text_as(convert: Callable[[str], Any]) -> Decoder:
    """Decodes texts by `convert`; a text that it does not take, as `0000-00-00`, stays as it is."""

    def decode(value: Any) -> Any:
        if not value.HasField("text_value"):
            return _stored(value)
        try:
            return convert(value.text_value)
        except (ValueError, OverflowError, decimal.InvalidOperation):
            return value.text_value

    return decode


def _number(text: str) -> Any:
    """A number of a numeric column of SQLite, which is stored as an integer of 64 bits, or as a float."""
    if text.strip("-0123456789"):
        return float(text)
    number = int(text)
    return number if -(2**63) < number < 2**63 else float(text)


def _timedelta(text: str) -> datetime.timedelta:
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    length = datetime.timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(whole), microseconds=int(fraction.ljust(6, "0") or 0)
    )
    return -length if text.startswith("-") else length


def _datetime(text: str) -> datetime.datetime:
    whole, _, fraction = text.partition(".")
    moment = datetime.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S")
    return moment.replace(microsecond=int(fraction.ljust(6, "0") or 0))


def _instant(value: Any) -> Any:
    """A MySQL timestamp as PyMySQL gives it: without a zone, in that of the session, which is UTC."""
    if not value.HasField("timestamp_value"):
        return _text_as(_datetime)(value)
    instant = value.timestamp_value
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=instant.seconds, microseconds=instant.nanos // 1000)


def _bits(value: Any) -> Any:
    return bytes((int(value.bool_value),)) if value.HasField("bool_value") else _stored(value)


_MYSQL: dict[int, Decoder] = {
    types.BOOL: _bits,
    types.FLOAT32: _float32,
    types.NUMERIC: _text_as(decimal.Decimal),
    types.DATE: _text_as(datetime.date.fromisoformat),
    types.TIME: _text_as(_timedelta),
    types.TIMESTAMP: _text_as(_datetime),
    types.TIMESTAMPTZ: _instant,
}

_PLANS = {"sqlite": _plan_sqlite, "mysql": _plan_mysql}


def _utc_text(value: datetime.datetime) -> Any:
    """An instant as text, which is accepted for every type: also where the column is a timestamp without a zone."""
    if value.utcoffset() is None:
        return value
    try:
        return value.astimezone(datetime.timezone.utc).isoformat(" ")
    except OverflowError:  # in UTC it is in the year 0 or 10000, which PostgreSQL has and Python not
        return value.isoformat(" ")


def _mysql_datetime(value: datetime.datetime) -> str:
    if value.utcoffset() is not None:
        try:
            value = value.astimezone(datetime.timezone.utc)
        except OverflowError:
            raise errors.DataError(f"{value} is in UTC in no year that MySQL has") from None
    return value.replace(tzinfo=None).isoformat(" ")


def _sqlite_integer(value: int) -> int:
    if -(2**63) <= value < 2**63:
        return int(value)
    raise errors.DataError(
        f"an integer of SQLite has 64 bits, and {value} has more", hint="keep it as text: send str() of it"
    )


def _mysql_timedelta(value: datetime.timedelta) -> str:
    sign = "-" if value < datetime.timedelta() else ""
    value = abs(value)
    hours, rest = divmod(value.days * 86400 + value.seconds, 3600)
    fraction = f".{value.microseconds:06}" if value.microseconds else ""
    return f"{sign}{hours}:{rest // 60:02}:{rest % 60:02}{fraction}"


_Adapters = dict[type, Callable[[Any], Any]]
_ADAPTERS: dict[str, _Adapters] = {
    "postgres": {datetime.datetime: _utc_text},
    "mysql": {
        bool: int,
        datetime.datetime: _mysql_datetime,
        datetime.date: datetime.date.isoformat,
        datetime.time: datetime.time.isoformat,
        datetime.timedelta: _mysql_timedelta,
    },
    "sqlite": {
        bool: int,
        int: _sqlite_integer,
        datetime.datetime: lambda value: value.isoformat(" "),
        datetime.date: datetime.date.isoformat,
        datetime.time: datetime.time.isoformat,
    },
}


def adapter(backend: str) -> Callable[[Sequence[Any]], list[Any]]:
    """The function that adapts the parameters of a statement to the database."""
    adapters: dict[type, Optional[Callable[[Any], Any]]] = {**_ADAPTERS[backend]}

    def adapt(value: Any) -> Any:
        kind = type(value)
        if kind not in adapters:
            adapters[kind] = next((adapters[base] for base in kind.__mro__ if base in adapters), None)
        found = adapters[kind]
        return found(value) if found else value

    return lambda values: [adapt(value) for value in values]
