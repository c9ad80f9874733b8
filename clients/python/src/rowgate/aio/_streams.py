"""Streams of rows for asyncio: of a call of their own, of a copy, of a statement in a transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AsyncGenerator, AsyncIterator, BinaryIO, List, Mapping, Optional, Tuple

import grpc
from grpc.aio import EOF

from .._client import _arrow
from .._client._caller import READS, safety_of
from .._client._result import Summary
from .._client._stream import StreamParts
from .._client._unit import LIVE
from .._errors import InterfaceError
from .._values._decode import Column
from ._cancelled import cancel_later, raise_unless_cancelled

if TYPE_CHECKING:
    from ._connection import Connection
    from ._transaction import Transaction

_ARROW = 2


class RowStream:
    """Rows as they arrive, in constant memory. A stream is read once, in one loop: leaving the loop ends it, as `close` does.

    `async with` also ends one whose loop an exception leaves.
    """

    _is_left = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        batches = self.batches()
        try:
            async for batch in batches:
                for row in batch:
                    yield row
        finally:
            await batches.aclose()

    async def batches(self) -> AsyncGenerator[List[Any], None]:
        """The rows in lists as they arrive: fast, and with less work for each row."""
        if self._is_left:
            raise InterfaceError("the stream was left in the middle of its rows: read it in one loop")
        batch = await self._next_batch()
        try:
            while batch is not None:
                yield batch
                batch = await self._next_batch()
        except GeneratorExit:
            self._is_left = True
            self._leave()
            raise

    async def scalars(self) -> AsyncIterator[Any]:
        """The first value of each row."""
        batches = self.batches()
        try:
            async for batch in batches:
                for row in batch:
                    yield tuple.__getitem__(row, 0)
        finally:
            await batches.aclose()

    def _leave(self) -> None:
        """Ends the stream whose reader does not go on."""
        raise NotImplementedError

    async def open(self) -> Any:
        """Waits for the columns, which `columns` and `has_columns` need."""
        await self._begun()
        return self

    @property
    def columns(self) -> Tuple[Column, ...]:
        """The columns, once the stream is open."""
        shape = self._opened().shape
        return shape.columns if shape is not None else ()

    @property
    def has_columns(self) -> bool:
        """True for a statement that returns rows, even if there are none; once the stream is open."""
        return bool(self._opened().has_columns)

    @property
    def summary(self) -> Optional[Summary]:
        """The counts, at the end of a complete stream: a write is applied when they are there. None before."""
        raise NotImplementedError

    def _opened(self) -> Any:
        raise NotImplementedError

    async def _begun(self) -> Any:
        raise NotImplementedError

    async def _next_batch(self) -> Optional[List[Any]]:
        raise NotImplementedError

    async def close(self) -> None:
        """Ends the stream."""
        raise NotImplementedError

    async def __aenter__(self) -> Any:
        return await self.open()

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


class Stream(RowStream):
    """The rows of one statement. It is complete only with its `summary`; one that breaks off raises."""

    def __init__(self, connection: Connection, request: Any, options: Mapping[str, Any], method: str = "") -> None:
        self._connection = connection
        self._method = method or "StreamQuery"
        self._request = request
        self._safety = safety_of(options)
        self._clock = connection.clock(options, None)
        self._parts = StreamParts(connection.planner)
        self._call: Any = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._is_closed = False
        self._is_complete = False

    def _options(self) -> Any:
        return self._request.query.options

    async def _start(self) -> Any:
        """Opens the call and returns its first message; repeats it where that is safe."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._call = getattr(self._connection._methods, self._method)(
                self._request,
                metadata=await self._connection._metadata(self._clock.remaining()),
                timeout=self._clock.timeout(self._options()),
                wait_for_ready=self._connection.wait_for_ready,
            )
            try:
                return await self._read()
            except grpc.RpcError as error:
                failure = self._connection._failure(error, self._safety.reads)
            pause = self._clock.pause(failure, self._safety)
            if pause is None:
                self._is_closed = True
                raise failure
            await asyncio.sleep(pause)

    async def _next_message(self) -> Any:
        """The next message; None at the end."""
        if self._is_complete:
            return None
        self._check_readable()
        with self._clock.doubt:
            if self._call is None:
                return await self._start()
            try:
                return await self._read()
            except grpc.RpcError as error:
                self._is_closed = True
                raise self._connection._failure(error, self._safety.reads) from None

    async def _read(self) -> Any:
        """The next message of the call; None at the end."""
        try:
            message = await self._call.read()
        except grpc.RpcError:
            raise  # the call has ended
        except BaseException as error:
            was_ended = self._is_closed or self._connection._is_over
            self._leave()  # grpc cancels the call in some of its states only
            if was_ended and isinstance(error, asyncio.CancelledError):
                raise_unless_cancelled(InterfaceError("the stream was closed while its reader waited"))
            raise
        if message is not EOF:
            return message
        self._is_closed = True
        self._parts.check_complete(self._safety.reads)
        self._is_complete = True
        return None

    def _check_readable(self) -> None:
        if self._is_closed:
            raise InterfaceError("the stream is closed, and was not read to its end")

    def _opened(self) -> StreamParts:
        if self._call is None:
            raise InterfaceError("the stream is not open: `await stream.open()`, or read from it first")
        return self._parts

    async def _begun(self) -> StreamParts:
        if self._call is None:
            self._accept(await self._next_message())
        return self._parts

    def _accept(self, message: Any) -> Optional[List[Any]]:
        """The rows of a message. One that cannot be read ends the stream."""
        try:
            return self._parts.accept(message)
        except BaseException:
            self._leave()
            raise

    async def _next_batch(self) -> Optional[List[Any]]:
        while True:
            message = await self._next_message()
            if message is None:
                return None
            rows = self._accept(message)
            if rows is not None:
                return rows

    @property
    def summary(self) -> Optional[Summary]:
        return self._parts.summary

    async def to_arrow(self) -> Any:
        """All rows as a `pyarrow.Table`, as the server wrote it: the fastest way to many rows. Needs pyarrow."""
        _arrow.pyarrow()
        if self._call is not None:
            raise InterfaceError("the stream has begun as rows: ask for Arrow before you read from it")
        if self._method != "StreamQuery":
            raise InterfaceError("set format='arrow' and read data(), or use stream(...).to_arrow()")
        self._request.query.options.format = _ARROW
        while await self._next_batch() is not None:
            pass
        return _arrow.read_stream(self._parts.arrow)

    async def to_pandas(self, **options: Any) -> Any:
        """All rows as a `pandas.DataFrame`; needs pandas and pyarrow. Options are those of pyarrow's `Table.to_pandas`. Decimals are
        Decimals, and integers with NULLs pandas' nullable integers, unless an option says otherwise."""
        table = await self.to_arrow()
        return _arrow.to_pandas(table, options, self.columns)

    async def close(self) -> None:
        """Ends the stream. A statement that has not ended is cancelled in the database."""
        self._leave()

    def _leave(self) -> None:
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()

    def __del__(self) -> None:
        if getattr(self, "_call", None) is not None and not self._is_closed:
            cancel_later(self._call, self._loop)


