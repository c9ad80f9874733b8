"""Calls: options, streams, batches, transactions, copies, keys, on every backend."""

import io
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any, Iterator

import pytest

import rowgate

ENDLESS = (
    "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000)"
    " select count(*) from numbers"
)


@pytest.fixture
def table(db: rowgate.Connection) -> Iterator[str]:
    """An empty table (id, cents)."""
    db.query("drop table if exists accounts")
    db.query("create table accounts (id integer primary key, cents integer not null)")
    yield "accounts"
    db.query("drop table accounts")


def cents(db: Any) -> Any:
    """The content of the table."""
    return [tuple(row) for row in db.query("select id, cents from accounts order by id")]


def test_parameters_are_given_by_position(db: rowgate.Connection, table: str) -> None:
    db.query("insert into accounts values ($1, $2)", 1, 100)
    assert db.query("select cents from accounts where id = $1", 1).scalar() == 100
    assert db.execute("select cents from accounts where id = $1", [1]).scalar() == 100


def test_an_option_that_does_not_exist_is_refused(db: rowgate.Connection) -> None:
    with pytest.raises(TypeError, match="a query has no option 'timout'; it has .*timeout"):
        db.query("select 1", timout=1)
    with pytest.raises(TypeError, match="a batch has no option 'describe_columns'"):
        db.batch(["select 1"], describe_columns=True)
    with pytest.raises(ValueError, match="the isolation is one of read committed"):
        db.transaction(isolation="chaos")
    with pytest.raises(ValueError, match="must be positive"):
        db.query("select 1", timeout=0)


def test_a_deadline_ends_the_statement_and_tells_its_outcome(db: rowgate.Connection) -> None:
    for timeout in (0.2, timedelta(milliseconds=200)):
        begun = time.monotonic()
        with pytest.raises(rowgate.Deadline) as raised:
            db.query(ENDLESS, timeout=timeout)
        assert raised.value.outcome == "NOT_APPLIED" and not isinstance(raised.value, rowgate.TransportError)
        assert time.monotonic() - begun < 5


def test_a_read_only_call_writes_nothing(db: rowgate.Connection, table: str) -> None:
    with pytest.raises(rowgate.ReadOnly):
        db.query("insert into accounts values (1, 1)", read_only=True)
    assert cents(db) == []


def test_a_result_over_its_bound_is_an_error(db: rowgate.Connection) -> None:
    with pytest.raises(rowgate.ResultTooLarge):
        db.query("select 1 as n union all select 2", max_rows=1)


def test_a_key_runs_once_and_its_outcome_is_known(db: rowgate.Connection, table: str) -> None:
    key = f"key-{time.time_ns()}"
    assert db.outcome(key) is rowgate.State.NOT_APPLIED
    first = db.query("insert into accounts values (1, 1)", key=key)
    again = db.query("insert into accounts values (1, 1)", key=key)
    assert (first.replayed, again.replayed, again.rows_affected) == (False, True, 1)
    assert db.outcome(key) == "APPLIED" and cents(db) == [(1, 1)]
    with pytest.raises(rowgate.KeyReused):
        db.query("insert into accounts values (2, 2)", key=key)


def test_a_stream_has_columns_rows_and_a_summary(db: rowgate.Connection, table: str) -> None:
    db.batch([("insert into accounts values ($1, $2)", number, number) for number in range(500)])
    with db.stream("select id, cents from accounts where id >= $1 order by id", 100) as stream:
        assert [column.name for column in stream.columns] == ["id", "cents"] and stream.summary is None
        assert [row.id for row in stream] == list(range(100, 500))
        assert stream.summary is not None and stream.summary.row_count == 400
    assert list(db.stream("select id from accounts where id < 0")) == []
    assert sum(map(len, db.stream("select id from accounts").batches())) == 500
    assert list(db.stream("select id from accounts order by id").scalars())[-1] == 499


def test_a_stream_may_be_left(db: rowgate.Connection) -> None:
    numbers = ENDLESS.replace("count(*)", "n").replace("1000000000", "100000")
    with db.stream(numbers) as stream:
        assert next(iter(stream)).n == 1
    with pytest.raises(rowgate.InterfaceError, match="left in the middle of its rows"):
        list(stream)


