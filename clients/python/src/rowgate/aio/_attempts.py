"""The attempts of a transaction whose whole work is repeated, for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AsyncIterator, Mapping, Optional

from .._client._attempts import Plan
from .._errors import Error
from ._transaction import Transaction

if TYPE_CHECKING:
    from ._connection import Connection


class Attempt:
    """One attempt: `async with attempt as tx` commits at its end. An error that allows it leads to the next attempt."""

    def __init__(self, transaction: Transaction, plan: Plan) -> None:
        self._transaction = transaction
        self._plan = plan
        #: The pause before the next attempt; None behind the last one.
        self.pause: Optional[float] = None

    async def __aenter__(self) -> Transaction:
        return self._transaction

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool:
        failure = error
        try:
            await self._transaction.__aexit__(kind, error, trace)
        except Error as ending:
            failure = ending
        if failure is None:
            return False
        if isinstance(failure, Error):
            self.pause = self._plan.pause(failure)
            if self.pause is not None:
                return True
        if failure is not error:
            raise failure
        return False


async def attempts(connection: Connection, retries: int, options: Mapping[str, Any]) -> AsyncIterator[Attempt]:
    """The attempts of a transaction, until one is committed or fails for good."""
    plan = Plan(retries, options)
    with plan.doubt:
        while True:
            transaction = connection.transaction(**{**options, "retries": 0})
            try:
                await transaction.begin()
            except Error as error:
                if plan.is_done(error):
                    return
                pause = plan.pause(error)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
                continue
            plan.begun()
            attempt = Attempt(transaction, plan)
            try:
                yield attempt
            finally:
                if transaction.state in ("open", "failed"):
                    transaction.cancel()
            if attempt.pause is None:
                return
            await asyncio.sleep(attempt.pause)
