"""`rowgate+postgresql://HOST:PORT/DATABASE`: SQLAlchemy's dialect of PostgreSQL over Rowgate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from sqlalchemy import util
from sqlalchemy.dialects.postgresql.base import PGDialect, PGExecutionContext
from sqlalchemy.engine import URL

from ._dialect import RowgateDialect, RowgateExecutionContext
from ._postgresql_casts import Compiler
from ._postgresql_types import COLSPECS


class ExecutionContext(RowgateExecutionContext, PGExecutionContext):
    pass


class Dialect(RowgateDialect, PGDialect):
    backend = "postgres"
    supports_statement_cache = True
    execution_ctx_cls = ExecutionContext
    statement_compiler = Compiler
    colspecs = util.update_copy(PGDialect.colspecs, COLSPECS)

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[Dialect]:
        return AsyncDialect

    def create_connect_args(self, url: URL) -> tuple[Sequence[Any], dict[str, Any]]:
        arguments, options = super().create_connect_args(url)
        if self._json_deserializer is not None:
            options["json_loads"] = self._json_deserializer
        return arguments, options

    def level_of_the_database(self, dbapi_connection: Any) -> str:
        return dbapi_connection.ask("SHOW default_transaction_isolation").upper()

    def set_readonly(self, dbapi_connection: Any, value: bool) -> None:
        dbapi_connection.readonly = value

    def get_readonly(self, dbapi_connection: Any) -> bool:
        return bool(dbapi_connection.readonly)

    def set_deferrable(self, dbapi_connection: Any, value: bool) -> None:
        dbapi_connection.deferrable = value

    def get_deferrable(self, dbapi_connection: Any) -> bool:
        return bool(dbapi_connection.deferrable)


class AsyncDialect(Dialect):
    is_async = True
    supports_statement_cache = True


dialect = Dialect
dialect_async = AsyncDialect
