"""Options of calls and transactions, and the messages that they become."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Dict, Mapping, Optional, Sequence, TypedDict, Union

from .. import _proto
from .._values._encode import encode_all
from .._values._types import Reference

Timeout = Union[float, timedelta, None]


class CallOptions(TypedDict, total=False):
    """Options of a call; all are optional."""

    #: The time that the call may take, in seconds or as a timedelta. None: as long as the server allows.
    timeout: Timeout
    #: An idempotency key: the call runs once, however often it is sent; a repetition returns the first answer.
    key: Optional[str]
    #: A label for the server's logs and metrics.
    tag: Optional[str]
    #: The database itself refuses writes.
    read_only: bool
    #: Running it twice is harmless: it is also retried when its outcome is unknown.
    idempotent: bool
    #: The most rows of the result; more are an error.
    max_rows: int
    #: The largest result, in bytes; a larger one is an error.
    max_bytes: int
    #: Settings of PostgreSQL's for this call alone.
    settings: Optional[Mapping[str, str]]
    #: Asks for the nullability and the origin of the columns.
    describe_columns: bool
    #: The most repetitions of what may safely be repeated; default: the connection's.
    retries: int


class BatchOptions(TypedDict, total=False):
    """Options of a batch; all are optional."""

    timeout: Timeout
    key: Optional[str]
    tag: Optional[str]
    read_only: bool
    idempotent: bool
    max_rows: int
    max_bytes: int
    settings: Optional[Mapping[str, str]]
    retries: int
    #: "read committed", "repeatable read" or "serializable".
    isolation: Optional[str]
    deferrable: bool
    #: The limit on the server's own attempts. 0: its configuration's.
    max_attempts: int
    #: Runs everything, then rolls back.
    dry_run: bool


class TransactionOptions(TypedDict, total=False):
    """Options of a transaction; all are optional."""

    #: "read committed", "repeatable read" or "serializable". Default: the database's own.
    isolation: Optional[str]
    read_only: bool
    #: With "serializable" and read_only: waits for a snapshot that cannot fail (PostgreSQL).
    deferrable: bool
    #: The longest wait for the next command; default: the server's.
    idle_timeout: Timeout
    #: The longest time in all; default: the server's.
    max_duration: Timeout
    #: The deadline of the whole transaction, by the client's own clock as well.
    timeout: Timeout
    #: The longest wait of the client for one reply, to commands without a timeout of their own; default: none, but for the begin
    #: the connection's `timeout`. Behind it the transaction is over.
    reply_timeout: Timeout
    key: Optional[str]
    tag: Optional[str]
    settings: Optional[Mapping[str, str]]


class BlockOptions(TransactionOptions, total=False):
    """Options of a transaction that is a `with` block."""

    #: The most repetitions of the begin, the only part that may be repeated for a `with` block.
    retries: int


class StatementOptions(TypedDict, total=False):
    """Options of a statement in a transaction; all are optional."""

    #: Ends the statement, not the transaction's stream.
    timeout: Timeout
    tag: Optional[str]
    max_rows: int
    max_bytes: int


_LEVELS = {"read committed": 1, "repeatable read": 2, "serializable": 3}
READ_ONLY = 2
# Ten years: grpc takes a deadline beyond its clock for one that has passed.
_MOST_SECONDS = 3650.0 * 86_400


def seconds(timeout: Timeout) -> Optional[float]:
    """A timeout in seconds; ValueError if it is not positive."""
    if timeout is None:
        return None
    length = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not 0 < length < float("inf"):
        raise ValueError(f"a timeout must be positive, not {timeout!r}; None is for no limit of the client's")
    return min(length, _MOST_SECONDS)


def set_duration(duration: Any, timeout: Timeout) -> None:
    """Sets a message `Duration` to a timeout."""
    length = seconds(timeout)
    if length is not None:
        duration.seconds, duration.nanos = divmod(max(round(length * 1e9), 1), 1_000_000_000)


def _check(options: Mapping[str, Any], allowed: Any, call: str) -> None:
    for name in options:
        if name not in allowed.__annotations__:
            raise TypeError(f"{call} has no option {name!r}; it has {', '.join(sorted(allowed.__annotations__))}")


def key_of(options: Mapping[str, Any]) -> Optional[str]:
    """The idempotency key among the options; ValueError for an empty one, which the server takes for none."""
    key = options.get("key")
    if key is not None and not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    if key == "":
        raise ValueError("the key is empty: the call would be sent again without one, and could run twice; None is for no key")
    return key


def _limit(options: Mapping[str, Any], name: str) -> Optional[int]:
    """A limit among the options; ValueError for 0, which the server takes for none."""
    limit: Optional[int] = options.get(name)
    if limit is not None and limit <= 0:
        raise ValueError(f"{name} must be positive, not {limit}; leave it out for the server's own limit")
    return limit


def _query_options(options: Mapping[str, Any], tag: Optional[str]) -> Any:
    """The message, with the tag of the connection where the call has none."""
    made = _proto.QueryOptions()
    key = key_of(options)
    if key is not None:
        made.idempotency_key = key
    if options.get("tag") or tag:
        made.tag = options.get("tag") or tag
    if options.get("read_only"):
        made.access_mode = READ_ONLY
    if options.get("idempotent"):
        made.idempotent = True
    for name in ("max_rows", "max_bytes"):
        limit = _limit(options, name)
        if limit is not None:
            setattr(made, name, limit)
    if options.get("describe_columns"):
        made.describe_columns = True
    _add_settings(made.settings, options.get("settings"))
    return made


def _add_settings(target: Any, settings: Optional[Mapping[str, str]]) -> None:
    for name, value in (settings or {}).items():
        if value is None:
            raise ValueError(f"the setting {name} is None: leave it out for the database's own value")
        target.add(name=name, value=str(value))


def query_request(
    database: str, sql: str, parameters: Sequence[Any], options: Mapping[str, Any], tag: Optional[str]
) -> Any:
    """The request of a query, checked."""
    if options:
        _check(options, CallOptions, "a query")
    if not isinstance(sql, str):
        raise TypeError(f"the statement must be a str, not {type(sql).__name__}")
    request = _proto.QueryRequest(database=database, sql=sql, parameters=encode_all(parameters) if parameters else ())
    if options or tag:
        request.options.CopyFrom(_query_options(options, tag))
    return request


class Statement:
    """A statement of a batch, with the number of rows that it must change: `exactly`, `at_least` or `at_most`.

    Any other number rolls the whole batch back: `rowgate.ExpectationFailed`.
    """

    __slots__ = ("expect", "parameters", "sql")

    def __init__(
        self,
        sql: str,
        *parameters: Any,
        exactly: Optional[int] = None,
        at_least: Optional[int] = None,
        at_most: Optional[int] = None,
    ) -> None:
        given = {"exactly": exactly, "at_least": at_least, "at_most": at_most}
        self.expect: Dict[str, int] = {name: count for name, count in given.items() if count is not None}
        if len(self.expect) > 1:
            raise ValueError("a statement expects one of exactly, at_least and at_most")
        self.sql = sql
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"Statement({self.sql!r}, {len(self.parameters)} parameters, {self.expect})"


BatchItem = Union[str, Statement, Sequence[Any]]


def statement_of(sql: str, parameters: Sequence[Any]) -> Any:
    """A statement of a batch that knows nothing of the others."""
    for number, each in enumerate(parameters, 1):
        if isinstance(each, Reference):
            raise TypeError(f"parameter ${number}: a Reference is for a batch, whose statements it counts")
    return _proto.BatchStatement(sql=sql, parameters=encode_all(parameters) if parameters else ())


def _batch_statement(item: BatchItem) -> Any:
    if isinstance(item, str):
        return _proto.BatchStatement(sql=item)
    if not isinstance(item, Statement):
        item = Statement(*item)
    made = _proto.BatchStatement(sql=item.sql, parameters=encode_all(item.parameters))
    for name, count in item.expect.items():
        setattr(made.expect, name, count)
    return made


def batch_request(
    database: str, statements: Sequence[BatchItem], options: Mapping[str, Any], tag: Optional[str]
) -> Any:
    """The request of a batch, checked."""
    _check(options, BatchOptions, "a batch")
    request = _proto.ExecuteBatchRequest(database=database)
    _add_statements(request.statements, statements)
    if options or tag:
        request.options.CopyFrom(_query_options({**options, "read_only": False}, tag))
        _set_transaction(request.transaction, options)
        request.max_attempts = options.get("max_attempts", 0)
        request.dry_run = options.get("dry_run", False)
    return request


def _add_statements(target: Any, statements: Sequence[BatchItem]) -> None:
    for number, item in enumerate(statements):
        try:
            target.append(_batch_statement(item))
        except (TypeError, ValueError) as error:
            raise type(error)(f"statement {number}: {error}") from None


def _set_transaction(target: Any, options: Mapping[str, Any]) -> None:
    isolation = options.get("isolation")
    if isolation is not None:
        level = isolation.lower().replace("_", " ")
        if level not in _LEVELS:
            raise ValueError(f"the isolation is one of {', '.join(_LEVELS)}, not {isolation!r}")
        target.isolation_level = _LEVELS[level]
    if options.get("read_only"):
        target.access_mode = READ_ONLY
    if options.get("deferrable"):
        target.deferrable = True


def begin_command(database: str, options: Mapping[str, Any], tag: Optional[str]) -> Any:
    """The begin of a transaction, checked."""
    _check(options, BlockOptions, "a transaction")
    begin = _proto.Begin(database=database, tag=options.get("tag") or tag or "")
    key = key_of(options)
    if key is not None:
        begin.idempotency_key = key
    _set_transaction(begin.transaction, options)
    for name in ("idle_timeout", "max_duration"):
        if options.get(name) is not None:
            set_duration(getattr(begin.transaction, name), options[name])
    _add_settings(begin.settings, options.get("settings"))
    return begin


def transact_query(sql: str, parameters: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """A statement in a transaction, checked."""
    query = _proto.TransactQuery(sql=sql, parameters=encode_all(parameters) if parameters else ())
    if options:
        query.options.CopyFrom(statement_options(options, "a statement in a transaction"))
    return query


def transact_batch(statements: Sequence[BatchItem], options: Mapping[str, Any]) -> Any:
    """A batch in a transaction, checked."""
    batch = _proto.TransactBatch()
    _add_statements(batch.statements, statements)
    if options:
        batch.options.CopyFrom(statement_options(options, "a batch in a transaction"))
    return batch


def statement_options(options: Mapping[str, Any], call: str) -> Any:
    """The message of the options that a statement or a batch in a transaction has, checked."""
    _check(options, StatementOptions, call)
    made = _query_options(options, None)
    if options.get("timeout") is not None:
        set_duration(made.timeout, options["timeout"])
    return made
