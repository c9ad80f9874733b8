"""`rowgate+sqlite://HOST:PORT/DATABASE`: SQLAlchemy's dialect of SQLite over Rowgate."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects.sqlite.base import SQLiteDialect, SQLiteExecutionContext
from sqlalchemy.engine import URL

from ._dialect import Module, RowgateDialect, RowgateExecutionContext


class SQLiteModule(Module):
    """The module with the oldest version of SQLite that a Rowgate has built in, by which the dialect knows its abilities."""

    sqlite_version = "3.45.0"
    sqlite_version_info = (3, 45, 0)


class ExecutionContext(RowgateExecutionContext, SQLiteExecutionContext):
    pass


class Dialect(RowgateDialect, SQLiteDialect):
    backend = "sqlite"
    supports_statement_cache = True
    execution_ctx_cls = ExecutionContext
    # READ UNCOMMITTED is run as SERIALIZABLE: connections of the pool share no cache.
    isolation_levels = ("AUTOCOMMIT", "READ UNCOMMITTED", "SERIALIZABLE")

    @classmethod
    def import_dbapi(cls) -> Module:
        return SQLiteModule(cls.backend, awaited=cls.is_async)

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[Dialect]:
        return AsyncDialect

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        return tuple(int(part) for part in connection.exec_driver_sql("SELECT sqlite_version()").scalar().split("."))

    def _get_table_pragma(self, connection: Any, pragma: str, table_name: str, schema: Any = None) -> Any:
        """Asks for the file alone: sessions of the pool have no temporary tables, and refuse to be asked for them."""
        return super()._get_table_pragma(connection, pragma, table_name, schema or "main")  # type: ignore[misc]

    def get_temp_table_names(self, connection: Any, **_: Any) -> list[str]:
        return []

    def get_temp_view_names(self, connection: Any, **_: Any) -> list[str]:
        return []

    def level_of_the_database(self, dbapi_connection: Any) -> str:
        return "SERIALIZABLE"


class AsyncDialect(Dialect):
    is_async = True
    supports_statement_cache = True


dialect = Dialect
dialect_async = AsyncDialect
