"""Transaction control in the text of a statement, which Rowgate takes as commands of its own and not as SQL."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, Optional

BLANK = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_NAME = r'(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^\W\d][\w$]*)'
END = r"(?:\s|;|--[^\n]*(?:\n|$)|/\*.*?\*/)*$"
_WORK = r"(?:\s+(?:WORK|TRANSACTION))?"


class Kind(Enum):
    """A command of a transaction."""

    BEGIN = "BEGIN"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"
    SAVEPOINT = "SAVEPOINT"
    ROLLBACK_TO = "ROLLBACK TO"
    RELEASE = "RELEASE"
    SET_TRANSACTION = "SET TRANSACTION"


class Control(NamedTuple):
    """A command with what belongs to it: the name of a savepoint, the options of a transaction."""

    kind: Kind
    name: str = ""
    isolation_level: Optional[str] = None
    readonly: Optional[bool] = None
    deferrable: Optional[bool] = None


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(BLANK + text + END, re.IGNORECASE | re.DOTALL)


_MODES = (
    r"(?P<modes>(?:[\s,]*(?:ISOLATION\s+LEVEL\s+(?:SERIALIZABLE|REPEATABLE\s+READ|READ\s+COMMITTED|READ\s+UNCOMMITTED)"
    r"|READ\s+ONLY|READ\s+WRITE|NOT\s+DEFERRABLE|DEFERRABLE|DEFERRED|IMMEDIATE|EXCLUSIVE))*)"
)
_PATTERNS = (
    (Kind.BEGIN, _pattern(rf"(?:BEGIN{_WORK}|START\s+TRANSACTION)\s*{_MODES}{_WORK}")),
    (Kind.COMMIT, _pattern(rf"(?:COMMIT|END){_WORK}")),
    (Kind.ROLLBACK, _pattern(rf"(?:ROLLBACK|ABORT){_WORK}")),
    (Kind.SAVEPOINT, _pattern(rf"SAVEPOINT\s+{_NAME}")),
    (Kind.ROLLBACK_TO, _pattern(rf"ROLLBACK{_WORK}\s+TO\s+(?:SAVEPOINT\s+)?{_NAME}")),
    (Kind.RELEASE, _pattern(rf"RELEASE\s+(?:SAVEPOINT\s+)?{_NAME}")),
    (Kind.SET_TRANSACTION, _pattern(rf"SET\s+TRANSACTION\s+{_MODES}")),
)
_FIRST = re.compile(BLANK + r"(?P<word>[A-Za-z]+)", re.DOTALL)
# Statements of MySQL that end the transaction before them, and are never a part of one.
_COMMITTING = frozenset(
    "CREATE ALTER DROP TRUNCATE RENAME GRANT REVOKE ANALYZE OPTIMIZE REPAIR CHECK FLUSH LOCK UNLOCK".split()
)
_TEMPORARY = re.compile(BLANK + r"(?:CREATE(?:\s+OR\s+REPLACE)?|DROP)\s+TEMPORARY\b", re.IGNORECASE | re.DOTALL)
_WORDS = frozenset("BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE SET".split())


def first_word(sql: str) -> str:
    """The first keyword of a statement in upper case; empty where it begins with none."""
    found = _FIRST.match(sql)
    return found["word"].upper() if found else ""


_SETTING = _pattern(r"SET\s+(?:SESSION\s+)?(?P<name>[a-z_][\w.]*)\s*(?:=|TO\b)\s*(?P<value>'(?:[^']|'')*'|[^';]+?)")


@lru_cache(maxsize=256)
def session_setting(sql: str) -> Optional[tuple[str, Optional[str]]]:
    """The name and the value that a SET of PostgreSQL gives to the session; None as the value is the default."""
    found = _SETTING.match(sql) if first_word(sql) == "SET" else None
    if found is None:
        return None
    value = found["value"]
    if value.startswith("'"):
        return found["name"], value[1:-1].replace("''", "'")
    return found["name"], None if value.upper() == "DEFAULT" else value


def commits_by_itself(sql: str) -> bool:
    """True for a statement that MySQL commits by itself, with what is open before it: definitions and their like."""
    return first_word(sql) in _COMMITTING and not _TEMPORARY.match(sql)


@lru_cache(maxsize=1024)
def recognise(sql: str) -> Optional[Control]:
    """The command that the statement is; None for all other statements, which go to the server as they are."""
    if first_word(sql) not in _WORDS:
        return None
    for kind, pattern in _PATTERNS:
        found = pattern.match(sql)
        if found:
            parts = found.groupdict()
            return _with_modes(Control(kind, _unquoted(parts.get("name"))), parts.get("modes"))
    return None


def _unquoted(name: Optional[str]) -> str:
    """The name as the database knows it: one without quotes is the same in upper and lower case."""
    if not name:
        return ""
    quote = name[0]
    if quote in '"`':
        return name[1:-1].replace(quote * 2, quote)
    return name.lower()


def _with_modes(control: Control, modes: Optional[str]) -> Control:
    words = " ".join((modes or "").upper().replace(",", " ").split())
    level = re.search(r"ISOLATION LEVEL (SERIALIZABLE|REPEATABLE READ|READ COMMITTED|READ UNCOMMITTED)", words)
    if level:
        control = control._replace(isolation_level=level[1])
        words = words.replace(level[0], "")
    if "READ ONLY" in words or "READ WRITE" in words:
        control = control._replace(readonly="READ ONLY" in words)
    if "DEFERRABLE" in words:
        control = control._replace(deferrable="NOT DEFERRABLE" not in words)
    return control
