"""A `rowgate.aio` connection with the calls of `rowgate.Connection`, each awaited in the greenlet of SQLAlchemy's asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.util import await_only

from .. import aio
from ..dbapi import _objects as objects
from ..dbapi._connection import Connection
from ..dbapi._cursor import Cursor
from ..dbapi._settings import Settings, TransactionModes
from ._task_lock import TaskLock


class AwaitedStream:
    """A stream of rows."""

    def __init__(self, stream: Any) -> None:
        self._stream = await_only(_opened(stream))
        self.columns = self._stream.columns
        self.has_columns = self._stream.has_columns

    @property
    def summary(self) -> Any:
        return self._stream.summary

    def batches(self) -> Iterator[list[Any]]:
        batches = self._stream.batches().__aiter__()
        while True:
            try:
                yield await_only(batches.__anext__())
            except StopAsyncIteration:
                return

    def _leave(self) -> None:
        self._stream._leave()


async def _opened(stream: Any) -> Any:
    await stream.open()
    return stream


class AwaitedTransaction:
    """A transaction."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction

    @property
    def state(self) -> str:
        return str(self._transaction.state)

    def begin(self, *, wait: bool = True) -> None:
        await_only(self._transaction.begin(wait=wait))

    def execute(self, sql: str, parameters: Sequence[Any] = (), **options: Any) -> Any:
        return await_only(self._transaction.execute(sql, parameters, **options))

    def pipeline(self, commands: Sequence[Any], **options: Any) -> list[Any]:
        return list(await_only(self._transaction.pipeline(commands, **options)))

    def execute_all(self, statements: Sequence[Any], **options: Any) -> list[Any]:
        return list(await_only(self._transaction.execute_all(statements, **options)))

    def open_stream(self, sql: str, parameters: Sequence[Any] = (), **options: Any) -> AwaitedStream:
        return AwaitedStream(self._transaction.open_stream(sql, parameters, **options))

    def savepoint(self, name: str) -> None:
        await_only(self._transaction.savepoint(name))

    def rollback_to(self, name: str) -> None:
        await_only(self._transaction.rollback_to(name))

    def release(self, name: str) -> None:
        await_only(self._transaction.release(name))

    def commit(self) -> None:
        await_only(self._transaction.commit())

    def rollback(self) -> None:
        await_only(self._transaction.rollback())


class AwaitedDatabase:
    """A connection of `rowgate.aio`; `awaited` is the connection itself."""

    def __init__(self, database: Any) -> None:
        self.awaited = database

    def execute(self, sql: str, parameters: Sequence[Any] = (), **options: Any) -> Any:
        return await_only(self.awaited.execute(sql, parameters, **options))

    def batch(self, statements: Sequence[Any], **options: Any) -> Any:
        return await_only(self.awaited.batch(statements, **options))

    def open_stream(self, sql: str, parameters: Sequence[Any] = (), **options: Any) -> AwaitedStream:
        return AwaitedStream(self.awaited.open_stream(sql, parameters, **options))

    def transaction(self, **options: Any) -> AwaitedTransaction:
        return AwaitedTransaction(self.awaited.transaction(**options))

    def outcome(self, **handle: Any) -> str:
        return str(await_only(self.awaited.outcome(**handle)))

    def close(self) -> None:
        await_only(self.awaited.close())


class AwaitedCursor(Cursor):
    """A cursor whose rows are all there when its statement has run, unless it streams."""

    async def _async_soft_close(self) -> None:
        """Does nothing: SQLAlchemy 2.1 asks for it when it goes on without awaiting."""


class AwaitedConnection(Connection, AdaptedConnection):
    """The connection of PEP 249 that SQLAlchemy's asyncio engine uses."""

    cursor_class = AwaitedCursor

    def __init__(self, database: Any, backend: str, settings: Any, modes: Any) -> None:
        super().__init__(
            AwaitedDatabase(database), backend, settings, modes, lock=TaskLock(), sleep=lambda s: await_only(asyncio.sleep(s))
        )
        self._connection = database


def open_awaited(
    address: str, name: str, backend: str, own: Settings, modes: TransactionModes, options: Mapping[str, Any]
) -> AwaitedConnection:
    """Opens a connection of `rowgate.aio`, in the place of `rowgate.connect`."""
    decoder = objects.decoder(backend, own.json_loads)
    database = aio.connect(address, database=name, decoder=decoder, **options)
    return AwaitedConnection(database, backend, own, modes)
