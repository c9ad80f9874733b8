"""Parameters: what a Python object becomes on the wire."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from numbers import Integral, Real
from typing import Any, Callable, Dict, List, Tuple
from uuid import UUID

from .._proto import ArrayValue, RecordValue, ResultReference, Value
from ._interval import Interval, interval_text
from ._ranges import Multirange, Range
from ._temporal import set_timestamp
from ._types import Array, DatabaseText, Json, Reference

_LEAST, _MOST = -(2**63), 2**63 - 1
NULL = Value(null_value=0)


def encode(value: Any) -> Any:
    """The message of a parameter. TypeError for an object that has no form."""
    encoder = _ENCODERS.get(type(value))
    return encoder(value) if encoder is not None else _encode_other(value)


def encode_all(values: Any) -> List[Any]:
    """The messages of all parameters of a statement; a TypeError or ValueError names the one that it means."""
    if isinstance(values, (str, bytes, dict, set, frozenset)):
        raise TypeError(f"the parameters are a {type(values).__name__}: give a list or a tuple of them, (value,) for one")
    try:
        return [encode(value) for value in values]
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        for number, value in enumerate(values, 1):
            try:
                encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError):
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"parameter ${number}: {error}") from None
        raise


def _null(_: Any) -> Any:
    return NULL


def _bool(value: Any) -> Any:
    return Value(bool_value=value)


def _int(value: Any) -> Any:
    if _LEAST <= value <= _MOST:
        return Value(int64_value=value)
    return Value(text_value=str(value))


def _float(value: Any) -> Any:
    return Value(float64_value=value)


def _text(value: Any) -> Any:
    return Value(text_value=value)


def _str(value: Any) -> Any:
    return Value(text_value=str(value))


def _bytes(value: Any) -> Any:
    return Value(bytes_value=value)


def _buffer(value: Any) -> Any:
    return Value(bytes_value=bytes(value))


def _datetime(value: datetime) -> Any:
    if value.utcoffset() is None:
        return Value(text_value=value.replace(tzinfo=None).isoformat(" "))
    made = Value()
    if not set_timestamp(made.timestamp_value, value):
        return Value(text_value=value.isoformat(" "))
    return made


def _iso(value: Any) -> Any:
    return Value(text_value=value.isoformat())


def _timedelta(value: timedelta) -> Any:
    return Value(text_value=interval_text(value))


def _decimal(value: Decimal) -> Any:
    return Value(text_value="NaN" if value.is_nan() else str(value))


def _dict(value: Any) -> Any:
    return Value(text_value=json_text(value))


def _json(value: Json) -> Any:
    return Value(text_value=json_text(value.value))


def json_text(value: Any) -> str:
    """The JSON of an object; UUIDs, decimals, dates and times in it become what JSON has for them."""
    _check_keys(value)
    return json.dumps(value, default=_json_default, ensure_ascii=False, allow_nan=False)


def _check_keys(value: Any) -> None:
    """Refuses keys that JSON has no form for: as texts they would come back as other keys, or hide one another."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of a JSON object is a str, not {type(key).__name__}: convert {key!r} first")
            if inner.__class__ not in _PLAIN:
                _check_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            if inner.__class__ not in _PLAIN:
                _check_keys(inner)
    elif isinstance(value, Json):
        _check_keys(value.value)


_PLAIN = frozenset((str, int, float, bool, type(None)))


def _json_default(value: Any) -> Any:
    if isinstance(value, (UUID, Interval)):
        return str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Json):
        return value.value
    if isinstance(value, Decimal) and value.is_finite():
        if value == value.to_integral_value():
            return int(value)
        if Decimal(repr(float(value))) == value:
            return float(value)
        raise ValueError(f"a JSON number of Python's cannot hold the decimal {value}: send str() of it")
    raise TypeError(f"JSON has no form for {type(value).__name__}: convert it first")


def _list(value: Any) -> Any:
    elements: List[Any] = []
    dimensions = _flatten(value, elements)
    array = ArrayValue(elements=elements)
    bounds = getattr(value, "lower_bounds", ())
    if len(dimensions) > 1 or bounds:
        array.dimensions.extend(dimensions)
    if bounds:
        if len(bounds) != len(dimensions):
            raise ValueError(f"an array of {len(dimensions)} dimensions needs as many lower bounds, not {len(bounds)}")
        array.lower_bounds.extend(bounds)
    return Value(array_value=array)


def _flatten(value: Any, elements: List[Any]) -> Tuple[int, ...]:
    """Adds the elements in row-major order; returns the dimensions, none for an array without elements."""
    if not value:
        return ()
    if not any(isinstance(element, list) for element in value):
        elements.extend(encode(element) for element in value)
        return (len(value),)
    inner = {_flatten(element, elements) if isinstance(element, list) else None for element in value}
    if len(inner) != 1 or None in inner:
        raise ValueError("the lists inside an array must be of one length; for JSON write rowgate.Json(value)")
    (dimensions,) = inner
    assert dimensions is not None
    return (len(value), *dimensions) if dimensions else ()


def _tuple(value: Any) -> Any:
    return Value(record_value=RecordValue(fields=[encode(field) for field in value]))


def _reference(value: Reference) -> Any:
    return Value(result_reference=ResultReference(statement=value.statement, column=value.column))


def _message(value: Any) -> Any:
    return value


_ENCODERS: Dict[type, Callable[[Any], Any]] = {
    type(None): _null,
    bool: _bool,
    int: _int,
    float: _float,
    str: _text,
    DatabaseText: _text,
    bytes: _bytes,
    bytearray: _buffer,
    memoryview: _buffer,
    Decimal: _decimal,
    UUID: _str,
    datetime: _datetime,
    date: _iso,
    time: _iso,
    timedelta: _timedelta,
    Interval: _str,
    Range: _str,
    Multirange: _str,
    dict: _dict,
    Json: _json,
    list: _list,
    Array: _list,
    tuple: _tuple,
    Reference: _reference,
    Value: _message,
}
_ENCODERS.update(
    dict.fromkeys((IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network), _str)
)


def _encode_other(value: Any) -> Any:
    """The message of an object of a subclass, or of a number or array of numpy's."""
    kind = type(value)
    if kind.__name__ in ("NaTType", "NAType"):  # pandas' own NULLs
        return NULL
    for base in kind.__mro__[1:]:
        encoder = _ENCODERS.get(base)
        if encoder is not None:
            return encoder(value) if encoder is not _text else Value(text_value=str.__str__(value))
    if isinstance(value, Integral):
        return _int(int(value))
    if isinstance(value, Real):
        number = float(value)
        if number == value or value != value:
            return _float(number)
        raise TypeError(f"a float cannot hold the {kind.__name__} {value}: convert it to Decimal, or to float to round it")
    if hasattr(value, "dtype") and hasattr(value, "tolist") and value.dtype.kind in "biufSUO":
        return encode(value.tolist())
    hint = "convert it, to text if all else fails"
    if isinstance(value, (set, frozenset)):
        hint = "send a list, or rowgate.Json(value)"
    elif isinstance(value, Enum):
        hint = "send its name or its value"
    raise TypeError(f"it cannot be of type {kind.__name__}: {hint}")
