"""DB-API 2.0 (PEP 249) over Rowgate.

    from rowgate import dbapi

    with dbapi.connect("127.0.0.1:50051/shop") as connection:
        cursor = connection.cursor()
        cursor.execute("select name from users where id = %s", (7,))
        print(cursor.fetchone())

A connection's transaction is opened by its first statement; `autocommit` makes each statement one of its own. Errors are the
classes of `rowgate` (`rowgate.UniqueViolation` is an `IntegrityError`), and tell by `outcome` what was applied.
"""

from .._errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from ._connect import connect
from ._connection import Connection
from ._cursor import Cursor
from ._types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    TypeCode,
)

apilevel = "2.0"
# Threads may share the module and connections; the statements of a connection run one after the other.
threadsafety = 2
# Also `format`: %s and %(name)s.
paramstyle = "pyformat"

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "TypeCode",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]
