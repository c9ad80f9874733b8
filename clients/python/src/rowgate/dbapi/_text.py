"""The words of a statement: its text without what is quoted, and without comments."""

from __future__ import annotations

import re
from functools import lru_cache

from ._control import first_word

# Statements that open no transaction on SQLite, where one that may write keeps others from writing. sqlite3 does the same.
_READS = frozenset("SELECT VALUES PRAGMA EXPLAIN".split())
_WRITES = re.compile(r"\b(?:insert|update|delete|replace(?!\s*\())\b", re.IGNORECASE)
# A comment that MySQL runs as code, `/*! … */`, is left as it is.
_MYSQL = r"""'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*` | \#[^\n]* | --(?=\s)[^\n]* | /\*(?!!).*?\*/"""
_OTHERS = r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^]]*\] | --[^\n]* | /\*.*?\*/"""
_QUOTED = {
    backend: re.compile(pattern, re.DOTALL | re.VERBOSE)
    for backend, pattern in (("mysql", _MYSQL), ("sqlite", _OTHERS), ("postgres", _OTHERS))
}


@lru_cache(maxsize=1024)
def words(backend: str, sql: str) -> str:
    """The text with `''` in the place of each text and quoted name, and a blank in that of each comment."""
    return _QUOTED[backend].sub(lambda found: "''" if found[0][0] in "'\"`[" else " ", sql)


@lru_cache(maxsize=1024)
def only_reads(sql: str) -> bool:
    """True for a statement of SQLite that certainly writes nothing."""
    first = first_word(sql)
    return first in _READS or (first == "WITH" and not _WRITES.search(words("sqlite", sql)))
