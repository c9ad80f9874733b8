"""Servers that do not answer: a process that is stopped, and one that is not there. Waits end within their timeouts."""

import contextlib
import os
import signal
import time
from typing import Any, Callable, Iterator

import pytest
from servers import Server, free_ports

import rowgate
from rowgate import aio, dbapi

#: A timeout of 1 s, the grace of the client's own clock, and a slow machine.
MOST = 4.0


@pytest.fixture
def server(own_server: Server) -> Iterator[Server]:
    """A server with the empty table `hung`, which goes on behind the test."""
    with rowgate.connect(own_server.address) as db:
        db.query("create table hung (id integer primary key)")
    yield own_server
    own_server.process.send_signal(signal.SIGCONT)


def stop(server: Server) -> None:
    """Stops the server in the middle of what it does."""
    os.kill(server.process.pid, signal.SIGSTOP)
    os.waitpid(server.process.pid, os.WUNTRACED)  # all of its threads stand still


@contextlib.contextmanager
def late(outcome: str, most: float = MOST) -> Iterator[Any]:
    """The block raises a deadline with this outcome, in time."""
    begun = time.monotonic()
    with pytest.raises(rowgate.Deadline) as raised:
        yield raised
    assert time.monotonic() - begun < most
    assert isinstance(raised.value, rowgate.TransportError) and raised.value.outcome == outcome


def rows(server: Server) -> int:
    """The rows of the table, when the server goes on."""
    server.process.send_signal(signal.SIGCONT)
    with rowgate.connect(server.address) as db:
        return int(db.query("select count(*) from hung", timeout=60).scalar())


def test_a_statement_in_a_transaction_keeps_its_timeout(server: Server) -> None:
    with rowgate.connect(server.address) as db:
        with late("NOT_APPLIED"), db.transaction() as tx:
            tx.query("insert into hung values (1)", timeout=1)
            stop(server)
            tx.query("insert into hung values (2)", timeout=1)
        assert tx.state == "lost" and rows(server) == 0


@pytest.mark.parametrize(
    "command",
    [
        lambda tx: tx.savepoint(),
        lambda tx: list(tx.stream("select 1")),
        lambda tx: tx.pipeline([("savepoint", "a"), ("execute", "select 1")]),
        lambda tx: tx.execute_many("insert into hung values ($1)", [(5,), (6,)]),
    ],
)
def test_other_commands_have_the_reply_timeout(server: Server, command: Callable[[Any], Any]) -> None:
    with rowgate.connect(server.address) as db:
        tx = db.transaction(reply_timeout=1).begin()
        tx.query("insert into hung values (1)")
        stop(server)
        with late("NOT_APPLIED"):
            command(tx)
        tx.rollback()
        assert rows(server) == 0


def test_a_commit_that_is_not_answered_is_unknown(server: Server) -> None:
    with rowgate.connect(server.address) as db:
        tx = db.transaction(reply_timeout=1).begin()
        tx.query("insert into hung values (1)")
        stop(server)
        with late("UNKNOWN"):
            tx.commit()


def test_a_rollback_has_the_timeout_of_the_connection(server: Server) -> None:
    with rowgate.connect(server.address, timeout=1) as db:
        begun = time.monotonic()
        with pytest.raises(ZeroDivisionError), db.transaction() as tx:
            tx.query("insert into hung values (1)")
            begun = time.monotonic()
            stop(server)
            raise ZeroDivisionError
        assert time.monotonic() - begun < MOST and rows(server) == 0


def test_commands_that_are_sent_with_a_statement_have_its_timeout(server: Server) -> None:
    with rowgate.connect(server.address) as db:
        tx = db.transaction().begin()
        stop(server)
        with late("NOT_APPLIED"):
            tx.pipeline([("savepoint", "a"), ("execute", "select 1"), ("release", "a")], timeout=1)


def test_a_begin_has_the_timeout_of_the_connection(server: Server) -> None:
    with rowgate.connect(server.address, timeout=1) as db:
        db.query("select 1")
        stop(server)
        with late("NOT_APPLIED"):
            db.transaction().begin()
        with late("NOT_APPLIED"):
            db.transaction().begin(wait=False).query("select 1")


def test_a_slow_statement_has_no_limit_of_the_client_without_a_timeout(postgres: rowgate.Connection) -> None:
    with postgres.using(timeout=1).transaction() as tx:
        tx.query("select pg_sleep(2)")
        tx.query("select pg_sleep(0.5)", timeout=1)
        with pytest.raises(rowgate.Deadline) as raised:
            tx.query("select pg_sleep(5)", timeout=1)
        assert not isinstance(raised.value, rowgate.TransportError)  # the server's own answer
        tx.rollback()


def test_the_dbapi_keeps_its_timeout(server: Server) -> None:
    connection = dbapi.connect(server.address, timeout=1)
    cursor = connection.cursor()
    cursor.execute("insert into hung values (1)")
    stop(server)
    with late("NOT_APPLIED"):
        cursor.execute("insert into hung values (2)")
    with pytest.raises(dbapi.OperationalError, match="the transaction is over"):
        connection.commit()
    connection.rollback()
    assert rows(server) == 0
    cursor.execute("insert into hung values (3)")
    stop(server)
    with late("UNKNOWN"):
        connection.commit()
    assert rows(server) in (0, 1)
    cursor.execute("insert into hung values (4)")
    stop(server)
    begun = time.monotonic()
    connection.rollback()
    connection.close()
    assert time.monotonic() - begun < MOST


async def test_asyncio_does_the_same(server: Server) -> None:
    async with aio.connect(server.address, timeout=1) as db:
        with late("NOT_APPLIED"):
            async with db.transaction() as tx:
                await tx.query("insert into hung values (1)", timeout=1)
                stop(server)
                await tx.query("insert into hung values (2)", timeout=1)
        with late("NOT_APPLIED"):
            await db.transaction().begin()
        server.process.send_signal(signal.SIGCONT)
        tx = await db.transaction(reply_timeout=1).begin()
        await tx.query("insert into hung values (1)", timeout=60)
        stop(server)
        with late("UNKNOWN"):
            await tx.commit()


@pytest.mark.parametrize("call", [lambda db: db.query("select 1"), lambda db: list(db.stream("select 1")), lambda db: db.transaction().begin()])
def test_a_server_that_is_not_there_is_waited_for_within_the_timeout(call: Callable[[rowgate.Connection], Any]) -> None:
    with rowgate.connect(f"127.0.0.1:{free_ports(1)[0]}", wait_for_ready=True, timeout=1) as db, late("NOT_APPLIED") as raised:
        call(db)
    assert "was not reached" in str(raised.value)


def test_the_dbapi_waits_for_a_server_within_its_timeout() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    connection = dbapi.connect(address, backend="postgres", timeout=1, wait_for_ready=True)
    with late("NOT_APPLIED"):
        connection.cursor().execute("select 1")


async def test_asyncio_waits_within_the_timeout_too() -> None:
    async with aio.connect(f"127.0.0.1:{free_ports(1)[0]}", wait_for_ready=True, timeout=1) as db:
        with late("NOT_APPLIED"):
            await db.query("insert into hung values (1)")
        with late("NOT_APPLIED"):
            await db.transaction().begin()


def test_a_timeout_beyond_all_clocks_is_a_long_one(db: rowgate.Connection) -> None:
    assert db.query("select 1 as one", timeout=1e12).scalar() == 1
    with db.transaction(timeout=1e12, reply_timeout=1e12) as tx:
        assert tx.query("select 1 as one", timeout=1e12).scalar() == 1
