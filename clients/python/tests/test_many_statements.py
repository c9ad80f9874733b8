"""Many statements in a transaction: batches, and `execute_many`, which sends statements in batches."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from awaited import Blocking
from servers import Server

import rowgate
from rowgate import Reference, Statement, aio, dbapi
from rowgate._client import _messages
from rowgate._client._messages import ALONE, KnownLimits, Limits, returns_nothing

INSERT = "insert into many (id, n) values ($1, $2)"
UPDATE = "update many set n = $1 where id = $2"
NUMBERS = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 900) select n from numbers"


@pytest.fixture(params=["threads", "asyncio"])
def db(request: pytest.FixtureRequest, address: str) -> Iterator[Any]:
    """A connection of each kind to each backend, with an empty table `many`."""
    loop = asyncio.new_event_loop()
    connection = rowgate.connect(address) if request.param == "threads" else Blocking(aio.connect(address), loop)
    connection.query("drop table if exists many")
    connection.query("create table many (id integer primary key, n integer check (n < 1000000))")
    yield connection
    connection.query("drop table many")
    connection.close()
    loop.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of statements of the messages that are cut."""
    counts: list[int] = []
    cut = _messages.Messages.cut

    def noted(messages: Any) -> Any:
        message = cut(messages)
        counts.extend([message.statements] if message else [])
        return message

    monkeypatch.setattr(_messages.Messages, "cut", noted)
    return counts


def begun(db: Any) -> Any:
    """An open transaction."""
    tx = db.transaction()
    tx.begin()
    return tx


def total(db: Any) -> tuple[int, int]:
    """The number of rows and the sum of their numbers."""
    count, numbers = db.query("select count(*), coalesce(sum(n), 0) from many").one()
    return int(count), int(numbers)


def test_a_batch_has_a_result_for_each_statement(db: Any) -> None:
    tx = begun(db)
    results = tx.batch(
        [
            (INSERT, 1, 5),
            Statement("update many set n = n + 1", exactly=1),
            "select id, n from many",
            Statement(INSERT, 2, Reference(2, "n")),
        ],
        tag="many",
    )
    assert [result.rows_affected for result in results] == [1, 1, 0, 1]
    assert results[2].one() == (1, 6) and (results.attempts, results.replayed) == (1, False)
    assert tx.batch(["select sum(n) as n from many"])[0].scalar() == 12
    tx.commit()
    assert total(db) == (2, 12)


def test_a_batch_that_fails_names_its_statement_and_can_be_undone(db: Any) -> None:
    tx = begun(db)
    tx.savepoint("s")
    for statements, kind, failed in [
        ([(INSERT, 1, 0), (INSERT, 2, 0), (INSERT, 1, 0), (INSERT, 3, 0)], rowgate.UniqueViolation, 2),
        ([(INSERT, 1, 0), Statement("delete from many where id = 9", exactly=1)], rowgate.ExpectationFailed, 1),
        ([(INSERT, 1, 0), (INSERT, 2, Reference(1, "n"))], rowgate.InvalidParameter, 1),
        ([(INSERT, 1, 0), ("commit",)], rowgate.TransactionControl, 1),
    ]:
        with pytest.raises(kind) as raised:
            tx.batch(statements)
        assert raised.value.failed_statement == failed and raised.value.outcome == "NOT_APPLIED"
        with pytest.raises(rowgate.TransactionAborted):
            tx.batch(["select 1"])
        tx.rollback_to("s")
    tx.batch([(INSERT, 4, 0)])
    tx.commit()
    assert total(db) == (1, 0)


def test_a_batch_with_what_cannot_be_sent_sends_nothing(db: Any) -> None:
    tx = begun(db)
    with pytest.raises(TypeError, match=r"statement 1: parameter \$2"):
        tx.batch([(INSERT, 1, 0), (INSERT, 2, object())])
    with pytest.raises(TypeError, match="a batch in a transaction has no option 'key'"):
        tx.batch([(INSERT, 1, 0)], key="k")
    for options in ({"max_rows": 1000}, {"max_bytes": 4000}):
        tx.savepoint("s")
        with pytest.raises(rowgate.ResultTooLarge):
            tx.batch([NUMBERS, NUMBERS], **options)
        tx.rollback_to("s")
    assert tx.query("select count(*) from many").scalar() == 0
    tx.rollback()


def test_many_statements_go_in_few_messages(db: Any, sent: list[int]) -> None:
    tx = begun(db)
    results = tx.execute_many(INSERT, [(number, 0) for number in range(5000)])
    assert len(results) == 5000 and {(result.rows_affected, result.command) for result in results} == {(1, "INSERT")}
    assert sum(sent) == 5000 and max(sent) == 1000 and len(sent) < 40, sent
    del sent[:]
    results = tx.execute_many(UPDATE, [(number % 3, number) for number in range(4998, 5002)])
    assert [result.rows_affected for result in results] == [1, 1, 0, 0]
    tx.execute_many(UPDATE, [(1, number) for number in range(1000)])
    assert tx.execute_many(UPDATE, []) == []
    tx.commit()
    assert total(db) == (5000, 1000 + 0 + 1)
    del sent[:]
    tx = begun(db)
    tx.execute_many(UPDATE, [(2, number) for number in range(1000)])
    assert sent[0] == 1 and len(sent) < 12, "the limits are known"
    tx.rollback()


