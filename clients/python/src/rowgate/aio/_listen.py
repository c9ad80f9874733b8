"""Notifications of PostgreSQL for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AsyncIterator, Optional

import grpc

from .._client._listen import Event, event_of

if TYPE_CHECKING:
    from ._connection import Connection


class Listener:
    """The events of channels, in the order of the commits. It ends with an error, or when it is closed."""

    def __init__(self, connection: Connection, request: Any, timeout: Optional[float]) -> None:
        self._connection = connection
        self._request = request
        self._timeout = timeout
        self._call: Any = None
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        connection = self._connection
        if self._call is None:
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
                raise
        except grpc.RpcError as error:
            if not self._is_closed:
                raise connection._failure(error, reads=True) from None

    async def close(self) -> None:
        """Ends the listening."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
