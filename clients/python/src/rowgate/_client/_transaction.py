"""The interactive transaction for threads."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import grpc

from .. import _proto
from .._errors import Error, InterfaceError
from . import _options
from ._forks import forks
from ._many import run_many
from ._messages import AHEAD, returns_nothing
from ._reply_timer import reply_timer
from ._result import BatchResult, Result, results_in_transaction
from ._streams import TransactionStream
from ._unit import LIVE, Unit

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._connection import Connection
    from ._options import BatchItem, StatementOptions

_NAMED = {"savepoint": _proto.Savepoint, "rollback_to": _proto.RollbackTo, "release": _proto.Release}
Command = Sequence[Any]
Statement = Tuple[str, Sequence[Any]]


class Transaction:
    """An interactive transaction: a `with` block, or a handle that is begun and ended by hand.

    It is used by one thread at a time. Losing it, also by the end of the process, rolls it back.
    """

    def __init__(self, connection: Connection, options: Mapping[str, Any]) -> None:
        self._connection = connection
        self._options = options
        self._begin = _options.begin_command(connection.database, options, connection.tag)
        self._clock = connection.clock(options, None)
        self._unit = Unit(options, connection.planner, connection.target.timeout)
        self._commands: SimpleQueue[Any] = SimpleQueue()
        self._call: Any = None
        self._awaited = 0
        self._savepoints = 0
        self._process = forks.count
        self._left: Optional[TransactionStream] = None
        self._beginning = threading.Lock()

    @property
    def state(self) -> str:
        """new, begun (with `begin(wait=False)`, until the first reply), open, failed (only `rollback_to` and `rollback` help), committed, rolled back, or lost."""
        return self._unit.state

    def begin(self, wait: bool = True) -> Transaction:
        """Begins it. A begin that fails has changed nothing: it is repeated, `retries` times, when the server says when.

        Without `wait` it is sent ahead of the first command, which then raises if the begin has failed.
        """
        if self._unit.state != "new" or not self._beginning.acquire(blocking=False):
            raise InterfaceError("the transaction has begun already")
        while True:
            self._open()
            if not wait:
                self._send(begin=self._begin)
                self._unit.begin_is_sent()
                return self
            try:
                self._ask(begin=self._begin)
                return self
            except Error as error:
                failure = error
                self._hang_up()
            pause = self._clock.pause(failure, self._unit.begin_safety())
            if pause is None:
                raise failure
            time.sleep(pause)
            self._unit = Unit(self._options, self._connection.planner, self._connection.target.timeout)

    def _open(self) -> None:
        self._check_process()
        self._commands = SimpleQueue()
        self._call = self._connection._methods.Transact(
            iter(self._commands.get, None),
            metadata=self._connection._metadata(self._clock.remaining() or self._unit.begin_timeout),
            timeout=self._clock.remaining(),
            wait_for_ready=self._connection.wait_for_ready,
        )

    def query(self, sql: str, *parameters: Any, **options: Unpack[StatementOptions]) -> Result:
        """Runs one statement and returns its whole result."""
        return self.execute(sql, parameters, **options)

    def execute(self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[StatementOptions]) -> Result:
        """Does what `query` does, with the parameters as one sequence."""
        return self._result(self._send(query=_options.transact_query(sql, parameters, options)))

    def execute_many(
        self, sql: str, parameters: Iterable[Sequence[Any]], **options: Unpack[StatementOptions]
    ) -> List[Result]:
        """Runs one statement for each of the parameters, sent ahead of the replies. It stops at the first that fails, whose
        number is the error's `failed_statement`.

        Statements that return no rows go many in one message, and share its timeout: a message is cut so that, going by those
        before it, its statements take a tenth of that.
        """
        if returns_nothing(sql):
            return run_many(self, (_options.statement_of(sql, each) for each in parameters), options)
        waiting: List[int] = []
        results: List[Result] = []
        try:
            for each in parameters:
                waiting.append(self._send(query=_options.transact_query(sql, each, options)))
                if len(waiting) >= AHEAD:
                    results.append(self._result(waiting.pop(0)))
            while waiting:
                results.append(self._result(waiting.pop(0)))
        except Exception as error:
            if isinstance(error, Error) and self._unit.state != "lost":
                error.failed_statement = len(results)
            self._skip(waiting)
            raise
        except BaseException:
            self._break()
            raise
        return results

    def execute_all(self, statements: Iterable[Statement], **options: Unpack[StatementOptions]) -> List[Result]:
        """Does what `execute_many` does with statements of any text, `(sql, parameters)`. Sends none if one cannot be sent."""
        known = list(statements)
        if all(returns_nothing(sql) for sql, _ in known):
            return run_many(self, iter([_options.statement_of(*each) for each in known]), options)
        return unless_failed(self.pipeline([("execute", *each) for each in known], **options))

    def batch(self, statements: Sequence[BatchItem], **options: Unpack[StatementOptions]) -> BatchResult:
        """Runs statements in one message, on PostgreSQL in one round trip to the database; returns the result of each.

        They are those of `Connection.batch`. The first one that fails, or changes another number of rows than it must, is the
        error's `failed_statement`; it aborts the transaction, as any other statement that fails does.
        """
        reply = self._ask(batch=_options.transact_batch(statements, options))
        return results_in_transaction(reply, self._connection.planner)

    def pipeline(self, commands: Sequence[Command], **options: Unpack[StatementOptions]) -> List[Any]:
        """Runs commands that are sent ahead of their replies: `("execute", sql, parameters)`, `("savepoint", name)`,
        `("rollback_to", name)`, `("release", name)`.

        Returns for each what it returns, or the error that it would raise. What ends the transaction is raised.
        """
        answers: List[Any] = []
        waiting: List[Tuple[str, int]] = []
        messages = [command_message(command, options) for command in commands]
        try:
            for command, message in zip(commands, messages):
                waiting.append((command[0], self._send(**message)))
                if len(waiting) >= AHEAD:
                    answers.append(self._answer(*waiting.pop(0)))
            answers.extend(self._answer(kind, sequence) for kind, sequence in waiting)
        except BaseException as error:
            if not isinstance(error, Error):
                self._break()
            raise
        return answers

    def _answer(self, kind: str, sequence: int) -> Any:
        """The result of a command that was sent ahead, or its error."""
        try:
            if kind == "execute":
                return self._result(sequence)
            self._unit.accept(self._reply(sequence), sequence)
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
        return TransactionStream(self, self._send(query=_options.transact_query(sql, parameters, options)))

    def savepoint(self, name: Optional[str] = None) -> Savepoint:
        """Sets a savepoint. As a `with` block it is released at its end, and undone when the block raises."""
        if name is None:
            self._savepoints += 1
            name = f"savepoint_{self._savepoints}"
        self._ask(savepoint=_proto.Savepoint(name=name))
        return Savepoint(self, name)

    def rollback_to(self, name: str) -> None:
        """Undoes what was done since the savepoint, which stays. Statements run again after one that failed."""
        self._ask(rollback_to=_proto.RollbackTo(name=name))
        self._unit.back_to_savepoint()

    def release(self, name: str) -> None:
        """Releases the savepoint and keeps what was done since."""
        self._ask(release=_proto.Release(name=name))

    def commit(self) -> None:
        """Commits. If its outcome is unknown, the error says so, with a `transaction_token` where the database can tell."""
        self._ask(commit=_proto.Commit())
        self._hang_up()

    def rollback(self) -> None:
        """Rolls back. Does nothing if the transaction is over."""
        if self._unit.state not in LIVE:
            self._unit.is_cancelled = False
            if self._unit.state == "lost":
                self.cancel()
            return
        if self._awaited or self._unit.is_reading:
            self._unit.left()
            self._end_call()
            return
        try:
            self._ask(rollback=_proto.Rollback())
        except Error:
            if self._unit.state not in ("lost", "rolled back"):
                raise
        self._hang_up()

    def cancel(self) -> None:
        """Ends the transaction at once, from any thread: a statement that runs is cancelled, and all is rolled back."""
        self._unit.cancelled()
        self._end_call()

    # How commands are sent

    def _check_process(self) -> None:
        if self._process != forks.count:
            raise InterfaceError("the transaction belongs to the process from which this one was forked")

    def _break(self) -> None:
        """Ends the transaction, as a reply to a command was not read: it would be taken for that of the next one."""
        self._unit.interrupted("a command was interrupted before its reply had come")
        self._end_call()

    def _send(self, **command: Any) -> int:
        self._check_process()
        if self._awaited and self._unit.state in LIVE:
            raise InterfaceError("another thread waits for a command of this transaction: one thread uses it at a time")
        if self._left is not None:
            left, self._left = self._left, None
            left.close()
        request, sequence = self._unit.request(**command)
        self._commands.put(request)
        return sequence

    def _ask(self, **command: Any) -> Any:
        sequence = self._send(**command)
        return self._unit.accept(self._reply(sequence), sequence)

    def _reply(self, sequence: int) -> Any:
        """The next reply to a command; the error of the stream if it has ended."""
        if self._unit.awaits_begin:
            self._unit.accept(self._next(1), 1)
        return self._next(sequence)

    def _next(self, sequence: int) -> Any:
        limit = self._unit.reply_limit(sequence)
        if limit is None:
            return self._wait()
        wait = reply_timer.start(limit, self._call)
        try:
            reply = self._wait()
        except Error:
            if not reply_timer.stop(wait):
                raise self._unit.late() from None
            raise
        except BaseException:
            reply_timer.stop(wait)
            raise
        reply_timer.stop(wait)
        return reply

    def _wait(self) -> Any:
        self._awaited += 1
        try:
            reply = next(self._call)
        except StopIteration:
            self._hang_up()
            raise self._unit.ended(None) from None
        except grpc.RpcError as error:
            self._hang_up()
            raise self._unit.ended(error) from None
        except BaseException:
            self._break()
            raise
        self._awaited -= 1
        return reply

    def _result(self, sequence: int) -> Result:
        reader = self._unit.parts(sequence)
        parts = [reader.accept(self._reply(sequence))]
        while reader.summary is None:
            parts.append(reader.accept(self._reply(sequence)))
        return reader.result(parts)

    def _skip(self, waiting: Iterable[int]) -> None:
        """Reads the replies to commands that were sent ahead of one that failed."""
        for sequence in waiting:
            try:
                self._result(sequence)
            except Error:
                if self._unit.state == "lost":
                    return

    def _end_call(self) -> None:
        if self._call is not None:
            forks.cancel(self._call, self._process)
        self._hang_up()

    def _hang_up(self) -> None:
        """Lets the thread go that sends the commands."""
        self._awaited = 0
        self._commands.put(None)

    def __enter__(self) -> Transaction:
        return self.begin()

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if kind is None:
            if self._unit.state in LIVE:
                self.commit()
            elif self._unit.state == "lost" or self._unit.is_cancelled:
                raise self._unit.error or self._unit.over()
        elif self._unit.state == "lost":
            self._end_call()
        elif issubclass(kind, Exception):
            self.rollback()
        else:
            self.cancel()

    def __del__(self) -> None:
        # The thread that sends the commands waits for the next one as long as the transaction lives.
        unit = getattr(self, "_unit", None)
        if unit is not None and unit.state not in ("new", "committed", "rolled back"):
            self.cancel()

    def __repr__(self) -> str:
        return f"<rowgate.Transaction {self.state}>"


def command_message(command: Command, options: Any) -> Dict[str, Any]:
    """The message of a command of a pipeline."""
    kind, argument = command[0], command[1]
    if kind == "execute":
        return {"query": _options.transact_query(argument, command[2] if len(command) > 2 else (), options)}
    if kind not in _NAMED:
        raise ValueError(f"a pipeline has no command {kind!r}; it has execute, {', '.join(_NAMED)}")
    return {kind: _NAMED[kind](name=argument)}


def unless_failed(answers: List[Any]) -> List[Result]:
    """The results of statements of a pipeline; raises the error of the first that failed."""
    for number, answer in enumerate(answers):
        if isinstance(answer, Error):
            answer.failed_statement = number
            raise answer
    return answers


class Savepoint:
    """A savepoint of a transaction."""

    def __init__(self, transaction: Transaction, name: str) -> None:
        self._transaction = transaction
        self.name = name

    def rollback(self) -> None:
        """Undoes what was done since, and keeps the savepoint."""
        self._transaction.rollback_to(self.name)

    def release(self) -> None:
        """Releases the savepoint and keeps what was done since."""
        self._transaction.release(self.name)

    def __enter__(self) -> Savepoint:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self._transaction.state not in LIVE:
            return
        if kind is not None:
            self.rollback()
        self.release()
