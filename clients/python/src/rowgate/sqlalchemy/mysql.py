"""`rowgate+mysql://` and `rowgate+mariadb://HOST:PORT/DATABASE`: SQLAlchemy's dialects of MySQL and MariaDB over Rowgate."""

from __future__ import annotations

from typing import Any, Optional

from sqlalchemy.dialects.mysql.base import MySQLDialect, MySQLExecutionContext
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect as MariaDBBase
from sqlalchemy.engine import URL

from ._dialect import RowgateDialect, RowgateExecutionContext

# The error numbers that SQLAlchemy looks for, by Rowgate's reasons.
_NUMBERS = {"UNDEFINED_TABLE": 1146, "INVALID_CATALOG_NAME": 1049, "WRONG_OBJECT_TYPE": 1347, "DUPLICATE_TABLE": 1050}


class ExecutionContext(RowgateExecutionContext, MySQLExecutionContext):
    pass


class Dialect(RowgateDialect, MySQLDialect):
    backend = "mysql"
    supports_statement_cache = True
    execution_ctx_cls = ExecutionContext
    # Without it SQLAlchemy sends and reads decimals as floats.
    supports_native_decimal = True

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[RowgateDialect]:
        return AsyncDialect

    def level_of_the_database(self, dbapi_connection: Any) -> str:
        name = "tx_isolation" if self.is_mariadb else "transaction_isolation"
        return str(dbapi_connection.ask(f"SELECT @@{name}")).upper().replace("-", " ")

    def _detect_charset(self, connection: Any) -> str:
        return "utf8mb4"

    def _extract_error_code(self, exception: Any) -> Optional[int]:
        return _NUMBERS.get(getattr(exception, "reason", ""))


class AsyncDialect(Dialect):
    is_async = True
    supports_statement_cache = True


class MariaDBDialect(Dialect, MariaDBBase):
    supports_statement_cache = True
    # One statement in the place of two.
    favor_returning_over_lastrowid = True
    is_mariadb = True

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[RowgateDialect]:
        return AsyncMariaDBDialect


class AsyncMariaDBDialect(MariaDBDialect):
    is_async = True
    supports_statement_cache = True


dialect = Dialect
dialect_async = AsyncDialect
mariadb_dialect = MariaDBDialect
mariadb_dialect_async = AsyncMariaDBDialect
