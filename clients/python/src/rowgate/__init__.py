"""Client of Rowgate: pooled, deadline-bound SQL over gRPC.

    import rowgate

    db = rowgate.connect("127.0.0.1:50051", database="shop")
    for row in db.query("select id, owner from orders where state = $1", "open"):
        print(row.id, row.owner)

`rowgate.aio` has the same for asyncio, `rowgate.dbapi` the DB-API 2.0, `rowgate.sqlalchemy` a dialect of SQLAlchemy.
"""

from pkgutil import extend_path

from . import _conditions, _errors, _reasons
from ._client._attempts import Attempt
from ._client._caller import State
from ._client._connection import Connection, connect
from ._client._copy import CopyResult
from ._client._failures import REASONS, TransportDeadline
from ._client._listen import Gap, Listener, Listening, Notification
from ._client._options import Statement
from ._client._result import (
    BatchResult,
    DatabaseInfo,
    Description,
    MultipleRowsFound,
    NoRowFound,
    Parameter,
    Result,
    ServerInfo,
    Summary,
)
from ._client._rows import Row
from ._client._streams import CopyOut, RowStream, Stream, TransactionStream
from ._client._transaction import Savepoint, Transaction
from ._conditions import *  # noqa: F403 - the classes of the databases' conditions
from ._errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    Outcome,
    ProgrammingError,
    TransportError,
    Warning,
)
from ._reasons import *  # noqa: F403 - the classes of Rowgate's own reasons
from ._values import (
    Array,
    Column,
    ColumnOrigin,
    DatabaseText,
    DataType,
    Interval,
    Json,
    Multirange,
    Nullability,
    Range,
    Reference,
)

__version__ = "0.1.0"
# A program may have generated stubs of the contract beside this package: `rowgate.v1` is found where they are.
__path__ = extend_path(__path__, __name__)

__all__ = [
    "REASONS",
    "Array",
    "Attempt",
    "BatchResult",
    "Column",
    "ColumnOrigin",
    "Connection",
    "CopyOut",
    "CopyResult",
    "DataError",
    "DataType",
    "DatabaseError",
    "DatabaseInfo",
    "DatabaseText",
    "Description",
    "Error",
    "Gap",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "Interval",
    "Json",
    "Listener",
    "Listening",
    "MultipleRowsFound",
    "Multirange",
    "NoRowFound",
    "NotSupportedError",
    "Notification",
    "Nullability",
    "OperationalError",
    "Outcome",
    "Parameter",
    "ProgrammingError",
    "Range",
    "Reference",
    "Result",
    "Row",
    "RowStream",
    "Savepoint",
    "ServerInfo",
    "State",
    "Statement",
    "Stream",
    "Summary",
    "Transaction",
    "TransactionStream",
    "TransportDeadline",
    "TransportError",
    "Warning",
    "connect",
]
