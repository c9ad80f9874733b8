"""Dates and times: the text of the databases and the types of `datetime`.

Each parser returns None for a text that its type cannot hold (`infinity`, years before 1 and above 9999, `24:00:00`, days that
no calendar has); the caller then keeps the text.
"""

import re
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Optional, Union

from ._interval import parse_clock

_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?")
_ZONE = re.compile(r"(Z)|([+-])(\d\d)(?::?(\d\d)(?::(\d\d))?)?")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


def parse_date(text: str) -> Optional[date]:
    """Reads `2026-01-31`."""
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_time(text: str) -> Optional[Union[time, timedelta]]:
    """Reads `23:59:59.999999`; MySQL's times beyond a day are lengths of time."""
    try:
        if len(text) == 8:
            return time.fromisoformat(text)
        if 9 < len(text) <= 15 and text[8] == ".":
            return time.fromisoformat(text.ljust(15, "0"))
    except ValueError:
        pass
    clock = _CLOCK.fullmatch(text)
    if clock is None or int(clock[1]) >= 24:
        return None if text == "24:00:00" else _length(text)
    try:
        return time(*_fields(clock))
    except ValueError:
        return None


def _length(text: str) -> Optional[timedelta]:
    microseconds = parse_clock(text)
    return None if microseconds is None else timedelta(microseconds=microseconds)


def parse_timetz(text: str) -> Optional[time]:
    """Reads `23:59:59.999999+02`."""
    clock = _CLOCK.match(text)
    zone = clock and _ZONE.fullmatch(text, clock.end())
    if not clock or not zone:
        return None
    try:
        return time(*_fields(clock), tzinfo=_tzinfo(zone))
    except ValueError:
        return None


def parse_datetime(text: str) -> Optional[datetime]:
    """Reads `2026-01-31 23:59:59.999999`, with `T` for the space and with a zone behind it as well."""
    try:
        if len(text) == 19:
            return datetime.fromisoformat(text)
        if 20 < len(text) <= 26 and text[19] == "." and text[20:].isdigit():
            return datetime.fromisoformat(text.ljust(26, "0"))
    except ValueError:
        pass
    day = _DATE.match(text)
    if day is None or text[10:11] not in (" ", "T"):
        return None
    clock = _CLOCK.match(text, 11)
    if clock is None:
        return None
    zone: Any = None
    if clock.end() < len(text):
        zone = _ZONE.fullmatch(text, clock.end())
        if zone is None:
            return None
    try:
        whole = datetime(int(day[1]), int(day[2]), int(day[3]), *_fields(clock))
        return whole.replace(tzinfo=_tzinfo(zone)) if zone else whole
    except ValueError:
        return None


def _fields(clock: "re.Match[str]") -> "tuple[int, int, int, int]":
    hours, minutes, seconds, fraction = clock.groups()
    return (int(hours), int(minutes), int(seconds or 0), int((fraction or "0").ljust(6, "0")))


def _tzinfo(zone: "re.Match[str]") -> timezone:
    utc, sign, hours, minutes, seconds = zone.groups()
    if utc:
        return timezone.utc
    ahead = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    if not ahead:
        return timezone.utc
    return timezone(-ahead if sign == "-" else ahead)


def datetime_of(timestamp: Any) -> datetime:
    """The instant of a message `Timestamp`, in UTC."""
    return EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1000)


def set_timestamp(timestamp: Any, instant: datetime) -> bool:
    """Sets a message `Timestamp` to an instant with a zone; False for one outside of its years in UTC, 1 to 9999."""
    length = instant - EPOCH
    seconds = length.days * 86_400 + length.seconds
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        return False
    timestamp.seconds = seconds
    timestamp.nanos = length.microseconds * 1000
    return True
