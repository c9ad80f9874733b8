"""The parts that the dialects of all databases share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Optional

from sqlalchemy import pool
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import ExecuteStyle

from .. import dbapi
from ..dbapi._connect import typed
from ..dbapi._connection import Connection

_ENGINES = itertools.count()
# Tables that a server has in a database for its own work: Alembic's autogenerate would drop what the program's metadata has not.
_OF_THE_SERVER = frozenset(("rowgate_idempotency", "rowgate_migrations"))


class Module:
    """`rowgate.dbapi` as the module of PEP 249 of a dialect, whose texts have `$1` already."""

    paramstyle = "numeric_dollar"

    def __init__(self, backend: str, *, awaited: bool = False) -> None:
        self.backend = backend
        self._awaited = awaited
        # An engine has one module. Channels of equal options share an HTTP/2 connection: those of its pool, and of no other one.
        self._channel_options = (("grpc.use_local_subchannel_pool", 0), ("rowgate.engine", next(_ENGINES)))

    def __getattr__(self, name: str) -> Any:
        return getattr(dbapi, name)

    def connect(self, *arguments: Any, **options: Any) -> Connection:
        options = {"backend": self.backend, "paramstyle": self.paramstyle, **options}
        options["channel_options"] = (*self._channel_options, *options.get("channel_options", ()))
        if self._awaited:
            from ._awaited import open_awaited

            options["opener"] = open_awaited
        return dbapi.connect(*arguments, **options)


class RowgateDialect:
    """What differs from the dialects of other drivers, for any database."""

    driver = "rowgate"
    backend = ""
    is_async = False
    supports_statement_cache = True
    supports_server_side_cursors = True
    supports_sane_rowcount = True
    supports_sane_multi_rowcount = True
    # Many rows in one statement take less than many statements in one flight.
    use_insertmanyvalues_wo_returning = True
    default_paramstyle = "numeric_dollar"
    has_terminate = False

    @classmethod
    def import_dbapi(cls) -> Module:
        return Module(cls.backend, awaited=cls.is_async)

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        return pool.AsyncAdaptedQueuePool if cls.is_async else pool.QueuePool

    def create_connect_args(self, url: URL) -> tuple[Sequence[Any], dict[str, Any]]:
        """The parts of the URL: its query has the arguments of `rowgate.dbapi.connect` that are texts, numbers or switches.

        `settings.NAME=VALUE` is a setting of PostgreSQL's for each transaction.
        """
        options = url.translate_connect_args(username="user")
        texts = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
        options.update(typed(texts))
        return (), options

    def is_disconnect(self, error: Any, connection: Optional[Any], cursor: Optional[Any]) -> bool:
        """True for a connection that was closed, and for nothing else.

        A connection is a channel to the server, which finds its way back by itself. What is lost with a database is the
        transaction: its error says so, and the connection takes a new one after the rollback.
        """
        return connection is not None and bool(getattr(connection, "closed", False))

    def do_ping(self, dbapi_connection: Connection) -> bool:
        dbapi_connection.ping()
        return True

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Optional[Any] = None) -> None:
        """Runs a statement. The rows of an INSERT that SQLAlchemy sends as several statements are counted together."""
        super().do_execute(cursor, statement, parameters, context)  # type: ignore[misc]
        if getattr(context, "execute_style", None) is ExecuteStyle.INSERTMANYVALUES:
            context.written += max(cursor.rowcount, 0)
            cursor.rowcount = context.written

    def get_driver_connection(self, connection: Connection) -> Any:
        return connection.driver_connection

    def get_table_names(self, connection: Any, schema: Optional[str] = None, **options: Any) -> list[str]:
        """The tables without those of the server's own."""
        names = super().get_table_names(connection, schema, **options)  # type: ignore[misc]
        return [name for name in names if name not in _OF_THE_SERVER]

    # Isolation levels

    def get_isolation_level_values(self, dbapi_connection: Connection) -> Sequence[str]:
        return self.isolation_levels

    isolation_levels: tuple[str, ...] = ("AUTOCOMMIT", "READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

    def set_isolation_level(self, dbapi_connection: Connection, level: str) -> None:
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        dbapi_connection.isolation_level = None if level == "AUTOCOMMIT" else level

    def get_isolation_level(self, dbapi_connection: Connection) -> str:
        if dbapi_connection.autocommit:
            return "AUTOCOMMIT"
        return dbapi_connection.isolation_level or self.level_of_the_database(dbapi_connection)

    def detect_autocommit_setting(self, dbapi_connection: Connection) -> bool:
        return dbapi_connection.autocommit

    def get_default_isolation_level(self, dbapi_connection: Connection) -> str:
        return self.level_of_the_database(dbapi_connection)

    def level_of_the_database(self, dbapi_connection: Connection) -> str:
        raise NotImplementedError

    def reset_isolation_level(self, dbapi_connection: Connection) -> None:
        chosen = getattr(self, "_on_connect_isolation_level", None)
        if chosen is not None:
            self.set_isolation_level(dbapi_connection, chosen)
        else:
            dbapi_connection.autocommit = False
            dbapi_connection.isolation_level = None


class RowgateExecutionContext:
    """Streams are cursors with a name."""

    # The rows that the statements of one INSERT have written so far.
    written = 0

    def create_server_side_cursor(self) -> Any:
        return self._dbapi_connection.cursor("stream")  # type: ignore[attr-defined]
