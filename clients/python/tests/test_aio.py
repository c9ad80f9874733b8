"""The client for asyncio; the conformance list runs by it as well (test_conformance.py)."""

import asyncio
import gc
import io
import sys
import time
from typing import Any, AsyncIterator

import pytest

import rowgate
from rowgate import aio

ENDLESS = (
    "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000)"
    " select count(*) from numbers"
)

NUMBERS = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 900) select n from numbers"


@pytest.fixture
async def adb(address: str) -> AsyncIterator[aio.Connection]:
    """A connection to the backend, with an empty table `awaited`."""
    async with aio.connect(address) as connection:
        await connection.query("drop table if exists awaited")
        await connection.query("create table awaited (id integer primary key, n integer)")
        yield connection
        await connection.query("drop table awaited")


async def count(db: aio.Connection) -> Any:
    """The rows of the table."""
    return (await db.query("select count(*) from awaited")).scalar()


async def test_calls_run_side_by_side(adb: aio.Connection) -> None:
    results = await asyncio.gather(*(adb.query(f"select {number} as n") for number in range(20)))
    assert [result.scalar() for result in results] == list(range(20))


async def test_a_stream_is_iterated_and_left(adb: aio.Connection) -> None:
    await adb.batch([("insert into awaited values ($1, $2)", number, number) for number in range(300)])
    async with adb.stream("select id from awaited order by id") as stream:
        assert stream.columns[0].name == "id" and stream.has_columns
        assert [row.id async for row in stream] == list(range(300))
        assert stream.summary is not None and stream.summary.row_count == 300
    async with adb.stream("select id from awaited order by id") as stream:
        async for row in stream.scalars():
            assert row == 0
            break
    with pytest.raises(rowgate.InterfaceError, match="not open"):
        adb.stream("select 1").columns  # noqa: B018


async def test_transactions_savepoints_and_pipelines(adb: aio.Connection) -> None:
    async with adb.transaction() as tx:
        await tx.query("insert into awaited values (1, 1)")
        with pytest.raises(rowgate.UniqueViolation):
            async with tx.savepoint():
                await tx.query("insert into awaited values (1, 1)")
        mark = await tx.savepoint("mark")
        await tx.execute_many("insert into awaited values ($1, $2)", [(number, 0) for number in range(10, 500)])
        assert len([row async for row in tx.stream("select * from awaited")]) == 491
        await mark.rollback()
        answers = await tx.pipeline([("execute", "select 1"), ("execute", "select x from awaited")])
        assert isinstance(answers[1], rowgate.UndefinedColumn) and tx.state == "failed"
        await tx.rollback_to("mark")
    assert tx.state == "committed" and await count(adb) == 1
    with pytest.raises(ZeroDivisionError):
        async with adb.transaction() as tx:
            await tx.query("delete from awaited")
            1 / 0  # noqa: B018
    assert await count(adb) == 1


async def test_a_task_that_is_cancelled_ends_its_statement_and_rolls_back(adb: aio.Connection) -> None:
    begun = time.monotonic()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(adb.query(ENDLESS), 0.2)
    tx = adb.transaction()

    async def work() -> None:
        async with tx:
            await tx.query("insert into awaited values (1, 1)")
            await tx.query(ENDLESS)

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(work(), 0.3)
    assert tx.state == "rolled back"
    async with adb.transaction() as tx:  # waits for SQLite's only writer
        await tx.query("insert into awaited values (2, 2)")
    assert await count(adb) == 1 and time.monotonic() - begun < 10


async def test_the_whole_work_is_repeated(address: str, backend: str, adb: aio.Connection) -> None:
    if backend != "postgres":
        pytest.skip("the conflict is PostgreSQL's")
    await adb.query("insert into awaited values (1, 0)")
    runs = 0

    async def work(tx: aio.Transaction) -> str:
        nonlocal runs
        await tx.query("select n from awaited")
        runs += 1
        if runs == 1:
            await adb.query("update awaited set n = 10")
        await tx.query("update awaited set n = n + 1")
        return "done"

    assert await adb.run_transaction(work, isolation="serializable") == "done"
    assert runs == 2
    async for attempt in adb.transactions(isolation="serializable"):
        async with attempt as tx:
            await work(tx)
    assert (await adb.query("select n from awaited")).scalar() == 12


async def test_copies_take_asynchronous_data(adb: aio.Connection) -> None:
    async def rows() -> AsyncIterator[Any]:
        for number in range(2000):
            yield (number, number)

    assert (await adb.copy_in("awaited", rows())).rows_affected == 2000
    with pytest.raises(rowgate.UniqueViolation):
        await adb.copy_in("awaited", [(number, 0) for number in range(1999, 60_000)])
    assert await adb.copy_out(sql="select id, n from awaited where id = 3", format="csv").read() == b"3,3\n"
    await adb.copy_in("awaited", "9000,1\n9001,2\n", format="csv")
    assert await count(adb) == 2002
    written = io.BytesIO()
    assert (await adb.copy_out("awaited", format="csv").write_to(written)).row_count == 2002
    assert written.getvalue().count(b"\n") == 2002


