"""The id of an inserted row, as `Cursor.lastrowid` of sqlite3 and PyMySQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional

from ._control import first_word

_INSERTS = frozenset(("INSERT", "REPLACE"))
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
# An insert of the rows of a query may be of very many.
_QUERY = re.compile(r"\bselect\b", re.IGNORECASE)
_END = re.compile(r"[\s;]*$")


class Written(NamedTuple):
    """The result of a statement whose returned rows are not the caller's."""

    rows_affected: int
    command: str
    has_columns: bool = False
    columns: Sequence[Any] = ()
    rows: Sequence[Any] = ()


@lru_cache(maxsize=1024)
def last_row_query(backend: str, sql: str) -> Optional[str]:
    """MySQL's query for the id behind an insert; None for other statements and databases.

    With RETURNING the statement gives the ids itself.
    """
    return "SELECT last_insert_id()" if backend == "mysql" and _is_insert(sql) else None


@lru_cache(maxsize=1024)
def returning_rowid(backend: str, sql: str) -> Optional[str]:
    """The text of an insert of SQLite that returns its ids; None for other statements and databases."""
    if backend != "sqlite" or not _is_insert(sql) or _QUERY.search(sql):
        return None
    # On a line of its own: a comment may be last.
    return _END.sub("", sql) + "\nRETURNING rowid"


def _is_insert(sql: str) -> bool:
    return first_word(sql) in _INSERTS and not _RETURNING.search(sql)
