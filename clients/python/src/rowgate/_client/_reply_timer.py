"""The time for which a client waits for one reply of a stream: grpc has a deadline for whole streams only."""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, Optional, Tuple

from ._forks import forks


def with_grace(timeout: float) -> float:
    """The time of the client's own clock for a timeout that the server keeps: a little more, so that the server's answer, which
    tells the outcome, comes first."""
    return timeout + (0.25 if timeout < 2.5 else 2.0 if timeout > 20.0 else timeout * 0.1)


class ReplyTimer:
    """Cancels the calls whose reply does not come in time, in one thread for all of a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits: Dict[int, Tuple[float, Any]] = {}
        self._next = 0
        self._wakes_at = float("inf")
        self._process: Optional[int] = None

    def start(self, seconds: float, call: Any) -> int:
        """Cancels the call after so many seconds, unless the wait is stopped before. Returns the number of the wait."""
        end = time.monotonic() + seconds
        with self._changed:
            if self._process != forks.count:
                self._process, self._waits, self._wakes_at = forks.count, {}, float("inf")
                threading.Thread(target=self._run, name="rowgate-replies", daemon=True).start()
            self._next += 1
            self._waits[self._next] = (end, call)
            if end < self._wakes_at:
                self._wakes_at = end
                self._changed.notify()
            return self._next

    def stop(self, wait: int) -> bool:
        """Stops a wait; False if its call was cancelled already."""
        with self._changed:
            return self._waits.pop(wait, None) is not None

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                late = [wait for wait, (end, _) in self._waits.items() if end <= now]
                calls = [self._waits.pop(wait)[1] for wait in late]
                self._wakes_at = min((end for end, _ in self._waits.values()), default=float("inf"))
                if not calls:
                    self._changed.wait(None if self._wakes_at == float("inf") else self._wakes_at - now)
            for call in calls:
                call.cancel()
            calls.clear()


reply_timer = ReplyTimer()
