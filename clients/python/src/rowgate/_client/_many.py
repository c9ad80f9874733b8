"""Many statements of a transaction, sent ahead of their replies, for threads."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Iterable, Iterator, List, Mapping, Tuple

from .._errors import Error
from ._messages import Message, Messages, locate
from ._result import Result, result_of

if TYPE_CHECKING:
    from ._transaction import Transaction


def run_many(transaction: Transaction, statements: Iterator[Any], options: Mapping[str, Any]) -> List[Result]:
    """Runs statements that return no rows, messages `BatchStatement`, in few messages; raises the first error."""
    run = _Run(transaction, Messages(statements, options, transaction._connection.limits.of(transaction._connection.database)))
    try:
        return run.results()
    except Exception:
        run.skip()
        raise
    except BaseException:
        transaction._break()
        raise


class _Run:
    """The messages on their way, and the results that have come."""

    def __init__(self, transaction: Transaction, messages: Messages) -> None:
        self._transaction = transaction
        self._messages = messages
        self._waiting: Deque[Tuple[Message, int, float]] = deque()
        self._results: List[Result] = []
        self._answered = 0.0

    def results(self) -> List[Result]:
        """Sends all messages and reads their replies."""
        messages, waiting = self._messages, self._waiting
        while True:
            while len(waiting) >= messages.ahead:
                self._take()
            if messages.needs_limits:
                messages.limits = self._transaction._connection._batch_limits()
            message = messages.cut()
            if message is None:
                break
            waiting.append((message, self._transaction._send(**message.command), time.monotonic()))
        while waiting:
            self._take()
        return self._results

    def _take(self) -> None:
        message, sequence, sent = self._waiting.popleft()
        try:
            self._results.extend(self._reply(message, sequence))
        except Error as error:
            if message.is_batch:
                connection = self._transaction._connection
                connection.limits.unlearn(connection.database, error, message.statements)
            if self._transaction.state != "lost":
                locate(error, message, len(self._results))
            raise
        now = time.monotonic()
        self._messages.took(message, now - max(sent, self._answered))
        self._answered = now

    def _reply(self, message: Message, sequence: int) -> Iterable[Result]:
        transaction = self._transaction
        if not message.is_batch:
            return [transaction._result(sequence)]
        found = transaction._unit.accept(transaction._reply(sequence), sequence)
        planner = transaction._connection.planner
        return [result_of(each, planner) for each in found.results]

    def skip(self) -> None:
        """Reads the replies to messages that were sent ahead of one that failed."""
        for message, sequence, _ in self._waiting:
            if self._transaction.state == "lost":
                return
            try:
                self._reply(message, sequence)
            except Error:
                pass
