"""Many statements of a transaction in few messages, without any input or output.

Statements that return no rows go together, as a `batch`, so that they cost one reply and, on PostgreSQL, one round trip to the
database. Everything else is sent alone: the results of a batch have limits that those of a statement have not.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

import grpc

from .. import _proto
from .._errors import Error
from . import _options
from ._result import ServerInfo

#: The most statements and bytes of a message.
MOST_STATEMENTS = 1000
MOST_BYTES = 1 << 20
#: Fewer statements are sent alone, unless the server's limits are known: asking for them would cost more than it saves.
FEW = 20
#: The most commands that wait for their replies, and the most of those that may be batches. The replies are small: what is
#: unread of them always fits into the window of the stream, so that writing never waits for a reply that nobody reads.
AHEAD = 200
_BATCHES_AHEAD = 2
#: What a message has beside its statements, and more.
_OVERHEAD = 1024
#: A batch has one timeout for all of its statements: a message is cut so that, going by those before it, they take no more
#: than this part of it. The first one has one statement, and the next ones at most eight times as many.
_SHARE = 0.1
_GROWTH = 8
#: Statements wait no longer for those behind them, in seconds: a transaction that hears nothing is ended by the server.
_PATIENCE = 0.1

_WRITES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|MERGE|REPLACE)\b", re.IGNORECASE)
_RETURNING = re.compile(r"RETURNING", re.IGNORECASE)


@lru_cache(maxsize=1024)
def returns_nothing(sql: str) -> bool:
    """True for a statement that surely returns no rows."""
    return _WRITES.match(sql) is not None and _RETURNING.search(sql) is None


class Limits(NamedTuple):
    """The limits of a batch in a transaction."""

    statements: int
    size: int
    #: The seconds that a command may take that names no time itself.
    timeout: float

    @classmethod
    def of(cls, info: ServerInfo, database: str) -> Limits:
        """Those that the server tells of a database."""
        found = info.databases.get(database or info.default_database)
        if found is None:
            return ALONE
        size = min(MOST_BYTES, info.max_request_size - _OVERHEAD)
        return cls(min(MOST_STATEMENTS, found.max_batch), size, found.default_deadline.total_seconds())


#: Each statement is a message of its own.
ALONE = Limits(1, 0, 0.0)
#: The seconds for which the server is asked for them.
ASKING = 5.0


class KnownLimits:
    """What a connection knows of its server's limits, by database."""

    def __init__(self) -> None:
        self._by_database: Dict[str, Limits] = {}
        #: The least statements that were too many for a batch.
        self._refused: Dict[str, int] = {}

    def of(self, database: str) -> Optional[Limits]:
        """The limits, if they are known."""
        return self._by_database.get(database)

    def learn(self, database: str, info: ServerInfo) -> Limits:
        """Keeps what the server tells, unless it has refused that."""
        told = Limits.of(info, database)
        refused = self._refused.pop(database, None)
        return self._by_database.setdefault(database, told if refused is None or told.statements < refused else ALONE)

    def untold(self, database: str, error: Error) -> Limits:
        """The limits where the server does not tell them. It is asked again unless it does not want to be."""
        if error.code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED):
            self._by_database[database] = ALONE
        return ALONE

    def unlearn(self, database: str, error: Error, statements: int) -> None:
        """Forgets limits that the server has lowered since, and notes a server that knows no batches in transactions.

        That transaction has failed, and nothing of it is applied; the next one succeeds.
        """
        if error.reason == "INVALID_COMMAND":
            self._by_database[database] = ALONE
            why = "The server is older than this client and knows no batches in transactions."
        elif error.reason == "INVALID_PARAMETER" and "statements" in error.fields:
            self._by_database.pop(database, None)
            self._refused[database] = statements
            why = "The server takes fewer than it has told."
        else:
            return
        error.hint = f"{why} Run the transaction again: fewer statements go in a message from now on."


class Message(NamedTuple):
    """A command with some statements."""

    command: Dict[str, Any]
    statements: int

    @property
    def is_batch(self) -> bool:
        """True for a batch, whose reply has the results of all its statements."""
        return "batch" in self.command


class Messages:
    """Cuts statements, messages `BatchStatement`, into the messages of a transaction."""

    def __init__(self, statements: Iterator[Any], options: Mapping[str, Any], limits: Optional[Limits]) -> None:
        self._statements = statements
        self._options = _options.statement_options(options, "a statement in a transaction") if options else None
        self._timeout = _options.seconds(options.get("timeout"))
        self._left: List[Any] = []
        self._length = 1
        self._cut = 0
        #: None while the server was not asked.
        self.limits = limits

    @property
    def needs_limits(self) -> bool:
        """True when there are enough statements for asking the server for its limits."""
        return self.limits is None and self._cut >= FEW

    @property
    def ahead(self) -> int:
        """The most messages that wait for their replies."""
        if self.limits is None:
            return FEW
        return _BATCHES_AHEAD if self.limits.statements > 1 else AHEAD

    def cut(self) -> Optional[Message]:
        """The next message; None if there are no more statements."""
        limits = self.limits or ALONE
        taken: List[Any] = []
        size, begun = 0, time.monotonic()
        while len(taken) < self._length and (not taken or time.monotonic() - begun < _PATIENCE):
            statement = self._left.pop() if self._left else next(self._statements, None)
            if statement is None:
                break
            size += statement.ByteSize() + 6
            if taken and size > limits.size:
                self._left.append(statement)
                break
            taken.append(statement)
        self._cut += len(taken)
        return self._message(taken) if taken else None

    def _message(self, taken: List[Any]) -> Message:
        if len(taken) == 1:
            query = _proto.TransactQuery(sql=taken[0].sql, parameters=taken[0].parameters, options=self._options)
            return Message({"query": query}, 1)
        return Message({"batch": _proto.TransactBatch(statements=taken, options=self._options)}, len(taken))

    def took(self, message: Message, seconds: float) -> None:
        """Notes the time of a message, by which the length of the next ones is chosen."""
        if self.limits is not None:
            share = _SHARE * (self._timeout or self.limits.timeout)
            fitting = int(message.statements * share / max(seconds, 1e-6))
            self._length = max(1, min(fitting, self._length * _GROWTH, self.limits.statements))


def locate(error: Error, message: Message, done: int) -> None:
    """Makes `failed_statement` count over all statements, of which `done` were answered, and not within a message."""
    if not message.is_batch:
        error.failed_statement = done
    elif error.failed_statement is not None:
        path = f"statements[{error.failed_statement}]."
        error.fields = {name[len(path) :] if name.startswith(path) else name: text for name, text in error.fields.items()}
        if error.message.startswith(path):
            error.message = error.message[len(path) :]
        error.failed_statement += done
