"""Calls of the client for asyncio that are left in the middle: by a cancelled task, an error, a loop, the garbage collector."""

import asyncio
import gc
import time
from typing import Any, AsyncIterator, Callable, List

import pytest
from servers import address_of

import rowgate
from rowgate import aio

RUNNING = "select count(*) from pg_stat_activity where state = 'active' and query like '%left by asyncio%' and pid <> pg_backend_pid()"
SLEEP = "select pg_sleep(60) /* left by asyncio */"
MANY = "select generate_series(1, 1000000000) as n /* left by asyncio */"


class Calls:
    """The calls that a connection has opened. `on_open` is told of each before its reader waits for it."""

    def __init__(self, db: aio.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: List[Any] = []
        self.on_open: Callable[[Any], None] = lambda call: None
        for name in ("StreamQuery", "CopyOut", "Listen", "Transact", "CopyIn"):
            monkeypatch.setattr(db._methods, name, self._recorded(getattr(db._methods, name)))

    def _recorded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def opens(*arguments: Any, **options: Any) -> Any:
            call = method(*arguments, **options)
            self.opened.append(call)
            self.on_open(call)
            return call

        return opens

    def all_ended(self) -> bool:
        """True if there was a call, and none goes on."""
        return bool(self.opened) and all(call.done() for call in self.opened)


@pytest.fixture
async def adb() -> AsyncIterator[aio.Connection]:
    """A connection to the server over PostgreSQL."""
    async with aio.connect("rowgate://" + address_of("postgres"), retries=0) as connection:
        yield connection


@pytest.fixture
async def calls(adb: aio.Connection, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of the connection."""
    return Calls(adb, monkeypatch)


async def ends(db: aio.Connection) -> bool:
    """True if no statement of the tests runs any more, soon."""
    deadline = time.monotonic() + 10
    while (await db.query(RUNNING)).scalar():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


async def drained(rows: Any) -> None:
    """Reads all that there is."""
    async for _ in rows:
        pass


READERS = {
    "stream": lambda db: drained(db.stream(SLEEP)),
    "stream_open": lambda db: db.stream(SLEEP).open(),
    "batches": lambda db: drained(db.stream(MANY).batches()),
    "to_arrow": lambda db: db.stream(SLEEP).to_arrow(),
    "copy_out": lambda db: db.copy_out(sql=SLEEP, format="csv").read(),
    "listen": lambda db: drained(db.listen("left_by_asyncio")),
}


@pytest.mark.parametrize("reader", READERS)
async def test_a_task_that_is_cancelled_as_its_request_is_sent_ends_the_call(
    adb: aio.Connection, calls: Calls, reader: str
) -> None:
    """Between the sending of the request and the reading of the first message grpc itself does not cancel the call."""
    if reader == "to_arrow":
        pytest.importorskip("pyarrow")

    async def read() -> None:
        await READERS[reader](adb)

    task = asyncio.ensure_future(read())
    calls.on_open = lambda call: call._preparation.add_done_callback(lambda _: task.cancel())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls.all_ended() and await ends(adb)


async def test_a_task_that_is_cancelled_after_any_number_of_turns_ends_its_call(adb: aio.Connection, calls: Calls) -> None:
    for turns in range(60):
        for read in (READERS["stream"], READERS["copy_out"], lambda db: db.transaction().begin()):
            calls.opened.clear()
            task = asyncio.ensure_future(read(adb))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                assert all(call.done() for call in calls.opened), turns
    assert await ends(adb)


async def test_a_copy_in_that_is_cancelled_ends_its_call(adb: aio.Connection, calls: Calls) -> None:
    async def data() -> AsyncIterator[Any]:
        yield (1,)
        task.cancel()
        yield (2,)

    await adb.query("drop table if exists left_by_asyncio")
    await adb.query("create table left_by_asyncio (id int)")
    task = asyncio.ensure_future(adb.copy_in("left_by_asyncio", data()))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls.all_ended() and (await adb.query("select count(*) from left_by_asyncio")).scalar() == 0
    await adb.query("drop table left_by_asyncio")


async def test_a_listener_whose_reader_was_cancelled_is_over(adb: aio.Connection, calls: Calls) -> None:
    listener = adb.listen("left_by_asyncio")
    async for event in listener:
        assert isinstance(event, rowgate.Listening)
        break
    assert not calls.all_ended()  # a loop that is left may be followed by another one
    waiting = asyncio.ensure_future(drained(listener))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert calls.all_ended()
    with pytest.raises(rowgate.InterfaceError, match="the task that waited for an event was cancelled"):
        await drained(listener)


@pytest.mark.parametrize("kind", ["stream", "copy_out", "listen"])
async def test_what_nobody_holds_ends_its_call(adb: aio.Connection, calls: Calls, kind: str) -> None:
    ended = asyncio.Event()
    calls.on_open = lambda call: call.add_done_callback(lambda _: ended.set())
    if kind == "listen":
        listener = adb.listen("left_by_asyncio")
        async for _ in listener:
            break
        del listener
    else:
        stream = adb.stream(MANY) if kind == "stream" else adb.copy_out(sql=MANY)
        await stream.open()
        del stream
    gc.collect()
    await asyncio.wait_for(ended.wait(), 10)
    assert calls.all_ended() and await ends(adb)


async def test_rows_that_cannot_be_decoded_end_their_stream(calls: Calls, adb: aio.Connection) -> None:
    def fail(_: Any) -> Any:
        raise ArithmeticError("no value")

    async with aio.connect("rowgate://" + address_of("postgres"), json_loads=fail) as db:
        own = Calls(db, pytest.MonkeyPatch())
        stream = db.stream("select '{}'::jsonb, generate_series(1, 1000000000) /* left by asyncio */")
        with pytest.raises(ArithmeticError) as raised:  # which keeps the frames of the reader
            await drained(stream)
        assert own.all_ended() and raised.traceback
        with pytest.raises(rowgate.InterfaceError, match="not read to its end"):
            await drained(stream)
    assert await ends(adb)


async def test_a_file_that_takes_no_more_ends_its_copy(adb: aio.Connection, calls: Calls) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as raised:
        await adb.copy_out(sql=MANY, format="csv").write_to(Full())  # type: ignore[arg-type]
    assert calls.all_ended() and raised.traceback and await ends(adb)
