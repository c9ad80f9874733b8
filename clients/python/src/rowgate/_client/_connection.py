"""The connection for threads."""

from __future__ import annotations

import inspect
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Optional, Sequence, TypeVar

import grpc

from .. import _proto
from .._errors import Error, InterfaceError, TransportError
from . import _copy, _failures, _options, _target
from ._attempts import Attempt, attempts
from ._caller import READS, Caller, State, outcome_request, safety_of
from ._failures import Safety
from ._forks import forks
from ._listen import Listener
from ._messages import ASKING, KnownLimits, Limits
from ._methods import Methods
from ._result import BatchResult, Description, Result, ServerInfo, batch_result, result_of
from ._streams import CopyOut, Stream
from ._transaction import Transaction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._caller import ConnectOptions
    from ._copy import CopyInOptions, CopyOutOptions, CopyResult
    from ._options import BatchItem, BatchOptions, BlockOptions, CallOptions, TransactionOptions

T = TypeVar("T")


class Connection(Caller):
    """A connection to a server and one of its databases. It may be used by all threads of a process, and reconnects itself.

    It is made by `rowgate.connect`. A process that forks does so before the first call: behind one, the child is refused, as grpc
    would hang there.
    """

    def __init__(self, address: str, *, shared: Optional[Connection] = None, target: Any = None, **options: Any) -> None:
        super().__init__(address, options, target)
        self._shared = shared
        self.limits: KnownLimits = KnownLimits() if shared is None else shared.limits
        self._opening = threading.Lock()
        self._channel: Optional[grpc.Channel] = None
        self._bound: Optional[Methods] = None
        self._process = forks.count
        self._is_closed = False
        self._is_reachable = False

    @property
    def _methods(self) -> Methods:
        """The methods over the channel, which is opened by the first call: a process may fork before that."""
        if self._bound is None or self._process != forks.count:
            return self._open() if self._shared is None else self._shared._methods
        return self._bound

    def _open(self) -> Methods:
        with self._opening:
            if self._process != forks.count:
                forks.keep(self._channel)
                self._process, self._bound, self._channel = forks.count, None, None
            if self._bound is not None:
                return self._bound
            self._check_open()
            forks.opens()
            if self.target.secure:
                credentials = self.target.credentials()
                self._channel = grpc.secure_channel(self.target.address, credentials, self.channel_options)
            else:
                self._channel = grpc.insecure_channel(self.target.address, self.channel_options)
            self._bound = Methods(self._channel)
            return self._bound

    def using(self, *, database: Optional[str] = None, timeout: Any = ..., tag: Optional[str] = None) -> Connection:
        """A connection with another database, timeout or tag over the same channel. It ends with this one."""
        target = self.changed(database, timeout, tag)
        return Connection(target.address, shared=self._shared or self, target=target, **self.shared_options())

    # Calls

    def query(self, sql: str, *parameters: Any, **options: Unpack[CallOptions]) -> Result:
        """Runs one statement and returns its whole result. `$1` is the first parameter."""
        return self.execute(sql, parameters, **options)

    def execute(self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[CallOptions]) -> Result:
        """Does what `query` does, with the parameters as one sequence."""
        request = _options.query_request(self.database, sql, parameters, options, self.tag)
        response = self._unary(self._methods.Query, request, options, request.options)
        return result_of(response.result, self.planner, response.attempts, response.replayed, applied=True)

    def stream(self, sql: str, *parameters: Any, **options: Unpack[CallOptions]) -> Stream:
        """Runs one statement and streams its rows in constant memory. Begins when it is first read."""
        return self.open_stream(sql, parameters, **options)

    def open_stream(self, sql: str, parameters: Sequence[Any] = (), **options: Unpack[CallOptions]) -> Stream:
        """Does what `stream` does, with the parameters as one sequence."""
        request = _options.query_request(self.database, sql, parameters, options, self.tag)
        return Stream(self, _proto.StreamQueryRequest(query=request), options)

    def batch(self, statements: Sequence[BatchItem], **options: Unpack[BatchOptions]) -> BatchResult:
        """Runs statements in one transaction and one round trip: all of them are applied, or none is.

        A statement is a text, a sequence of a text and its parameters, or a `rowgate.Statement` with the number of rows
        that it must change. A `rowgate.Reference` as a parameter is a value that an earlier statement returns.
        """
        request = _options.batch_request(self.database, statements, options, self.tag)
        response = self._unary(self._methods.ExecuteBatch, request, options, request.options)
        return batch_result(response, self.planner)

    def transaction(self, **options: Unpack[BlockOptions]) -> Transaction:
        """An interactive transaction: `with db.transaction() as tx` commits at the end of the block, and rolls back when
        the block raises.

        Python cannot run a `with` block twice, so `retries` covers its begin alone. `run_transaction` and
        `transactions` repeat the whole work.
        """
        return Transaction(self, options)

    def run_transaction(
        self, work: Callable[[Transaction], T], *, retries: int = 3, **options: Unpack[TransactionOptions]
    ) -> T:
        """Runs `work(tx)` in a transaction and returns what it returns. The whole is repeated when it is known that nothing
        was applied and the server says when (serialization failures, deadlocks), and with a key also when the outcome is
        unknown. An unknown outcome without a key is never repeated."""
        result: Any = None
        for attempt in attempts(self, retries, options):
            with attempt as tx:
                result = work(tx)
                if inspect.isgenerator(result) or inspect.isawaitable(result):
                    raise TypeError("the work has not run: it is a generator, or asynchronous, which is for rowgate.aio")
        return result  # type: ignore[no-any-return]

    def transactions(self, *, retries: int = 3, **options: Unpack[TransactionOptions]) -> Iterator[Attempt]:
        """The attempts of a transaction, for a block that is repeated as by `run_transaction`:

        `for attempt in db.transactions(retries=3):` / `with attempt as tx: …`
        """
        return attempts(self, retries, options)

    def copy_in(self, table: str, data: Any, **options: Unpack[CopyInOptions]) -> CopyResult:
        """Copies rows into a table, all of them or none: an iterable of rows, or CSV or text as str, bytes, a file or an
        iterable of them. Memory stays constant. Only a list, a tuple, a str or bytes can be sent again where that is safe.
        """
        failed: List[BaseException] = []
        first = _copy.start(self.database, table, options, self.tag)
        clock = self.clock(options, None)
        with clock.doubt:
            while True:
                try:
                    response = self._methods.CopyIn(
                        _copy.guarded(_copy.messages(first, data), failed),
                        metadata=self._metadata(clock.remaining()),
                        timeout=clock.timeout(first.start.options),
                        wait_for_ready=self.wait_for_ready,
                    )
                    return _copy.CopyResult(response.rows_affected, response.attempts, response.replayed)
                except grpc.RpcError as error:
                    if failed:
                        raise failed[0] from None
                    failure = self._failure(error, reads=False)
                except ValueError:
                    self._check_open()  # grpc's error of a channel that another thread has closed meanwhile
                    raise
                pause = clock.pause(failure, safety_of(options)) if _copy.may_be_read_again(data) else None
                if pause is None:
                    raise failure
                time.sleep(pause)

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

    def describe(self, sql: str, *, plan: bool = False, timeout: Any = ...) -> Description:
        """The parameters and columns of a statement, and its plan if that is asked for. Runs nothing."""
        request = _proto.DescribeStatementRequest(database=self.database, sql=sql, include_plan=plan)
        options = {} if timeout is ... else {"timeout": timeout}
        return Description.of(self._unary(self._methods.DescribeStatement, request, options, None, READS))

    def outcome(self, key: Optional[str] = None, *, token: Optional[str] = None, timeout: Any = ...) -> State:
        """The outcome of a unit of work, by its idempotency key or by the `transaction_token` of an error."""
        request = outcome_request(self.database, key, token)
        options = {} if timeout is ... else {"timeout": timeout}
        return State.of(self._unary(self._methods.GetTransactionOutcome, request, options, None, READS).state)

    def server_info(self, *, timeout: Any = ...) -> ServerInfo:
        """The server's version, its databases and limits."""
        options = {} if timeout is ... else {"timeout": timeout}
        request = _proto.GetServerInfoRequest()
        return ServerInfo.of(self._unary(self._methods.GetServerInfo, request, options, None, READS))

    # How calls are made

    def _batch_limits(self) -> Limits:
        """The limits of batches in transactions; where the server does not tell them, each statement is sent alone."""
        found = self.limits.of(self.database)
        if found is not None:
            return found
        request = _proto.GetServerInfoRequest()
        try:
            info = self._unary(self._methods.GetServerInfo, request, {"timeout": ASKING, "retries": 0}, None, READS)
        except Error as error:
            return self.limits.untold(self.database, error)
        return self.limits.learn(self.database, ServerInfo.of(info))

    def _check_open(self) -> None:
        if self._is_closed or self._shared is not None and self._shared._is_closed:
            raise InterfaceError("the connection is closed")

    def _metadata(self, limit: Optional[float]) -> Any:
        """The headers of a call; waits for the server before, where calls wait for it, within this time or the connection's."""
        token = self.target.token
        self._check_open()
        if self.wait_for_ready:
            (self._shared or self)._await_server(self.target.timeout if limit is None else limit)
        if token is None:
            return self.target.metadata or None
        text = token if isinstance(token, str) else _target.token_now(token)
        return (*self.target.metadata, _target.bearer(text))

    def _await_server(self, limit: Optional[float]) -> None:
        """Waits for the first connection: by its own error a call cannot tell that it was not sent for want of one."""
        if self._is_reachable:
            return
        self._open()
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=limit)
        except grpc.FutureTimeoutError:
            assert limit is not None
            raise _failures.unreachable(limit) from None
        finally:
            ready.cancel()
        self._is_reachable = True

    def _failure(self, error: Any, reads: bool) -> Error:
        failure = _failures.of_rpc(error, reads)
        if isinstance(failure, TransportError):
            (self._shared or self)._is_reachable = False
        return failure

    def _unary(
        self, method: Any, request: Any, options: Any, timed: Any, safety: Optional[Safety] = None
    ) -> Any:
        """Calls a method; repeats it where that is safe. `timed` are the options in the request, if it has any."""
        clock = self.clock(options, self.target.timeout)
        safety = safety_of(options) if safety is None else safety
        with clock.doubt:
            while True:
                try:
                    return method(
                        request,
                        metadata=self._metadata(clock.remaining()),
                        timeout=clock.timeout(timed),
                        wait_for_ready=self.wait_for_ready,
                    )
                except grpc.RpcError as error:
                    failure = self._failure(error, safety.reads)
                except ValueError:
                    self._check_open()  # grpc's error of a channel that another thread has closed meanwhile
                    raise
                pause = clock.pause(failure, safety)
                if pause is None:
                    raise failure
                time.sleep(pause)

    def close(self) -> None:
        """Ends the connection and what still runs over it."""
        self._is_closed = True
        with self._opening:
            if self._process != forks.count:
                forks.keep(self._channel)
            elif self._channel is not None:
                self._channel.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<rowgate.Connection {self.target.address} database={self.database!r}>"


