"""What a connection adds to each call: the database, the tag, the time, the metadata, the retries."""

from __future__ import annotations

import time
from enum import Enum
from typing import Any, Callable, Iterable, Mapping, Optional, Tuple, TypedDict

from .. import _proto
from .._values._decode import plan, planner
from ._doubt import Doubt
from ._failures import Retry, Safety
from ._options import Timeout, key_of, seconds
from ._reply_timer import with_grace
from ._rows import Planner
from ._target import Pem, Secret, Target, resolve


class State(str, Enum):
    """The outcome of a unit of work, by its key or token."""

    APPLIED = "APPLIED"
    NOT_APPLIED = "NOT_APPLIED"
    IN_PROGRESS = "IN_PROGRESS"
    UNKNOWN = "UNKNOWN"

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]

    @classmethod
    def of(cls, number: int) -> State:
        """The state of a number of the contract."""
        return {1: cls.APPLIED, 2: cls.NOT_APPLIED, 3: cls.IN_PROGRESS}.get(number, cls.UNKNOWN)


_OWN = ("json_loads", "decoder", "wait_for_ready", "channel_options")


class ConnectOptions(TypedDict, total=False):
    """Options of a connection; all are optional."""

    database: Optional[str]
    tls: Optional[bool]
    ca: Pem
    certificate: Pem
    private_key: Pem
    server_name: Optional[str]
    token: Secret
    metadata: Optional[Mapping[str, str]]
    timeout: Timeout
    tag: Optional[str]
    retries: int
    json_loads: Optional[Callable[[str], Any]]
    decoder: Optional[Planner]
    wait_for_ready: bool
    channel_options: Iterable[Tuple[str, Any]]


class Caller:
    """The settings that the calls of a connection share."""

    def __init__(self, address: str, options: Mapping[str, Any], target: Optional[Target] = None) -> None:
        known = {name: value for name, value in options.items() if name not in _OWN}
        for name in known:
            if name not in ConnectOptions.__annotations__:
                raise TypeError(f"connect() has no option {name!r}")
        self.target = resolve(address, **known) if target is None else target
        self.database = self.target.database
        self.tag = self.target.tag
        self._retry = Retry(retries=self.target.retries)
        json_loads = options.get("json_loads")
        self.planner: Planner = options.get("decoder") or (planner(json_loads) if json_loads else plan)
        self.wait_for_ready = True if options.get("wait_for_ready") else None
        self.channel_options = self.target.channel_options(tuple(options.get("channel_options") or ()))

    def changed(self, database: Optional[str], timeout: Any, tag: Optional[str]) -> Target:
        """The target with another database, timeout or tag."""
        target = self.target
        if database is not None:
            target = target._replace(database=database)
        if timeout is not ...:
            target = target._replace(timeout=seconds(timeout))
        return target if tag is None else target._replace(tag=tag)

    def shared_options(self) -> Mapping[str, Any]:
        """The options that a connection over the same channel has as well."""
        return {"decoder": self.planner, "wait_for_ready": self.wait_for_ready}

    def clock(self, options: Mapping[str, Any], default: Optional[float]) -> Clock:
        """The time of a call. Streams, copies and transactions have no default of the client's."""
        if not options:
            return Clock(default, self._retry)
        limit = seconds(options["timeout"]) if "timeout" in options else default
        retries = options.get("retries", self.target.retries)
        return Clock(limit, Retry(retries=retries))


class Clock:
    """The time and the attempts of one call. The attempts are made within `with clock.doubt:`."""

    __slots__ = ("_attempt", "_end", "_retry", "doubt")

    def __init__(self, limit: Optional[float], retry: Retry) -> None:
        self._end = None if limit is None else time.monotonic() + limit
        self._retry = retry
        self._attempt = 0
        self.doubt = Doubt()

    def remaining(self) -> Optional[float]:
        """The rest of the time in seconds; None if there is no limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.001)

    def timeout(self, options: Any = None) -> Optional[float]:
        """The deadline of the call by the client's own clock, in seconds.

        Where the call has `options` (a message) the server keeps the time, and the client's clock only serves for a server
        that does not answer: a little later, so that the server's answer, which tells the outcome, comes first.
        """
        left = self.remaining()
        if left is None or options is None:
            return left
        length, nanoseconds = options.timeout, round(left * 1e9)
        length.seconds = nanoseconds // 1_000_000_000
        length.nanos = nanoseconds % 1_000_000_000
        return with_grace(left)

    def pause(self, error: Any, safety: Safety) -> Optional[float]:
        """The pause before the next attempt; None if the error is final."""
        self._attempt += 1
        self.doubt.note(error)
        return self._retry.pause(error, self._attempt, safety, self.remaining())


NO_SAFETY = Safety()


def safety_of(options: Mapping[str, Any]) -> Safety:
    """What makes a repetition of a call harmless, by its options."""
    if not options:
        return NO_SAFETY
    return Safety(key_of(options) is not None, bool(options.get("idempotent")), bool(options.get("read_only")))


READS = Safety(reads=True)


def outcome_request(database: str, key: Optional[str], token: Optional[str]) -> Any:
    """The request for an outcome."""
    if (key is None) == (token is None):
        raise TypeError("outcome() takes a key or a token")
    if not (key or token):
        raise ValueError("the key or token of outcome() is empty")
    request = _proto.GetTransactionOutcomeRequest(database=database)
    if key is not None:
        request.idempotency_key = key
    else:
        request.transaction_token = token
    return request
