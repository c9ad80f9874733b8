"""Answers that are lost on the way, by a proxy between the client and the real server: what the client says then, and does."""

import threading
import time
from typing import Any, Iterator

import pytest
from proxies import Proxy
from servers import Server

import rowgate
from rowgate import aio


@pytest.fixture
def proxy(own_server: Server) -> Iterator[Proxy]:
    """A proxy in front of a server whose database has an empty table `paid`."""
    with rowgate.connect(own_server.address) as db:
        db.query("create table paid (id integer primary key, note text)")
    made = Proxy(own_server.port)
    yield made
    made.close()


@pytest.fixture
def db(proxy: Proxy) -> Iterator[rowgate.Connection]:
    """A connection over the proxy that has answered once."""
    with rowgate.connect(proxy.address) as connection:
        connection.query("select 1")
        yield connection


INSERT = "insert into paid (note) values ('x')"


def count(db: rowgate.Connection) -> int:
    """The rows of the table."""
    return int(db.query("select count(*) from paid", read_only=True).scalar())


def test_a_write_without_a_key_is_unknown_and_not_sent_again(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 1
    with pytest.raises(rowgate.TransportError) as raised:
        db.query(INSERT)
    assert raised.value.outcome == "UNKNOWN" and "idempotency key" in str(raised.value)
    assert proxy.loses == 0 and count(db) == 1


def test_a_write_with_a_key_is_sent_again_and_runs_once(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 2
    result = db.query(INSERT, key="payment")
    assert result.replayed and result.rows_affected == 1
    assert proxy.loses == 0 and count(db) == 1


def test_an_empty_key_is_no_key_by_which_a_write_may_be_sent_again(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 1
    with pytest.raises(ValueError, match="the key is empty"):
        db.query(INSERT, key="")
    assert proxy.loses == 1
    proxy.loses = 0
    assert count(db) == 0


def test_a_batch_with_a_key_is_sent_again_and_runs_once(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 1
    assert db.batch([INSERT, INSERT], key="payments").replayed
    assert count(db) == 2


def test_a_copy_with_a_key_is_sent_again_if_its_data_is_still_there(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 1
    assert db.copy_in("paid", [(1, "x"), (2, "y")], key="copy").replayed and count(db) == 2
    proxy.loses = 1
    with pytest.raises(rowgate.TransportError) as raised:
        db.copy_in("paid", iter([(3, "z")]), key="iterator")
    assert raised.value.outcome == "UNKNOWN"


def test_the_begin_of_a_block_is_sent_again(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 2
    with db.transaction(retries=2) as tx:
        tx.query(INSERT)
    assert proxy.loses == 0 and count(db) == 1
    proxy.loses = 1
    with pytest.raises(rowgate.TransportError) as raised, db.transaction(retries=0):
        raise AssertionError("the block does not run")
    assert raised.value.outcome == "NOT_APPLIED"


def test_a_read_is_sent_again(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 1
    assert db.query("select 1 as one", read_only=True).scalar() == 1
    proxy.loses = 1
    assert list(db.stream("select 1 as one", read_only=True)) == [(1,)]
    proxy.loses = 1
    assert db.server_info().version and proxy.loses == 0


def test_retries_have_an_end(proxy: Proxy, db: rowgate.Connection) -> None:
    proxy.loses = 10
    with pytest.raises(rowgate.TransportError) as raised:
        db.query("select 1", read_only=True, retries=1)
    assert raised.value.outcome == "NOT_APPLIED" and proxy.loses == 8
    proxy.loses = 0


def test_a_transaction_that_loses_its_server_before_the_commit_is_not_applied(
    own_server: Server, proxy: Proxy, db: rowgate.Connection
) -> None:
    with pytest.raises(rowgate.TransportError) as raised, db.transaction() as tx:
        tx.query(INSERT)
        own_server.kill()
        tx.query(INSERT)
    assert raised.value.outcome == "NOT_APPLIED" and tx.state == "lost"
    own_server.start()
    with rowgate.connect(own_server.address) as direct:
        assert count(direct) == 0


class LosesCommit:
    """Work in a transaction whose first commit loses its answer with the connection."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.runs = 0

    def __call__(self, tx: Any) -> int:
        tx.query(INSERT)
        self.runs += 1
        if self.runs == 1:
            tx._commands.put(_commit())  # the commit reaches the server, whose answer the client never sees
            deadline = time.monotonic() + 10
            while not self._is_committed() and time.monotonic() < deadline:
                time.sleep(0.01)
            self._proxy.close()
            raise rowgate.TransportError("lost", outcome=rowgate.Outcome.UNKNOWN, code=_unavailable())
        return self.runs

    def _is_committed(self) -> bool:
        with rowgate.connect(f"127.0.0.1:{self._proxy._port}") as db:
            return count(db) == 1


def _commit() -> Any:
    from rowgate import _proto

    return _proto.TransactRequest(sequence=3, commit=_proto.Commit())


def _unavailable() -> Any:
    import grpc

    return grpc.StatusCode.UNAVAILABLE


def test_an_unknown_commit_without_a_key_is_not_repeated(own_server: Server, proxy: Proxy, db: rowgate.Connection) -> None:
    work = LosesCommit(proxy)
    with pytest.raises(rowgate.TransportError):
        db.run_transaction(work)
    assert work.runs == 1
    with rowgate.connect(own_server.address) as direct:
        assert count(direct) == 1


def test_an_unknown_commit_with_a_key_is_resolved_by_it(own_server: Server, proxy: Proxy) -> None:
    with rowgate.connect(own_server.address) as db:
        work = LosesCommit(Proxy(own_server.port))
        db.run_transaction(work, key="once")
        assert work.runs == 1 and count(db) == 1


async def test_the_client_for_asyncio_does_the_same(proxy: Proxy) -> None:
    async with aio.connect(proxy.address) as db:
        await db.query("select 1")
        proxy.loses = 1
        with pytest.raises(rowgate.TransportError) as raised:
            await db.query(INSERT)
        assert raised.value.outcome == "UNKNOWN"
        proxy.loses = 1
        assert (await db.query(INSERT, key="aio")).replayed
        proxy.loses = 1
        assert [row async for row in db.stream("select count(*) from paid", read_only=True)] == [(2,)]
        proxy.loses = 1
        async with db.transaction(retries=1) as tx:
            await tx.query(INSERT)
        await db.query("select 1")  # behind it nothing of the transaction is on its way
        proxy.loses = 1
        assert (await db.copy_in("paid", [(9, "y")], key="copy")).replayed
        assert (await db.query("select count(*) from paid")).scalar() == 4


def test_calls_may_wait_for_a_server_that_is_not_there_yet(own_server: Server) -> None:
    own_server.kill()
    timer = threading.Timer(0.3, own_server.start)
    timer.start()
    with rowgate.connect(own_server.address, wait_for_ready=True) as db:
        assert db.query("select 1 as one", timeout=30).scalar() == 1
    timer.join()
