"""What a connection adds to each call: the database, the tag, the time, the metadata, the retries."""

from __future__ import annotations

import json
import time
from enum import Enum
from typing import Any, Mapping, Optional

from .. import _proto
from ._failures import Retry, Safety
from ._options import seconds
from ._target import Target


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


class Caller:
    """The settings that the calls of a connection share."""

    def __init__(self, target: Target, json_loads: Any = json.loads, wait_for_ready: bool = False) -> None:
        self.target = target
        self.database = target.database
        self.tag = target.tag
        self.json_loads = json_loads
        self.wait_for_ready = True if wait_for_ready else None

    def clock(self, options: Mapping[str, Any], default: Optional[float]) -> Clock:
        """The time of a call. Streams, copies and transactions have no default of the client's."""
        limit = seconds(options["timeout"]) if "timeout" in options else default
        retries = options.get("retries", self.target.retries)
        return Clock(limit, Retry(retries=retries))


class Clock:
    """The time and the attempts of one call."""

    __slots__ = ("_attempt", "_end", "_retry")

    def __init__(self, limit: Optional[float], retry: Retry) -> None:
        self._end = None if limit is None else time.monotonic() + limit
        self._retry = retry
        self._attempt = 0

    def remaining(self) -> Optional[float]:
        """The rest of the time in seconds; None if there is no limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.001)

    def pause(self, error: Any, safety: Safety) -> Optional[float]:
        """The pause before the next attempt; None if the error is final."""
        self._attempt += 1
        return self._retry.pause(error, self._attempt, safety, self.remaining())


def safety_of(options: Mapping[str, Any]) -> Safety:
    """What makes a repetition of a call harmless, by its options."""
    return Safety(options.get("key") is not None, bool(options.get("idempotent")), bool(options.get("read_only")))


READS = Safety(reads=True)


def outcome_request(database: str, key: Optional[str], token: Optional[str]) -> Any:
    """The request for an outcome."""
    if (key is None) == (token is None):
        raise TypeError("outcome() takes a key or a token")
    request = _proto.GetTransactionOutcomeRequest(database=database)
    if key is not None:
        request.idempotency_key = key
    else:
        request.transaction_token = token
    return request
