"""Work that is left in the middle: by a signal, by a loop, by the garbage collector, by a fork, by a closed connection."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from typing import Iterator

import pytest
from servers import address_of

import rowgate
from rowgate import dbapi

RUNNING = "select count(*) from pg_stat_activity where state = 'active' and query like '%left in the middle%' and pid <> pg_backend_pid()"
SLEEP = "select pg_sleep(60) /* left in the middle */"
MANY = "select generate_series(1, 1000000000) as n /* left in the middle */"


@pytest.fixture
def table(postgres: rowgate.Connection) -> Iterator[str]:
    """An empty table."""
    postgres.query("drop table if exists left_rows")
    postgres.query("create table left_rows (id int primary key)")
    yield "left_rows"
    postgres.query("drop table left_rows")


@pytest.fixture
def interrupt() -> Iterator[None]:
    """Sends SIGINT to this process, as Ctrl-C does, once a statement of the tests runs."""

    def send() -> None:
        with rowgate.connect("rowgate://" + address_of("postgres")) as db:
            deadline = time.monotonic() + 20
            while db.query(RUNNING).scalar() == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


def ends(db: rowgate.Connection) -> bool:
    """True if no statement of the tests runs any more, soon."""
    deadline = time.monotonic() + 10
    while db.query(RUNNING).scalar():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_signal_cancels_a_query_in_the_database(postgres: rowgate.Connection, interrupt: None) -> None:
    with pytest.raises(KeyboardInterrupt) as raised:  # which keeps the frames of the call
        postgres.query(SLEEP)
    assert ends(postgres) and raised.traceback


def test_a_signal_cancels_a_stream_in_the_database(postgres: rowgate.Connection, interrupt: None) -> None:
    stream = postgres.stream(SLEEP)
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    assert ends(postgres)
    with pytest.raises(rowgate.InterfaceError, match="not read to its end"):
        list(stream)


def test_a_signal_cancels_a_copy_in_the_database(postgres: rowgate.Connection, table: str, interrupt: None) -> None:
    with pytest.raises(KeyboardInterrupt) as raised:
        postgres.copy_out(sql=SLEEP, format="csv").read()
    assert ends(postgres) and raised.traceback


def test_a_signal_ends_a_listener(postgres: rowgate.Connection) -> None:
    listener = postgres.listen("left_rows")
    events = iter(listener)
    assert isinstance(next(events), rowgate.Listening)
    waiting = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        next(events)
    assert not listener._call.is_active()


def test_rows_that_cannot_be_decoded_end_their_stream(postgres: rowgate.Connection) -> None:
    def fail(_: str) -> object:
        raise ArithmeticError("no value")

    with rowgate.connect("rowgate://" + address_of("postgres"), json_loads=fail) as db:
        stream = db.stream("select '{}'::jsonb, generate_series(1, 1000000000) /* left in the middle */")
        with pytest.raises(ArithmeticError) as raised:  # which keeps the frames of the reader
            list(stream)
        assert ends(postgres) and raised.traceback
        with pytest.raises(rowgate.InterfaceError, match="not read to its end"):
            list(stream)


def test_a_signal_ends_a_transaction(postgres: rowgate.Connection, table: str, interrupt: None) -> None:
    tx = postgres.transaction().begin()
    tx.query("insert into left_rows values (1)")
    with pytest.raises(KeyboardInterrupt):
        tx.query(SLEEP)
    with pytest.raises(rowgate.InterfaceError, match="is over: a command was interrupted") as raised:
        tx.query("select 1")
    assert raised.value.outcome == "NOT_APPLIED" and tx.state == "lost"
    assert ends(postgres)
    postgres.query("insert into left_rows values (1)")


def test_a_signal_in_a_pipeline_ends_the_transaction(postgres: rowgate.Connection, table: str, interrupt: None) -> None:
    with pytest.raises(KeyboardInterrupt), postgres.transaction() as tx:
        tx.pipeline([("execute", "insert into left_rows values (1)"), ("execute", SLEEP), ("execute", "select 1")])
    assert ends(postgres) and postgres.query("select count(*) from left_rows").scalar() == 0


def test_a_block_whose_transaction_was_lost_does_not_end_well(postgres: rowgate.Connection, table: str) -> None:
    """Although the block has caught the error of the loss: nothing was committed."""
    with pytest.raises(rowgate.Error) as raised, postgres.transaction() as tx:
        tx.query("insert into left_rows values (1)")
        postgres.query("select pg_terminate_backend($1)", tx.query("select pg_backend_pid()").scalar(), idempotent=True)
        with suppress(rowgate.Error):
            tx.query("insert into left_rows values (2)")
        assert tx.state == "lost"
    assert raised.value.outcome == "NOT_APPLIED"
    assert postgres.query("select count(*) from left_rows").scalar() == 0


def test_a_bad_parameter_in_a_pipeline_sends_nothing(db: rowgate.Connection) -> None:
    with db.transaction() as tx:
        with pytest.raises(TypeError, match=r"parameter \$1"):
            tx.pipeline([("execute", "select 1"), ("execute", "select $1", (object(),))])
        assert tx.query("select 2 as n").scalar() == 2


def test_leaving_the_loop_ends_a_stream(postgres: rowgate.Connection) -> None:
    stream = postgres.stream(MANY)
    for row in stream:
        if row.n == 3:
            break
    assert ends(postgres) and stream.summary is None
    with pytest.raises(rowgate.InterfaceError, match="left in the middle of its rows"):
        next(iter(stream))
    whole = postgres.stream("select generate_series(1, 3)")
    assert [list(whole.scalars()), list(whole)] == [[1, 2, 3], []]


def test_a_closed_stream_is_not_a_complete_one(postgres: rowgate.Connection) -> None:
    stream = postgres.stream(MANY)
    assert stream.has_columns
    stream.close()
    with pytest.raises(rowgate.InterfaceError, match="was not read to its end"):
        list(stream)
    broken = postgres.stream("select 1 / (3 - n) from generate_series(1, 5) n")
    with pytest.raises(rowgate.DataError):
        list(broken)
    with pytest.raises(rowgate.InterfaceError, match="was not read to its end"):
        list(broken)


def test_a_transaction_goes_on_behind_a_stream_that_was_left(postgres: rowgate.Connection, table: str) -> None:
    with postgres.transaction() as tx:
        stream = tx.stream("select generate_series(1, 50000)")
        for _ in stream:
            break
        tx.query("insert into left_rows values (1)")
        with pytest.raises(rowgate.InterfaceError, match="left in the middle of its rows"):
            list(stream)
    assert postgres.query("select count(*) from left_rows").scalar() == 1


def test_a_transaction_that_nobody_holds_is_rolled_back(db: rowgate.Connection) -> None:
    db.query("drop table if exists held")
    db.query("create table held (id int primary key)")
    tx = db.transaction().begin()
    tx.query("insert into held values (1)")
    del tx
    gc.collect()
    db.query("insert into held values (1)", timeout=20)
    db.query("drop table held")


def test_a_closed_connection_is_closed_for_its_views(address: str) -> None:
    db = rowgate.connect(address)
    view = db.using(tag="view").using(timeout=5)
    assert view.query("select 1 as one").scalar() == 1
    db.close()
    for call in (lambda: view.query("select 1"), lambda: list(view.stream("select 1")), lambda: view.transaction().begin()):
        with pytest.raises(rowgate.InterfaceError, match="the connection is closed"):
            call()


FORK = """
import os, sys, rowgate
db = rowgate.connect(sys.argv[1])
with db.transaction() as tx:
    tx.query("select 1 as one")
    child = os.fork()
    if child == 0:
        told = 0
        for call in (lambda: db.query("select 1"), lambda: tx.query("select 1"), lambda: rowgate.connect(sys.argv[1]).query("select 1")):
            try:
                call()
            except rowgate.InterfaceError as error:
                told += "fork" in str(error)
        del tx
        db.close()
        os._exit(0 if told == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert tx.query("select 2 as two").scalar() == 2
assert db.query("select 3 as three").scalar() == 3
"""

SUPPORTED = """
import os, sys, rowgate
db = rowgate.connect(sys.argv[1])
assert db.query("select 1 as one").scalar() == 1
child = os.fork()
if child == 0:
    os._exit(0 if db.query("select 2 as two").scalar() == 2 else 1)
assert os.waitpid(child, 0)[1] == 0
assert db.query("select 3 as three").scalar() == 3
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(("program", "support"), [(FORK, "false"), (SUPPORTED, "true")])
def test_a_child_of_a_fork_is_told_or_opens_a_channel_of_its_own(address: str, program: str, support: str) -> None:
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": support}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, address], check=True, timeout=60, env=environment)


def test_work_that_does_not_run_is_refused(db: rowgate.Connection) -> None:
    async def later(tx: rowgate.Transaction) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="the work has not run"):
        db.run_transaction(lambda tx: (yield tx))
    with pytest.warns(RuntimeWarning, match="never awaited"), pytest.raises(TypeError, match=r"for rowgate\.aio"):
        db.run_transaction(later)
        gc.collect()


