"""What a service wants around the generated stubs: a channel, plain values, errors that say what became of
the work, retries that respect that, and transactions as `with` blocks."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import grpc
from google.protobuf import struct_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from rowgate.v1 import database_pb2, database_pb2_grpc, error_pb2, value_pb2

T = TypeVar("T")
# The same as in service-config.json: turns over all addresses, and a retry policy for calls that only read.
SERVICE_CONFIG = """
{
  "loadBalancingConfig": [{ "round_robin": {} }],
  "methodConfig": [
    {
      "name": [
        { "service": "rowgate.v1.DatabaseService", "method": "DescribeStatement" },
        { "service": "rowgate.v1.DatabaseService", "method": "GetTransactionOutcome" },
        { "service": "rowgate.v1.ServerService" }
      ],
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ],
  "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 }
}
"""


def connect(address: str, ca: str | None = None, token: str | None = None) -> grpc.Channel:
    """A channel for the whole process: it is thread-safe, and reconnects by itself.

    TLS is spoken to an address with https://, and where `ca` names a PEM file with the authorities that are trusted.
    The token is sent with each call.
    """
    scheme, _, host = address.rpartition("://")
    options = [("grpc.service_config", SERVICE_CONFIG)]
    if scheme != "https" and not ca:
        if token:
            raise ValueError("a token is sent over TLS only: name the authorities, or write https://")
        return grpc.insecure_channel(host, options)
    credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes() if ca else None)
    if token:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(host, credentials, options)


def value(plain: Any) -> value_pb2.Value:
    """A parameter."""
    match plain:
        case None:
            return value_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():  # before int: a bool is one
            return value_pb2.Value(bool_value=plain)
        case int():
            return value_pb2.Value(int64_value=plain)
        case float():
            return value_pb2.Value(float64_value=plain)
        case bytes():
            return value_pb2.Value(bytes_value=plain)
        case datetime():
            timestamp = timestamp_pb2.Timestamp()
            timestamp.FromDatetime(plain)
            return value_pb2.Value(timestamp_value=timestamp)
        case list():
            return value_pb2.Value(array_value=value_pb2.ArrayValue(elements=[value(one) for one in plain]))
        case _:  # dates, decimals, UUIDs: the database parses their text
            return value_pb2.Value(text_value=str(plain))


def plain(value: value_pb2.Value) -> Any:
    """What a value of a result holds."""
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "timestamp_value":
            return value.timestamp_value.ToDatetime(timezone.utc)
        case "array_value":
            return [plain(element) for element in value.array_value.elements]
        case "record_value":
            return tuple(plain(field) for field in value.record_value.fields)
        case kind:
            return getattr(value, kind)


def parameters(*values: Any) -> list[value_pb2.Value]:
    return [value(one) for one in values]


def rows(found: Any) -> list[tuple]:
    """The rows of anything that has rows: a result, a batch of a stream."""
    return [tuple(plain(value) for value in row.values) for row in found.rows]


@dataclass
class RowgateError(Exception):
    """A call, or a statement in a transaction, that failed."""

    code: grpc.StatusCode
    message: str
    reason: str
    outcome: str  # NOT_APPLIED, APPLIED or UNKNOWN
    retry_delay: timedelta | None  # with it the same call may be sent again, after so long
    database: error_pb2.DatabaseError  # SQLSTATE, constraint, position …

    def __str__(self) -> str:
        return f"{self.code.name} {self.reason}: {self.message} ({self.outcome})"

    @classmethod
    def of(cls, error: grpc.RpcError) -> "RowgateError":
        # Without details the status was made on the way: by the client library, or a proxy.
        status = rpc_status.from_call(error) or status_pb2.Status(
            code=error.code().value[0], message=error.details()
        )
        return cls.of_status(status)

    @classmethod
    def of_status(cls, status: status_pb2.Status) -> "RowgateError":
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        database, delay = error_pb2.DatabaseError(), None
        for detail in status.details:
            if detail.Unpack(retry):
                delay = retry.retry_delay.ToTimedelta()
            detail.Unpack(info) or detail.Unpack(database)
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        ours = info.domain == "rowgate"
        outcome = info.metadata["outcome"] if ours else "UNKNOWN"
        return cls(code, status.message, info.reason if ours else "", outcome, delay, database)


@contextmanager
def rowgate_errors() -> Iterator[None]:
    """Turns errors of gRPC into RowgateError."""
    try:
        yield
    except grpc.RpcError as error:
        raise RowgateError.of(error) from error


def retrying(work: Callable[[], T], attempts: int = 3) -> T:
    """Does it again where nothing was applied and it may succeed later, as RetryInfo says."""
    for attempt in range(1, attempts + 1):
        try:
            with rowgate_errors():
                return work()
        except RowgateError as error:
            if error.outcome != "NOT_APPLIED" or error.retry_delay is None or attempt == attempts:
                raise
            time.sleep(error.retry_delay.total_seconds() * 2 ** (attempt - 1) * random.uniform(1, 1.5))
    raise ValueError("attempts must be positive")


class Transaction:
    """An interactive transaction: committed when its `with` block ends, rolled back when that raises."""

    def __init__(
        self,
        stub: database_pb2_grpc.DatabaseServiceStub,
        begin: database_pb2.Begin = database_pb2.Begin(),
        timeout: float = 30,
    ):
        self._begin = begin
        self._sequence = 0
        self._commands: SimpleQueue = SimpleQueue()
        self._replies = stub.Transact(iter(self._commands.get, None), timeout=timeout)

    def __enter__(self) -> "Transaction":
        try:
            self._ask(begin=self._begin)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._ask(commit=database_pb2.Commit())
                with rowgate_errors():
                    next(self._replies, None)  # the stream ends with it
        finally:
            self._close()

    def query(self, sql: str, *values: Any) -> list[tuple]:
        reply = self._ask(query=database_pb2.TransactQuery(sql=sql, parameters=parameters(*values)))
        found = rows(reply.result.result_set)
        while reply.result.more:  # a large result comes in parts
            reply = self._reply()
            found += rows(reply.result.result_set)
        return found

    @contextmanager
    def savepoint(self, name: str) -> Iterator[None]:
        """Undoes what is done in its block when that raises; the transaction goes on."""
        self._ask(savepoint=database_pb2.Savepoint(name=name))
        try:
            yield
        except BaseException:
            self._ask(rollback_to=database_pb2.RollbackTo(name=name))
            raise
        self._ask(release=database_pb2.Release(name=name))

    def _ask(self, **command: Any) -> database_pb2.TransactResponse:
        self._sequence += 1
        self._commands.put(database_pb2.TransactRequest(sequence=self._sequence, **command))
        return self._reply()

    def _reply(self) -> database_pb2.TransactResponse:
        with rowgate_errors():  # the status of the stream: the transaction is over
            reply = next(self._replies)
        if reply.WhichOneof("reply") == "error":  # a statement failed, the transaction is open
            raise RowgateError.of_status(reply.error)
        return reply

    def _close(self) -> None:
        """Without a commit, a cancel rolls back at once."""
        self._commands.put(None)
        self._replies.cancel()
