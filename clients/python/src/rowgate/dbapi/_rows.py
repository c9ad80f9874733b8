"""Rows of a cursor: those of a whole result, or of a stream that is read as they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from .. import _errors as errors


class Rows:
    """The rows of a result that is there."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows
        self._next = 0

    def one(self) -> Optional[Any]:
        if self._next >= len(self._rows):
            return None
        row = self._rows[self._next]
        self._next += 1
        return row

    def many(self, size: int) -> list[Any]:
        rows = self._rows[self._next : self._next + size]
        self._next += len(rows)
        return rows

    def all(self) -> list[Any]:
        rows = self._rows[self._next :] if self._next else self._rows
        self._next = len(self._rows)
        return list(rows)

    def close(self) -> None:
        self._rows = []


class StreamedRows:
    """The rows of a stream, of which only what has arrived is kept.

    One that was ended before its last row, or has broken off, raises when it is read: it never looks like a complete one.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.has_columns: bool = stream.has_columns
        self.columns: Sequence[Any] = stream.columns
        self._batches: Optional[Iterator[list[Any]]] = iter(stream.batches())
        self._ready: deque[Any] = deque()
        self._failure: Optional[errors.Error] = None

    @property
    def summary(self) -> Any:
        """The counts of the statement, when it was read to its end."""
        return self._stream.summary

    @property
    def open(self) -> bool:
        """True while the stream has not been read to its end."""
        return self._batches is not None

    def _next(self) -> Optional[list[Any]]:
        """The next rows; None at the end."""
        if self._batches is None:
            if self._failure is not None:
                raise self._failure
            return None
        try:
            batch = next(self._batches, None)
        except BaseException as error:
            self._batches = None
            why, outcome = getattr(error, "message", "it was interrupted"), getattr(error, "outcome", errors.Outcome.NOT_APPLIED)
            self._failure = errors.OperationalError(f"the rows have broken off: {why}", outcome=outcome)
            raise
        if batch is None:
            self._batches = None
        return batch

    def _fill(self) -> bool:
        while not self._ready:
            batch = self._next()
            if batch is None:
                return False
            self._ready.extend(batch)
        return True

    def one(self) -> Optional[Any]:
        return self._ready.popleft() if self._fill() else None

    def many(self, size: int) -> list[Any]:
        rows: list[Any] = []
        while len(rows) < size and self._fill():
            rows.extend(self._ready.popleft() for _ in range(min(size - len(rows), len(self._ready))))
        return rows

    def all(self) -> list[Any]:
        self.keep()
        rows = list(self._ready)
        self._ready.clear()
        return rows

    def keep(self) -> None:
        """Reads the rest into memory, so that the connection is free for another statement."""
        while True:
            batch = self._next()
            if batch is None:
                return
            self._ready.extend(batch)

    def end(self, why: str) -> None:
        """Ends a stream that was not read to its end: reading from it raises. A transaction reads and drops the rest before its
        next command."""
        if self._batches is not None:
            self._batches = None
            self._ready.clear()
            self._failure = errors.ProgrammingError(
                f"the rows that were not fetched are gone: {why}", hint="fetch all of them before, or stream them on a connection of their own"
            )
            self._stream._leave()
