"""What is told of work that is sent again after an attempt that may have been applied.

The rule is closed. Such an attempt stays in doubt until the server tells of the work itself: by a success, which may be a replay,
by an error with the outcome APPLIED, or by the answered begin of a transaction that has claimed the same key. Any other error
says nothing of it: a later attempt may not have been sent, or was refused before it came to the key, and the two cannot be told
apart by the reason.
"""

from __future__ import annotations

import copy
from typing import Any, Optional

from .._errors import Error, Outcome


class Doubt:
    """The attempts of one piece of work that may have been applied. As a `with` block it makes what the block raises tell of them."""

    __slots__ = ("_attempts", "_latest")

    def __init__(self) -> None:
        self._attempts = 0
        self._latest: Optional[Error] = None

    def __bool__(self) -> bool:
        return self._attempts > 0

    def note(self, error: Error) -> None:
        """Takes the error of an attempt."""
        if error.outcome is Outcome.UNKNOWN:
            self._attempts += 1
            self._latest = error

    def resolve(self) -> None:
        """The server has told that no attempt was applied."""
        self._attempts, self._latest = 0, None

    def told(self, error: BaseException) -> BaseException:
        """The error for the caller: the last one, or that of the latest attempt in doubt, of which the last one says nothing."""
        latest = self._latest
        if latest is None:
            return error
        if isinstance(error, Error) and error.outcome is not Outcome.NOT_APPLIED:
            if self._attempts > 1 or error is not latest:
                error.transaction_token = ""  # it tells of one attempt, and there are others
            return error
        return self._unresolved(latest, error)

    def _unresolved(self, latest: Error, error: BaseException) -> Error:
        why = error.message if isinstance(error, Error) else str(error) or type(error).__name__
        found = copy.copy(latest)
        found.message = f"{latest.message}; sending it again did not tell what became of it: {why}"
        found.args = (found.message,)
        found.retry_after = None
        if self._attempts > 1:
            found.transaction_token = ""
        return found

    def __enter__(self) -> Doubt:
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        if error is None or self._latest is None:
            return
        if not isinstance(error, Exception):
            # A signal or a cancellation has no outcome, and has to stay what it is: the doubt is told by its context.
            error.__context__ = error.__context__ or self._latest
            return
        told = self.told(error)
        if told is not error:
            raise told from error
