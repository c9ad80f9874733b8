"""Streams of named cursors that end before their last row: they never look like a complete result."""

from __future__ import annotations

import resource
import time
from typing import Any, Callable

import pytest

from rowgate import dbapi

Connect = Callable[..., dbapi.Connection]
MANY = {
    "postgres": "select n from generate_series(1, 30000) n",
    "mysql": "select seq as n from seq_1_to_30000",
    "sqlite": "with recursive s (n) as (select 1 union all select n + 1 from s where n < 30000) select n from s",
}


@pytest.fixture
def stream(connect: Connect, table: str, backend: str) -> dbapi.Cursor:
    """A cursor that has read 10 rows of a stream of 30,000, in a transaction with an insert."""
    connection = connect()
    connection.cursor().execute(f"insert into {table} values (1, 'one')")
    assert connection.in_transaction
    cursor = connection.cursor("rows").execute(MANY[backend])
    assert cursor.fetchmany(10) == [(n,) for n in range(1, 11)]
    return cursor


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_end_of_the_transaction_ends_the_rows_with_an_error(stream: dbapi.Cursor, end: str, table: str) -> None:
    getattr(stream.connection, end)()
    for read in (lambda: stream.fetchone(), lambda: stream.fetchmany(5), lambda: stream.fetchall(), lambda: list(stream)):
        with pytest.raises(dbapi.ProgrammingError, match="the rows that were not fetched are gone"):
            read()
    cursor = stream.connection.cursor().execute(f"select count(*) from {table}")
    assert cursor.fetchone() == (int(end == "commit"),)


def test_closing_the_connection_or_the_cursor_does_too(stream: dbapi.Cursor, connect: Connect, table: str) -> None:
    stream.close()
    with pytest.raises(dbapi.InterfaceError, match="the cursor is closed"):
        stream.fetchall()
    again = stream.connection.cursor("again").execute(f"select id from {table}")
    stream.connection.close()
    with pytest.raises(dbapi.InterfaceError, match="closed"):
        again.fetchall()


def test_another_statement_leaves_the_rows_whole(stream: dbapi.Cursor, table: str) -> None:
    stream.connection.cursor().execute(f"insert into {table} values (2, 'two')")
    assert stream.fetchall() == [(n,) for n in range(11, 30001)]


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_stream_that_has_broken_off_raises_again(connect: Connect) -> None:
    cursor = connect().cursor("rows")
    cursor.execute("select 1 / (20000 - n) from generate_series(1, 30000) n")
    with pytest.raises(dbapi.DataError):
        cursor.fetchall()
    with pytest.raises(dbapi.OperationalError, match="the rows have broken off: .*division by zero"):
        while cursor.fetchone() is not None:
            pass


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
@pytest.mark.parametrize("end", ["rollback", "close"])
def test_leaving_a_long_stream_takes_no_time(connect: Connect, end: str) -> None:
    connection = connect()
    cursor: Any = connection.cursor("rows").execute("select n, repeat('x', 100) from generate_series(1, 2000000) n")
    cursor.fetchone()
    begun = time.monotonic()
    cursor.close()
    getattr(connection, end)()
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_commit_keeps_nothing_of_a_stream_in_memory(connect: Connect, table: str) -> None:
    connection = connect()
    connection.cursor().execute(f"insert into {table} values (1, 'one')")
    cursor = connection.cursor("rows").execute("select n, repeat('x', 100) from generate_series(1, 500000) n")
    cursor.fetchone()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection.commit()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
    assert connection.cursor().execute(f"select count(*) from {table}").fetchone() == (1,)


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_named_cursor_runs_what_returns_no_rows(connect: Connect, table: str, autocommit: bool) -> None:
    connection = connect(autocommit=autocommit)
    cursor = connection.cursor("rows").execute(f"insert into {table} values (1, 'one'), (2, 'two')")
    assert (cursor.rowcount, cursor.description) == (2, None)
    assert (cursor.fetchone(), cursor.fetchmany(3), cursor.fetchall()) == (None, [], [])
    assert cursor.execute(f"update {table} set name = 'x' where id = 9").rowcount == 0
    with pytest.raises(dbapi.IntegrityError) as caught:
        cursor.execute(f"insert into {table} values (1, 'again')")
    assert caught.value.outcome == "NOT_APPLIED"
    if connection.backend == "postgres" and not autocommit:
        connection.rollback()
    connection.commit()
    count = 0 if connection.backend == "postgres" and not autocommit else 2
    assert connect().cursor().execute(f"select count(*) from {table}").fetchone() == (count,)


@pytest.mark.parametrize("backend", ["mysql", "sqlite"], indirect=True)
def test_a_stream_that_fails_leaves_the_transaction_as_it_was(connect: Connect, table: str, backend: str) -> None:
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(f"insert into {table} values (1, 'one')")
    with pytest.raises(dbapi.ProgrammingError):
        connection.cursor("rows").execute("select nothing from nowhere")
    rows = connection.cursor("rows").execute(MANY[backend])
    assert rows.fetchone() == (1,)
    cursor.execute(f"insert into {table} values (2, 'two')")
    if backend == "sqlite":
        with pytest.raises(dbapi.Error):
            connection.cursor("rows").execute(
                "with recursive s (n) as (select 1 union all select n + 1 from s where n < 30000)"
                " select case when n = 20000 then json('no') else n end from s"
            ).fetchall()
    rows.close()
    connection.commit()
    assert connect().cursor().execute(f"select count(*) from {table}").fetchone() == (2,)


def test_fetching_behind_an_applied_write_does_not_say_that_it_is_not(connect: Connect, table: str) -> None:
    for connection, outcome in ((connect(autocommit=True), "APPLIED"), (connect(), "NOT_APPLIED")):
        cursor = connection.cursor().execute(f"insert into {table} values (%s, 'x')", (int(connection.autocommit),))
        with pytest.raises(dbapi.ProgrammingError, match="no rows to fetch") as caught:
            cursor.fetchone()
        assert caught.value.outcome == outcome


def test_a_result_of_any_size_is_read_outside_of_a_transaction_too(connect: Connect, table: str, backend: str) -> None:
    cursor = connect(autocommit=True).cursor()
    for _ in range(2):
        assert cursor.execute(MANY[backend]).fetchall() == [(n,) for n in range(1, 30001)]
        assert cursor.rowcount == 30000 and cursor.description is not None
    if backend == "sqlite":
        reader = connect().cursor()
        assert len(reader.execute(MANY[backend]).fetchall()) == 30000 and not reader.connection.in_transaction


def test_a_write_of_many_rows_returns_them_all(connect: Connect, table: str, backend: str) -> None:
    cursor = connect(autocommit=True).cursor()
    values = ", ".join(f"({n}, 'x')" for n in range(20000))
    assert cursor.execute(f"insert into {table} values {values}").rowcount == 20000
    if backend == "mysql":  # which has no RETURNING for an update
        cursor.execute(f"delete from {table}")
        cursor.execute(f"insert into {table} values {values} returning id")
    else:
        cursor.execute(f"update {table} set name = 'y' returning id")
    assert sorted(cursor.fetchall()) == [(n,) for n in range(20000)]
    with pytest.raises(dbapi.IntegrityError) as caught:
        cursor.execute(f"insert into {table} values (1, 'again') returning id")
    assert caught.value.outcome == "NOT_APPLIED"
