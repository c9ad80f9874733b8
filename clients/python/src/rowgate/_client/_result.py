"""Results, and what is read from them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._errors import InterfaceError, Outcome
from .._values._decode import Column, DataType
from . import _arrow
from ._rows import NO_COLUMNS, Row, Shape, shape_of


class NoRowFound(InterfaceError):
    """`one()` or `scalar()` found no row."""


class MultipleRowsFound(InterfaceError):
    """`one()` or `scalar()` found more than one row."""


class Result:
    """The result of a statement: its rows, or the number of rows that it changed.

    It is a sequence of rows: it can be iterated over, measured with `len` and indexed.
    """

    __slots__ = ("_is_applied", "_message", "_rows", "_shape", "attempts", "command", "has_columns", "replayed", "rows_affected")

    def __init__(
        self, message: Any, shape: Shape, attempts: int = 1, replayed: bool = False, applied: bool = False
    ) -> None:
        self._message = message
        self._is_applied = applied and bool(message.rows_affected)
        self._shape = shape
        self._rows: Optional[List[Any]] = None
        #: The number of rows that the statement inserted, updated or deleted.
        self.rows_affected: int = message.rows_affected
        #: The command as the database names it: `SELECT`, `INSERT`.
        self.command: str = message.command
        #: True for a statement that returns rows, even if there are none.
        self.has_columns: bool = message.has_columns
        #: The number of attempts of the server.
        self.attempts = attempts
        #: True for the stored result of an earlier call with the same key.
        self.replayed = replayed

    @property
    def columns(self) -> Tuple[Column, ...]:
        """The columns."""
        return self._shape.columns

    @property
    def rows(self) -> List[Any]:
        """The rows: tuples whose values also have names, `row["id"]` and `row.id`."""
        if self._rows is None:
            self._rows = self._shape.decode(self._message.rows)
            if not any(column.type is DataType.INTERVAL for column in self.columns):  # whose texts `to_arrow` needs
                self._message = None
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self._message.rows) if self._rows is None else len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __repr__(self) -> str:
        count = f"{len(self)} rows" if self.has_columns else f"{self.rows_affected} rows affected"
        return f"<Result {self.command}: {count}>"

    def first(self) -> Any:
        """The first row; None if there is none."""
        return self.rows[0] if self.rows else None

    def one(self) -> Any:
        """The only row; `NoRowFound` or `MultipleRowsFound` if there is not exactly one."""
        if len(self.rows) != 1:
            raise _not_one(len(self.rows), self._outcome())
        return self.rows[0]

    def one_or_none(self) -> Any:
        """The only row; None if there is none, `MultipleRowsFound` if there are more."""
        return self.one() if self.rows else None

    def scalar(self) -> Any:
        """The first value of the only row."""
        row = self.one()
        if not row:
            raise InterfaceError("the row has no columns", outcome=self._outcome())
        return tuple.__getitem__(row, 0)

    def _outcome(self) -> Outcome:
        """The outcome of an error of a result that is not as expected: of a write outside of a transaction, it is applied."""
        return Outcome.APPLIED if self._is_applied else Outcome.NOT_APPLIED

    def scalars(self) -> List[Any]:
        """The first value of each row."""
        return [tuple.__getitem__(row, 0) for row in self.rows]

    def dicts(self) -> List[Dict[str, Any]]:
        """The rows as dicts; KeyError if a column's name occurs twice."""
        return [row._asdict() for row in self.rows]

    def to_arrow(self) -> Any:
        """The rows as a `pyarrow.Table`, with the types that `stream(...).to_arrow()` has, but for expressions of SQLite, which are
        text there; needs pyarrow."""
        rows = self.rows
        return _arrow.table(self.columns, rows, None if self._message is None else self._message.rows)

    def to_pandas(self, **options: Any) -> Any:
        """The rows as a `pandas.DataFrame`; needs pandas and pyarrow. Options are those of pyarrow's `Table.to_pandas`. Decimals are
        Decimals, and integers with NULLs pandas' nullable integers, unless an option says otherwise."""
        return _arrow.to_pandas(self.to_arrow(), options, self.columns)