def test_the_row_that_failed_is_told_over_all_messages(db: Any) -> None:
    rows: list[Any] = [(number, 0) for number in range(3000)]
    for failed in (0, 19, 20, 777, 2345, 2999):
        tx = begun(db)
        tx.savepoint("s")
        with pytest.raises(rowgate.CheckViolation) as raised:
            tx.execute_many(INSERT, [*rows[:failed], (failed, 1_000_000), *rows[failed + 1 :]])
        assert raised.value.failed_statement == failed and raised.value.outcome == "NOT_APPLIED"
        assert tx.state == "failed"
        tx.rollback_to("s")
        tx.execute_many(INSERT, rows[:30])
        tx.commit()
        assert total(db) == (30, 0)
        db.query("delete from many")


def test_an_invalid_parameter_is_named_as_if_its_statement_were_alone(db: Any, backend: str) -> None:
    tx = begun(db)
    tx.execute_many(INSERT, [(number, 0) for number in range(100)])  # the limits are known
    with pytest.raises(TypeError, match=r"parameter \$1: a Reference is for a batch"):
        tx.execute_many(UPDATE, [*([0, number] for number in range(50)), (Reference(0, "id"), 1)])
    if backend == "postgres":  # the others type no parameters
        with pytest.raises(rowgate.InvalidParameter) as raised:
            tx.execute_many(UPDATE, [*([0, number] for number in range(50)), (True, 1)])
        assert raised.value.failed_statement == 50 and list(raised.value.fields) == ["parameters[0]"]
        assert raised.value.message.startswith("parameters[0]")
    tx.rollback()


def test_rows_that_cannot_be_sent_leave_the_transaction_open(db: Any) -> None:
    tx = begun(db)
    with pytest.raises(TypeError, match=r"parameter \$1"):
        tx.execute_many(INSERT, [*((number, 0) for number in range(200)), (object(), 0)])
    assert tx.query("select count(*) <= 200 as few from many").scalar() in (True, 1)
    tx.execute_many(UPDATE, [(1, number) for number in range(200)])
    tx.rollback()
    assert total(db) == (0, 0)


def test_statements_with_rows_keep_their_large_results(db: Any, sent: list[int]) -> None:
    tx = begun(db)
    rows = [(number, 0) for number in range(60)]
    large = f"values ($1, $2) returning '{'x' * 100_000}' as text"  # six megabytes, more than a batch may return
    results = tx.execute_many(f"insert into many (id, n) {large}", rows)
    assert [len(result.scalar()) for result in results] == [100_000] * 60 and sent == []
    with pytest.raises(rowgate.UniqueViolation) as raised:
        tx.execute_many("insert into many (id, n) values ($1, $2) returning id", [(100, 0), (101, 0), (100, 0)])
    assert raised.value.failed_statement == 2
    tx.rollback()


@pytest.mark.parametrize(
    ("sql", "alone"),
    [
        ("insert into t values (1)", False),
        ("  \n UPDATE t SET a = 1", False),
        ("Delete from t", False),
        ("merge into t using s on true when matched then delete", False),
        ("replace into t values (1)", False),
        ("insert into t values (1) returning id", True),
        ("insert into t values (1) RETURNING(id)", True),
        ("select 1", True),
        ("with x as (select 1) insert into t select * from x", True),
        ("-- a comment\ninsert into t values (1)", True),
        ("inserts", True),
        ("call p()", True),
        ("", True),
    ],
)
def test_only_what_surely_returns_no_rows_goes_in_batches(sql: str, alone: bool) -> None:
    assert returns_nothing(sql) is not alone


def test_rows_of_a_slow_source_are_sent_as_they_come(address: str, sent: list[int]) -> None:
    """The server ends a transaction that hears nothing for long."""

    def rows() -> Iterator[Any]:
        yield from ((number, 0) for number in range(200))
        for number in range(200, 206):
            time.sleep(0.06)
            yield number, 0

    with rowgate.connect(address) as db:
        db.query("drop table if exists many")
        db.query("create table many (id integer primary key, n integer)")
        with db.transaction() as tx:
            assert len(tx.execute_many(INSERT, rows())) == 206
        assert sum(sent) == 206 and max(sent[-2:]) <= 3, sent
        db.query("drop table many")


def test_slow_statements_share_no_timeout_with_many_others() -> None:
    messages = _messages.Messages(iter([rowgate._proto.BatchStatement(sql="x")] * 5000), {"timeout": 2}, Limits(1000, 1 << 20, 30.0))
    counts = []
    for seconds in (0.001, 0.008, 0.064, 0.4, 0.1, 10.0):
        message = messages.cut()
        assert message is not None
        counts.append(message.statements)
        messages.took(message, seconds)
    assert counts == [1, 8, 64, 200, 100, 200] and messages.cut() is not None
    messages.took(_messages.Message({}, 200), 90.0)
    message = messages.cut()
    assert message is not None and message.statements == 1


