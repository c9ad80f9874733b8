"""Placeholders of PEP 249's `pyformat` and `format`, rewritten as the `$1`, `$2` … that Rowgate takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Optional, Union

from .. import _errors as errors

Parameters = Union[Sequence[Any], Mapping[str, Any]]
Cast = Callable[[Any], str]


class Template(NamedTuple):
    """An SQL text cut at its placeholders: `texts` has one more element than `keys`."""

    texts: tuple[str, ...]
    keys: tuple[Union[int, str], ...]

    @property
    def named(self) -> bool:
        return bool(self.keys) and isinstance(self.keys[0], str)


@lru_cache(maxsize=1024)
def parse(operation: str) -> Template:
    """Cuts a text at `%s` and `%(name)s`; `%%` is a percent sign. Quotes do not matter, as in psycopg."""
    texts = [""]
    keys: list[Any] = []
    position = 0
    while True:
        at = operation.find("%", position)
        if at < 0:
            texts[-1] += operation[position:]
            return Template(tuple(texts), tuple(keys))
        texts[-1] += operation[position:at]
        if operation.startswith("%%", at):
            texts[-1] += "%"
            position = at + 2
            continue
        key, position = _placeholder(operation, at, len(keys))
        if keys and isinstance(key, str) is not isinstance(keys[0], str):
            raise errors.ProgrammingError("the statement mixes %s and %(name)s: use one of them")
        keys.append(key)
        texts.append("")


def _placeholder(operation: str, at: int, index: int) -> tuple[Union[int, str], int]:
    """The key of the placeholder that begins at `at`, and the position behind it."""
    if operation.startswith("(", at + 1):
        end = operation.find(")", at)
        if end > 0 and operation[end + 1 : end + 2] in ("s", "b", "t"):
            return operation[at + 2 : end], end + 2
    elif operation[at + 1 : at + 2] in ("s", "b", "t"):
        return index, at + 2
    found = operation[at : at + 2]
    raise errors.ProgrammingError(
        f"the placeholder {found!r} at character {at + 1} is not known: write %s or %(name)s, and %% for a percent sign"
    )


def bind(operation: str, parameters: Optional[Parameters], cast: Cast) -> tuple[str, list[Any]]:
    """The text with `$n` and the values in that order.

    Without parameters (None) the text is taken as it is, percent signs included. A value that stands for itself more
    than once under its name is sent once. A tuple becomes a list of placeholders in parentheses, so that
    `id IN %s` works as with psycopg2. `cast` gives what is written around a placeholder, `{}::int4`, or nothing.
    """
    if parameters is None:
        return operation, []
    template = parse(operation)
    _check(template, parameters)
    sql = [template.texts[0]]
    values: list[Any] = []
    written: dict[str, str] = {}
    for key, text in zip(template.keys, template.texts[1:]):
        placeholder = written.get(key) if isinstance(key, str) else None
        if placeholder is None:
            placeholder = _write(parameters[key], values, cast)  # type: ignore[index]
            if isinstance(key, str):
                written[key] = placeholder
        sql.append(placeholder)
        sql.append(text)
    return "".join(sql), values


# What is text, a name or a comment is left alone; then `$1` with or without a cast, and `?`.
_TOKENS = re.compile(
    r"""(?:\b[eE]'(?:[^'\\]|\\.|'')*') | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/
      | \$(?P<tag>[^\W\d]?\w*)\$.*?\$(?P=tag)\$ | (?P<number>(?<!\w)\$\d+)(?P<cast>\s*::)? | (?P<mark>\?\d*)""",
    re.DOTALL | re.VERBOSE,
)


class Numbered(NamedTuple):
    """A text cut behind its `$n` that have no cast: `numbers` are theirs. `has_numbers` tells of all, `marks` of `?`."""

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    has_numbers: bool
    marks: str


@lru_cache(maxsize=1024)
def parse_numbered(operation: str) -> Numbered:
    """Finds the placeholders `$1`, `$2` … of a text, and those that `?` would be."""
    texts, numbers, marked, largest, end, has_numbers = [], [], [], 0, 0, False
    written = 0
    for token in _TOKENS.finditer(operation):
        if token["number"]:
            has_numbers = True
            if not token["cast"]:
                texts.append(operation[end : token.end()])
                end = token.end()
                numbers.append(int(token["number"][1:]))
        elif token["mark"]:
            # As in SQLite: `?5` is the fifth, and `?` the one behind the largest before it.
            number = int(token["mark"][1:] or largest + 1)
            largest = max(largest, number)
            marked.append(f"{operation[written : token.start()]}${number}")
            written = token.end()
    return Numbered((*texts, operation[end:]), tuple(numbers), has_numbers, "".join((*marked, operation[written:])))


def bind_numbered(operation: str, parameters: Optional[Parameters], cast: Cast, marks: bool) -> tuple[str, Sequence[Any]]:
    """A text that has `$n` already, with casts behind those that have none.

    Without any it may have the placeholders of the usual driver: `%s` and `%(name)s`, and where `marks` says so `?`.
    """
    if not parameters:
        return operation, ()
    found = parse_numbered(operation)
    if isinstance(parameters, Mapping):
        return bind(operation, parameters, cast)
    if not found.has_numbers:
        if marks and found.marks != operation:
            return found.marks, parameters
        return bind(operation, parameters, cast)
    casts = [cast(parameters[number - 1]) if number <= len(parameters) else "" for number in found.numbers]
    if not any(casts):
        return operation, parameters
    return "".join(_around(text, cast) for text, cast in zip(found.texts, (*casts, ""))), parameters


def _around(text: str, cast: str) -> str:
    """The text with a cast around the placeholder at its end."""
    if not cast:
        return text
    at = text.rindex("$")
    return text[:at] + cast.format(text[at:])


def _write(value: Any, values: list[Any], cast: Cast) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_write(element, values, cast) for element in value) + ")"
    values.append(value)
    return (cast(value) or "{}").format(f"${len(values)}")


def _check(template: Template, parameters: Parameters) -> None:
    if template.named or isinstance(parameters, Mapping):
        if not isinstance(parameters, Mapping):
            raise errors.ProgrammingError("the statement has %(name)s: the parameters must be a mapping")
        if not template.keys:
            return
        if not template.named:
            raise errors.ProgrammingError("the statement has %s: the parameters must be a sequence")
        missing = [key for key in template.keys if key not in parameters]
        if missing:
            raise errors.ProgrammingError(f"the parameter {missing[0]!r} is missing")
        return
    if isinstance(parameters, (str, bytes)) or not isinstance(parameters, Sequence):
        raise errors.ProgrammingError(
            f"the parameters are of the type {type(parameters).__name__}: give a sequence or a mapping"
        )
    if len(template.keys) != len(parameters):
        raise errors.ProgrammingError(
            f"the statement has {len(template.keys)} placeholders, and {len(parameters)} parameters were given"
        )
