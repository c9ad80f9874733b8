"""The lock of a connection that tasks of one event loop share."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from sqlalchemy.util import await_only


class TaskLock:
    """A lock that its task may take again, as `threading.RLock` for threads. Other tasks wait for it in their order.

    A statement awaits several times; without the lock a second task could begin in the middle of it, and both would open
    a transaction of the connection.
    """

    def __init__(self) -> None:
        self._owner: Any = None
        self._depth = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def __enter__(self) -> None:
        task = _current_task()
        if self._depth and self._owner is not task:
            self._wait()
        self._owner = task
        self._depth += 1

    def _wait(self) -> None:
        """Waits until the lock is handed over: its owner is gone, and its depth stays 1 for the one that waited longest."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await_only(turn)
        except BaseException:
            if turn.done() and not turn.cancelled():  # it was handed over, and the task is cancelled
                self._hand_over()
            raise
        self._depth = 0

    def __exit__(self, *_: object) -> None:
        if self._depth == 1:
            self._hand_over()
        else:
            self._depth -= 1

    def _hand_over(self) -> None:
        self._owner = None
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done() and not turn.get_loop().is_closed():
                turn.set_result(None)
                return
        self._depth = 0


def _current_task() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:  # outside of an event loop: a connection is closed by the garbage collector
        return None
