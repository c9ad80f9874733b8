"""The id of an inserted row, as `Cursor.lastrowid` of sqlite3 and PyMySQL. It is None where no id is certain to be that row's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional

from ._control import first_word
from ._text import words

_INSERTS = frozenset(("INSERT", "REPLACE"))
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
# What the rows of an insert come from: an insert of the rows of a query may be of very many.
_SOURCE = re.compile(r"\b(values|select|with)\b", re.IGNORECASE)
_END = re.compile(r"[\s;]*$")
_NAME = r"(?:`(?:[^`]|``)*`|[\w$]+)"
_TARGET = re.compile(
    r"\s*(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE)\s+)*(?:INTO\s+)?"
    rf"(?:(?P<schema>{_NAME})\s*\.\s*)?(?P<table>{_NAME})\s*\((?P<columns>[^()]*)\)",
    re.IGNORECASE,
)
_DUPLICATES = re.compile(r"\bon\s+duplicate\s+key\b|\bignore\b", re.IGNORECASE)

LAST_ID = "SELECT last_insert_id()"
ID_COLUMN = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = coalesce($1, database()) AND table_name = $2"
    " AND extra LIKE '%auto_increment%'"
)


class Written(NamedTuple):
    """The result of a statement whose returned rows are not the caller's."""

    rows_affected: int
    command: str
    has_columns: bool = False
    columns: Sequence[Any] = ()
    rows: Sequence[Any] = ()


def returns_rows_it_writes(sql: str) -> bool:
    """True for all statements with RETURNING, and for some others that have the word."""
    return _RETURNING.search(sql) is not None


@lru_cache(maxsize=1024)
def has_last_id(backend: str, sql: str) -> bool:
    """True for an insert of MySQL, behind which `last_insert_id()` may have its id. With RETURNING it gives its ids itself."""
    return backend == "mysql" and _is_insert(backend, sql)


class Target(NamedTuple):
    """The table of an insert of MySQL, and the columns that it names."""

    schema: Optional[str]
    table: str
    columns: frozenset[str]


@lru_cache(maxsize=256)
def generating_target(sql: str) -> Optional[Target]:
    """The table of an insert that certainly takes a new id wherever it does not name its column; None if that is not certain."""
    found = None if _DUPLICATES.search(words("mysql", sql)) else _TARGET.match(sql)
    if found is None:
        return None
    columns = frozenset(_unquoted(name.strip()).lower() for name in found["columns"].split(","))
    return Target(_unquoted(found["schema"]) if found["schema"] else None, _unquoted(found["table"]), columns)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


@lru_cache(maxsize=1024)
def returning_rowid(backend: str, sql: str) -> Optional[str]:
    """The text of an insert of SQLite that returns its ids; None for other statements and databases."""
    if backend != "sqlite" or not _is_insert(backend, sql):
        return None
    source = _SOURCE.search(words(backend, sql))
    if source is None or source[1].lower() != "values":
        return None
    # By all names of the id, as a column may have one of them. On a line of its own: a comment may be last.
    return _END.sub("", sql) + "\nRETURNING rowid, _rowid_, oid"


def rowid(row: Sequence[Any]) -> Optional[int]:
    """The id of a row that was returned by all names of it."""
    value, count = Counter(row).most_common(1)[0]
    # A virtual table returns -1 for the id that it gives.
    return value if count > 1 and isinstance(value, int) and value != -1 else None


def _is_insert(backend: str, sql: str) -> bool:
    return first_word(sql) in _INSERTS and not _RETURNING.search(words(backend, sql))
