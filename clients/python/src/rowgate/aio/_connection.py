"""The connection for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, AsyncIterator, Awaitable, Callable, Optional, Sequence, TypeVar

import grpc
import grpc.aio
from grpc.aio import UsageError

from .. import _proto
from .._client import _copy, _failures, _options, _target
from .._client._caller import READS, Caller, State, outcome_request, safety_of
from .._client._failures import Safety
from .._client._forks import forks
from .._client._messages import ASKING, KnownLimits, Limits
from .._client._methods import Methods
from .._client._result import BatchResult, Description, Result, ServerInfo, batch_result, result_of
from .._errors import Error, InterfaceError, Outcome, TransportError
from ._attempts import Attempt, attempts
from ._cancelled import raise_unless_cancelled
from ._listen import Listener
from ._streams import CopyOut, Stream
from ._transaction import Transaction
from ._write import is_written

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._client._caller import ConnectOptions
    from .._client._copy import CopyInOptions, CopyOutOptions, CopyResult
    from .._client._options import BatchItem, BatchOptions, BlockOptions, CallOptions, TransactionOptions

T = TypeVar("T")


class Connection(Caller):
    """A connection to a server and one of its databases. It may be used by all tasks of an event loop, and reconnects itself.

    It is made by `rowgate.aio.connect`.
    """

    def __init__(self, address: str, *, shared: Optional[Connection] = None, target: Any = None, **options: Any) -> None:
        super().__init__(address, options, target)
        self._shared = shared
        self.limits: KnownLimits = KnownLimits() if shared is None else shared.limits
        self._channel: Any = None
        self._bound: Any = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._is_closed = False
        self._is_reachable = False

    @property
    def _methods(self) -> Methods:
        """The methods over a channel of the running loop: one of a loop that has ended is of no use."""
        if self._shared is not None:
            return self._shared._methods
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            forks.opens()
            self._loop, self._is_reachable = loop, False
            if self.target.secure:
                self._channel = grpc.aio.secure_channel(
                    self.target.address, self.target.credentials(), self.channel_options
                )
            else:
                self._channel = grpc.aio.insecure_channel(self.target.address, self.channel_options)
            self._bound = Methods(self._channel)
        return self._bound  # type: ignore[no-any-return]

    def using(self, *, database: Optional[str] = None, timeout: Any = ..., tag: Optional[str] = None) -> Connection:
        """A connection with another database, timeout or tag over the same channel. It ends with this one."""
        target = self.changed(database, timeout, tag)
        return Connection(target.address, shared=self._shared or self, target=target, **self.shared_options())

    # Calls

    async def query(self, sql: str, *parameters: Any, **options: Unpack[CallOptions]) -> Result:
        """Runs one statement and returns its whole result. `$1` is the first parameter."""
        return await self.execute(sql, parameters, **options)

    async def execute(self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[CallOptions]) -> Result:
        """Does what `query` does, with the parameters as one sequence."""
        request = _options.query_request(self.database, sql, parameters, options, self.tag)
        response = await self._unary(self._methods.Query, request, options, request.options)
        return result_of(response.result, self.planner, response.attempts, response.replayed, applied=True)

    def stream(self, sql: str, *parameters: Any, **options: Unpack[CallOptions]) -> Stream:
        """Runs one statement and streams its rows in constant memory. Begins when it is first read."""
        return self.open_stream(sql, parameters, **options)

    def open_stream(self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[CallOptions]) -> Stream:
        """Does what `stream` does, with the parameters as one sequence."""
        request = _options.query_request(self.database, sql, parameters, options, self.tag)
        return Stream(self, _proto.StreamQueryRequest(query=request), options)

    async def batch(self, statements: Sequence[BatchItem], **options: Unpack[BatchOptions]) -> BatchResult:
        """Runs statements in one transaction and one round trip: all of them are applied, or none is.

        A statement is a text, a sequence of a text and its parameters, or a `rowgate.Statement` with the number of rows
        that it must change. A `rowgate.Reference` as a parameter is a value that an earlier statement returns.
        """
        request = _options.batch_request(self.database, statements, options, self.tag)
        response = await self._unary(self._methods.ExecuteBatch, request, options, request.options)
        return batch_result(response, self.planner)

    def transaction(self, **options: Unpack[BlockOptions]) -> Transaction:
        """An interactive transaction: `async with db.transaction() as tx` commits at the end of the block, and rolls back when
        the block raises.

        Python cannot run an `async with` block twice, so `retries` covers its begin alone. `run_transaction` and
        `transactions` repeat the whole work.
        """
        return Transaction(self, options)

    async def run_transaction(
        self, work: Callable[[Transaction], Awaitable[T]], *, retries: int = 3, **options: Unpack[TransactionOptions]
    ) -> T:
        """Awaits `work(tx)` in a transaction and returns what it returns. The whole is repeated when it is known that nothing
        was applied and the server says when (serialization failures, deadlocks), and with a key also when the outcome is
        unknown. An unknown outcome without a key is never repeated."""
        result: Any = None
        async for attempt in attempts(self, retries, options):
            async with attempt as tx:
                result = await work(tx)
        return result  # type: ignore[no-any-return]

    def transactions(self, *, retries: int = 3, **options: Unpack[TransactionOptions]) -> AsyncIterator[Attempt]:
        """The attempts of a transaction, for a block that is repeated as by `run_transaction`:

        `async for attempt in db.transactions(retries=3):` / `async with attempt as tx: …`
        """
        return attempts(self, retries, options)

    async def copy_in(self, table: str, data: Any, **options: Unpack[CopyInOptions]) -> CopyResult:
        """Copies rows into a table, all of them or none: an iterable of rows, or CSV or text as str, bytes, a file or an
        iterable of them; iterables may be asynchronous. Memory stays constant. Only a list, a tuple, a str or bytes can be
        sent again where that is safe."""
        first = _copy.start(self.database, table, options, self.tag)
        clock = self.clock(options, None)
        with clock.doubt:
            while True:
                call = self._methods.CopyIn(
                    metadata=await self._metadata(clock.remaining()),
                    timeout=clock.timeout(first.start.options),
                    wait_for_ready=self.wait_for_ready,
                )
                try:
                    async for message in _messages(first, data):
                        if not await is_written(call, message):
                            break  # the server has ended the call before it read all: the call has its status
                    response = await call
                    return _copy.CopyResult(response.rows_affected, response.attempts, response.replayed)
                except grpc.RpcError as error:
                    failure = self._failure(error, reads=False)
                finally:
                    call.cancel()
                pause = clock.pause(failure, safety_of(options)) if _copy.may_be_read_again(data) else None
                if pause is None:
                    raise failure
                await asyncio.sleep(pause)

    def copy_out(
        self, table: Optional[str] = None, *, sql: Optional[str] = None, **options: Unpack[CopyOutOptions]
    ) -> CopyOut:
        """Copies the rows of a table or of a query out, in constant memory and read-only."""
        request = _copy.out_request(self.database, table, sql, options, self.tag)
        return CopyOut(self, request, options)

    def listen(self, *channels: str, timeout: Any = None) -> Listener:
        """Listens to channels of PostgreSQL. The events are `Listening`, `Notification` and `Gap`, until it is closed."""
        request = _proto.ListenRequest(database=self.database, channels=channels)
        return Listener(self, request, _options.seconds(timeout))

    async def describe(self, sql: str, *, plan: bool = False, timeout: Any = ...) -> Description:
        """The parameters and columns of a statement, and its plan if that is asked for. Runs nothing."""
        request = _proto.DescribeStatementRequest(database=self.database, sql=sql, include_plan=plan)
        options = {} if timeout is ... else {"timeout": timeout}
        return Description.of(await self._unary(self._methods.DescribeStatement, request, options, None, READS))

    async def outcome(self, key: Optional[str] = None, *, token: Optional[str] = None, timeout: Any = ...) -> State:
        """The outcome of a unit of work, by its idempotency key or by the `transaction_token` of an error."""
        request = outcome_request(self.database, key, token)
        options = {} if timeout is ... else {"timeout": timeout}
        return State.of((await self._unary(self._methods.GetTransactionOutcome, request, options, None, READS)).state)

    async def server_info(self, *, timeout: Any = ...) -> ServerInfo:
        """The server's version, its databases and limits."""
        options = {} if timeout is ... else {"timeout": timeout}
        request = _proto.GetServerInfoRequest()
        return ServerInfo.of(await self._unary(self._methods.GetServerInfo, request, options, None, READS))

    # How calls are made

    async def _batch_limits(self) -> Limits:
        """The limits of batches in transactions; where the server does not tell them, each statement is sent alone."""
        found = self.limits.of(self.database)
        if found is not None:
            return found
        request = _proto.GetServerInfoRequest()
        try:
            info = await self._unary(self._methods.GetServerInfo, request, {"timeout": ASKING, "retries": 0}, None, READS)
        except Error as error:
            return self.limits.untold(self.database, error)
        return self.limits.learn(self.database, ServerInfo.of(info))

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._shared is not None and self._shared._is_closed

    async def _metadata(self, limit: Optional[float]) -> Any:
        """The headers of a call; waits for the server before, where calls wait for it, within this time or the connection's."""
        token = self.target.token
        if self._is_over:
            raise InterfaceError("the connection is closed")
        if self.wait_for_ready:
            await (self._shared or self)._await_server(self.target.timeout if limit is None else limit)
        if token is None:
            return self.target.metadata or None
        if not isinstance(token, str):
            found = token()
            token = str(await found if inspect.isawaitable(found) else found)
        return (*self.target.metadata, _target.bearer(token))

    async def _await_server(self, limit: Optional[float]) -> None:
        """Waits for the first connection: by its own error a call cannot tell that it was not sent for want of one."""
        _ = self._methods  # opens the channel
        if not self._is_reachable:
            try:
                await asyncio.wait_for(self._channel.channel_ready(), limit)
            except asyncio.TimeoutError:
                assert limit is not None
                raise _failures.unreachable(limit) from None
            self._is_reachable = True

    def _failure(self, error: Any, reads: bool) -> Error:
        failure = _failures.of_rpc(error, reads)
        if isinstance(failure, TransportError):
            (self._shared or self)._is_reachable = False
        return failure

    async def _unary(
        self, method: Any, request: Any, options: Any, timed: Any, safety: Optional[Safety] = None
    ) -> Any:
        """Calls a method; repeats it where that is safe. `timed` are the options in the request, if it has any."""
        clock = self.clock(options, self.target.timeout)
        safety = safety_of(options) if safety is None else safety
        with clock.doubt:
            while True:
                try:
                    return await method(
                        request,
                        metadata=await self._metadata(clock.remaining()),
                        timeout=clock.timeout(timed),
                        wait_for_ready=self.wait_for_ready,
                    )
                except grpc.RpcError as error:
                    failure = self._failure(error, safety.reads)
                except (asyncio.CancelledError, UsageError):
                    if self._is_over:
                        outcome = Outcome.NOT_APPLIED if safety.reads else Outcome.UNKNOWN
                        raise_unless_cancelled(InterfaceError("the connection was closed during the call", outcome=outcome))
                    raise
                pause = clock.pause(failure, safety)
                if pause is None:
                    raise failure
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Ends the connection and what still runs over it."""
        self._is_closed = True
        if self._channel is not None and self._loop is asyncio.get_running_loop():
            await self._channel.close()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<rowgate.aio.Connection {self.target.address} database={self.database!r}>"


async def _messages(first: Any, data: Any) -> AsyncIterator[Any]:
    """The messages of a copy of data that may be asynchronous."""
    if not hasattr(data, "__aiter__"):
        for message in _copy.messages(first, data):
            yield message
        return
    yield first
    rows = _copy.Rows()
    async for part in data:
        if first.start.format != _copy.ROWS:
            for message in _copy.pieces(part):
                yield message
            continue
        full = rows.add(part)
        if full is not None:
            yield full
    rest = rows.rest()
    if rest is not None:
        yield rest
    yield _copy.END


def connect(address: str = "127.0.0.1:50051", **options: Unpack[ConnectOptions]) -> Connection:
    """Connects to a server of Rowgate, for asyncio. The options are those of `rowgate.connect`; the function of a `token` may
    be asynchronous."""
    return Connection(address, **options)
