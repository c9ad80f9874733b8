"""Intervals: the text of the databases, `timedelta`, and a type for what has months."""

import re
from datetime import timedelta
from typing import Any, Optional, Union

_UNIT = re.compile(r"([+-]?\d+) (year|mon|day)s?(?: |$)")
_TIME = re.compile(r"([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?$")
_DAY = 86_400_000_000


class Interval:
    """An interval with months, whose length depends on where it begins; also one beyond `timedelta`.

    Months, days and microseconds are kept apart, as in the database.
    """

    __slots__ = ("days", "microseconds", "months")

    def __init__(self, months: int = 0, days: int = 0, microseconds: int = 0) -> None:
        self.months = months
        self.days = days
        self.microseconds = microseconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interval) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"Interval(months={self.months}, days={self.days}, microseconds={self.microseconds})"

    def __str__(self) -> str:
        return f"{self.months} mons {self.days} days {_clock(self.microseconds)}"

    def _parts(self) -> "tuple[int, int, int]":
        return (self.months, self.days, self.microseconds)


class ExactTimedelta(timedelta):
    """A timedelta that was read in a form which a timedelta does not keep: `36:00:00` beside `1 day 12:00:00`.

    It is the timedelta of its length; as a parameter it is the same text again.
    """

    text: str

    def __new__(cls, length: timedelta, text: str) -> "ExactTimedelta":
        made = super().__new__(cls, length.days, length.seconds, length.microseconds)
        made.text = text
        return made

    def __reduce__(self) -> Any:
        return (ExactTimedelta, (timedelta(self.days, self.seconds, self.microseconds), self.text))

    def __repr__(self) -> str:
        return repr(timedelta(self.days, self.seconds, self.microseconds))


def parse_interval(text: str) -> Optional[Union[timedelta, Interval]]:
    """Reads `1 year 2 mons 3 days 04:05:06.789`; None for any other text, such as `infinity`."""
    months = days = microseconds = at = 0
    while True:
        unit = _UNIT.match(text, at)
        if unit is None:
            break
        number = int(unit[1])
        if unit[2] == "day":
            days += number
        else:
            months += number * (12 if unit[2] == "year" else 1)
        at = unit.end()
    if at < len(text) or not text:
        clock = parse_clock(text[at:])
        if clock is None:
            return None
        microseconds = clock
    if months == 0:
        try:
            length = timedelta(days=days, microseconds=microseconds)
        except OverflowError:
            return Interval(months, days, microseconds)
        is_kept = 0 <= microseconds < _DAY and days >= 0 or -_DAY < microseconds <= 0 and 0 in (days, microseconds)
        return length if is_kept else ExactTimedelta(length, text)
    return Interval(months, days, microseconds)


def parse_clock(text: str) -> Optional[int]:
    """Reads `-838:59:59.000001` as microseconds; None for any other text."""
    clock = _TIME.match(text)
    if clock is None:
        return None
    sign, hours, minutes, seconds, fraction = clock.groups()
    total = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    return -total if sign == "-" else total


def interval_text(length: timedelta) -> str:
    """The text of a timedelta that both an interval of PostgreSQL and a time of MySQL read."""
    if isinstance(length, ExactTimedelta):
        return length.text
    if length.days > 0 or length.days < 0 == length.seconds == length.microseconds:
        rest = length - timedelta(days=length.days)
        return f"{length.days} {_clock(_microseconds(rest))}"
    return _clock(_microseconds(length))


def _microseconds(length: timedelta) -> int:
    return (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds


def _clock(microseconds: int) -> str:
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{hours:02}:{minutes:02}:{seconds:02}"
    return f"{text}.{fraction:06}" if fraction else text
