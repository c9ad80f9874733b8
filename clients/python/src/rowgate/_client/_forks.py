"""Forks of the process: grpc's threads do not survive one, and what a child does with an inherited call reaches the server.

A process may fork before the first call, and a child of it then opens a channel of its own. After it, the child is told so
instead of hanging, unless grpc was started with its own support of forks: that closes the channels of the child.
"""

from __future__ import annotations

import os
from typing import Any, List

from grpc._cython import cygrpc

from .._errors import InterfaceError

_ASKED = bool(getattr(cygrpc, "is_fork_support_enabled", lambda: False)())


class Forks:
    """The forks between the first process and this one, and if a channel was open at one of them."""

    def __init__(self) -> None:
        #: The number of forks: an object that was made at another number belongs to another process.
        self.count = 0
        self._is_used = False
        self._is_spoiled = False
        # Calls and channels of the parent: freeing one would end it there as well.
        self._kept: List[Any] = []

    def opens(self) -> None:
        """A channel is about to be opened; InterfaceError where it would hang."""
        if self._is_spoiled:
            raise InterfaceError(
                "this process was forked from one that had already made a call, and grpc works in that one alone",
                hint="make the first call behind the fork (gunicorn: without preload_app, or connect in post_fork), start processes"
                " by spawn, or set GRPC_ENABLE_FORK_SUPPORT=1 in the environment",
            )
        self._is_used = True

    def cancel(self, call: Any, count: int) -> None:
        """Cancels a call of this process; one of a parent goes on there."""
        if count == self.count:
            call.cancel()
        else:
            self._kept.append(call)

    def keep(self, channel: Any) -> None:
        """Keeps a channel of the parent from being freed."""
        self._kept.append(channel)

    def in_child(self) -> None:
        """The process is a child now."""
        self.count += 1
        self._is_spoiled = self._is_spoiled or self._is_used and not _ASKED
        self._is_used = False


forks = Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forks.in_child)
