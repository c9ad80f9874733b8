"""Errors: a small hierarchy, and what a failed call tells.

The upper classes are those of PEP 249, so that `rowgate.dbapi` raises the same ones. Below them `rowgate._reasons` has
one class for each reason of docs/ERRORS.md, and `rowgate._conditions` one for each condition of the databases.
"""

from datetime import timedelta
from enum import Enum
from typing import Any, Dict, Optional, Type

import grpc


class Outcome(str, Enum):
    """The outcome of the work of a call that failed."""

    NOT_APPLIED = "NOT_APPLIED"
    APPLIED = "APPLIED"
    UNKNOWN = "UNKNOWN"

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]


class Warning(Exception):  # noqa: A001 - the name is PEP 249's
    """A warning of PEP 249; nothing raises it."""


class Error(Exception):
    """A failure of a call, a statement or a connection.

    `outcome` says if the work was applied. `retry_after` is set when the same call may be sent again, after so long:
    nothing was applied then. The other attributes are empty where the database reported nothing.
    """

    reason: str = ""
    message: str
    outcome: Outcome
    code: Optional[grpc.StatusCode]
    retry_after: Optional[timedelta]
    sqlstate: str
    severity: str
    constraint: str
    schema: str
    table: str
    column: str
    data_type: str
    position: int
    hint: str
    detail: str
    line: int
    failed_statement: Optional[int]
    transaction_token: str
    fields: Dict[str, str]

    def __init__(
        self,
        message: str = "",
        *,
        reason: Optional[str] = None,
        outcome: Outcome = Outcome.NOT_APPLIED,
        code: Optional[grpc.StatusCode] = None,
        retry_after: Optional[timedelta] = None,
        fields: Optional[Dict[str, str]] = None,
        **database: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.outcome = outcome
        self.code = code
        self.retry_after = retry_after
        self.fields = fields or {}
        self.position = self.line = 0
        self.failed_statement = None
        self.sqlstate = self.severity = self.constraint = self.schema = self.table = self.column = ""
        self.data_type = self.hint = self.detail = self.transaction_token = ""
        for name, value in database.items():
            if name not in _DATABASE_FIELDS:
                raise TypeError(f"an error has no attribute {name!r}")
            setattr(self, name, value)

    def __str__(self) -> str:
        parts = [self.message]
        if self.hint:
            parts.append(f"\nhint: {self.hint}")
        told = [word for word in (self.reason, self.sqlstate) if word]
        if self.outcome is not Outcome.NOT_APPLIED:
            told.append(f"outcome {self.outcome}")
        if told:
            parts.append(f"\n({', '.join(told)})")
        return "".join(parts)

    def __reduce__(self) -> Any:
        return (_rebuilt, (type(self), self.message, dict(self.__dict__)))


_DATABASE_FIELDS = frozenset(
    "sqlstate severity constraint schema table column data_type position hint detail line failed_statement"
    " transaction_token".split()
)


def _rebuilt(cls: Type[Error], message: str, attributes: Dict[str, Any]) -> Error:
    error = cls(message)
    error.__dict__.update(attributes)
    return error


class InterfaceError(Error):
    """A wrong use of this package: a closed connection, a transaction that is over."""


class DatabaseError(Error):
    """A failure that the server or the database reported, or that the network caused."""


class DataError(DatabaseError):
    """A value that its type cannot hold, or that cannot be computed."""


class OperationalError(DatabaseError):
    """A failure of the operation, not of the statement: no connection, a deadline, a conflict, a limit."""


class IntegrityError(DatabaseError):
    """A constraint that the change would violate."""


class InternalError(DatabaseError):
    """A defect, or damaged data."""


class ProgrammingError(DatabaseError):
    """A statement or request that is wrong, or not allowed."""


class NotSupportedError(DatabaseError):
    """A feature that the database or the server lacks."""


class TransportError(OperationalError):
    """A status that does not come from Rowgate: no connection, a proxy, a timer of the client's own.

    `outcome` is UNKNOWN unless the request cannot have been sent, or can only have read.
    """