def test_an_error_in_a_stream_is_raised(db: rowgate.Connection) -> None:
    with pytest.raises(rowgate.UndefinedTable):
        list(db.stream("select * from no_such_table"))


def test_a_batch_applies_all_or_nothing(db: rowgate.Connection, table: str) -> None:
    results = db.batch(
        [
            "insert into accounts values (1, 1000)",
            ("insert into accounts values ($1, $2)", 2, 500),
            rowgate.Statement("update accounts set cents = cents - $1 where id = $2", 300, 1, exactly=1),
        ]
    )
    assert [result.rows_affected for result in results] == [1, 1, 1] and results.attempts == 1
    with pytest.raises(rowgate.ExpectationFailed) as raised:
        db.batch(["delete from accounts", rowgate.Statement("update accounts set cents = 0 where id = 9", at_least=1)])
    assert raised.value.failed_statement == 1 and cents(db) == [(1, 700), (2, 500)]
    assert db.batch(["delete from accounts"], dry_run=True)[0].rows_affected == 2 and len(cents(db)) == 2
    with pytest.raises(ValueError, match="a statement expects one of"):
        rowgate.Statement("x", exactly=1, at_most=1)


def test_a_statement_of_a_batch_refers_to_an_earlier_one(db: rowgate.Connection, table: str) -> None:
    results = db.batch(
        [
            "insert into accounts values (7, 1) returning id",
            ("update accounts set cents = $1 where id = 7", rowgate.Reference(0, "id")),
        ]
    )
    assert results[0].scalar() == 7 and cents(db) == [(7, 7)]


def test_a_block_commits_at_its_end_and_rolls_back_when_it_raises(db: rowgate.Connection, table: str) -> None:
    with db.transaction() as tx:
        tx.query("insert into accounts values ($1, $2)", 1, 1)
        assert tx.query("select count(*) from accounts").scalar() == 1
    assert tx.state == "committed" and cents(db) == [(1, 1)]
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.query("delete from accounts")
        1 / 0  # noqa: B018
    assert tx.state == "rolled back" and cents(db) == [(1, 1)]
    with pytest.raises(rowgate.InterfaceError, match="the transaction is rolled back"):
        tx.query("select 1")


def test_an_error_that_was_caught_does_not_let_the_block_commit(db: rowgate.Connection, table: str) -> None:
    with pytest.raises(rowgate.TransactionAborted) as raised, db.transaction() as tx:
        tx.query("insert into accounts values (1, 1)")
        with pytest.raises(rowgate.UniqueViolation):
            tx.query("insert into accounts values (1, 2)")
        assert tx.state == "failed"
    assert raised.value.outcome == "NOT_APPLIED" and cents(db) == []


def test_savepoints_undo_a_part(db: rowgate.Connection, table: str) -> None:
    with db.transaction() as tx:
        tx.query("insert into accounts values (1, 1)")
        with pytest.raises(rowgate.UniqueViolation), tx.savepoint():
            tx.query("insert into accounts values (2, 2)")
            tx.query("insert into accounts values (1, 1)")
        with tx.savepoint("kept"):
            tx.query("insert into accounts values (3, 3)")
        mark = tx.savepoint()
        tx.query("delete from accounts")
        mark.rollback()
    assert cents(db) == [(1, 1), (3, 3)]


def test_a_handle_is_begun_and_ended_by_hand(db: rowgate.Connection, table: str) -> None:
    tx = db.transaction(isolation="serializable", tag="hand").begin(wait=False)
    assert tx.state == "begun"
    assert tx.execute("insert into accounts values ($1, $2)", [1, 1]).rows_affected == 1
    assert tx.state == "open"
    tx.commit()
    assert cents(db) == [(1, 1)]
    tx = db.transaction().begin()
    tx.query("delete from accounts")
    tx.rollback()
    tx.rollback()
    assert cents(db) == [(1, 1)]


def test_a_transaction_that_is_cancelled_or_forgotten_is_rolled_back(db: rowgate.Connection, table: str) -> None:
    tx = db.transaction().begin()
    tx.query("insert into accounts values (1, 1)")
    tx.cancel()
    assert tx.state == "rolled back"
    threads = threading.active_count()
    tx = db.transaction().begin()
    tx.query("insert into accounts values (2, 2)")
    del tx
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads, "the thread that sends its commands is left"
    with db.transaction() as tx:  # the only writer of SQLite is free again
        tx.query("insert into accounts values (3, 3)")
    assert cents(db) == [(3, 3)]


