"""Cancellations: those of a task, and those of a call that another task has cancelled.

grpc raises CancelledError for both, and would end a task that nobody has cancelled. Python tells them apart since 3.11.
"""

from __future__ import annotations

import asyncio

from typing import Any, Optional

from .._errors import Error


def raise_unless_cancelled(error: Error) -> None:
    """Raises the error, unless the running task is being cancelled."""
    task = asyncio.current_task()
    cancelling = getattr(task, "cancelling", None)
    if cancelling is not None and not cancelling():
        raise error from None


def raise_unless_cancelling(error: Error) -> None:
    """Raises the error, unless the running task is known to be cancelled, which Python tells since 3.11."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    if cancelling is None or not cancelling():
        raise error from None


def cancel_later(call: Any, loop: Optional[asyncio.AbstractEventLoop]) -> None:
    """Cancels a call whose owner is garbage, perhaps in another thread than that of its loop."""
    if call is not None and loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(call.cancel)
