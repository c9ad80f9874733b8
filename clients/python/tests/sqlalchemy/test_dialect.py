"""The dialects: their URLs, raw SQL, and what becomes of a connection whose transaction is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from proxies import DataProxy

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from sqlalchemy import Engine, create_engine, text  # noqa: E402
from sqlalchemy.engine import make_url  # noqa: E402
from sqlalchemy.exc import OperationalError  # noqa: E402

import rowgate  # noqa: E402


@pytest.fixture
def engine() -> Iterator[Engine]:
    address = os.environ.get("ROWGATE_TEST_POSTGRES")
    if not address:
        pytest.skip("ROWGATE_TEST_POSTGRES names no server")
    engine = create_engine(f"rowgate+postgresql://{address}")
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "database", "driver"),
    [("postgresql", "postgresql", "rowgate"), ("mysql", "mysql", "rowgate"), ("mariadb", "mariadb", "rowgate"), ("sqlite", "sqlite", "rowgate")],
)
def test_a_dialect_has_the_name_of_its_database(name: str, database: str, driver: str) -> None:
    url = make_url(f"rowgate+{name}://127.0.0.1/shop")
    for dialect in (url.get_dialect(), url.get_dialect(_is_async=True)):
        assert (dialect.name, dialect.driver) == (database, driver)
    assert url.get_dialect(_is_async=True).is_async


def test_a_url_has_the_options_of_connect() -> None:
    url = make_url("rowgate+postgresql://:s3cret@db:1234/shop?timeout=2.5&tls=true&wait_for_ready=false&tag=orders&settings.search_path=app")
    _, options = url.get_dialect()().create_connect_args(url)
    assert options == {
        "host": "db",
        "port": 1234,
        "password": "s3cret",
        "database": "shop",
        "timeout": 2.5,
        "tls": True,
        "wait_for_ready": False,
        "tag": "orders",
        "settings": {"search_path": "app"},
    }


@pytest.mark.parametrize("backend", ["postgres", "mysql", "sqlite"])
def test_tables_of_the_server_are_not_listed(backend: str) -> None:
    """Alembic's autogenerate would drop them."""
    address = os.environ.get(f"ROWGATE_TEST_{backend.upper()}")
    if not address:
        pytest.skip(f"ROWGATE_TEST_{backend.upper()} names no server")
    dialect = "postgresql" if backend == "postgres" else backend
    engine = create_engine(f"rowgate+{dialect}://{address}")
    with engine.begin() as connection:
        connection.execute(text("drop table if exists rowgate_migrations"))
        connection.execute(text("create table rowgate_migrations (id integer primary key)"))
        found = sqlalchemy.inspect(connection)
        assert found.has_table("rowgate_migrations") and "rowgate_migrations" not in found.get_table_names()
        connection.execute(text("drop table rowgate_migrations"))
    engine.dispose()


def test_raw_sql_may_have_the_placeholders_of_the_usual_driver(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select %s + 1, '100%%'", (1,)).one() == (2, "100%")
        assert connection.exec_driver_sql("select %(a)s || 'b'", {"a": "a"}).scalar() == "ab"
        assert connection.exec_driver_sql("select $1 + $1", (1,)).scalar() == 2
        assert connection.exec_driver_sql("select 5 % 2").scalar() == 1
        assert connection.execute(text("select :a = any(:b), cast(:c as text)"), {"a": 1, "b": [1, 2], "c": "x"}).one() == (True, "x")


def test_a_lost_transaction_leaves_the_connection_in_the_pool(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        pid = connection.scalar(text("select pg_backend_pid()"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            other.execute(text("select pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError) as caught:
            connection.execute(text("select 1"))
        assert isinstance(caught.value.orig, rowgate.Error)
        assert caught.value.orig.outcome == "NOT_APPLIED"
        assert not caught.value.connection_invalidated
        with pytest.raises(OperationalError, match="the transaction is over"):
            connection.execute(text("select 1"))
        connection.rollback()
        assert connection.scalar(text("select 1")) == 1
        assert connection.connection.dbapi_connection is raw


def test_a_commit_whose_outcome_nobody_can_tell_is_unknown(engine: Engine) -> None:
    address, _, database = os.environ["ROWGATE_TEST_POSTGRES"].partition("/")
    proxy = DataProxy(int(address.rpartition(":")[2]))
    through = create_engine(f"rowgate+postgresql://{proxy.address}/{database}?outcome_timeout=0.3")
    with through.connect() as connection:
        connection.execute(text("select 1"))
        proxy.on_loss = proxy.refuse
        proxy.loses = 1
        with pytest.raises(OperationalError) as caught:
            connection.commit()
        assert isinstance(caught.value.orig, rowgate.TransportError)
        assert caught.value.orig.outcome == "UNKNOWN"
        assert not caught.value.connection_invalidated
    through.dispose()
    proxy.close()


def test_a_ping_needs_no_transaction(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert engine.dialect.do_ping(raw)
        assert not raw.in_transaction


def test_a_set_in_autocommit_is_kept_or_refused_at_once(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        raw.autocommit = True
        try:
            raw.cursor().execute("set session search_path = 'pg_catalog'")
        except rowgate.AccessDenied:
            kept = connection.scalar(text("show search_path"))
            assert kept != "pg_catalog"
        else:
            raw.autocommit = False
            assert connection.scalar(text("show search_path")) == "pg_catalog"
