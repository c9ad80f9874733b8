"""The state of an interactive transaction and its messages, without any input or output.

The connections for threads and for asyncio send what `request` makes, and give each reply to `accept`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, List, Mapping, Optional, Tuple

import grpc

from .. import _proto
from .._errors import Error, InterfaceError, Outcome, TransportError
from . import _failures
from ._options import key_of, seconds
from ._reply_timer import with_grace
from ._result import Result, Summary, result_of
from ._rows import NO_COLUMNS, Shape, shape_of

_STATES = {
    "new": "the transaction has not begun",
    "committed": "the transaction is committed",
    "rolled back": "the transaction is rolled back",
    "lost": "the transaction is over",
}


#: The states of a transaction that is not over.
LIVE = ("begun", "open", "failed")


class Unit:
    """An interactive transaction, as the client knows it."""

    def __init__(self, options: Mapping[str, Any], planner: Any, begin_timeout: Optional[float] = None) -> None:
        #: new, begun (its reply was not read), open, failed, committed, rolled back or lost
        self.state = "new"
        self.reads = bool(options.get("read_only"))
        self.has_key = key_of(options) is not None
        self.planner = planner
        self.error: Optional[Error] = None
        self._sequence = 0
        # The time for each reply that is to come: of a command with options, and of all others.
        self._limits: Deque[Tuple[int, Optional[float]]] = deque()
        self._reply_timeout = seconds(options.get("reply_timeout"))
        #: the time for the begin, which also waits for a server, and for the rollback; None for no limit
        self.begin_timeout = begin_timeout if self._reply_timeout is None else self._reply_timeout
        #: True when `cancel` has ended it: a block does not end as if it had committed
        self.is_cancelled = False
        self._is_ending = False
        self._reading: Optional[Parts] = None

    @property
    def awaits_begin(self) -> bool:
        """True while a begin was sent whose reply was not read."""
        return self.state == "begun"

    def begin_is_sent(self) -> None:
        """Takes further commands before the reply to the begin."""
        self.state = "begun"

    def request(self, **command: Any) -> Tuple[Any, int]:
        """The message of a command, and its sequence. InterfaceError if the transaction takes none."""
        if self._reading is not None:
            raise InterfaceError("a stream of this transaction is open: read it to its end, or close it")
        if self.state not in LIVE and "begin" not in command:
            raise self.over()
        if "begin" in command and self.state != "new":
            raise InterfaceError("the transaction has begun already")
        self._is_ending = self._is_ending or "commit" in command
        self._sequence += 1
        self._limits.append((self._sequence, self._limit(command)))
        return _proto.TransactRequest(sequence=self._sequence, **command), self._sequence

    def _limit(self, command: Mapping[str, Any]) -> Optional[float]:
        """The time for the reply to a command, as its caller has given it."""
        if "begin" in command or "rollback" in command:  # to give one up is to roll back
            return self.begin_timeout
        options = getattr(next(iter(command.values())), "options", None)
        if options is None or not options.HasField("timeout"):
            return self._reply_timeout
        return float(options.timeout.seconds + options.timeout.nanos / 1e9)

    def reply_limit(self, sequence: int) -> Optional[float]:
        """The time for the reply to a command, or to the oldest one (0), by the client's own clock, in seconds; None for no limit.

        Commands without a time of their own that were sent with a statement, as its savepoint, have the statement's.
        """
        while self._limits and self._limits[0][0] < sequence:
            self._limits.popleft()
        found = self._limits[0][1] if self._limits else None
        if found is None:
            found = max((limit for _, limit in self._limits if limit is not None), default=None)
        return None if found is None else with_grace(found)

    def accept(self, reply: Any, sequence: int) -> Any:
        """The content of a reply; raises the error that it has."""
        kind = reply.WhichOneof("reply")
        if reply.sequence != sequence:
            self.state = "lost"
            self.error = self._end(f"the reply to command {sequence} has the sequence {reply.sequence}")
            raise self.error
        if kind == "error":
            self.state = "failed"
            raise self._failed(_failures.of_status(reply.error), reply.error)
        if kind == "begun":
            self.state = "open"
        elif kind == "committed":
            self.state = "committed"
        elif kind == "rolled_back":
            self.state = "rolled back"
        return getattr(reply, kind) if kind else None

    @staticmethod
    def _failed(error: Optional[Error], status: Any) -> Error:
        return error or TransportError(status.message, outcome=Outcome.UNKNOWN, code=grpc.StatusCode.UNKNOWN)

    def back_to_savepoint(self) -> None:
        """A rollback to a savepoint has succeeded: statements run again."""
        self.state = "open"

    def ended(self, error: Any) -> Error:
        """The error of a stream that has ended: nothing was applied unless a commit was sent."""
        self.state = "lost"
        self._reading = None
        if error is None:
            self.error = TransportError("the server ended the transaction without a word", outcome=self._outcome())
        else:
            self.error = _failures.of_rpc(error, reads=self.reads or not self._is_ending)
        return self.error

    def late(self) -> Error:
        """The error of a reply that did not come within the client's time: the call is cancelled, which rolls back."""
        self.state = "lost"
        self._reading = None
        outcome = self._outcome()
        hint = "The transaction is rolled back." if outcome is Outcome.NOT_APPLIED else "It may be committed or not."
        self.error = _failures.TransportDeadline(
            "the server did not reply in time",
            reason="DEADLINE",
            outcome=outcome,
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
            hint=hint,
        )
        return self.error

    def interrupted(self, what: str) -> Error:
        """The error of a transaction that was left while it waited for a reply, or was cancelled meanwhile."""
        self._reading = None
        if self.state in (*LIVE, "new"):
            self.state = "lost"
            self.error = self._end(what)
        return self.over()

    def cancelled(self) -> None:
        """`cancel` has ended it, from anywhere."""
        self.is_cancelled = self.is_cancelled or self.state in LIVE
        self.left()

    def left(self) -> None:
        """The caller has ended it: all is rolled back, unless a commit was sent."""
        if self.state in LIVE and self._is_ending:
            self.state = "lost"
            self.error = self._end("it was cancelled during its commit")
        elif self.state in LIVE or self.state == "lost" and not self._is_ending:
            self.state = "rolled back"

    def over(self) -> Error:
        """The error of a command to a transaction that takes none."""
        if self.state != "lost" or self.error is None:
            return InterfaceError(_STATES[self.state] + (": it was cancelled" if self.is_cancelled else ""))
        if isinstance(self.error, InterfaceError):
            return self.error
        return InterfaceError(f"{_STATES[self.state]}: {self.error.message}", outcome=self.error.outcome)

    def _end(self, why: str) -> Error:
        return InterfaceError(f"{_STATES['lost']}: {why}", outcome=self._outcome())

    def _outcome(self) -> Outcome:
        return Outcome.UNKNOWN if self._is_ending and not self.reads else Outcome.NOT_APPLIED

    def begin_safety(self) -> _failures.Safety:
        """A begin alone changes nothing: it may always be sent again."""
        return _failures.Safety(key=self.has_key, reads=True)

    def parts(self, sequence: int) -> Parts:
        """The reader of a statement's replies."""
        self._reading = Parts(self, sequence)
        return self._reading

    @property
    def is_reading(self) -> bool:
        """True while the replies to a statement are not read to their end."""
        return self._reading is not None

    def read_to_end(self) -> None:
        """A statement's last reply has come."""
        self._reading = None


