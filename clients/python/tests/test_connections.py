"""The HTTP/2 connections of a process: each `connect` has its own, and what waits in one delays nobody in another."""

import asyncio
import contextlib
import threading
from typing import Any, Iterator, List

import pytest
from proxies import Proxy
from servers import Server, address_of

import rowgate
from rowgate import aio, dbapi

#: More than a connection has at a time (`grpc.max_concurrent_streams`).
CALLS = 250


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A way to the server over SQLite that counts connections."""
    found = Proxy(int(address_of("sqlite").partition("/")[0].rpartition(":")[2]))
    yield found
    found.close()


@pytest.fixture
def two_databases() -> Iterator[Server]:
    """A server with the databases `main` and `other`. Whoever waits for a writer of `main` waits long."""
    server = Server("sqlite:main.db", '[databases.other]\nurl = "sqlite:other.db"\n')
    with rowgate.connect(server.address) as db:
        db.query("create table busy (id integer)")
    yield server
    server.end()


async def test_calls_that_wait_in_one_connection_delay_no_other_one(two_databases: Server) -> None:
    address = two_databases.address
    async with aio.connect(address, retries=0) as busy, aio.connect(address, database="other", retries=0) as other:
        await other.query("select 1")
        tx = await busy.transaction().begin()
        await tx.query("insert into busy values (1)")
        waiting = [asyncio.ensure_future(busy.query("insert into busy values (2)", timeout=60)) for _ in range(CALLS)]
        asked = asyncio.ensure_future(other.query("select 2 as n", timeout=10))  # behind them
        assert (await asked).scalar() == 2
        assert not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        tx.cancel()


def test_threads_that_wait_in_one_connection_delay_no_other_one(two_databases: Server) -> None:
    address = two_databases.address
    with rowgate.connect(address, database="other", retries=0) as other, rowgate.connect(address, retries=0) as busy:
        other.query("select 1")
        tx = busy.transaction().begin()
        tx.query("insert into busy values (1)")
        done: List[int] = []

        def wait() -> None:
            with contextlib.suppress(rowgate.Error):
                busy.query("insert into busy values (2)", timeout=60)
            done.append(1)

        waiting = [threading.Thread(target=wait) for _ in range(CALLS)]
        for each in waiting:
            each.start()
        assert other.query("select 2 as n", timeout=10).scalar() == 2
        assert not done
        busy.close()
        for each in waiting:
            each.join()


def test_a_connection_is_one_with_its_views_and_no_other(proxy: Proxy) -> None:
    with rowgate.connect(proxy.address) as first, rowgate.connect(proxy.address) as second:
        first.query("select 1")
        first.using(timeout=5).query("select 1")
        assert proxy.accepted == 1
        second.query("select 1")
        assert proxy.accepted == 2


async def test_a_connection_for_asyncio_is_one_with_its_views_and_no_other(proxy: Proxy) -> None:
    async with aio.connect(proxy.address) as first, aio.connect(proxy.address) as second:
        await first.query("select 1")
        await first.using(timeout=5).query("select 1")
        assert proxy.accepted == 1
        await second.query("select 1")
        assert proxy.accepted == 2


def test_a_connection_of_the_dbapi_asks_for_its_database_over_itself(proxy: Proxy) -> None:
    with contextlib.closing(dbapi.connect(f"{proxy.address}/main")) as first:
        cursor = first.cursor()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,) and proxy.accepted == 1
        with pytest.raises(rowgate.OperationalError, match="has no database 'nowhere'"):
            dbapi.connect(f"{proxy.address}/nowhere")
    with contextlib.closing(dbapi.connect(f"{proxy.address}/main")) as second:
        second.cursor().execute("select 1")
        assert proxy.accepted == 3


def test_the_pool_of_an_engine_shares_a_connection_with_no_other_engine(proxy: Proxy) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
    engines: List[Any] = [sqlalchemy.create_engine(f"rowgate+sqlite://{proxy.address}/main") for _ in range(2)]
    with contextlib.ExitStack() as stack:
        for number, engine in enumerate(engines, 1):
            stack.callback(engine.dispose)
            for _ in range(3):
                stack.enter_context(engine.connect()).execute(sqlalchemy.text("select 1"))
            assert proxy.accepted == number
        own = sqlalchemy.create_engine(engines[0].url, connect_args={"channel_options": [("grpc.use_local_subchannel_pool", 1)]})
        stack.callback(own.dispose)
        for _ in range(2):
            stack.enter_context(own.connect()).execute(sqlalchemy.text("select 1"))
        assert proxy.accepted == len(engines) + 2


async def test_the_pool_of_an_asynchronous_engine_shares_a_connection(proxy: Proxy) -> None:
    asynchronous = pytest.importorskip("sqlalchemy.ext.asyncio", reason="SQLAlchemy is not installed")
    text = pytest.importorskip("sqlalchemy").text
    engine = asynchronous.create_async_engine(f"rowgate+sqlite://{proxy.address}/main")
    async with engine.connect() as first, engine.connect() as second:
        await first.execute(text("select 1"))
        await second.execute(text("select 1"))
    await engine.dispose()
    assert proxy.accepted == 1
