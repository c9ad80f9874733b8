"""Writing to a call whose other side may have ended it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc


async def is_written(call: Any, message: Any) -> bool:
    """Writes a message; False if the call has ended, whose status is then still to be read.

    The public `write` of grpc replaces the status by INTERNAL when the end of the call and the write cross each other, and
    the server's reason would be lost: so its inner function is used where there is one.
    """
    send = getattr(getattr(call, "_cython_call", None), "send_serialized_message", None)
    try:
        if send is None:
            await call.write(message)
        elif call.done():
            return False
        else:
            await call.wait_for_connection()
            await send(message.SerializeToString())
    except (grpc.RpcError, asyncio.InvalidStateError):
        return False
    except asyncio.CancelledError:
        call.cancel()
        raise
    except Exception as error:
        if type(error).__module__.startswith("grpc."):
            return False
        raise
    return True
