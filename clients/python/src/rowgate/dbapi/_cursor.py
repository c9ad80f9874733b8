"""The cursor of PEP 249."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Union

from .. import _errors as errors
from . import _control as control
from ._many import execute_many
from ._rows import Rows, StreamedRows
from ._types import TypeCode

if TYPE_CHECKING:
    from ._connection import Connection

Parameters = Union[Sequence[Any], Mapping[str, Any], None]


_COUNTED = frozenset("INSERT UPDATE DELETE MERGE REPLACE COPY MOVE".split())


def _written(result: Any) -> int:
    """The rows that were written; -1 for a statement that writes none."""
    is_counted = result.rows_affected or result.command.partition(" ")[0].upper() in _COUNTED
    return int(result.rows_affected) if is_counted else -1


def _count(result: Any) -> int:
    """The rows that were written, else those that were returned; -1 for a statement that does neither."""
    written = _written(result)
    return len(result.rows) if written < 0 and result.has_columns else written


class Cursor:
    """Runs statements of a connection, and holds the rows of the last one.

    Cursors of one connection share its transaction. With a name the rows are streamed: they are read from the server
    as they are fetched, and another statement of the same transaction first reads what is left into memory.
    """

    arraysize = 1

    def __init__(self, connection: Connection, name: Optional[str] = None) -> None:
        self.connection = connection
        self.name = name
        self.itersize = 2000
        self.timeout: Optional[float] = None
        self._closed = False
        self._forget()

    def _forget(self) -> None:
        self.description: Optional[tuple[tuple[Any, ...], ...]] = None
        self.rowcount = -1
        self.lastrowid: Optional[int] = None
        self.statusmessage: Optional[str] = None
        self._rows: Union[Rows, StreamedRows, None] = None
        # The last statement ran outside of a transaction, or committed one.
        self._is_applied = False

    # Statements

    def execute(self, operation: str, parameters: Parameters = None) -> Cursor:
        """Runs a statement. Without parameters a percent sign in it is one; with them it is written `%%`."""
        with self.connection._lock:
            self._check()
            self._discard()
            self._forget()
            sql, values = self.connection._bind(operation, parameters)
            command = control.recognise(sql)
            if command is not None and self.connection._control(command):
                self.statusmessage = command.kind.value
            elif self.connection._keep_setting(sql):
                self.statusmessage = "SET"
            else:
                with self.connection._dropping(sql):
                    self._run(sql, values)
            self._is_applied = not self.connection.in_transaction and (command is None or command.kind is control.Kind.COMMIT)
        return self

    def _run(self, sql: str, values: Sequence[Any]) -> None:
        if self.name is not None:
            self._take_stream(self.connection._stream(sql, values, self.timeout))
        else:
            result, self.lastrowid = self.connection._execute(sql, values, self.timeout)
            self._take(result)

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters]) -> Cursor:
        """Runs a statement for each of the parameters, sent together; all of them are applied or none. Plain inserts become
        statements of many rows.

        `rowcount` is the sum of the rows that they wrote. Rows that they return are dropped.
        """
        with self.connection._lock:
            self._check()
            self._discard()
            self._forget()
            if self.name is not None:
                raise errors.ProgrammingError("a named cursor cannot run executemany: use one without a name")
            self.rowcount = execute_many(self.connection, operation, list(seq_of_parameters), self.timeout)
            self._is_applied = not self.connection.in_transaction
        return self

    def callproc(self, procname: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        """Calls a function of PostgreSQL: its result is a row, or rows, to fetch."""
        if self.connection.backend != "postgres":
            raise errors.NotSupportedError("callproc calls functions of PostgreSQL: write the CALL or SELECT")
        names = ".".join('"' + part.replace('"', '""') + '"' for part in procname.split("."))
        if self.connection.paramstyle == "numeric_dollar":
            places = ", ".join(f"${index + 1}" for index in range(len(parameters)))
        else:
            places = ", ".join(["%s"] * len(parameters))
            names = names.replace("%", "%%")
        self.execute(f"SELECT * FROM {names}({places})", tuple(parameters))
        return parameters

    def _take(self, result: Any) -> None:
        self.statusmessage = result.command
        if result.has_columns:
            self._describe(result.columns)
            self._rows = Rows(result.rows)
        self.rowcount = _count(result)

    def _take_stream(self, stream: StreamedRows) -> None:
        self._rows = stream
        if stream.has_columns:
            self._describe(stream.columns)
        else:  # it was read to its end, and fetching from it gives none, as with PyMySQL
            self.statusmessage, self.rowcount = stream.summary.command, _written(stream.summary)

    def _describe(self, columns: Sequence[Any]) -> None:
        self.description = tuple((column.name, TypeCode.of(column), None, None, None, None, None) for column in columns)

    # Rows

    def _fetching(self) -> Union[Rows, StreamedRows]:
        self._check()
        if self._rows is None:
            outcome = errors.Outcome.APPLIED if self._is_applied else errors.Outcome.NOT_APPLIED
            raise errors.ProgrammingError("there are no rows to fetch: the last statement returned none", outcome=outcome)
        return self._rows

    def fetchone(self) -> Optional[Any]:
        """The next row, or None behind the last one."""
        with self.connection._lock:
            rows = self._fetching()
            with self.connection._reading():
                return rows.one()

    def fetchmany(self, size: Optional[int] = None) -> list[Any]:
        """The next `size` rows, by default `arraysize`; fewer at the end."""
        with self.connection._lock:
            rows = self._fetching()
            with self.connection._reading():
                return rows.many(self.arraysize if size is None else size)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        with self.connection._lock:
            rows = self._fetching()
            with self.connection._reading():
                return rows.all()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    # Housekeeping

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Does nothing: parameters need no sizes."""
        self._check()

    def setoutputsize(self, size: int, column: Optional[int] = None) -> None:
        """Does nothing: columns need no sizes."""
        self._check()

    @property
    def closed(self) -> bool:
        return self._closed or self.connection.closed

    def _check(self) -> None:
        if self._closed:
            raise errors.InterfaceError("the cursor is closed: open another one with connection.cursor()")
        self.connection._check_open()

    def _discard(self) -> None:
        rows, self._rows = self._rows, None
        if isinstance(rows, StreamedRows):
            rows.end("the cursor was closed")

    def close(self) -> None:
        """Closes the cursor; rows that were not fetched are dropped."""
        with self.connection._lock:
            if not self._closed:
                if not self.connection.closed:
                    self._discard()
                self._closed = True

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
