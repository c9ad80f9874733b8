"""Work that was applied, whose answer is lost, and that cannot be sent again: what the caller is told of it is UNKNOWN."""

import asyncio
import copy
import threading
import uuid
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional

import pytest
from awaited import Blocking
from proxies import DataProxy
from servers import Server

import rowgate
from rowgate import Statement, aio
from rowgate._client._attempts import Plan
from rowgate._client._doubt import Doubt
from rowgate._client._failures import REASONS

INSERT = "insert into doubtful values (1, 'x')"
Work = Callable[[Any], Any]


class Path(NamedTuple):
    """A connection over a proxy that has answered once, and a direct one to the same empty table `doubtful`."""

    proxy: DataProxy
    db: Any
    direct: rowgate.Connection
    key: str

    def count(self) -> int:
        """The rows of the table."""
        return int(self.direct.query("select count(*) from doubtful", read_only=True).scalar())


@pytest.fixture(params=["threads", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of connection."""
    return str(request.param)


def paths(address: str, kind: str) -> Iterator[Path]:
    """A path to the server at an address, `HOST:PORT/DATABASE`."""
    place, _, database = address.rpartition("://")[2].partition("/")
    loop = asyncio.new_event_loop()
    proxy = DataProxy(int(place.rpartition(":")[2]))
    through = (rowgate if kind == "threads" else aio).connect(proxy.address, database=database or "main")
    db = through if kind == "threads" else Blocking(through, loop)
    with rowgate.connect(place, database=database or "main") as direct:
        direct.query("drop table if exists doubtful")
        direct.query("create table doubtful (id integer primary key, note varchar(20))")
        db.query("select 1")
        yield Path(proxy, db, direct, f"doubtful-{uuid.uuid4()}")
        direct.query("drop table doubtful")
    db.close()
    loop.close()
    proxy.close()


@pytest.fixture
def path(address: str, kind: str) -> Iterator[Path]:
    """A path of each kind to each backend."""
    yield from paths(address, kind)


@pytest.fixture
def own_path(own_server: Server, kind: str) -> Iterator[Path]:
    """A path of each kind to a server of the test's own, over SQLite."""
    yield from paths(own_server.address, kind)


def told(call: Callable[[], Any]) -> rowgate.Error:
    """The error of a call that is in doubt."""
    with pytest.raises(rowgate.Error) as raised:
        call()
    error = raised.value
    assert error.outcome == "UNKNOWN" and error.retry_after is None, str(error)
    return error


CALLS: Dict[str, Callable[[Any, str], Any]] = {
    "query with a key": lambda db, key: db.query(INSERT, key=key, retries=2),
    "idempotent query": lambda db, key: db.query(INSERT, idempotent=True, retries=2),
    "batch with a key": lambda db, key: db.batch([Statement(INSERT, exactly=1)], key=key, retries=2),
    "idempotent batch": lambda db, key: db.batch([INSERT], idempotent=True, retries=2),
    "copy with a key": lambda db, key: db.copy_in("doubtful", [(1, "x")], key=key),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_cannot_be_sent_again_stays_unknown(path: Path, call: Callable[[Any, str], Any]) -> None:
    path.proxy.on_loss = path.proxy.refuse
    path.proxy.loses = 1
    error = told(lambda: call(path.db, path.key))
    assert path.proxy.loses == 0 and path.count() == 1
    check_is_refused(error)


def check_is_refused(error: rowgate.Error) -> None:
    """The error is that of the first attempt, and tells why the second one was not sent."""
    cause = error.__cause__
    assert isinstance(error, rowgate.TransportError) and isinstance(cause, rowgate.TransportError)
    assert cause.outcome == "NOT_APPLIED" and error.hint.startswith("The work may have been applied or not.")
    assert error.message.endswith(f"; sending it again did not tell what became of it: {cause.message}")
    assert error.args == (error.message,)


def test_a_stream_that_cannot_be_sent_again_stays_unknown(path: Path) -> None:
    path.proxy.on_loss = path.proxy.refuse
    path.proxy.loses = 1
    check_is_refused(told(lambda: list(path.db.stream(INSERT, idempotent=True, retries=2))))
    assert path.proxy.loses == 0


def test_a_stream_that_fails_when_it_is_sent_again_stays_unknown(own_path: Path) -> None:
    own_path.direct.query("insert into doubtful values (2, 'taken')")
    own_path.proxy.loses = 1
    sql = "insert into doubtful values (1, 'x'), (2, 'y') returning id"
    error = told(lambda: list(own_path.db.stream(sql, idempotent=True)))
    assert isinstance(error.__cause__, rowgate.UniqueViolation) and own_path.count() == 1


def test_its_key_tells_that_it_was_applied(path: Path) -> None:
    path.proxy.on_loss = path.proxy.refuse
    path.proxy.loses = 1
    told(lambda: path.db.query(INSERT, key=path.key))
    assert path.direct.outcome(path.key) == "APPLIED"
    path.proxy.refuses = False
    assert path.db.query(INSERT, key=path.key, retries=9).replayed and path.count() == 1


def test_a_call_that_the_server_does_not_run_again_stays_unknown(own_path: Path) -> None:
    held = own_path.direct.transaction()  # the only writer of SQLite, for which the second attempt waits
    own_path.proxy.on_loss = held.begin
    own_path.proxy.loses = 1
    error = told(lambda: own_path.db.query(INSERT, key=own_path.key, timeout=0.5))
    assert isinstance(error.__cause__, rowgate.Deadline) and error.__cause__.outcome == "NOT_APPLIED"
    held.rollback()
    assert own_path.count() == 1


def test_what_the_first_attempt_has_written_is_no_reason_to_say_not_applied(path: Path) -> None:
    path.proxy.loses = 1
    error = told(lambda: path.db.query(INSERT, idempotent=True))
    assert isinstance(error, rowgate.TransportError) and isinstance(error.__cause__, rowgate.UniqueViolation)
    assert path.count() == 1


def test_a_connection_that_is_closed_in_the_pause_leaves_it_unknown(own_path: Path) -> None:
    inner = getattr(own_path.db, "_inner", own_path.db)

    def close() -> None:
        own_path.proxy.refuse()
        inner._is_closed = True  # what `close` does first

    own_path.proxy.on_loss = close
    own_path.proxy.loses = 1
    error = told(lambda: own_path.db.query(INSERT, key=own_path.key))
    assert isinstance(error.__cause__, rowgate.InterfaceError) and own_path.count() == 1


def test_what_a_function_of_the_caller_raises_in_the_pause_leaves_it_unknown(own_path: Path) -> None:
    inner = getattr(own_path.db, "_inner", own_path.db)

    def no_token() -> str:
        raise LookupError("no token")

    own_path.proxy.on_loss = lambda: setattr(inner, "target", inner.target._replace(token=no_token))
    own_path.proxy.loses = 1
    error = told(lambda: own_path.db.query(INSERT, key=own_path.key))
    assert isinstance(error.__cause__, LookupError) and error.message.endswith(": no token") and own_path.count() == 1


# Transactions whose commit is lost


def repeated(db: Any, key: str, work: Work) -> Any:
    """Runs the work by `run_transaction`."""

    async def awaited(tx: Any) -> Any:
        return await work(tx)

    return db.run_transaction(awaited if isinstance(db, Blocking) else work, retries=2, key=key)


def looped(db: Any, key: str, work: Work) -> Any:
    """Runs the work in a loop of `transactions`."""

    async def loop() -> Any:
        async for attempt in db._inner.transactions(retries=2, key=key):
            async with attempt as tx:
                await work(tx)

    if isinstance(db, Blocking):
        return db._loop.run_until_complete(loop())
    for attempt in db.transactions(retries=2, key=key):
        with attempt as tx:
            work(tx)


class Inserts:
    """Work for either kind: it inserts, does `then`, and fails with `failure` from its second run on."""

    def __init__(self, then: Callable[[], Any], failure: Optional[Exception] = None) -> None:
        self._then = then
        self._failure = failure
        self.runs = 0

    def __call__(self, tx: Any) -> Any:
        self.runs += 1
        if self.runs > 1 and self._failure is not None:
            raise self._failure
        inserted = tx.query(INSERT)
        if isinstance(tx, aio.Transaction):
            return self._finish(inserted)
        self._then()
        return None

    async def _finish(self, inserted: Any) -> None:
        await inserted
        self._then()


@pytest.mark.parametrize("run", [repeated, looped])
def test_a_commit_without_an_answer_stays_unknown_if_it_cannot_begin_again(path: Path, run: Callable[..., Any]) -> None:
    path.proxy.on_loss = path.proxy.refuse
    work = Inserts(lambda: setattr(path.proxy, "loses", 1))
    error = told(lambda: run(path.db, path.key, work))
    assert isinstance(error.__cause__, rowgate.TransportError) and error.__cause__.outcome == "NOT_APPLIED"
    assert (work.runs, path.count(), path.direct.outcome(path.key)) == (1, 1, "APPLIED")


@pytest.mark.parametrize("run", [repeated, looped])
def test_a_begin_under_the_key_tells_that_the_commit_was_not_applied(own_path: Path, run: Callable[..., Any]) -> None:
    failure = KeyError("of the work itself")
    work = Inserts(lambda: setattr(own_path.proxy, "swallows", True), failure)
    with pytest.raises(KeyError) as raised:
        run(own_path.db, own_path.key, work)
    assert raised.value is failure and (work.runs, own_path.count()) == (2, 0)


# What ends a pause


@pytest.fixture
def thread_path(own_server: Server) -> Iterator[Path]:
    """A path for threads to a server of the test's own: asyncio is used by the test itself."""
    yield from paths(own_server.address, "threads")


async def test_a_task_that_is_cancelled_in_the_pause_is_told_by_the_context(thread_path: Path) -> None:
    path, lost = thread_path, threading.Event()
    path.proxy.on_loss = lambda: (path.proxy.refuse(), lost.set())
    async with aio.connect(path.proxy.address) as db:
        await db.query("select 1")
        path.proxy.loses = 1
        call = asyncio.ensure_future(db.query(INSERT, key=path.key, retries=100))
        await asyncio.get_running_loop().run_in_executor(None, lost.wait, 10)
        assert not (await asyncio.wait([call], timeout=1))[0], "it is sent again, and again"
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await call
    context: Any = raised.value
    while context is not None and not isinstance(context, rowgate.Error):
        context = context.__context__
    assert context is not None and context.outcome == "UNKNOWN" and path.count() == 1


def test_a_timeout_that_ends_the_repetitions_leaves_it_unknown(own_path: Path) -> None:
    own_path.proxy.on_loss = own_path.proxy.refuse
    own_path.proxy.loses = 1
    error = told(lambda: own_path.db.query(INSERT, key=own_path.key, retries=100, timeout=0.5))
    assert error.__cause__ is not None and own_path.count() == 1


# The rule


def unknown(token: str = "") -> rowgate.Error:
    """The error of an attempt that may have been applied."""
    return rowgate.OutcomeUnknown("lost", outcome=rowgate.Outcome.UNKNOWN, transaction_token=token)


def in_doubt(*errors: rowgate.Error) -> Doubt:
    """The doubt behind attempts that failed so."""
    doubt = Doubt()
    for error in errors:
        doubt.note(error)
    return doubt


def test_no_reason_of_a_refusal_resolves_an_attempt_in_doubt() -> None:
    for reason, refusal in REASONS.items():
        refused = refusal("refused", reason=reason)
        found = in_doubt(unknown("first"), refused).told(refused)
        assert isinstance(found, rowgate.OutcomeUnknown) and found.transaction_token == "first", reason
        assert found.outcome == "UNKNOWN" and found.retry_after is None, reason


def test_an_outcome_that_is_applied_resolves_it() -> None:
    applied = rowgate.KeyApplied("applied", outcome=rowgate.Outcome.APPLIED)
    assert in_doubt(unknown()).told(applied) is applied


def test_errors_without_a_doubt_stay_as_they_are() -> None:
    for error in (unknown("one"), rowgate.UniqueViolation("twice"), KeyError("x")):
        assert in_doubt().told(error) is error
    last = unknown("one")
    assert in_doubt(last).told(last) is last and last.transaction_token == "one"


def test_the_token_of_one_attempt_is_not_given_where_others_are_in_doubt() -> None:
    first, last = unknown("first"), unknown("last")
    doubt = in_doubt(first, last)
    refused = rowgate.PoolExhausted("refused")
    assert doubt.told(refused).transaction_token == ""  # type: ignore[attr-defined]
    assert (first.transaction_token, last.transaction_token) == ("first", "last")
    assert doubt.told(copy.copy(last)).transaction_token == ""  # type: ignore[attr-defined]
    assert doubt.told(last) is last and last.transaction_token == ""


def test_a_begin_resolves_a_doubt_under_a_key_alone() -> None:
    for key, expected in (("k", False), (None, True)):
        plan = Plan(3, {} if key is None else {"key": key})
        plan.pause(unknown())
        plan.begun()
        assert bool(plan.doubt) is expected and plan.is_done(rowgate.KeyApplied("applied")) is expected
