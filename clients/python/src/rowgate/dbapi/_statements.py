"""The statements of a connection of PEP 249: in its transaction, or as calls of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Callable, Optional, TypeVar

from .. import _errors as errors
from . import _commit as commits
from . import _last_row as last_row
from ._rows import StreamedRows

# Before each statement where a failed one leaves its transaction as it was.
SAVEPOINT = "rowgate_statement"

# The most texts of statements that are kept for their large results.
_MOST_LARGE = 500

T = TypeVar("T")


def never() -> Any:
    raise AssertionError("a statement of a transaction ran outside of it")


class Statements:
    """What runs statements, above the parts of a connection that open its transaction and notice its end."""

    backend: str
    _database: Any
    _savepoints: Optional[bool]
    _streamed: Optional[StreamedRows]

    def __init__(self) -> None:
        # Inserts into tables of SQLite that have no rowid.
        self._without_rowid: set[str] = set()
        # Statements whose result is larger than that of a call may be.
        self._large: set[str] = set()
        # `last_insert_id()` of MySQL in the transaction, where nothing has run since it was asked for.
        self._last_id: Optional[int] = None
        # The stream has a savepoint before it, to which the transaction goes back when it fails.
        self._stream_is_guarded = False

    def _execute(self, sql: str, values: Sequence[Any], timeout: Optional[float]) -> tuple[Any, Optional[int]]:
        """Runs a statement; its result, and the id of the row that it inserted where the database has one."""
        if last_row.has_last_id(self.backend, sql):
            return self._insert(sql, values, timeout)
        returning = last_row.returning_rowid(self.backend, sql)
        if returning is not None and sql not in self._without_rowid:
            try:
                result = self._execute_plain(returning, values, timeout)
                written = last_row.Written(result.rows_affected, result.command)
                return written, last_row.rowid(result.rows[-1]) if result.rows else None
            except errors.Error as error:
                if error.reason != "UNDEFINED_COLUMN":
                    raise
                self._without_rowid.add(sql)
        return self._execute_plain(sql, values, timeout), None

    def _execute_plain(self, sql: str, values: Sequence[Any], timeout: Optional[float]) -> Any:
        def in_transaction(transaction: Any) -> Any:
            if not self._savepoints:
                return transaction.execute(sql, values, **self._limits(timeout))
            return self._guarded(transaction, [("execute", sql, values)], timeout)[0]

        return self._run(sql, in_transaction, lambda: self._call(sql, values, timeout))

    def _call(self, sql: str, values: Sequence[Any], timeout: Optional[float]) -> Any:
        """Runs a statement as a call of its own, which has a limit on its result: a larger one is streamed."""
        options = self._call_options(timeout)
        if sql not in self._large and not last_row.returns_rows_it_writes(sql):
            try:
                return self._database.execute(sql, values, **options)
            except errors.Error as error:
                if error.reason != "RESULT_TOO_LARGE" or error.outcome is not errors.Outcome.NOT_APPLIED:
                    raise
            if len(self._large) >= _MOST_LARGE:
                self._large.clear()
            self._large.add(sql)
        streamed = StreamedRows(self._database.open_stream(sql, values, **options))
        rows, summary = streamed.all(), streamed.summary
        return last_row.Written(summary.rows_affected, summary.command, streamed.has_columns, streamed.columns, rows)

    def _insert(self, sql: str, values: Sequence[Any], timeout: Optional[float]) -> tuple[Any, Optional[int]]:
        """Runs an insert of MySQL, with the question for its id in the same flight."""
        insert, ask = ("execute", sql, values), ("execute", last_row.LAST_ID, ())

        def in_transaction(transaction: Any) -> tuple[Any, Optional[int]]:
            known = self._last_id
            before = [ask] if known is None else []
            *asked, result, last = self._guarded(transaction, [*before, insert, ask], timeout)
            before_id, self._last_id = asked[0].rows[0][0] if asked else known, last.rows[0][0]
            is_new = self._last_id != before_id or self._generates(transaction, sql)
            return result, self._last_id if self._last_id and is_new else None

        def alone() -> tuple[Any, Optional[int]]:
            result, last = self._database.batch([(sql, *values), last_row.LAST_ID], **self._batch_options(timeout))
            return result, last.rows[0][0] or None

        return self._run(sql, in_transaction, alone)

    def _generates(self, transaction: Any, sql: str) -> bool:
        """True if an insert of MySQL has certainly generated an id, as its table generates them, and it names no id."""
        target = last_row.generating_target(sql)
        if target is None:
            return False
        found = commits.run(transaction, [("execute", last_row.ID_COLUMN, (target.schema, target.table))])[0].rows
        return bool(found) and found[0][0].lower() not in target.columns

    def _stream(self, sql: str, values: Sequence[Any], timeout: Optional[float]) -> StreamedRows:
        """Streams the rows of a statement. One that returns none is read to its end: it has run then."""

        def in_transaction(transaction: Any) -> StreamedRows:
            limits = self._limits(timeout)
            self._last_id = None
            if self._savepoints:
                commits.run(transaction, [("savepoint", SAVEPOINT)], **limits)
                self._stream_is_guarded = True
            self._streamed = opened(transaction, limits)
            return self._streamed

        def opened(source: Any, limits: dict[str, Any]) -> StreamedRows:
            streamed = StreamedRows(source.open_stream(sql, values, **limits))
            if not streamed.has_columns:
                streamed.keep()
            return streamed

        return self._run(sql, in_transaction, lambda: opened(self._database, self._call_options(timeout)))

    def _run(self, sql: str, in_transaction: Callable[[Any], T], alone: Callable[[], T] = never) -> T:
        raise NotImplementedError

    def _guarded(self, transaction: Any, commands: list[Any], timeout: Optional[float]) -> list[Any]:
        raise NotImplementedError

    def _reading(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _limits(self, timeout: Optional[float]) -> dict[str, Any]:
        raise NotImplementedError

    def _call_options(self, timeout: Optional[float]) -> dict[str, Any]:
        raise NotImplementedError

    def _batch_options(self, timeout: Optional[float]) -> dict[str, Any]:
        raise NotImplementedError
