"""The interactive transaction for asyncio."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generator, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import grpc
from grpc.aio import EOF

from .. import _proto
from .._client import _options
from .._client._messages import AHEAD, returns_nothing
from .._client._result import BatchResult, Result, results_in_transaction
from .._client._transaction import Command, Statement, command_message, unless_failed
from .._client._unit import LIVE, Unit
from .._errors import Error, InterfaceError
from ._cancelled import cancel_later, raise_unless_cancelled, raise_unless_cancelling
from ._many import run_many
from ._streams import TransactionStream
from ._write import is_written

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._client._options import BatchItem, StatementOptions
    from ._connection import Connection

#: The most bytes of commands that wait for their replies: less than the server's window, so that a write never waits for a
#: reply that nobody reads.
_AHEAD_BYTES = 32 * 1024
#: The turns of the event loop in which it closes the generator of a loop that was left.
_TURNS = 3


class Transaction:
    """An interactive transaction: an `async with` block, or a handle that is begun and ended by hand.

    It is used by one task at a time. Losing it rolls it back; so does the cancellation of a task that waits for a command.
    """

    def __init__(self, connection: Connection, options: Mapping[str, Any]) -> None:
        self._connection = connection
        self._options = options
        self._begin = _options.begin_command(connection.database, options, connection.tag)
        self._clock = connection.clock(options, None)
        self._unit = Unit(options, connection.planner, connection.target.timeout)
        self._call: Any = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._awaited = 0
        self._savepoints = 0
        self._left: Optional[TransactionStream] = None
        self._has_begun = False
        self._is_late = False

    @property
    def state(self) -> str:
        """new, begun (with `begin(wait=False)`, until the first reply), open, failed (only `rollback_to` and `rollback`
        help), committed, rolled back, or lost."""
        return self._unit.state

    async def begin(self, wait: bool = True) -> Transaction:
        """Begins it. A begin that fails has changed nothing: it is repeated, `retries` times, when the server says when.

        Without `wait` it is sent ahead of the first command, which then raises if the begin has failed.
        """
        self._check_new()
        while True:
            await self._open()
            try:
                if not wait:
                    await self._send(begin=self._begin)
                    self._unit.begin_is_sent()
                else:
                    await self._ask(begin=self._begin)
                return self
            except Error as error:
                failure = error
            pause = self._clock.pause(failure, self._unit.begin_safety())
            if pause is None:
                raise failure
            await asyncio.sleep(pause)
            self._unit = Unit(self._options, self._connection.planner, self._connection.target.timeout)

    def _check_new(self) -> None:
        """Refuses a second begin, also one of another task while the first one waits."""
        if self._has_begun or self._unit.state != "new":
            raise InterfaceError("the transaction has begun already")
        self._has_begun = True

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = self._connection._methods.Transact(
            metadata=await self._connection._metadata(self._clock.remaining() or self._unit.begin_timeout),
            timeout=self._clock.remaining(),
            wait_for_ready=self._connection.wait_for_ready,
        )

    async def query(self, sql: str, *parameters: Any, **options: Unpack[StatementOptions]) -> Result:
        """Runs one statement and returns its whole result."""
        return await self.execute(sql, parameters, **options)

    async def execute(self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[StatementOptions]) -> Result:
        """Does what `query` does, with the parameters as one sequence."""
        return await self._result(await self._send(query=_options.transact_query(sql, parameters, options)))

    async def execute_many(
        self, sql: str, parameters: Iterable[Sequence[Any]], **options: Unpack[StatementOptions]
    ) -> List[Result]:
        """Runs one statement for each of the parameters, sent ahead of the replies; raises the first error, whose
        `failed_statement` is the number of the statement. Sends none if one cannot be sent.

        Statements that return no rows go many in one message, and share its timeout: a message is cut so that, going by those
        before it, its statements take a tenth of that.
        """
        return await self.execute_all([(sql, each) for each in parameters], **options)

    async def execute_all(self, statements: Iterable[Statement], **options: Unpack[StatementOptions]) -> List[Result]:
        """Does what `execute_many` does with statements of any text, `(sql, parameters)`."""
        known = list(statements)
        if all(returns_nothing(sql) for sql, _ in known):
            return await run_many(self, iter([_options.statement_of(*each) for each in known]), options)
        return unless_failed(await self.pipeline([("execute", *each) for each in known], **options))

    async def batch(self, statements: Sequence[BatchItem], **options: Unpack[StatementOptions]) -> BatchResult:
        """Runs statements in one message, on PostgreSQL in one round trip to the database; returns the result of each.

        They are those of `Connection.batch`. The first one that fails, or changes another number of rows than it must, is the
        error's `failed_statement`; it aborts the transaction, as any other statement that fails does.
        """
        reply = await self._ask(batch=_options.transact_batch(statements, options))
        return results_in_transaction(reply, self._connection.planner)

    async def pipeline(self, commands: Sequence[Command], **options: Unpack[StatementOptions]) -> List[Any]:
        """Runs commands that are sent ahead of their replies: `("execute", sql, parameters)`, `("savepoint", name)`,
        `("rollback_to", name)`, `("release", name)`.

        Returns for each what it returns, or the error that it would raise. What ends the transaction is raised.
        """
        answers: List[Any] = []
        waiting: List[Tuple[str, int, int]] = []
        size = 0
        messages = [command_message(command, options) for command in commands]
        try:
            for command, message in zip(commands, messages):
                length = next(iter(message.values())).ByteSize()
                while waiting and (len(waiting) >= AHEAD or size + length > _AHEAD_BYTES):
                    kind, sequence, freed = waiting.pop(0)
                    answers.append(await self._answer(kind, sequence))
                    size -= freed
                waiting.append((command[0], await self._send(**message), length))
                size += length
            for kind, sequence, _ in waiting:
                answers.append(await self._answer(kind, sequence))
        except BaseException as error:
            if not isinstance(error, Error):
                self._break()
            raise
        return answers

    async def _answer(self, kind: str, sequence: int) -> Any:
        """The result of a command that was sent ahead, or its error."""
        try:
            if kind == "execute":
                return await self._result(sequence)
            self._unit.accept(await self._reply(sequence), sequence)
        except Error as error:
            if self._unit.state == "lost":
                raise
            return error
        if kind == "rollback_to":
            self._unit.back_to_savepoint()
        return None

    def stream(self, sql: str, *parameters: Any, **options: Unpack[StatementOptions]) -> TransactionStream:
        """Runs one statement and streams its rows. No other command runs before they are read, or the stream is closed."""
        return self.open_stream(sql, parameters, **options)

    def open_stream(
        self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[StatementOptions]
    ) -> TransactionStream:
        """Does what `stream` does, with the parameters as one sequence."""
        return TransactionStream(self, _options.transact_query(sql, parameters, options))

    def savepoint(self, name: Optional[str] = None) -> Savepoint:
        """A savepoint: `await` sets it. As an `async with` block it is released at its end, and undone when the block
        raises."""
        if name is None:
            self._savepoints += 1
            name = f"savepoint_{self._savepoints}"
        return Savepoint(self, name)

    async def rollback_to(self, name: str) -> None:
        """Undoes what was done since the savepoint, which stays. Statements run again after one that failed."""
        await self._ask(rollback_to=_proto.RollbackTo(name=name))
        self._unit.back_to_savepoint()

    async def release(self, name: str) -> None:
        """Releases the savepoint and keeps what was done since."""
        await self._ask(release=_proto.Release(name=name))

    async def commit(self) -> None:
        """Commits. If its outcome is unknown, the error says so, with a `transaction_token` where the database can tell."""
        await self._ask(commit=_proto.Commit())

    async def rollback(self) -> None:
        """Rolls back. Does nothing if the transaction is over."""
        if self._unit.state not in LIVE:
            self._unit.is_cancelled = False
            if self._unit.state == "lost":
                self.cancel()
            return
        if self._awaited or self._unit.is_reading:
            self._unit.left()
            self._call.cancel()
            return
        try:
            await self._ask(rollback=_proto.Rollback())
        except Error:
            if self._unit.state not in ("lost", "rolled back"):
                raise

    def cancel(self) -> None:
        """Ends the transaction at once: a statement that runs is cancelled, and all is rolled back."""
        self._unit.cancelled()
        if self._call is not None:
            self._call.cancel()

    def _break(self) -> None:
        """Ends the transaction, as a reply to a command was not read: it would be taken for that of the next one."""
        self._unit.interrupted("a command was cancelled before its reply had come")
        self._call.cancel()

    # How commands are sent

    def _check_alone(self) -> None:
        if self._awaited and self._unit.state in LIVE:
            raise InterfaceError("another task waits for a command of this transaction: one task uses it at a time")

    async def _send(self, **command: Any) -> int:
        self._check_alone()
        for _ in range(_TURNS if self._unit.is_reading and self._left is None else 0):
            await asyncio.sleep(0)
            self._check_alone()
        if self._left is not None:
            left, self._left = self._left, None
            await left.close()
        request, sequence = self._unit.request(**command)
        self._awaited += 1
        with self._limited(self._unit.reply_limit(0)):
            try:
                await is_written(self._call, request)  # if not, the replies before the end and its status are still to be read
            except asyncio.CancelledError:
                self._cancelled()
                raise
        self._awaited -= 1
        return sequence

    @contextmanager
    def _limited(self, limit: Optional[float]) -> Iterator[None]:
        """Cancels the call when what is awaited within takes longer."""
        if limit is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(limit, self._expire)
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._is_late = True
        self._call.cancel()

    def _cancelled(self) -> None:
        """The task was cancelled while it waited, or the reply is late, or `cancel` or the connection's `close` was called."""
        if self._is_late:
            raise_unless_cancelling(self._unit.late())
        is_ours = self._unit.state not in (*LIVE, "new") or self._connection._is_over
        self._break()
        if is_ours:
            raise_unless_cancelled(self._unit.over())

    async def _ask(self, **command: Any) -> Any:
        sequence = await self._send(**command)
        return self._unit.accept(await self._reply(sequence), sequence)

    async def _reply(self, sequence: int) -> Any:
        """The next reply to a command; the error of the stream if it has ended."""
        if self._unit.awaits_begin:
            self._unit.accept(await self._next(1), 1)
        return await self._next(sequence)

    async def _next(self, sequence: int) -> Any:
        self._awaited += 1
        try:
            with self._limited(self._unit.reply_limit(sequence)):
                reply = await self._call.read()
        except grpc.RpcError as error:
            self._awaited = 0
            if self._is_late:
                raise self._unit.late() from None
            raise self._unit.ended(error) from None
        except asyncio.CancelledError:
            self._cancelled()
            raise
        self._awaited -= 1
        if reply is EOF:
            raise self._unit.ended(None)
        return reply

    async def _result(self, sequence: int) -> Result:
        reader = self._unit.parts(sequence)
        parts = [reader.accept(await self._reply(sequence))]
        while reader.summary is None:
            parts.append(reader.accept(await self._reply(sequence)))
        return reader.result(parts)

    async def __aenter__(self) -> Transaction:
        return await self.begin()

    async def __aexit__(self, kind: Any, error: Any, _: Any) -> None:
        if kind is None:
            if self._unit.state in LIVE:
                await self.commit()
            elif self._unit.state == "lost" or self._unit.is_cancelled:
                raise self._unit.error or self._unit.over()
        elif self._unit.state != "lost" and issubclass(kind, Exception):
            await self.rollback()
        else:
            self.cancel()

    def __del__(self) -> None:
        # The tasks of grpc hold the call, which would end with the transaction's limits only.
        unit = getattr(self, "_unit", None)
        if unit is not None and unit.state not in ("new", "committed", "rolled back"):
            cancel_later(self._call, self._loop)

    def __repr__(self) -> str:
        return f"<rowgate.aio.Transaction {self.state}>"


class Savepoint:
    """A savepoint of a transaction."""

    def __init__(self, transaction: Transaction, name: str) -> None:
        self._transaction = transaction
        self.name = name

    async def _set(self) -> Savepoint:
        await self._transaction._ask(savepoint=_proto.Savepoint(name=self.name))
        return self

    def __await__(self) -> Generator[Any, None, Savepoint]:
        return self._set().__await__()

    async def rollback(self) -> None:
        """Undoes what was done since, and keeps the savepoint."""
        await self._transaction.rollback_to(self.name)

    async def release(self) -> None:
        """Releases the savepoint and keeps what was done since."""
        await self._transaction.release(self.name)

    async def __aenter__(self) -> Savepoint:
        return await self._set()

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        if self._transaction.state not in LIVE:
            return
        if kind is not None and not issubclass(kind, Exception):
            self._transaction.cancel()
            return
        if kind is not None:
            await self.rollback()
        await self.release()
