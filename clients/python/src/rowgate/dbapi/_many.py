"""The statements of an `executemany`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from .. import _errors as errors
from . import _casts as casts
from . import _commit as commits
from . import _packed
from . import _paramstyle as paramstyles

if TYPE_CHECKING:
    from ._connection import Connection

# A batch is one message: beyond these, rows go through a transaction in several.
_BATCH_ROWS = 1000
_BATCH_BYTES = 1 << 20
# Fewer rows are statements of their own, and an error names its row as `failed_statement`.
_PACKED_ROWS = 20


class ManyRows:
    """One statement with many parameters: a text, where they allow it, so that the database prepares it once.

    Inserts are packed into statements of many rows.
    """

    def __init__(self, connection: Connection, operation: str, parameters: list[Any]) -> None:
        bound = _bind_all(connection, operation, parameters)
        rows = [(sql, connection._adapt(values)) for sql, values in bound]
        sizes = [sum(_size(value) for value in values) for _, values in rows]
        packed = _packed.pack(rows, sizes) if len(rows) >= _PACKED_ROWS else None
        self.are_packed = packed is not None
        self._rows = rows if packed is None else packed
        self._size = sum(sizes)
        self.sql = bound[0][0]

    @property
    def fit_a_batch(self) -> bool:
        """True if all rows are surely within the limits of one ExecuteBatch of a server with default limits."""
        size = self._size + sum(len(sql) for sql, _ in self._rows)
        return len(self._rows) <= _BATCH_ROWS and size <= _BATCH_BYTES

    def statements(self) -> list[Any]:
        """As statements of a batch."""
        return [(sql, *values) for sql, values in self._rows]

    def commands(self) -> list[Any]:
        """As commands of a transaction."""
        return [("execute", sql, values) for sql, values in self._rows]

    def run(self, transaction: Any, savepoint: Optional[str], **limits: Any) -> list[Any]:
        """Runs them in a transaction. Packed rows are few statements, and large: each is a message."""
        if not self.are_packed:
            return commits.run_many(transaction, savepoint, self._rows, **limits)
        if savepoint is None:
            return commits.run(transaction, self.commands(), **limits)
        return commits.run_in_savepoint(transaction, savepoint, self.commands(), **limits)


def execute_many(connection: Connection, operation: str, parameters: list[Any], timeout: Optional[float]) -> int:
    """Runs a statement for each of the parameters; the sum of the rows that were written."""
    if not parameters:
        return 0
    rows = ManyRows(connection, operation, parameters)
    limits = connection._limits(timeout)

    def alone() -> list[Any]:
        if rows.fit_a_batch:
            return list(connection._database.batch(rows.statements(), **connection._batch_options(timeout)))
        # Too many for a batch: a transaction of their own, so that all are applied or none.
        connection._explicit = True
        try:
            results = connection._run(rows.sql, lambda transaction: rows.run(transaction, None, **limits))
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        return results

    def in_transaction(transaction: Any) -> list[Any]:
        connection._last_id = None  # it generates ids of its own
        return rows.run(transaction, connection._statement_savepoint, **limits)

    try:
        results = connection._run(rows.sql, in_transaction, alone)
    except errors.Error as error:
        if rows.are_packed:  # its number is that of a statement, and not that of a row
            error.failed_statement = None
        raise
    return sum(result.rows_affected for result in results)


def _bind_all(connection: Connection, operation: str, parameters: list[Any]) -> list[tuple[str, Sequence[Any]]]:
    def bind(row: Any, cast: paramstyles.Cast) -> tuple[str, Sequence[Any]]:
        if connection.paramstyle == "numeric_dollar":
            return paramstyles.bind_numbered(operation, row, cast, connection.backend == "sqlite")
        return paramstyles.bind(operation, row, cast)

    plain = [bind(row, casts.uncast) for row in parameters]
    if connection._cast is not casts.cast:
        # A column takes the exact value of a text: an insert needs no casts, and may be packed.
        is_exact = connection._cast is casts.uncast or _packed.parse(plain[0][0]) is not None
        return plain if is_exact else [bind(row, connection._cast) for row in parameters]
    # One cast for each place, wide enough for all rows. Values that are tuples are placeholders of their own.
    if len({sql for sql, _ in plain}) > 1:
        return [bind(row, casts.cast) for row in parameters]
    exact = _packed.parse(plain[0][0]) is not None
    names = [casts.common(column, exact) for column in zip(*(values for _, values in plain))]
    if None in names:
        return [bind(row, casts.cast) for row in parameters]
    sql, _ = paramstyles.bind_numbered(plain[0][0], names, lambda name: f"{{}}::{name}" if name else "", False)
    return [(sql, values) for _, values in plain]


def _size(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return 4 * len(value) + 8 if isinstance(value, str) else len(value) + 8
    if isinstance(value, (list, tuple, dict)):
        return 16 * len(str(value))
    return 32