def test_a_statement_is_cancelled_by_another_thread(db: rowgate.Connection) -> None:
    tx = db.transaction().begin()
    timer = threading.Timer(0.2, tx.cancel)
    timer.start()
    with pytest.raises(rowgate.OperationalError) as raised:
        tx.query(ENDLESS)
    assert raised.value.outcome == "NOT_APPLIED"


def test_commands_are_sent_ahead(db: rowgate.Connection, table: str) -> None:
    with db.transaction() as tx:
        results = tx.execute_many("insert into accounts values ($1, $2)", [(number, 0) for number in range(1000)])
        assert sum(result.rows_affected for result in results) == 1000
        answers = tx.pipeline(
            [
                ("savepoint", "s"),
                ("execute", "insert into accounts values (1, 1)"),
                ("execute", "select 1"),
                ("rollback_to", "s"),
                ("execute", "select 5"),
            ]
        )
        assert [type(answer).__name__ for answer in answers] == [
            "NoneType", "UniqueViolation", "TransactionAborted", "NoneType", "Result"
        ]  # fmt: skip
        with pytest.raises(rowgate.UniqueViolation):
            tx.execute_many("insert into accounts values ($1, $2)", [(number, 0) for number in range(999, 1300)])
        tx.rollback_to("s")
    assert len(cents(db)) == 1000


def test_rows_are_streamed_in_a_transaction(db: rowgate.Connection, table: str) -> None:
    with db.transaction() as tx:
        tx.execute_many("insert into accounts values ($1, $2)", [(number, 0) for number in range(300)])
        stream = tx.stream("select id from accounts order by id")
        with pytest.raises(rowgate.InterfaceError, match="a stream of this transaction is open"):
            tx.query("select 1")
        assert stream.columns[0].name == "id"
        assert [row.id for row in stream] == list(range(300))
        with tx.stream("select id from accounts") as stream:
            next(iter(stream))
        assert tx.query("select 1").scalar() == 1


def test_a_read_only_transaction_writes_nothing(db: rowgate.Connection, table: str) -> None:
    with pytest.raises(rowgate.ReadOnly), db.transaction(read_only=True) as tx:
        tx.query("insert into accounts values (1, 1)")


def test_a_key_lets_a_transaction_commit_once(db: rowgate.Connection, table: str) -> None:
    key = f"tx-{time.time_ns()}"
    with db.transaction(key=key) as tx:
        tx.query("insert into accounts values (1, 1)")
    with pytest.raises(rowgate.KeyApplied) as raised, db.transaction(key=key):
        raise AssertionError("the block does not run")
    assert raised.value.outcome == "APPLIED"
    with pytest.raises(rowgate.KeyApplied):
        db.run_transaction(lambda tx: tx.query("insert into accounts values (1, 1)"), key=key)


def test_the_whole_work_is_repeated_after_a_conflict(postgres: rowgate.Connection) -> None:
    postgres.query("drop table if exists conflicts")
    postgres.query("create table conflicts (id int primary key, n int)")
    postgres.query("insert into conflicts values (1, 0)")
    runs = []

    def work(tx: rowgate.Transaction) -> int:
        number = tx.query("select n from conflicts").scalar()
        runs.append(number)
        if len(runs) == 1:
            postgres.query("update conflicts set n = 10")
        tx.query("update conflicts set n = $1", number + 1)
        return int(number)

    assert postgres.run_transaction(work, isolation="serializable") == 10
    for attempt in postgres.transactions(retries=2, isolation="serializable"):
        with attempt as tx:
            work(tx)
    assert runs == [0, 10, 11] and postgres.query("select n from conflicts").scalar() == 12
    runs.clear()
    with pytest.raises(rowgate.SerializationFailure):
        postgres.run_transaction(work, retries=0, isolation="serializable")
    with pytest.raises(ZeroDivisionError):
        postgres.run_transaction(lambda tx: 1 / 0)
    postgres.query("drop table conflicts")


