"""The attempts of a transaction whose whole work is repeated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

from .._errors import Error
from .._reasons import KeyApplied
from ._doubt import Doubt
from ._failures import Retry, Safety
from ._options import key_of
from ._transaction import Transaction

if TYPE_CHECKING:
    from ._connection import Connection


class Plan:
    """Decides if a transaction is tried again, without any input or output."""

    def __init__(self, retries: int, options: Mapping[str, Any]) -> None:
        self._retry = Retry(retries=retries)
        self._safety = Safety(key=key_of(options) is not None)
        self._attempt = 0
        self.doubt = Doubt()

    def pause(self, error: Error) -> Optional[float]:
        """The pause before the next attempt; None if the error is final."""
        self._attempt += 1
        self.doubt.note(error)
        return self._retry.pause(error, self._attempt, self._safety, None)

    def begun(self) -> None:
        """The begin of an attempt was answered. Under a key it has claimed that, so no attempt before it was applied."""
        if self._safety.key:
            self.doubt.resolve()

    def is_done(self, error: Error) -> bool:
        """True if the key of an attempt with an unknown outcome turns out to be applied: that attempt was the one."""
        return bool(self.doubt) and isinstance(error, KeyApplied)


class Attempt:
    """One attempt: `with attempt as tx` commits at its end. An error that allows it leads to the next attempt."""

    def __init__(self, transaction: Transaction, plan: Plan) -> None:
        self._transaction = transaction
        self._plan = plan
        #: The pause before the next attempt; None behind the last one.
        self.pause: Optional[float] = None

    def __enter__(self) -> Transaction:
        return self._transaction

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        failure = error
        try:
            self._transaction.__exit__(kind, error, trace)
        except Error as ending:
            failure = ending
        if failure is None:
            return False
        if isinstance(failure, Error):
            self.pause = self._plan.pause(failure)
            if self.pause is not None:
                return True
        if failure is not error:
            raise failure
        return False


def attempts(connection: Connection, retries: int, options: Mapping[str, Any]) -> Iterator[Attempt]:
    """The attempts of a transaction, until one is committed or fails for good."""
    plan = Plan(retries, options)
    with plan.doubt:
        while True:
            transaction = connection.transaction(**{**options, "retries": 0})
            try:
                transaction.begin()
            except Error as error:
                if plan.is_done(error):
                    return
                pause = plan.pause(error)
                if pause is None:
                    raise
                time.sleep(pause)
                continue
            plan.begun()
            attempt = Attempt(transaction, plan)
            try:
                yield attempt
            finally:
                transaction.rollback()
            if attempt.pause is None:
                return
            time.sleep(attempt.pause)