class Parts:
    """The replies to one statement: the first has the columns, the last the counts."""

    def __init__(self, unit: Unit, sequence: int) -> None:
        self._unit = unit
        self._sequence = sequence
        self.shape: Optional[Shape] = None
        self.has_columns = False
        self.summary: Optional[Summary] = None
        self._count = 0

    def accept(self, reply: Any) -> Any:
        """The message `ResultSet` of a reply."""
        try:
            part = self._unit.accept(reply, self._sequence)
        except Error:
            self._unit.read_to_end()
            raise
        found = part.result_set
        if self.shape is None:
            self.has_columns = found.has_columns
            self.shape = shape_of(found.columns, self._unit.planner) if found.has_columns else NO_COLUMNS
        self._count += len(found.rows)
        if not part.more:
            self._unit.read_to_end()
            self.summary = Summary(found.rows_affected, found.command, self._count)
        return found

    def result(self, parts: List[Any]) -> Result:
        """The whole result of all parts."""
        if len(parts) == 1:
            return result_of(parts[0], self._unit.planner)
        assert self.shape is not None
        whole = Result(parts[-1], self.shape)
        whole.has_columns = self.has_columns
        whole._rows = [row for part in parts for row in self.shape.decode(part.rows)]
        whole._message = None
        return whole