def test_rows_are_copied_in_and_out(db: rowgate.Connection, table: str) -> None:
    result = db.copy_in("accounts", ((number, 2 * number) for number in range(5000)))
    assert (result.rows_affected, result.replayed) == (5000, False)
    assert sum(1 for _ in db.copy_out("accounts")) == 5000
    csv = db.copy_out(sql="select id, cents from accounts where id < 2 order by id", format="csv", header=True).read()
    assert csv == b"id,cents\n0,0\n1,2\n"
    db.query("delete from accounts")
    for data in ("1;10\n2;20\n", b"3;30\n", io.BytesIO(b"4;40\n"), iter(["5;", "50\n"])):
        db.copy_in("accounts", data, columns=["id", "cents"], format="csv", delimiter=";")
    assert cents(db) == [(number, 10 * number) for number in range(1, 6)]
    written = io.BytesIO()
    assert db.copy_out("accounts", format="text").write_to(written).row_count == 5


def test_a_copy_that_fails_writes_nothing(db: rowgate.Connection, table: str) -> None:
    def rows() -> Iterator[Any]:
        yield (1, 1)
        raise ZeroDivisionError("the data ends here")

    with pytest.raises(ZeroDivisionError, match="the data ends here"):
        db.copy_in("accounts", rows())
    with pytest.raises(rowgate.UniqueViolation) as raised:
        db.copy_in("accounts", [(1, 1), (2, 2), (1, 3)])
    assert raised.value.outcome == "NOT_APPLIED"
    with pytest.raises(TypeError, match="row 2: parameter .1"):
        db.copy_in("accounts", [(1, 1), (object(), 2)])
    assert cents(db) == []


def test_a_copy_with_a_key_is_written_once(db: rowgate.Connection, table: str) -> None:
    key = f"copy-{time.time_ns()}"
    assert [db.copy_in("accounts", [(1, 1)], key=key).replayed for _ in range(2)] == [False, True]


def test_a_statement_is_described(db: rowgate.Connection, table: str) -> None:
    found = db.describe("select id from accounts where id = $1")
    assert [column.name for column in found.columns] == ["id"] and len(found.parameters) == 1 and found.read_only
    assert "accounts" in db.describe("select id from accounts", plan=True).plan


def test_another_database_and_the_server(db: rowgate.Connection) -> None:
    info = db.server_info()
    assert info.default_database == "main" and info.databases["main"].max_batch == 1000
    with pytest.raises(rowgate.DatabaseNotFound):
        db.using(database="nowhere").query("select 1")
    assert db.using(tag="report", timeout=5).query("select 1").scalar() == 1


def test_notifications_arrive_in_order(postgres: rowgate.Connection) -> None:
    with postgres.listen("orders", timeout=20) as listener:
        events = iter(listener)
        assert isinstance(next(events), rowgate.Listening)
        for number in range(3):
            postgres.query("select pg_notify('orders', $1)", str(number))
        found = [next(events) for _ in range(3)]
        assert [(event.channel, event.payload) for event in found] == [("orders", str(number)) for number in range(3)]
        threading.Timer(0.1, listener.close).start()
        assert list(events) == []


def test_all_threads_share_a_connection(db: rowgate.Connection) -> None:
    found: list = []

    def work(number: int) -> None:
        found.extend(db.query(f"select {number} as n").scalar() for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(list(range(8)) * 20)


def test_a_process_may_fork_before_the_first_call(address: str) -> None:
    program = (
        "import os, sys, rowgate\n"
        "db = rowgate.connect(sys.argv[1])\n"
        "children = []\n"
        "for _ in range(2):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os._exit(0 if db.query('select 1 as one').scalar() == 1 else 1)\n"
        "    children.append(child)\n"
        "assert all(os.waitpid(child, 0)[1] == 0 for child in children)\n"
    )
    subprocess.run([sys.executable, "-c", program, address], check=True, timeout=60)


def test_a_closed_connection_says_so(address: str) -> None:
    with rowgate.connect(address) as db:
        db.query("select 1")
    with pytest.raises(rowgate.InterfaceError, match="the connection is closed"):
        db.query("select 1")


def test_settings_hold_for_one_call(postgres: rowgate.Connection) -> None:
    with pytest.raises(rowgate.AccessDenied):
        postgres.query("show work_mem", settings={"work_mem": "8MB"})
