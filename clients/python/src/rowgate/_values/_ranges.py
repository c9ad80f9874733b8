"""Ranges and multiranges of PostgreSQL."""

from datetime import datetime
from typing import Any, Callable, Iterable, List, Optional, Tuple

_QUOTED = frozenset(' ()[]{},"\\')


class Range:
    """A range: `Range(1, 10)` holds 1 to 9, as `bounds` says `[)`; None is no bound. `Range(empty=True)` holds nothing."""

    __slots__ = ("bounds", "empty", "lower", "upper")

    def __init__(self, lower: Any = None, upper: Any = None, bounds: str = "[)", empty: bool = False) -> None:
        if bounds not in ("[)", "[]", "()", "(]"):
            raise ValueError(f"the bounds of a range are one of [) [] () (], not {bounds!r}")
        if empty:
            lower = upper = None
            bounds = "()"
        self.lower = lower
        self.upper = upper
        self.bounds = bounds
        self.empty = empty

    @property
    def lower_inc(self) -> bool:
        """True if the lower bound belongs to the range."""
        return self.lower is not None and self.bounds[0] == "["

    @property
    def upper_inc(self) -> bool:
        """True if the upper bound belongs to the range."""
        return self.upper is not None and self.bounds[1] == "]"

    def __contains__(self, value: Any) -> bool:
        if self.empty:
            return False
        if self.lower is not None and (value < self.lower or value == self.lower and not self.lower_inc):
            return False
        return self.upper is None or value < self.upper or value == self.upper and self.upper_inc

    def _parts(self) -> Tuple[Any, ...]:
        return (self.lower, self.upper, self.lower_inc, self.upper_inc, self.empty)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Range) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return "Range(empty=True)" if self.empty else f"Range({self.lower!r}, {self.upper!r}, {self.bounds!r})"

    def __str__(self) -> str:
        if self.empty:
            return "empty"
        opening = "[" if self.lower_inc else "("
        closing = "]" if self.upper_inc else ")"
        return f"{opening}{_bound(self.lower)},{_bound(self.upper)}{closing}"


class Multirange(tuple):  # type: ignore[type-arg]
    """A multirange: a tuple of `Range`."""

    __slots__ = ()

    def __new__(cls, ranges: Iterable[Range] = ()) -> "Multirange":
        return super().__new__(cls, ranges)

    def __repr__(self) -> str:
        return f"Multirange({list(self)!r})"

    def __str__(self) -> str:
        return "{" + ",".join(str(each) for each in self) + "}"


def _bound(value: Any) -> str:
    """A bound as PostgreSQL writes it."""
    if value is None:
        return ""
    text = _instant(value) if isinstance(value, datetime) else str(value)
    if text == "" or not _QUOTED.isdisjoint(text):
        escaped = text.replace("\\", "\\\\").replace('"', '""')
        return f'"{escaped}"'
    return text


def _instant(value: datetime) -> str:
    text = value.replace(tzinfo=None).isoformat(" ")
    zone = value.isoformat()[len(value.replace(tzinfo=None).isoformat()) :]
    return (text.rstrip("0") if "." in text else text) + (zone[:-3] if zone.endswith(":00") else zone)


def parse_range(text: str, bound: Callable[[str], Any]) -> Range:
    """Reads `[1,10)`; ValueError for any other text."""
    found, at = _parse_one(text, 0, bound)
    if at != len(text):
        raise ValueError(f"not a range: {text!r}")
    return found


def parse_multirange(text: str, bound: Callable[[str], Any]) -> Multirange:
    """Reads `{[1,3),[5,8)}`; ValueError for any other text."""
    ranges: List[Range] = []
    if text[:1] != "{" or text[-1:] != "}":
        raise ValueError(f"not a multirange: {text!r}")
    at = 1
    while text[at] != "}":
        found, at = _parse_one(text, at, bound)
        ranges.append(found)
        if text[at] == ",":
            at += 1
    if at != len(text) - 1:
        raise ValueError(f"not a multirange: {text!r}")
    return Multirange(ranges)


def _parse_one(text: str, at: int, bound: Callable[[str], Any]) -> Tuple[Range, int]:
    if text.startswith("empty", at):
        return Range(empty=True), at + 5
    opening = text[at : at + 1]
    if opening not in ("[", "("):
        raise ValueError(f"not a range: {text!r}")
    lower, at = _parse_bound(text, at + 1)
    if text[at : at + 1] != ",":
        raise ValueError(f"not a range: {text!r}")
    upper, at = _parse_bound(text, at + 1)
    closing = text[at : at + 1]
    if closing not in ("]", ")"):
        raise ValueError(f"not a range: {text!r}")
    return Range(_read(lower, bound), _read(upper, bound), opening + closing), at + 1


def _read(text: Optional[str], bound: Callable[[str], Any]) -> Any:
    return None if text is None else bound(text)


def _parse_bound(text: str, at: int) -> Tuple[Optional[str], int]:
    """The text of a bound without its quotes, None for no bound, and the place behind it."""
    parts: List[str] = []
    quoted = seen = False
    while at < len(text):
        character = text[at]
        if character == "\\":
            parts.append(text[at + 1 : at + 2])
            at += 1
        elif character == '"':
            if quoted and text[at + 1 : at + 2] == '"':
                parts.append('"')
                at += 1
            else:
                quoted, seen = not quoted, True
        elif not quoted and character in ",])":
            break
        else:
            parts.append(character)
        at += 1
    content = "".join(parts)
    return (content if content or seen else None), at