class CopyOut(Stream):
    """A copy out: rows, or the pieces of CSV, text or Arrow as `data()`. It is complete only with its `summary`."""

    def __init__(self, connection: Connection, request: Any, options: Mapping[str, Any]) -> None:
        super().__init__(connection, request, options, "CopyOut")
        self._safety = READS

    def _options(self) -> Any:
        return self._request.options

    async def data(self) -> AsyncIterator[bytes]:
        """The pieces of the data, with a format other than rows; one may begin anywhere in a line."""
        try:
            while True:
                message = await self._next_message()
                if message is None:
                    return
                if message.WhichOneof("part") == "data":
                    yield message.data
                else:
                    self._accept(message)
        except GeneratorExit:
            self._leave()
            raise

    async def write_to(self, file: BinaryIO) -> Summary:
        """Writes the data to a binary file and returns the counts."""
        try:
            async for part in self.data():
                file.write(part)
        except BaseException:
            self._leave()
            raise
        assert self.summary is not None
        return self.summary

    async def read(self) -> bytes:
        """All of the data."""
        return b"".join([part async for part in self.data()])


class TransactionStream(RowStream):
    """The rows of a statement in a transaction. No other command runs before it is read to its end, or closed.

    The statement is sent when the stream is first read.
    """

    def __init__(self, transaction: Transaction, query: Any) -> None:
        self._transaction = transaction
        self._query = query
        self._sequence = 0
        self._parts: Any = None
        self._first: Any = None

    async def _read(self) -> Any:
        return self._parts.accept(await self._transaction._reply(self._sequence))

    def _opened(self) -> Any:
        if self._parts is None or self._parts.shape is None:
            raise InterfaceError("the stream is not open: `await stream.open()`, or read from it first")
        return self._parts

    async def _begun(self) -> Any:
        if self._parts is None:
            self._sequence = await self._transaction._send(query=self._query)
            self._parts = self._transaction._unit.parts(self._sequence)
            self._first = await self._read()
        return self._parts

    async def _next_batch(self) -> Optional[List[Any]]:
        await self._begun()
        found, self._first = self._first, None
        if found is None:
            if self._parts.summary is not None:
                return None
            found = await self._read()
        rows: List[Any] = self._parts.shape.decode(found.rows)
        return rows

    @property
    def summary(self) -> Optional[Summary]:
        return None if self._parts is None else self._parts.summary

    async def close(self) -> None:
        """Reads what is left, so that the transaction can go on."""
        self._first = None
        if self._parts is not None:
            while self._transaction.state in LIVE and self._parts.summary is None:
                await self._read()

    def _leave(self) -> None:
        self._transaction._left = self
