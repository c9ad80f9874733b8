"""The parts of a stream of rows, without any input or output."""

from __future__ import annotations

from typing import Any, List, Optional

from .._errors import Error, OperationalError, Outcome
from ._result import Summary
from ._rows import NO_COLUMNS, Shape, shape_of


class StreamParts:
    """The header, the rows and the summary of a stream, as they arrive."""

    def __init__(self, planner: Any) -> None:
        self._planner = planner
        self.shape: Optional[Shape] = None
        self.has_columns = False
        self.summary: Optional[Summary] = None
        self.arrow: List[bytes] = []

    def accept(self, message: Any) -> Optional[List[Any]]:
        """The rows of a message; None for one without rows."""
        part = message.WhichOneof("part")
        if part == "rows":
            assert self.shape is not None
            return self.shape.decode(message.rows.rows)
        if part == "header":
            self.has_columns = message.header.has_columns
            self.shape = shape_of(message.header.columns, self._planner) if self.has_columns else NO_COLUMNS
        elif part == "summary":
            end = message.summary
            self.summary = Summary(
                getattr(end, "rows_affected", 0), getattr(end, "command", "COPY"), end.row_count
            )
        elif part == "arrow":
            self.arrow.append(message.arrow)
        return None

    def check_complete(self, reads: bool) -> None:
        """Raises if the stream has ended without its summary."""
        if self.summary is None:
            raise incomplete(reads)


def incomplete(reads: bool) -> Error:
    """The error of a stream that has ended too early."""
    outcome = Outcome.NOT_APPLIED if reads else Outcome.UNKNOWN
    return OperationalError("the stream ended without its summary: the result is incomplete", outcome=outcome)
