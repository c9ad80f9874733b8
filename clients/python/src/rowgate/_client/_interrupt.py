"""Calls that a signal interrupts."""

from __future__ import annotations

from typing import Any

import grpc


def cancel_interrupted(error: BaseException) -> None:
    """Cancels the call that is left by an exception such as KeyboardInterrupt, so that its statement ends in the database.

    grpc lets a call without a stream of answers run on then, and has no handle to it but a variable of its own function.
    """
    if isinstance(error, Exception):
        return
    trace = error.__traceback__
    while trace is not None:
        call: Any = trace.tb_frame.f_locals.get("call")
        if hasattr(call, "cancel") and hasattr(call, "next_event"):
            call.cancel(grpc.StatusCode.CANCELLED.value[0], "interrupted")
            return
        trace = trace.tb_next
