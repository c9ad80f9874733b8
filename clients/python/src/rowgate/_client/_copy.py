"""Requests of copies, without any input or output but reading the caller's own data."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, TypedDict

from .. import _proto
from .._values._encode import encode_all
from . import _options

_FORMATS = {"rows": 1, "csv": 2, "text": 3, "arrow": 4}
ROWS = _FORMATS["rows"]
_PART = 64 * 1024


class CopyInOptions(TypedDict, total=False):
    """Options of a copy into a table; all are optional."""

    #: The columns in the order of the data; default: all.
    columns: Sequence[str]
    schema: str
    #: "rows" (default), "csv" or "text".
    format: str
    #: Of CSV and text: the character between fields, the text of NULL, a line with the names first, quotation marks.
    delimiter: str
    null: Optional[str]
    header: bool
    quote: str
    escape: str
    timeout: _options.Timeout
    key: Optional[str]
    tag: Optional[str]
    settings: Optional[Mapping[str, str]]


class CopyOutOptions(TypedDict, total=False):
    """Options of a copy out of a table or a query; all are optional."""

    #: The parameters of a query.
    parameters: Sequence[Any]
    columns: Sequence[str]
    schema: str
    #: "rows" (default), "csv", "text" or "arrow".
    format: str
    delimiter: str
    null: Optional[str]
    header: bool
    quote: str
    escape: str
    timeout: _options.Timeout
    max_rows: int
    max_bytes: int
    tag: Optional[str]
    settings: Optional[Mapping[str, str]]


class CopyResult(NamedTuple):
    """The end of a copy into a table: all rows are committed."""

    rows_affected: int
    attempts: int
    replayed: bool


_CALL = ("key", "tag", "settings", "max_rows", "max_bytes")


def _fill(target: Any, options: Mapping[str, Any], tag: Optional[str], allowed: Any) -> None:
    """Sets what a start and a request for a copy out have in common."""
    _options._check(options, allowed, "a copy")
    name = options.get("format", "rows")
    if name not in _FORMATS:
        raise ValueError(f"the format is one of {', '.join(_FORMATS)}, not {name!r}")
    target.format = _FORMATS[name]
    target.schema = options.get("schema", "")
    columns = options.get("columns")
    if columns is not None and not columns:
        raise ValueError("the list of columns is empty: leave it out for all columns")
    target.columns.extend(columns or ())
    for field in ("delimiter", "header", "quote", "escape"):
        if options.get(field) == "":
            raise ValueError(f"{field} is empty, which the server takes for its default: it is one character")
        if options.get(field):
            setattr(target.text, field, options[field])
    if options.get("null") is not None:
        target.text.null_text = options["null"]
    given = {field: options[field] for field in _CALL if field in options}
    if given or tag:
        target.options.CopyFrom(_options._query_options(given, tag))


def start(database: str, table: str, options: Mapping[str, Any], tag: Optional[str]) -> Any:
    """The first message of a copy into a table."""
    made = _proto.CopyInStart(database=database, table=table)
    _fill(made, options, tag, CopyInOptions)
    return _proto.CopyInRequest(start=made)


END = _proto.CopyInRequest(end=_proto.CopyInEnd())


class Rows:
    """Collects rows into messages of about 64 KiB."""

    def __init__(self) -> None:
        self._batch = _proto.RowBatch()
        self._size = 0
        self._number = 0

    def add(self, row: Iterable[Any]) -> Optional[Any]:
        """Adds a row; returns a message when it is full."""
        self._number += 1
        if isinstance(row, (str, bytes, dict)):
            raise TypeError(f"row {self._number} is a {type(row).__name__}: a row is a tuple or a list of values")
        try:
            added = self._batch.rows.add(values=encode_all(row))
        except (TypeError, ValueError) as error:
            raise type(error)(f"row {self._number}: {error}") from None
        self._size += added.ByteSize()
        return self.rest() if self._size >= _PART else None

    def rest(self) -> Optional[Any]:
        """The message of the rows that wait; None if there are none."""
        if not self._batch.rows:
            return None
        message = _proto.CopyInRequest(rows=self._batch)
        self._batch = _proto.RowBatch()
        self._size = 0
        return message


def pieces(part: Any) -> Iterator[Any]:
    """The messages of a piece of CSV or text."""
    if isinstance(part, str):
        part = part.encode()
    if not isinstance(part, (bytes, bytearray, memoryview)):
        raise TypeError(f"CSV and text are str or bytes, not {type(part).__name__}")
    for at in range(0, len(part), _PART):
        yield _proto.CopyInRequest(data=bytes(part[at : at + _PART]))


def chunks(data: Any) -> Iterator[Any]:
    """The pieces of CSV or text: of a str, bytes, a file, or an iterable of them."""
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        yield data
    elif hasattr(data, "read"):
        while True:
            read = data.read(_PART)
            if not read:
                return
            yield read
    else:
        yield from data


def messages(first: Any, data: Any) -> Iterator[Any]:
    """All messages of a copy, from the first to the end."""
    yield first
    if first.start.format == ROWS:
        rows = Rows()
        for row in data:
            full = rows.add(row)
            if full is not None:
                yield full
        rest = rows.rest()
        if rest is not None:
            yield rest
    else:
        for part in chunks(data):
            yield from pieces(part)
    yield END


def may_be_read_again(data: Any) -> bool:
    """True for data that a second attempt finds as the first one did."""
    return isinstance(data, (str, bytes, list, tuple))


def guarded(requests: Iterator[Any], failure: List[BaseException]) -> Iterator[Any]:
    """The messages of a copy. What the caller's data raises ends them, without the end message, and is put into `failure`."""
    try:
        yield from requests
    except GeneratorExit:
        raise
    except BaseException as error:
        failure.append(error)
        raise


def out_request(
    database: str, table: Optional[str], sql: Optional[str], options: Mapping[str, Any], tag: Optional[str]
) -> Any:
    """The request of a copy out."""
    if (table is None) == (sql is None):
        raise TypeError("copy_out() takes a table or an sql")
    made = _proto.CopyOutRequest(database=database, table=table or "", sql=sql or "")
    made.parameters.extend(encode_all(options.get("parameters") or ()))
    _fill(made, options, tag, CopyOutOptions)
    return made
