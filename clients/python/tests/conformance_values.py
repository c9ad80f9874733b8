"""The values of the conformance list (clients/conformance): as parameters, and as the text that a result is compared by."""

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

from rowgate import Array, DatabaseText, Interval, Json, Multirange, Range, Reference
from rowgate._values._interval import ExactTimedelta, parse_interval
from rowgate._values._ranges import parse_multirange, parse_range
from rowgate._values._temporal import parse_date, parse_datetime, parse_time, parse_timetz

exact_json = partial(json.loads, parse_float=Decimal)
PARSERS = {"date": parse_date, "time": parse_time, "timetz": parse_timetz, "timestamp": parse_datetime}


def form_of(value: Any) -> Any:
    """The form of a value, and its text."""
    if value is None or isinstance(value, (bool, int)):
        return ("null" if value is None else "bool" if isinstance(value, bool) else "int"), value
    if isinstance(value, str):
        return "text", value
    form = next(name for name in value if name != "lower_bounds")
    return form, value[form]


def parameter(value: Any) -> Any:
    """The object of Python's for a parameter: one of its own type where there is an equal one, else text."""
    form, text = form_of(value)
    if form in PARSERS:
        parsed = PARSERS[form](text)
        return DatabaseText(text) if parsed is None else parsed
    if form == "array":
        elements = [parameter(each) for each in text]
        return Array(elements, value["lower_bounds"]) if "lower_bounds" in value else elements
    makers = {
        "int": int,
        "float": float,
        "bytes": bytes.fromhex,
        "numeric": Decimal,
        "uuid": UUID,
        "json": _json,
        "timestamptz": lambda text: (parse_datetime(text) if text.endswith("Z") else None) or text,
        "interval": lambda text: parse_interval(text) or text,
        "range": lambda text: parse_multirange(text, str) if text.startswith("{") else parse_range(text, str),
        "record": lambda fields: tuple(parameter(each) for each in fields),
        "text_repeated": lambda parts: parts[0] * parts[1],
        "reference": lambda to: Reference(to["statement"], to["column"]),
    }
    return makers[form](text) if form in makers else text


def _json(text: str) -> Any:
    value = exact_json(text)
    try:
        from rowgate._values._encode import json_text

        if exact_json(json_text(value)) == value:
            return value if isinstance(value, dict) else Json(value)
    except (TypeError, ValueError):
        pass
    return text


def is_equal(expected: Any, found: Any) -> bool:
    """True if a value of a result is the expected one."""
    form, text = form_of(expected)
    if form in ("null", "bool"):
        return found is text
    if form == "int":
        return isinstance(found, (int, Decimal)) and not isinstance(found, bool) and int(text) == found
    if form == "float":
        return type(found) is float and repr(float(text)) == repr(found)
    if form == "json":
        return bool(exact_json(text) == found) and not (isinstance(found, DatabaseText))
    if form == "array":
        bounds = expected.get("lower_bounds", [1])
        kept = list(getattr(found, "lower_bounds", [])) or [1]
        return isinstance(found, list) and (not found or set(bounds) <= {1} or bounds == kept) and _all(text, found)
    if form == "record":
        return isinstance(found, tuple) and _all(text, found)
    if form == "text_repeated":
        return bool(text[0] * text[1] == found)
    written = canonical(form, found)
    if form in ("time", "timetz", "timestamp", "timestamptz"):
        return _shorter(text) == _shorter(written)
    return bool(text == written)


def _all(expected: Any, found: Any) -> bool:
    return len(expected) == len(found) and all(is_equal(*pair) for pair in zip(expected, found))


def _shorter(text: str) -> str:
    """A time without the zeros at the end of its fraction."""
    head, point, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction = rest[:digits].rstrip("0")
    return head + (point + fraction if fraction else "") + rest[digits:]


def canonical(form: str, found: Any) -> str:
    """The canonical text of a value of a result."""
    if isinstance(found, str):
        return str(found)
    if isinstance(found, bytes) and form == "bytes":
        return found.hex()
    if isinstance(found, Decimal):
        return str(found) if not found.is_finite() else format(found, "f")
    if isinstance(found, datetime):
        return _instant(found)
    if isinstance(found, time) and found.tzinfo is not None:
        text = found.isoformat()
        return text[:-3] if text.endswith(":00") else text
    if isinstance(found, (date, time)):
        return found.isoformat()
    if isinstance(found, (timedelta, Interval)):
        return _hours(found) if form == "time" else _interval(found)
    networks = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
    if isinstance(found, (UUID, Range, Multirange, *networks)):
        return str(found)
    return f"{type(found).__name__} {found!r}"


def _instant(found: datetime) -> str:
    if found.tzinfo is None:
        return found.isoformat(" ")
    return found.astimezone(timezone.utc).replace(tzinfo=None).isoformat("T") + "Z"


def _hours(length: timedelta) -> str:
    seconds = abs(length) // timedelta(seconds=1)
    sign = "-" if length < timedelta(0) else ""
    fraction = abs(length).microseconds
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{fraction:06}" if fraction else "")


def _interval(found: Any) -> str:
    """An interval as PostgreSQL writes it."""
    if isinstance(found, ExactTimedelta):
        return found.text
    if isinstance(found, Interval):
        months, days, rest = found.months, found.days, timedelta(microseconds=found.microseconds)
    else:
        days = found.days if found >= timedelta(0) else 0
        months, rest = 0, found - timedelta(days=days)
    parts = []
    years, months = (abs(months) // 12 * (1 if months >= 0 else -1), abs(months) % 12 * (1 if months >= 0 else -1))
    is_negative = False
    for number, unit in ((years, "year"), (months, "mon"), (days, "day")):
        if number:
            plus = "+" if is_negative and number > 0 else ""
            parts.append(f"{plus}{number} {unit}{'' if number == 1 else 's'}")
            is_negative = number < 0
    if rest or not parts:
        text = _shorter(_hours(rest))
        parts.append(("+" if is_negative and rest > timedelta(0) else "") + text)
    return " ".join(parts)
