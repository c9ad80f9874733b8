"""Notifications of PostgreSQL for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AsyncIterator, Optional

import grpc

from .._client._listen import Event, event_of
from .._errors import InterfaceError
from ._cancelled import cancel_later

if TYPE_CHECKING:
    from ._connection import Connection


class Listener:
    """The events of channels, in the order of the commits. It ends with an error, or when it is closed."""

    def __init__(self, connection: Connection, request: Any, timeout: Optional[float]) -> None:
        self._connection = connection
        self._request = request
        self._timeout = timeout
        self._call: Any = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._is_closed = False
        self._is_cancelled = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        connection = self._connection
        if self._is_cancelled:
            raise InterfaceError("the listener is over: the task that waited for an event was cancelled")
        if self._call is None:
            self._loop = asyncio.get_running_loop()
            self._call = connection._methods.Listen(
                self._request,
                metadata=await connection._metadata(self._timeout),
                timeout=self._timeout,
                wait_for_ready=connection.wait_for_ready,
            )
        try:
            async for message in self._call:
                event = event_of(message)
                if event is not None:
                    yield event
        except asyncio.CancelledError:
            if not self._is_closed:  # grpc says so too of a call that `close` has cancelled
                self._is_cancelled = True
                self._call.cancel()  # which grpc does in some of its states only
                raise
        except grpc.RpcError as error:
            if not self._is_closed:
                raise connection._failure(error, reads=True) from None

    async def close(self) -> None:
        """Ends the listening."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()

    def __del__(self) -> None:
        # The tasks of grpc hold the call, which has no end of its own.
        cancel_later(getattr(self, "_call", None), getattr(self, "_loop", None))

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
