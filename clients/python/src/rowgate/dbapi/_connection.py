"""The connection of PEP 249, over a `rowgate.Connection` or one of `rowgate.aio` that is awaited for it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional, TypeVar

from .. import _errors as errors
from . import _casts as casts
from . import _commit as commits
from . import _drop as drop
from . import _objects as objects
from . import _paramstyle as paramstyles
from ._control import Control, Kind, commits_by_itself
from ._cursor import Cursor
from ._rows import StreamedRows
from ._session_modes import SessionModes
from ._settings import Settings, TransactionModes
from ._statements import SAVEPOINT, Statements, never
from ._text import only_reads

# The most times that a transaction begins.
_ATTEMPTS = 4

T = TypeVar("T")


class Connection(Statements, SessionModes):
    """A connection of PEP 249.

    Its transaction is opened by the first statement and ends with `commit` or `rollback`. With `autocommit` each
    statement is a transaction of its own. When a transaction ends by itself, as its database was lost, its statements fail
    until `rollback` is called: what comes after it would not belong to what came before. The connection stays usable.
    """

    cursor_class: type[Cursor] = Cursor

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(
        self,
        database: Any,
        backend: str,
        settings: Settings,
        modes: TransactionModes,
        *,
        lock: Optional[Any] = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        Statements.__init__(self)
        self.backend = backend
        self._sleep = sleep
        self._database = database
        self._settings = settings
        self._modes = modes
        self._next_modes: Optional[TransactionModes] = None
        self._lock = threading.RLock() if lock is None else lock
        self._adapt = objects.adapter(backend)
        self._cast = casts.casts_of(backend)
        self._savepoints = settings.statement_savepoints
        if self._savepoints is None:
            self._savepoints = backend != "postgres"
        self._transaction: Optional[Any] = None
        # Statements belong to a transaction in autocommit, too: behind BEGIN, and in `with connection`, of which this many are open.
        self._explicit = False
        self._blocks = 0
        self._key: Optional[str] = None
        self._streamed: Optional[StreamedRows] = None
        self._lost: Optional[errors.Error] = None
        # What the last failed statement of the transaction raised.
        self._failure: Optional[errors.Error] = None
        self._closed = False

    # PEP 249

    def cursor(self, name: Optional[str] = None) -> Cursor:
        """A new cursor; with a name one that streams its rows."""
        self._check_open()
        return self.cursor_class(self, name)

    def commit(self) -> None:
        """Commits the transaction; nothing, if none is open.

        Returns only when the commit is known to be applied. An error says by its `outcome` what became of it: after a
        lost answer the server is asked, for as long as `outcome_timeout`; if that does not help either, the outcome is
        UNKNOWN.
        """
        with self._lock:
            self._check_open()
            self._check_transaction()
            transaction = self._transaction
            if transaction is not None:
                self._end_stream("the transaction was committed")
                failure = self._failure if transaction.state == "failed" else None
                self._end()
                if failure is not None:
                    commits.roll_back(transaction)
                    raise commits.failed(failure) from failure
                self._commit(transaction)
            self._end()

    def _commit(self, transaction: Any) -> None:
        commits.commit(self._database, transaction, self._key, self._settings.outcome_timeout, self._sleep)

    def rollback(self) -> None:
        """Undoes the transaction; nothing, if none is open."""
        with self._lock:
            self._check_open()
            transaction = self._transaction
            self._end_stream("the transaction was rolled back")
            self._end()
            if transaction is not None:
                commits.roll_back(transaction)

    def close(self) -> None:
        """Closes the connection; an open transaction is undone."""
        with self._lock:
            if self._closed:
                return
            try:
                self.rollback()
            finally:
                self._closed = True
                self._database.close()

    def __enter__(self) -> Connection:
        """A block is one transaction, also in autocommit, as with psycopg2."""
        with self._lock:
            self._check_open()
            self._blocks += 1
            self._explicit = True
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Commits, or rolls back after an error; the connection stays open, as with psycopg2 and sqlite3."""
        with self._lock:
            self._blocks -= 1
            try:
                if kind is None:
                    self.commit()
                elif not self._closed:
                    self.rollback()
            finally:
                self._explicit = self._blocks > 0 or self.in_transaction and self._explicit

    # Beyond PEP 249

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open, or lost and not yet rolled back."""
        return self._transaction is not None or self._lost is not None

    @property
    def paramstyle(self) -> str:
        return self._settings.paramstyle

    def ping(self) -> None:
        """Asks the database for a sign of life, outside of the transaction."""
        self.ask("SELECT 1")

    def ask(self, sql: str) -> Any:
        """The first value that a query returns, which runs outside of the transaction."""
        self._check_open()
        return self._database.execute(sql, (), **self._settings.call_options(None)).rows[0][0]

    @property
    def driver_connection(self) -> Any:
        """The connection of `rowgate`, or of `rowgate.aio`, that this one uses."""
        return getattr(self._database, "awaited", self._database)

    # Statements, for cursors

    def _check_open(self) -> None:
        if self._closed:
            raise errors.InterfaceError("the connection is closed: open another one with connect()")

    def _check_transaction(self) -> None:
        if self._lost is not None:
            raise commits.lost(self._lost) from self._lost

    def _bind(self, operation: str, parameters: Any) -> tuple[str, Sequence[Any]]:
        values: Sequence[Any]
        if self._settings.paramstyle == "numeric_dollar":
            sql, values = paramstyles.bind_numbered(operation, parameters, self._cast, self.backend == "sqlite")
        else:
            sql, values = paramstyles.bind(operation, parameters, self._cast)
        return sql, self._adapt(values)

    def _run(self, sql: str, in_transaction: Callable[[Any], T], alone: Callable[[], T] = never) -> T:
        """Runs `in_transaction(transaction)`, or in autocommit `alone()`.

        A transaction that ends with its first command has done nothing that the program knows of: it is tried again,
        where the server says that this may help.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            transaction = self._open(sql)
            if transaction is None:
                with self._reading():
                    return alone()
            is_first = transaction.state == "begun"
            try:
                with self._reading():
                    return in_transaction(transaction)
            except errors.Error as error:
                if not is_first or attempt == _ATTEMPTS or error.retry_after is None or transaction.state != "lost":
                    raise
                pause = error.retry_after.total_seconds() * 2 ** (attempt - 1)
            self._lost = None
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _guarded(self, transaction: Any, commands: list[Any], timeout: Optional[float]) -> list[Any]:
        """Runs commands in one round trip; with savepoints, a failure leaves the transaction as it was before them."""
        limits = self._limits(timeout)
        self._last_id = None
        if self._statement_savepoint is None:
            return commits.run(transaction, commands, **limits)
        return commits.run_in_savepoint(transaction, self._statement_savepoint, commands, **limits)

    @property
    def _statement_savepoint(self) -> Optional[str]:
        """The savepoint to which a failed statement undoes itself; None without."""
        return SAVEPOINT if self._savepoints else None

    def _limits(self, timeout: Optional[float]) -> dict[str, Any]:
        limit = self._settings.timeout if timeout is None else timeout
        return {} if limit is None else {"timeout": limit}

    def _call_options(self, timeout: Optional[float]) -> dict[str, Any]:
        options = self._settings.call_options(timeout)
        if self._modes.readonly:
            options["read_only"] = True
        return options

    def _batch_options(self, timeout: Optional[float]) -> dict[str, Any]:
        return {**self._settings.call_options(timeout), **self._modes.options()}

    @contextmanager
    def _dropping(self, sql: str) -> Iterator[None]:
        """Refuses a DROP TABLE of SQLite that would change other tables; in autocommit the check and it are one transaction."""
        table = drop.dropped_table(sql) if self.backend == "sqlite" else None
        if table is None:
            yield
            return
        is_alone = self._settings.autocommit and not self._explicit and not self.in_transaction
        self._explicit = self._explicit or is_alone
        try:
            drop.check_drop(table, lambda query, values: self._run(sql, lambda transaction: transaction.execute(query, values)))
            yield
        except BaseException:
            if is_alone:
                self.rollback()
            raise
        if is_alone:
            self.commit()

    # The transaction

    def _keep_setting(self, sql: str) -> bool:
        """Keeps what a SET in autocommit gives to the session, for each call and transaction from now on.

        The server must allow the setting; it is asked at once. False for all other statements.
        """
        if self.backend != "postgres" or not self._settings.autocommit or self._explicit or self.in_transaction:
            return False
        settings = self._settings.with_set(sql)
        if settings is None:
            return False
        self._database.execute("SELECT 1", (), **{**self._settings.call_options(None), "settings": settings})
        self._settings.settings = settings
        return True

    def _control(self, command: Control) -> bool:
        """Runs a command of transactions; False if the server has to answer it as a statement."""
        if command.kind is Kind.COMMIT:
            self.commit()
        elif command.kind is Kind.ROLLBACK:
            self.rollback()
        elif command.kind in (Kind.BEGIN, Kind.SET_TRANSACTION):
            return self._set_up(command)
        else:
            self._savepoint(command)
        return True

    def _savepoint(self, command: Control) -> None:
        if self._settings.autocommit and not self._explicit:
            raise errors.ProgrammingError(f"{command.kind.value} is for a transaction, and the connection is in autocommit")
        kind = {Kind.SAVEPOINT: "savepoint", Kind.ROLLBACK_TO: "rollback_to", Kind.RELEASE: "release"}[command.kind]
        self._run("SAVEPOINT", lambda transaction: commits.run(transaction, [(kind, command.name)]))

    def _set_up(self, command: Control) -> bool:
        if self.in_transaction:
            self._check_transaction()
            if command.kind is Kind.SET_TRANSACTION:
                return False
            raise errors.ProgrammingError("a transaction is open already: commit or roll back before BEGIN")
        self._next_modes = (self._next_modes or self._modes).with_control(command)
        if command.kind is Kind.BEGIN:
            self._explicit = True
            self._open("BEGIN")
        return True

    def _open(self, sql: str) -> Optional[Any]:
        """The transaction that the statement belongs to, which it may open; None in autocommit."""
        self._check_transaction()
        if self.backend == "mysql" and commits_by_itself(sql):
            self.commit()
            return None
        if self._transaction is not None:
            self._finish_stream()
            return self._transaction
        if self._settings.autocommit and not self._explicit:
            return None
        if self.backend == "sqlite" and not self._modes.readonly and only_reads(sql):
            return None
        self._transaction = self._begin()
        return self._transaction

    def _begin(self) -> Any:
        options = (self._next_modes or self._modes).options()
        if self._settings.tag is not None:
            options["tag"] = self._settings.tag
        if self._settings.settings:
            options["settings"] = dict(self._settings.settings)
        if self._settings.timeout is not None:
            options["reply_timeout"] = self._settings.timeout
        self._key = uuid.uuid4().hex if self._settings.commit_keys and "read_only" not in options else None
        if self._key is not None:
            options["key"] = self._key
        transaction = self._database.transaction(**options)
        transaction.begin(wait=False)
        self._last_id = 0
        return transaction

    def _end(self) -> None:
        self._transaction = self._streamed = self._lost = self._failure = self._next_modes = None
        self._explicit, self._stream_is_guarded = self._blocks > 0, False

    def _finish_stream(self) -> None:
        with self._reading():
            streamed, self._streamed = self._streamed, None
            if streamed is not None and streamed.open:
                streamed.keep()
            if self._stream_is_guarded:
                commits.run(self._transaction, [("release", SAVEPOINT)])
                self._stream_is_guarded = False

    def _end_stream(self, why: str) -> None:
        """Ends a stream that was not read to its end, as psycopg2 does with its transaction."""
        if self._streamed is not None:
            self._streamed.end(why)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Notices the end of the transaction when the calls within it fail."""
        try:
            yield
        except (TypeError, ValueError) as error:
            if not str(error).startswith(("parameter $", "statement ")):
                raise
            raise errors.ProgrammingError(str(error)) from error
        except errors.Error as error:
            self._notice(error)
            raise

    def _notice(self, error: errors.Error) -> None:
        if self._transaction is None:
            return
        if self._transaction.state == "lost":
            self._transaction = self._streamed = None
            self._stream_is_guarded = False
            self._lost = error
        elif self._transaction.state == "failed":
            if error.reason != "TRANSACTION_ABORTED":
                self._failure = error
            if self._stream_is_guarded:
                self._stream_is_guarded = False
                commits.run(self._transaction, [("rollback_to", SAVEPOINT), ("release", SAVEPOINT)])
