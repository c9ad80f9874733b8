"""The statements of an `executemany`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _casts as casts
from . import _paramstyle as paramstyles

if TYPE_CHECKING:
    from ._connection import Connection

# A batch is one message: beyond these, rows go through a transaction in several.
_BATCH_ROWS = 1000
_BATCH_BYTES = 1 << 20


class ManyRows:
    """One statement with many parameters: a text, where they allow it, so that the database prepares it once."""

    def __init__(self, connection: Connection, operation: str, parameters: list[Any]) -> None:
        bound = _bind_all(connection, operation, parameters)
        self._rows = [(sql, connection._adapt(values)) for sql, values in bound]
        self.sql = bound[0][0]

    @property
    def fit_a_batch(self) -> bool:
        """True if all rows are surely within the limits of one ExecuteBatch of a server with default limits."""
        if len(self._rows) > _BATCH_ROWS:
            return False
        size = 0
        for sql, values in self._rows:
            size += len(sql) + sum(_size(value) for value in values)
            if size > _BATCH_BYTES:
                return False
        return True

    def statements(self) -> list[Any]:
        """As statements of a batch."""
        return [(sql, *values) for sql, values in self._rows]

    def commands(self) -> list[Any]:
        """As commands of a transaction."""
        return [("execute", sql, values) for sql, values in self._rows]


def _bind_all(connection: Connection, operation: str, parameters: list[Any]) -> list[tuple[str, Sequence[Any]]]:
    def bind(row: Any, cast: paramstyles.Cast) -> tuple[str, Sequence[Any]]:
        if connection.paramstyle == "numeric_dollar":
            return paramstyles.bind_numbered(operation, row, cast, connection.backend == "sqlite")
        return paramstyles.bind(operation, row, cast)

    plain = [bind(row, casts.uncast) for row in parameters]
    if connection._cast is casts.uncast:
        return plain
    # One cast for each place, wide enough for all rows. Values that are tuples are placeholders of their own.
    if len({sql for sql, _ in plain}) > 1:
        return [bind(row, casts.cast) for row in parameters]
    names = [casts.common(column) for column in zip(*(values for _, values in plain))]
    sql, _ = paramstyles.bind_numbered(plain[0][0], names, lambda name: f"::{name}" if name else "", False)
    return [(sql, values) for _, values in plain]


def _size(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return 4 * len(value) + 8 if isinstance(value, str) else len(value) + 8
    if isinstance(value, (list, tuple, dict)):
        return 16 * len(str(value))
    return 32
