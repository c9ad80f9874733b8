"""Settings of a connection of PEP 249 and of its transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from .. import _errors as errors
from ._control import session_setting

# PostgreSQL runs READ UNCOMMITTED as READ COMMITTED; the databases without it get what is stricter.
_LEVELS = {
    "READ UNCOMMITTED": "read committed",
    "READ COMMITTED": "read committed",
    "REPEATABLE READ": "repeatable read",
    "SERIALIZABLE": "serializable",
}


@dataclass
class TransactionModes:
    """The isolation level and the rights of a transaction; None is the database's default."""

    isolation_level: Optional[str] = None
    readonly: bool = False
    deferrable: bool = False

    def with_control(self, command: Any) -> TransactionModes:
        """The same with what a BEGIN or SET TRANSACTION says."""
        level, readonly, deferrable = command.isolation_level, command.readonly, command.deferrable
        return TransactionModes(
            self.isolation_level if level is None else level,
            self.readonly if readonly is None else readonly,
            self.deferrable if deferrable is None else deferrable,
        )

    def options(self) -> dict[str, Any]:
        """As options of a transaction of `rowgate`; those that are not set are left out."""
        options: dict[str, Any] = {}
        if self.isolation_level is not None:
            options["isolation"] = _LEVELS[self.isolation_level]
        if self.readonly:
            options["read_only"] = True
        if self.deferrable:
            options["deferrable"] = True
        return options


def level(name: Optional[str]) -> Optional[str]:
    """The isolation level by its name in SQL, in upper or lower case; None stands for the default."""
    if name is None:
        return None
    known = name.upper().replace("_", " ")
    if known not in _LEVELS:
        raise errors.ProgrammingError(f"the isolation level {name!r} is not known: there are {', '.join(_LEVELS)}")
    return known


@dataclass
class Settings:
    """Settings of a connection, beside its transactions' modes."""

    autocommit: bool = False
    # `pyformat`, or `numeric_dollar` for texts that have `$1` already.
    paramstyle: str = "pyformat"
    # Seconds that a statement may take; None: the server's limit.
    timeout: Optional[float] = None
    # Seconds for which the outcome of a commit in doubt is asked for.
    outcome_timeout: float = 10.0
    # Each transaction has an idempotency key, by which its outcome is told when the answer is lost on the way.
    commit_keys: bool = False
    tag: Optional[str] = None
    # Settings of PostgreSQL's for each transaction and call, as `search_path`.
    settings: Mapping[str, str] = field(default_factory=dict)
    json_loads: Optional[Callable[[str], Any]] = None
    # A failed statement leaves the transaction as it was before it. None: as the database's usual driver.
    statement_savepoints: Optional[bool] = None

    def with_set(self, sql: str) -> Optional[dict[str, str]]:
        """The settings of PostgreSQL's as a SET of the session leaves them; None for another statement."""
        found = session_setting(sql)
        if found is None:
            return None
        name, value = found
        settings = {known: text for known, text in self.settings.items() if known != name}
        return settings if value is None else {**settings, name: value}

    def call_options(self, timeout: Optional[float]) -> dict[str, Any]:
        """As options of a call of `rowgate`; those that are not set are left out."""
        options: dict[str, Any] = {"timeout": self.timeout if timeout is None else timeout, "tag": self.tag}
        if self.settings:
            options["settings"] = dict(self.settings)
        return {name: value for name, value in options.items() if value is not None}