def _not_one(count: int, outcome: Outcome) -> InterfaceError:
    if count == 0:
        return NoRowFound("one row was expected, and there is none: one_or_none() returns None then", outcome=outcome)
    return MultipleRowsFound(f"one row was expected, and there are {count}: first() returns the first one", outcome=outcome)


class BatchResult(List[Result]):
    """The results of a batch, one for each statement."""

    #: The number of attempts of the server.
    attempts: int = 1
    #: True for the stored results of an earlier call with the same key.
    replayed: bool = False


def result_of(result_set: Any, planner: Any, attempts: int = 1, replayed: bool = False, applied: bool = False) -> Result:
    """The result of a message `ResultSet`; `applied` if it is that of a call, and not of a statement in a transaction."""
    shape = shape_of(result_set.columns, planner) if result_set.has_columns else NO_COLUMNS
    return Result(result_set, shape, attempts, replayed, applied)


def batch_result(response: Any, planner: Any) -> BatchResult:
    """The results of an `ExecuteBatchResponse`."""
    results = BatchResult(
        result_of(each, planner, response.attempts, response.replayed) for each in response.results
    )
    results.attempts = response.attempts
    results.replayed = response.replayed
    return results


def results_in_transaction(reply: Any, planner: Any) -> BatchResult:
    """The results of a `TransactBatchResult`."""
    return BatchResult(result_of(each, planner) for each in reply.results)


class Summary(NamedTuple):
    """The end of a complete stream."""

    rows_affected: int
    command: str
    row_count: int


class Parameter(NamedTuple):
    """A parameter of a described statement."""

    type: DataType
    element_type: DataType
    type_name: str
    type_oid: int


class Description(NamedTuple):
    """A statement: its columns and parameters, whether it is known to only read, and its plan where it was asked for."""

    has_columns: bool
    columns: Tuple[Column, ...]
    parameters: Tuple[Parameter, ...]
    read_only: bool
    plan: str

    @classmethod
    def of(cls, message: Any) -> Description:
        """The description of a message."""
        parameters = tuple(
            Parameter(DataType(each.type), DataType(each.element_type), each.type_name, each.type_oid)
            for each in message.parameter_types
        )
        columns = tuple(Column.of(column) for column in message.columns)
        return cls(message.has_columns, columns, parameters, message.read_only, message.plan)


class DatabaseInfo(NamedTuple):
    """A database of the server, and its limits."""

    name: str
    backend: str
    available: bool
    engine: str
    engine_version: str
    default_deadline: timedelta
    max_deadline: timedelta
    max_rows: int
    max_bytes: int
    max_row_size: int
    max_batch: int
    idempotency_retention: timedelta
    behind_pooler: bool
    missing: Dict[str, str]


class ServerInfo(NamedTuple):
    """The server: its version, its databases, its limits."""

    version: str
    instance: str
    default_database: str
    databases: Dict[str, DatabaseInfo]
    max_request_size: int
    max_response_size: int

    @classmethod
    def of(cls, message: Any) -> ServerInfo:
        """The information in a message."""
        databases = {each.name: _database_info(each) for each in message.databases}
        return cls(
            message.version,
            message.instance,
            message.default_database,
            databases,
            message.max_request_size,
            message.max_response_size,
        )


def _database_info(each: Any) -> DatabaseInfo:
    def length(duration: Any) -> timedelta:
        return timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000)

    return DatabaseInfo(
        each.name,
        each.backend,
        each.available,
        each.engine,
        each.engine_version,
        length(each.default_deadline),
        length(each.max_deadline),
        each.max_rows,
        each.max_bytes,
        each.max_row_size,
        each.max_batch,
        length(each.idempotency_retention),
        each.behind_pooler,
        {ability.name: ability.effect for ability in each.missing},
    )


__all__ = [
    "BatchResult",
    "DatabaseInfo",
    "Description",
    "MultipleRowsFound",
    "NoRowFound",
    "Parameter",
    "Result",
    "Row",
    "ServerInfo",
    "Summary",
    "batch_result",
    "result_of",
    "results_in_transaction",
]