def connect(address: str = "127.0.0.1:50051", **options: Unpack[ConnectOptions]) -> Connection:
    """Connects to a server of Rowgate: `connect("127.0.0.1:50051", database="shop")`.

    The address may be a URL: `rowgate://host:port/database`, or `rowgates://` for TLS. Nothing is sent before the first
    call.

    * `database`: its name on the server; default: the server's default one.
    * `tls`, `ca`, `certificate`, `private_key`, `server_name`: TLS with the system's authorities or those of a PEM file, the
      caller's own certificate, and the name in the server's. Each PEM is a path, or its content.
    * `token`: the caller's token, or a function that returns it and is asked for each call.
    * `metadata`: headers for each call.
    * `timeout`: of calls that give none, in seconds or as a timedelta; 30 by default, None for the server's own. Streams,
      copies and transactions have the server's limits instead.
    * `tag`: the label of all calls for the server's logs and metrics.
    * `retries`: the most repetitions of what may safely be repeated; 3 by default.
    * `json_loads`: the reader of JSON values; default: `json.loads`.
    * `decoder`: a function that returns the decoder of a `Column`'s values, in the place of the package's own.
    * `wait_for_ready`: calls wait for the server to be reachable, within their timeout, instead of failing at once.
    * `channel_options`: options of grpc's channel.
    """
    return Connection(address, **options)