def test_a_message_has_no_more_bytes_than_the_server_takes() -> None:
    statements = [rowgate._proto.BatchStatement(sql="x" * 300) for _ in range(100)]
    messages = _messages.Messages(iter(statements), {}, Limits(1000, 1000, 30.0))
    counts = []
    while (message := messages.cut()) is not None:
        counts.append(message.statements)
        messages.took(message, 0.0)
        assert next(iter(message.command.values())).ByteSize() <= 1000
    assert counts == [1, *[3] * 33]


@pytest.fixture
def small_server() -> Iterator[Callable[[str], Server]]:
    """Starts servers over SQLite with limits of their own."""
    if "ROWGATE_BIN" not in os.environ:
        pytest.skip("ROWGATE_BIN names no server")
    servers: list[Server] = []

    def start(more: str) -> Server:
        servers.append(Server("sqlite:small.db", more))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def test_the_limits_of_the_server_are_kept(small_server: Callable[[str], Server], sent: list[int]) -> None:
    server = small_server("max_batch = 30\ndefault_deadline = '2s'")
    with rowgate.connect(server.address) as db:
        db.query("create table many (id integer primary key, n integer)")
        for _ in range(2):
            with db.transaction() as tx:
                tx.query("delete from many")
                tx.execute_many(INSERT, [(number, 0) for number in range(500)])
            assert db.query("select count(*) from many").scalar() == 500 and max(sent) == 30
        view = db.using(tag="view")
        assert view.limits.of("") == Limits(30, 1 << 20, 2.0)
        # Another limit than that which the server told: lowered meanwhile, or for this caller alone.
        db.limits._by_database[""] = Limits(1000, 1 << 20, 30.0)
        with pytest.raises(rowgate.InvalidParameter, match="Run the transaction again") as raised, db.transaction() as tx:
            tx.execute_many(UPDATE, [(1, number) for number in range(500)])
        assert raised.value.outcome == "NOT_APPLIED" and db.query("select sum(n) from many").scalar() == 0
        with db.transaction() as tx:
            tx.execute_many(UPDATE, [(1, number) for number in range(500)])
        assert db.query("select sum(n) from many").scalar() == 500
    with dbapi.connect(server.address) as connection:
        cursor = connection.cursor()
        cursor.executemany("update many set n = %s where id = %s", [(2, number) for number in range(500)])
        assert cursor.rowcount == 500


def test_a_request_may_be_small(small_server: Callable[[str], Server]) -> None:
    server = small_server("")
    server.kill()
    config = server.folder / "rowgate.toml"
    config.write_text(config.read_text().replace("[grpc]\n", '[grpc]\nmax_request_size = "3KiB"\n'))
    server.start()
    with rowgate.connect(server.address) as db:
        db.query("create table many (id integer primary key, n varchar(2000))")
        with db.transaction() as tx:
            tx.execute_many(INSERT, [(number, "x" * (number % 1500)) for number in range(3000)])
        assert db.query("select count(*) from many").scalar() == 3000


def test_what_a_server_refused_is_not_believed_again(sqlite: rowgate.Connection) -> None:
    told = sqlite.server_info()
    for refused, believed in ((1000, ALONE), (8, ALONE), (1001, Limits(1000, 1 << 20, 30.0))):
        limits = KnownLimits()
        error = rowgate.InvalidParameter("too many", fields={"statements": "too many"})
        limits.unlearn("", error, refused)
        assert limits.learn("", told) == believed and "Run the transaction again" in error.hint
    limits.unlearn("other", rowgate.InvalidCommand("no command is set"), 8)
    assert limits.of("other") == ALONE
    assert limits.learn("nowhere", told) == ALONE
    for code, kept in ((grpc.StatusCode.PERMISSION_DENIED, ALONE), (grpc.StatusCode.UNAVAILABLE, None)):
        limits = KnownLimits()
        assert limits.untold("", rowgate.Error(code=code)) == ALONE and limits.of("") is kept


def test_a_loss_in_the_middle_applies_nothing(postgres: rowgate.Connection) -> None:
    postgres.query("drop table if exists many")
    postgres.query("create table many (id integer primary key, n integer)")
    tx = postgres.transaction().begin()
    process = tx.query("select pg_backend_pid()").scalar()

    def rows() -> Iterator[Any]:
        for number in range(3000):
            if number == 2000:
                postgres.query("select pg_terminate_backend($1)", process, idempotent=True)
            yield number, 0

    with pytest.raises(rowgate.Error) as raised:
        tx.execute_many(INSERT, rows())
    assert raised.value.outcome == "NOT_APPLIED" and tx.state == "lost"
    assert postgres.query("select count(*) from many").scalar() == 0
    postgres.query("drop table many")
