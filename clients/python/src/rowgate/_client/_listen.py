"""Notifications of PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Optional, Union

import grpc

from .._values._temporal import datetime_of

if TYPE_CHECKING:
    from ._connection import Connection


class Listening(NamedTuple):
    """The server listens to all channels: from here on nothing is lost silently. Read the state that you watch."""


class Notification(NamedTuple):
    """A notification."""

    channel: str
    payload: str
    process_id: int


class Gap(NamedTuple):
    """The server had lost its connection: what was notified since then may be missing. Read the state again."""

    since: datetime


Event = Union[Listening, Notification, Gap]


def event_of(message: Any) -> Optional[Event]:
    """The event of a message; None for one that this release does not know."""
    kind = message.WhichOneof("event")
    if kind == "notification":
        found = message.notification
        return Notification(found.channel, found.payload, found.process_id)
    if kind == "listening":
        return Listening()
    return Gap(datetime_of(message.gap.since)) if kind == "gap" else None


class Listener:
    """The events of channels, in the order of the commits. It ends with an error, or when it is closed."""

    def __init__(self, connection: Connection, request: Any, timeout: Optional[float]) -> None:
        self._connection = connection
        self._is_closed = False
        self._call = connection._methods.Listen(
            request, timeout=timeout, metadata=connection._metadata(timeout), wait_for_ready=connection.wait_for_ready
        )

    def __iter__(self) -> Iterator[Event]:
        try:
            for message in self._call:
                event = event_of(message)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            if not self._is_closed:
                raise self._connection._failure(error, reads=True) from None
        except KeyboardInterrupt:
            self._call.cancel()  # which grpc does not
            raise

    def close(self) -> None:
        """Ends the listening; a thread that waits for an event leaves its loop."""
        self._is_closed = True
        self._call.cancel()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
