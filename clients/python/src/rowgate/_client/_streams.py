"""Streams of rows for threads: of a call of their own, of a copy, of a statement in a transaction."""

from __future__ import annotations

import io
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO, Generator, Iterator, List, Mapping, Optional, Tuple

import grpc

from .._errors import InterfaceError
from .._values._decode import Column
from . import _arrow
from ._caller import READS, safety_of
from ._forks import forks
from ._result import Summary
from ._stream import StreamParts
from ._unit import LIVE

if TYPE_CHECKING:
    from ._connection import Connection
    from ._transaction import Transaction

_ARROW = 2


class RowStream:
    """Rows as they arrive, in constant memory. A stream is read once, in one loop: leaving the loop ends it, as `close` does.

    `with` also ends one whose loop an exception leaves.
    """

    _is_left = False

    def __iter__(self) -> Iterator[Any]:
        with closing(self.batches()) as batches:
            for batch in batches:
                yield from batch

    def batches(self) -> Generator[List[Any], None, None]:
        """The rows in lists as they arrive: fast, and with less work for each row."""
        if self._is_left:
            raise InterfaceError("the stream was left in the middle of its rows: read it in one loop")
        batch = self._next_batch()
        try:
            while batch is not None:
                yield batch
                batch = self._next_batch()
        except GeneratorExit:
            self._is_left = True
            self._leave()
            raise

    def scalars(self) -> Iterator[Any]:
        """The first value of each row."""
        with closing(self.batches()) as batches:
            for batch in batches:
                for row in batch:
                    yield tuple.__getitem__(row, 0)

    def _leave(self) -> None:
        """Ends the stream whose reader does not go on."""
        self.close()

    @property
    def columns(self) -> Tuple[Column, ...]:
        """The columns; waits for them if the stream has not begun."""
        shape = self._begun().shape
        return shape.columns if shape is not None else ()

    @property
    def has_columns(self) -> bool:
        """True for a statement that returns rows, even if there are none."""
        return bool(self._begun().has_columns)

    @property
    def summary(self) -> Optional[Summary]:
        """The counts, at the end of a complete stream: a write is applied when they are there. None before."""
        raise NotImplementedError

    def _begun(self) -> Any:
        raise NotImplementedError

    def _next_batch(self) -> Optional[List[Any]]:
        raise NotImplementedError

    def close(self) -> None:
        """Ends the stream."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Stream(RowStream):
    """The rows of one statement. It is complete only with its `summary`; one that breaks off raises."""

    def __init__(self, connection: Connection, request: Any, options: Mapping[str, Any]) -> None:
        self._connection = connection
        self._method = connection._methods.StreamQuery
        self._request = request
        self._safety = safety_of(options)
        self._clock = connection.clock(options, None)
        self._parts = StreamParts(connection.planner)
        self._call: Any = None
        self._process = forks.count
        self._is_closed = False
        self._is_complete = False

    def _options(self) -> Any:
        return self._request.query.options

    def _start(self) -> Any:
        """Opens the call and returns its first message; repeats it where that is safe."""
        while True:
            self._call = self._method(
                self._request,
                metadata=self._connection._metadata(self._clock.remaining()),
                timeout=self._clock.timeout(self._options()),
                wait_for_ready=self._connection.wait_for_ready,
            )
            try:
                return self._read()
            except grpc.RpcError as error:
                failure = self._connection._failure(error, self._safety.reads)
            pause = self._clock.pause(failure, self._safety)
            if pause is None:
                self._is_closed = True
                raise failure
            time.sleep(pause)

    def _next_message(self) -> Any:
        """The next message; None at the end."""
        if self._is_complete:
            return None
        self._check_readable()
        with self._clock.doubt:
            if self._call is None:
                return self._start()
            try:
                return self._read()
            except grpc.RpcError as error:
                self._is_closed = True
                raise self._connection._failure(error, self._safety.reads) from None

    def _read(self) -> Any:
        """The next message of the call; None at the end."""
        try:
            message = next(self._call, None)
        except Exception:
            raise
        except BaseException:  # a signal
            self.close()
            raise
        if message is None:
            self._is_closed = True
            self._parts.check_complete(self._safety.reads)
            self._is_complete = True
        return message

    def _check_readable(self) -> None:
        if self._process != forks.count:
            raise InterfaceError("the stream belongs to the process from which this one was forked")
        if self._is_closed:
            raise InterfaceError("the stream is closed, and was not read to its end")

    def _begun(self) -> StreamParts:
        if self._call is None:
            self._accept(self._next_message())
        return self._parts

    def _accept(self, message: Any) -> Optional[List[Any]]:
        """The rows of a message. One that cannot be read ends the stream."""
        try:
            return self._parts.accept(message)
        except BaseException:
            self.close()
            raise

    def _next_batch(self) -> Optional[List[Any]]:
        while True:
            message = self._next_message()
            if message is None:
                return None
            rows = self._accept(message)
            if rows is not None:
                return rows

    @property
    def summary(self) -> Optional[Summary]:
        return self._parts.summary

    def _ask_for_arrow(self) -> None:
        if self._call is not None:
            raise InterfaceError("the stream has begun as rows: ask for Arrow before you read from it")
        self._request.query.options.format = _ARROW

    def arrow_batches(self) -> Iterator[Any]:
        """The rows as `pyarrow.RecordBatch`es, in constant memory; needs pyarrow."""
        arrow = _arrow.pyarrow()
        self._ask_for_arrow()
        try:
            with arrow.ipc.open_stream(io.BufferedReader(_Parts(self), 1 << 20)) as reader:
                yield from reader
        except BaseException:
            self.close()
            raise
        while self._next_batch() is not None:
            pass

    def to_arrow(self) -> Any:
        """All rows as a `pyarrow.Table`, as the server wrote it: the fastest way to many rows. Needs pyarrow."""
        _arrow.pyarrow()
        self._ask_for_arrow()
        while self._next_batch() is not None:
            pass
        return _arrow.read_stream(self._parts.arrow)

    def to_pandas(self, **options: Any) -> Any:
        """All rows as a `pandas.DataFrame`; needs pandas and pyarrow. Options are those of pyarrow's `Table.to_pandas`. Decimals are
        Decimals, and integers with NULLs pandas' nullable integers, unless an option says otherwise."""
        table = self.to_arrow()
        return _arrow.to_pandas(table, options, self.columns)

    def close(self) -> None:
        """Ends the stream. A statement that has not ended is cancelled in the database."""
        self._is_closed = True
        if self._call is not None:
            forks.cancel(self._call, self._process)


