"""Servers to test against: the real binary over SQLite, PostgreSQL and MariaDB, one process for each.

    ROWGATE_BIN           the server's binary; without it all that needs a server is skipped
    ROWGATE_POSTGRES_URL  the URL of an empty PostgreSQL; without it PostgreSQL is skipped
    ROWGATE_MYSQL_URL     the same of a MariaDB

Each server's address is put into ROWGATE_TEST_SQLITE, ROWGATE_TEST_POSTGRES and ROWGATE_TEST_MYSQL, as HOST:PORT/DATABASE,
unless it is there already.
"""

import os
from typing import Iterator, List

import pytest
from servers import BACKENDS, Server, address_of

import rowgate

_servers: List[Server] = []


def pytest_configure(config: pytest.Config) -> None:
    """Starts the servers."""
    urls = {
        "sqlite": "sqlite:test.db",
        "postgres": os.environ.get("ROWGATE_POSTGRES_URL"),
        "mysql": os.environ.get("ROWGATE_MYSQL_URL"),
    }
    for backend, url in urls.items():
        name = f"ROWGATE_TEST_{backend.upper()}"
        if name not in os.environ and url and "ROWGATE_BIN" in os.environ:
            server = Server(url)
            _servers.append(server)
            os.environ[name] = f"{server.address}/main"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends them."""
    while _servers:
        _servers.pop().end()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that there is a server for."""
    address_of(request.param)
    return str(request.param)


@pytest.fixture
def address(backend: str) -> str:
    """The address of the backend's server, with the database, as a URL."""
    return "rowgate://" + address_of(backend)


@pytest.fixture
def db(address: str) -> Iterator[rowgate.Connection]:
    """A connection to the backend."""
    with rowgate.connect(address) as connection:
        yield connection


@pytest.fixture
def postgres() -> Iterator[rowgate.Connection]:
    """A connection to the server over PostgreSQL."""
    with rowgate.connect("rowgate://" + address_of("postgres")) as connection:
        yield connection


@pytest.fixture
def sqlite() -> Iterator[rowgate.Connection]:
    """A connection to the server over SQLite."""
    with rowgate.connect("rowgate://" + address_of("sqlite")) as connection:
        yield connection


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of the test's own, over SQLite: it may be killed."""
    if "ROWGATE_BIN" not in os.environ:
        pytest.skip("ROWGATE_BIN names no server")
    server = Server("sqlite:own.db")
    yield server
    server.end()
