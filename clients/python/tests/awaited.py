"""The client for asyncio with the calls of the one for threads, so that the same tests run by both."""

import asyncio
from typing import Any, Iterator

from rowgate import aio


class Blocking:
    """The client for asyncio, awaited call by call."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._blocking(found) if callable(found) else found

    def __iter__(self) -> Iterator[Any]:
        iterator = self._inner.__aiter__()
        while True:
            try:
                yield self._loop.run_until_complete(iterator.__anext__())
            except StopAsyncIteration:
                return

    def sleep(self, seconds: float) -> None:
        """Lets time pass for the event loop as well."""
        self._loop.run_until_complete(asyncio.sleep(seconds))

    def _blocking(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            found = function(*arguments, **options)
            if asyncio.iscoroutine(found) or isinstance(found, aio.Savepoint):
                found = self._loop.run_until_complete(_awaited(found))
            is_ours = type(found).__module__.startswith("rowgate.aio")
            return Blocking(found, self._loop) if is_ours else found

        return call


async def _awaited(found: Any) -> Any:
    return await found
