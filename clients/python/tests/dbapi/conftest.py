"""Connections to the servers that the environment names: ROWGATE_TEST_POSTGRES, _MYSQL, _SQLITE, as HOST:PORT/DATABASE."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from rowgate import dbapi

BACKENDS = ("postgres", "mysql", "sqlite")
SERVERS = {backend: os.environ.get(f"ROWGATE_TEST_{backend.upper()}") for backend in BACKENDS}


def server(backend: str) -> str:
    """The server's address with the database; the test is skipped where there is none."""
    found = SERVERS[backend]
    if not found:
        pytest.skip(f"ROWGATE_TEST_{backend.upper()} names no server")
    return found


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    server(request.param)
    return str(request.param)


@pytest.fixture
def address(backend: str) -> str:
    """The server and the database, as HOST:PORT/DATABASE."""
    return server(backend)


@pytest.fixture
def table(address: str) -> Iterator[str]:
    """An empty table (id integer primary key, name varchar) of its own; dropped when all connections are closed."""
    with closing(dbapi.connect(address, autocommit=True)) as connection:
        connection.cursor().execute("drop table if exists dbapi_rows")
        connection.cursor().execute("create table dbapi_rows (id integer primary key, name varchar(50))")
        yield "dbapi_rows"
        connection.cursor().execute("drop table dbapi_rows")


@pytest.fixture
def connect(address: str, table: str) -> Iterator[Callable[..., dbapi.Connection]]:
    """Opens connections to the backend, which are closed behind the test."""
    opened: list[dbapi.Connection] = []

    def connect(**options: Any) -> dbapi.Connection:
        opened.append(dbapi.connect(address, **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