def test_a_second_thread_is_told_that_a_transaction_is_in_use(postgres: rowgate.Connection) -> None:
    with postgres.transaction() as tx:
        waiting = threading.Thread(target=tx.query, args=("select pg_sleep(1) /* left in the middle */",))
        waiting.start()
        while postgres.query(RUNNING).scalar() == 0:
            time.sleep(0.01)
        with pytest.raises(rowgate.InterfaceError, match="one thread uses it at a time"):
            tx.query("select 2")
        waiting.join()
        assert tx.query("select 3 as n").scalar() == 3


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_signal_leaves_a_connection_of_the_dbapi_usable(postgres: rowgate.Connection, interrupt: None, autocommit: bool) -> None:
    with closing(dbapi.connect(address_of("postgres"), autocommit=autocommit)) as connection:
        cursor = connection.cursor()
        with pytest.raises(KeyboardInterrupt):
            cursor.execute(SLEEP)
        if not autocommit:
            with pytest.raises(dbapi.Error, match="a command was interrupted") as raised:
                cursor.execute("select 1")
            assert raised.value.outcome == "NOT_APPLIED"
            connection.rollback()
        cursor.execute("select 2")
        assert cursor.fetchone() == (2,) and ends(postgres)


def test_a_block_that_was_cancelled_between_its_commands_raises(postgres: rowgate.Connection, table: str) -> None:
    def work(tx: rowgate.Transaction) -> str:
        tx.query("insert into left_rows values (1)")
        cancelling = threading.Thread(target=tx.cancel)
        cancelling.start()
        cancelling.join()
        return "done"

    with pytest.raises(rowgate.InterfaceError, match="rolled back: it was cancelled") as raised, postgres.transaction() as tx:
        work(tx)
    assert raised.value.outcome == "NOT_APPLIED"
    with pytest.raises(rowgate.InterfaceError, match="it was cancelled"):
        postgres.run_transaction(work)
    with pytest.raises(rowgate.InterfaceError, match="it was cancelled"):
        for attempt in postgres.transactions():
            with attempt as tx, tx.savepoint():
                work(tx)
    with postgres.transaction() as tx:  # the block knows of its own rollback
        work(tx)
        tx.rollback()
    assert postgres.query("select count(*) from left_rows").scalar() == 0
