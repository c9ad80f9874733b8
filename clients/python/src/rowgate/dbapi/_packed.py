"""Inserts of many rows in one statement: `VALUES ($1, $2), ($3, $4)` in the place of one statement for each row.

Only inserts whose values are placeholders and constants are packed, so that no value can depend on the rows before it, and
only those that end behind their values or in ON CONFLICT DO NOTHING: several rows of one statement mean the same there as
several statements, but that triggers FOR EACH STATEMENT run once for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional

# Fewer than the values that PostgreSQL and MySQL (65,535) and SQLite (32,766) take in a statement.
MOST_VALUES = 16_000
MOST_ROWS = 500
MOST_BYTES = 256 * 1024

_NAME = r'(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^\W\d][\w$]*)'
_CAST = r"(?:\s*::\s*[^\W\d]\w*(?:\s+[^\W\d]\w*)*(?:\s*\(\s*\d+(?:\s*,\s*\d+)?\s*\))?(?:\s+[^\W\d]\w*)*(?:\[\])*)"
_ITEM = rf"(?:\$\d+{_CAST}?|[+-]?\d+(?:\.\d+)?|'(?:[^'\\]|'')*'|NULL|TRUE|FALSE|DEFAULT)"
_INSERT = re.compile(
    rf"(?P<head>\s*INSERT\s+(?:IGNORE\s+)?INTO\s+{_NAME}(?:\s*\.\s*{_NAME})*\s*(?:\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\)\s*)?VALUES\s*)"
    rf"(?P<values>\(\s*{_ITEM}(?:\s*,\s*{_ITEM})*\s*\))"
    r"(?P<tail>\s*(?:ON\s+CONFLICT\s*(?:\([^()]*\)\s*)?DO\s+NOTHING\s*)?);?\s*",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"'(?:[^']|'')*'|\$(\d+)")


class Insert(NamedTuple):
    """An insert of one row, cut around its values; `numbers` are those of its placeholders, `texts` what is between them."""

    head: str
    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    tail: str

    def of_rows(self, count: int, width: int) -> str:
        """The insert of `count` rows with `width` values each."""
        rows = [self._row(number * width) for number in range(count)]
        return f"{self.head}{', '.join(rows)}{self.tail}"

    def _row(self, offset: int) -> str:
        parts = [self.texts[0]]
        for number, text in zip(self.numbers, self.texts[1:]):
            parts.append(f"${number + offset}{text}")
        return "".join(parts)


@lru_cache(maxsize=256)
def parse(sql: str) -> Optional[Insert]:
    """The parts of an insert that may be packed; None for every other statement."""
    found = _INSERT.fullmatch(sql)
    if found is None:
        return None
    texts, numbers, end = [], [], 0
    for token in _TOKEN.finditer(found["values"]):
        if token[1]:
            texts.append(found["values"][end : token.start()])
            numbers.append(int(token[1]))
            end = token.end()
    if not numbers:
        return None
    return Insert(found["head"], (*texts, found["values"][end:]), tuple(numbers), found["tail"].rstrip())


@lru_cache(maxsize=64)
def _text(sql: str, count: int, width: int) -> str:
    insert = parse(sql)
    assert insert is not None
    return insert.of_rows(count, width)


def pack(rows: Sequence[tuple[str, Sequence[Any]]], sizes: Sequence[int]) -> Optional[list[tuple[str, list[Any]]]]:
    """Statements of several rows each; None where the rows must stay statements of their own. `sizes` are those of the rows."""
    sql, first = rows[0]
    if len(rows) < 2 or parse(sql) is None or any(text != sql for text, _ in rows):
        return None
    width = len(first)
    most = min(MOST_ROWS, MOST_VALUES // max(width, 1))
    packed: list[tuple[str, list[Any]]] = []
    values: list[Any] = []
    count = size = 0
    for (_, row), length in zip(rows, sizes):
        if count and (count >= most or size + length > MOST_BYTES):
            packed.append((_text(sql, count, width), values))
            values, count, size = [], 0, 0
        values.extend(row)
        count += 1
        size += length
    packed.append((_text(sql, count, width), values))
    return packed