async def test_a_listener_is_closed_by_another_task(address: str, backend: str) -> None:
    if backend != "postgres":
        pytest.skip("only PostgreSQL has notifications")
    async with aio.connect(address) as db, db.listen("awaited") as listener:
        events = []
        async for event in listener:
            events.append(type(event).__name__)
            if isinstance(event, rowgate.Listening):
                await db.query("select pg_notify('awaited', 'x')")
            else:
                asyncio.get_running_loop().call_later(0.05, asyncio.ensure_future, listener.close())
    assert events == ["Listening", "Notification"]


def test_a_connection_serves_one_loop_after_another(address: str) -> None:
    db = aio.connect(address)
    for _ in range(2):
        assert asyncio.run(db.query("select 1 as one")).scalar() == 1


async def test_a_token_may_be_asynchronous(address: str) -> None:
    asked = []

    async def token() -> str:
        asked.append(1)
        return "rg_x"

    async with aio.connect(address, token=token) as db:
        await db.query("select 1")
    assert asked == [1]
    with rowgate.connect(address, token=token) as sync, pytest.raises(TypeError, match=r"that is for rowgate\.aio"):
        sync.query("select 1")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python does not tell who is cancelled")
async def test_a_call_that_another_task_ends_is_an_error_and_no_cancellation(adb: aio.Connection, address: str) -> None:
    tx = await adb.transaction().begin()
    waiting = asyncio.ensure_future(tx.query(ENDLESS))
    await asyncio.sleep(0.1)
    tx.cancel()
    with pytest.raises(rowgate.InterfaceError, match="rolled back"):
        await waiting
    async with aio.connect(address) as other:
        waiting = asyncio.ensure_future(other.query(ENDLESS))
        await asyncio.sleep(0.1)
    with pytest.raises(rowgate.InterfaceError, match="closed during the call") as raised:
        await waiting
    assert raised.value.outcome == "UNKNOWN"


async def test_a_transaction_whose_command_was_cancelled_is_over(adb: aio.Connection) -> None:
    tx = await adb.transaction().begin()
    await tx.query("insert into awaited values (1, 1)")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(tx.query(ENDLESS), 0.2)
    with pytest.raises(rowgate.InterfaceError, match="is over: a command was cancelled"):
        await tx.query("select 1")
    await adb.query("insert into awaited values (1, 2)", timeout=20)
    with pytest.raises(rowgate.InterfaceError, match="is over"):
        async with adb.transaction() as tx:
            try:
                await asyncio.wait_for(tx.query(ENDLESS), 0.2)
            except asyncio.TimeoutError:
                pass


async def test_leaving_the_loop_ends_a_stream(adb: aio.Connection) -> None:
    stream = adb.stream(NUMBERS)
    async for row in stream:
        if row.n == 3:
            break
    with pytest.raises(rowgate.InterfaceError, match="left in the middle|not read to its end|was closed"):
        async for _ in stream:
            pass
    async with adb.transaction() as tx:
        async for _ in tx.stream("select * from (select 1 as n union all select 2) as two"):
            break
        await tx.query("insert into awaited values (1, 1)")
    assert await count(adb) == 1


async def test_a_stream_whose_reader_was_cancelled_does_not_end_well(adb: aio.Connection) -> None:
    stream = adb.stream(ENDLESS)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(stream.open(), 0.2)
    with pytest.raises(rowgate.InterfaceError, match="not read to its end"):
        [row async for row in stream]


async def test_a_transaction_that_nobody_holds_is_rolled_back(adb: aio.Connection) -> None:
    tx = await adb.transaction().begin()
    await tx.query("insert into awaited values (1, 1)")
    del tx
    gc.collect()
    await adb.query("insert into awaited values (1, 2)", timeout=20)


async def test_a_second_task_is_told_that_a_transaction_is_in_use(adb: aio.Connection) -> None:
    async with adb.transaction() as tx:
        first, second = await asyncio.gather(tx.query("select 1 as n"), tx.query("select 2 as n"), return_exceptions=True)
        assert isinstance(first, rowgate.Result) and first.scalar() == 1
        assert isinstance(second, rowgate.InterfaceError) and "one task uses it at a time" in str(second)
        assert (await tx.query("select 3 as n")).scalar() == 3


async def test_a_second_begin_is_refused_while_the_first_one_waits(address: str) -> None:
    async with aio.connect(address) as db:
        tx = db.transaction()
        answers = await asyncio.gather(tx.begin(), tx.begin(), return_exceptions=True)
        assert answers[0] is tx and isinstance(answers[1], rowgate.InterfaceError)
        assert (await tx.query("select 1 as one")).scalar() == 1
        await tx.rollback()


async def test_a_block_that_was_cancelled_between_its_commands_raises(address: str) -> None:
    async def work(tx: aio.Transaction) -> str:
        await tx.query("select 1")
        asyncio.get_running_loop().call_soon(tx.cancel)
        await asyncio.sleep(0.01)
        return "done"

    async with aio.connect(address) as db:
        with pytest.raises(rowgate.InterfaceError, match="rolled back: it was cancelled"):
            async with db.transaction() as tx:
                await work(tx)
        with pytest.raises(rowgate.InterfaceError, match="it was cancelled"):
            await db.run_transaction(work)
