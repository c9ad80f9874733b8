"""The client for asyncio: the same names as `rowgate`, with `await`, `async with` and `async for`.

    from rowgate import aio

    async with aio.connect("127.0.0.1:50051", database="shop") as db:
        orders = await db.query("select id, owner from orders where state = $1", "open")
        async for row in db.stream("select * from archive"):
            ...
        async with db.transaction() as tx:
            await tx.query("update orders set state = 'paid' where id = $1", 4711)

Results, rows, values and errors are those of `rowgate`.
"""

from ._attempts import Attempt
from ._connection import Connection, connect
from ._listen import Listener
from ._streams import CopyOut, RowStream, Stream, TransactionStream
from ._transaction import Savepoint, Transaction

__all__ = [
    "Attempt",
    "Connection",
    "CopyOut",
    "Listener",
    "RowStream",
    "Savepoint",
    "Stream",
    "Transaction",
    "TransactionStream",
    "connect",
]