class _Parts(io.RawIOBase):
    """The Arrow parts of a stream as a file."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        arrow = self._stream._parts.arrow
        while not self._rest:
            message = self._stream._next_message()
            if message is None:
                return 0
            self._stream._accept(message)
            if arrow:
                self._rest = arrow.pop()
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class CopyOut(Stream):
    """A copy out: rows, or the pieces of CSV, text or Arrow as `data()`. It is complete only with its `summary`."""

    def __init__(self, connection: Connection, request: Any, options: Mapping[str, Any]) -> None:
        super().__init__(connection, request, options)
        self._method = connection._methods.CopyOut
        self._safety = READS

    def _options(self) -> Any:
        return self._request.options

    def data(self) -> Iterator[bytes]:
        """The pieces of the data, with a format other than rows; one may begin anywhere in a line."""
        try:
            while True:
                message = self._next_message()
                if message is None:
                    return
                if message.WhichOneof("part") == "data":
                    yield message.data
                else:
                    self._accept(message)
        except GeneratorExit:
            self.close()
            raise

    def write_to(self, file: BinaryIO) -> Summary:
        """Writes the data to a binary file and returns the counts."""
        for part in self.data():
            file.write(part)
        assert self.summary is not None
        return self.summary

    def read(self) -> bytes:
        """All of the data."""
        return b"".join(self.data())

    def _ask_for_arrow(self) -> None:
        raise InterfaceError("set format='arrow' and read data(), or use stream(...).to_arrow()")


class TransactionStream(RowStream):
    """The rows of a statement in a transaction. No other command runs before it is read to its end, or closed."""

    def __init__(self, transaction: Transaction, sequence: int) -> None:
        self._transaction = transaction
        self._sequence = sequence
        self._parts = transaction._unit.parts(sequence)
        self._first: Any = None

    def _leave(self) -> None:
        """Leaves the rest for the next command of the transaction, which reads and drops it."""
        self._transaction._left = self

    def _read(self) -> Any:
        return self._parts.accept(self._transaction._reply(self._sequence))

    def _begun(self) -> Any:
        if self._parts.shape is None:
            self._first = self._read()
        return self._parts

    def _next_batch(self) -> Optional[List[Any]]:
        found, self._first = self._first, None
        if found is None:
            if self._parts.summary is not None:
                return None
            found = self._read()
        assert self._parts.shape is not None
        return self._parts.shape.decode(found.rows)

    @property
    def summary(self) -> Optional[Summary]:
        return self._parts.summary

    def close(self) -> None:
        """Reads what is left, so that the transaction can go on."""
        self._first = None
        while self._transaction.state in LIVE and self._parts.summary is None:
            self._read()
