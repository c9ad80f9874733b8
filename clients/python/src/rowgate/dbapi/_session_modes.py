"""The modes of the transactions of a connection, which psycopg2 and others have as attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from .. import _errors as errors
from ._settings import level

if TYPE_CHECKING:
    from ._settings import Settings, TransactionModes


class SessionModes:
    """The attributes of a connection that say how its next transactions run."""

    _settings: Settings
    _modes: TransactionModes
    _lock: Any

    @property
    def autocommit(self) -> bool:
        """True: each statement is a transaction of its own. It cannot be changed within a transaction."""
        return self._settings.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        with self._lock:
            self._settings.autocommit = self._outside("autocommit", bool(value), self._settings.autocommit)

    @property
    def isolation_level(self) -> Optional[str]:
        """The isolation level of the next transactions, as `REPEATABLE READ`; None: the database's default."""
        return self._modes.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: Optional[str]) -> None:
        with self._lock:
            self._modes.isolation_level = self._outside("isolation_level", level(value), self._modes.isolation_level)

    @property
    def readonly(self) -> bool:
        """True: the database refuses writes in the next transactions."""
        return self._modes.readonly

    @readonly.setter
    def readonly(self, value: Optional[bool]) -> None:
        with self._lock:
            self._modes.readonly = self._outside("readonly", bool(value), self._modes.readonly)

    @property
    def deferrable(self) -> bool:
        """True: a transaction that is SERIALIZABLE and read-only waits for a snapshot that cannot fail."""
        return self._modes.deferrable

    @deferrable.setter
    def deferrable(self, value: Optional[bool]) -> None:
        with self._lock:
            self._modes.deferrable = self._outside("deferrable", bool(value), self._modes.deferrable)

    def set_session(
        self,
        isolation_level: Optional[str] = None,
        readonly: Optional[bool] = None,
        deferrable: Optional[bool] = None,
        autocommit: Optional[bool] = None,
    ) -> None:
        """Sets those that are given, as psycopg2 does."""
        given = {"isolation_level": isolation_level, "readonly": readonly, "deferrable": deferrable, "autocommit": autocommit}
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)

    def _outside(self, name: str, value: Any, now: Any) -> Any:
        self._check_open()
        if value != now and self.in_transaction:
            raise errors.ProgrammingError(f"{name} cannot be changed within a transaction: commit or roll back first")
        return value

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open, or lost and not yet rolled back."""
        raise NotImplementedError

    def _check_open(self) -> None:
        raise NotImplementedError
