"""Connections, cursors and transactions on each backend."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, Callable

import pytest

import rowgate
from rowgate import dbapi

Connect = Callable[..., dbapi.Connection]


def names(connection: dbapi.Connection, table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"select name from {table} order by id")
        return [name for (name,) in cursor.fetchall()]


def test_a_transaction_is_opened_by_the_first_statement_and_ends_with_commit(connect: Connect, table: str) -> None:
    mine, other = connect(), connect(autocommit=True)
    assert not mine.in_transaction
    mine.cursor().execute(f"insert into {table} values (%s, %s)", (1, "one"))
    assert mine.in_transaction
    assert names(other, table) == []
    mine.commit()
    assert not mine.in_transaction
    assert names(other, table) == ["one"]


def test_rollback_undoes_and_close_does_too(connect: Connect, table: str) -> None:
    mine = connect()
    mine.cursor().execute(f"insert into {table} values (1, 'one')")
    mine.rollback()
    mine.cursor().execute(f"insert into {table} values (2, 'two')")
    mine.close()
    assert names(connect(), table) == []
    with pytest.raises(dbapi.InterfaceError, match="closed"):
        mine.cursor()


def test_with_commits_and_rolls_back_after_an_error(connect: Connect, table: str) -> None:
    mine = connect()
    with mine:
        mine.cursor().execute(f"insert into {table} values (1, 'one')")
    with pytest.raises(ZeroDivisionError), mine:
        mine.cursor().execute(f"insert into {table} values (2, 'two')")
        raise ZeroDivisionError
    assert names(connect(), table) == ["one"]


def test_a_violation_is_an_integrity_error_that_tells_its_reason(connect: Connect, table: str) -> None:
    mine = connect()
    mine.cursor().execute(f"insert into {table} values (1, 'one')")
    with pytest.raises(dbapi.IntegrityError) as caught:
        mine.cursor().execute(f"insert into {table} values (1, 'again')")
    assert isinstance(caught.value, rowgate.UniqueViolation)
    assert caught.value.reason == "UNIQUE_VIOLATION"
    assert caught.value.outcome == "NOT_APPLIED"


def test_a_failed_statement_leaves_the_transaction_as_the_usual_driver_does(connect: Connect, table: str, backend: str) -> None:
    mine = connect()
    cursor = mine.cursor()
    cursor.execute(f"insert into {table} values (1, 'one')")
    with pytest.raises(dbapi.IntegrityError):
        cursor.execute(f"insert into {table} values (1, 'again')")
    if backend == "postgres":
        with pytest.raises(dbapi.Error) as caught:
            cursor.execute("select 1")
        assert caught.value.reason == "TRANSACTION_ABORTED"
        with pytest.raises(dbapi.Error) as caught:
            mine.commit()
        assert caught.value.outcome == "NOT_APPLIED"
        assert names(connect(), table) == []
    else:
        cursor.execute(f"insert into {table} values (2, 'two')")
        mine.commit()
        assert names(connect(), table) == ["one", "two"]


def test_savepoints_are_statements(connect: Connect, table: str) -> None:
    mine = connect()
    cursor = mine.cursor()
    cursor.execute(f"insert into {table} values (1, 'one')")
    cursor.execute("savepoint a")
    with pytest.raises(dbapi.IntegrityError):
        cursor.execute(f"insert into {table} values (1, 'again')")
    cursor.execute("rollback to savepoint a")
    cursor.execute(f"insert into {table} values (2, 'two')")
    cursor.execute("release savepoint a")
    mine.commit()
    assert names(mine, table) == ["one", "two"]


def test_begin_and_commit_as_statements_work_in_autocommit(connect: Connect, table: str) -> None:
    mine = connect(autocommit=True)
    cursor = mine.cursor()
    cursor.execute("begin")
    cursor.execute(f"insert into {table} values (1, 'one')")
    cursor.execute("rollback")
    cursor.execute("start transaction isolation level serializable")
    cursor.execute(f"insert into {table} values (2, 'two')")
    cursor.execute("commit")
    assert not mine.in_transaction
    assert names(connect(), table) == ["two"]


def test_executemany_writes_all_rows_or_none(connect: Connect, table: str) -> None:
    for mine in (connect(), connect(autocommit=True)):
        cursor = mine.cursor()
        cursor.executemany(f"insert into {table} values (%s, %s)", [(n, f"row {n}") for n in range(1500)])
        assert cursor.rowcount == 1500
        if not mine.autocommit:
            mine.commit()
        with pytest.raises(dbapi.IntegrityError) as caught:
            cursor.executemany(f"insert into {table} values (%(id)s, 'x')", [{"id": n} for n in (5000, 5001, 3, 5002)])
        assert caught.value.failed_statement == 2
        assert caught.value.outcome == "NOT_APPLIED"
        mine.rollback()
        cursor.execute(f"delete from {table}")
        assert cursor.rowcount == 1500
        mine.commit()


def test_rows_are_fetched_one_many_and_all(connect: Connect, table: str) -> None:
    mine = connect()
    cursor = mine.cursor()
    cursor.executemany(f"insert into {table} values (%s, %s)", [(n, str(n)) for n in range(10)])
    cursor.execute(f"select id, name from {table} order by id")
    assert cursor.rowcount == 10
    assert [column[0] for column in cursor.description or ()] == ["id", "name"]
    assert (cursor.description or ())[0][1] == dbapi.NUMBER
    assert (cursor.description or ())[1][1] == dbapi.STRING
    assert cursor.fetchone() == (0, "0")
    assert cursor.fetchmany() == [(1, "1")]
    assert cursor.fetchmany(3) == [(2, "2"), (3, "3"), (4, "4")]
    assert next(cursor) == (5, "5")
    assert [row[0] for row in cursor.fetchall()] == [6, 7, 8, 9]
    assert cursor.fetchone() is None
    assert cursor.fetchmany(2) == cursor.fetchall() == list(cursor) == []
    cursor.execute(f"update {table} set name = 'x' where id < 4")
    assert cursor.rowcount == 4
    assert cursor.description is None
    with pytest.raises(dbapi.Error, match="no rows to fetch"):
        cursor.fetchone()


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_named_cursor_streams_and_leaves_its_transaction_usable(connect: Connect, table: str, autocommit: bool) -> None:
    mine = connect(autocommit=autocommit)
    cursor = mine.cursor()
    cursor.executemany(f"insert into {table} values (%s, %s)", [(n, "x" * 40) for n in range(5000)])
    with mine.cursor("rows") as stream:
        stream.execute(f"select id from {table} order by id")
        assert stream.fetchone() == (0,)
        cursor.execute(f"select count(*) from {table}")
        assert cursor.fetchone() == (5000,)
        assert stream.fetchmany(2) == [(1,), (2,)]
        assert len(stream.fetchall()) == 4997
        stream.execute(f"select id from {table} order by id")
        assert stream.fetchone() == (0,)
    cursor.execute(f"select count(*) from {table}")
    assert cursor.fetchone() == (5000,)


def test_readonly_is_enforced_by_the_database(connect: Connect, table: str) -> None:
    for mine in (connect(readonly=True), connect(readonly=True, autocommit=True)):
        with pytest.raises(dbapi.Error) as caught:
            mine.cursor().execute(f"insert into {table} values (1, 'one')")
        assert caught.value.reason == "READ_ONLY"
        mine.rollback()
    assert names(connect(), table) == []


def test_modes_are_those_of_the_next_transaction(connect: Connect) -> None:
    mine = connect()
    mine.set_session(isolation_level="repeatable read", readonly=True)
    assert mine.isolation_level == "REPEATABLE READ"
    mine.cursor().execute("select 1")
    if mine.in_transaction:
        with pytest.raises(dbapi.ProgrammingError, match="commit or roll back first"):
            mine.autocommit = True
    mine.rollback()
    mine.autocommit = True
    with pytest.raises(dbapi.ProgrammingError, match="'fast' is not known"):
        mine.isolation_level = "fast"


def test_threads_may_share_a_connection(connect: Connect, table: str) -> None:
    mine = connect()
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for n in range(first, first + 50):
                mine.cursor().execute(f"insert into {table} values (%s, 'x')", (n,))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    mine.commit()
    assert len(names(mine, table)) == 200


@pytest.mark.parametrize("backend", ["mysql", "sqlite"], indirect=True)
def test_the_id_of_an_inserted_row_is_lastrowid(connect: Connect, backend: str) -> None:
    increments = {"mysql": "integer primary key auto_increment", "sqlite": "integer primary key"}[backend]
    for mine in (connect(), connect(autocommit=True)):
        cursor = mine.cursor()
        cursor.execute("drop table if exists dbapi_ids")
        cursor.execute(f"create table dbapi_ids (id {increments}, name varchar(9))")
        cursor.execute("insert into dbapi_ids (name) values ('a')")
        assert cursor.lastrowid == 1
        cursor.execute("insert into dbapi_ids (name) values (%s)", ("b",))
        assert cursor.lastrowid == 2
        assert cursor.rowcount == 1
        cursor.execute("drop table dbapi_ids")
        mine.commit()


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_parameters_have_the_types_of_their_values(connect: Connect) -> None:
    cursor = connect().cursor()
    cursor.execute("select %s, %s, %s, %s, %s + 1, %s", (1, "a", None, [1, 2], 2.5, {"a": [1]}))
    assert cursor.fetchone() == (1, "a", None, [1, 2], 3.5, {"a": [1]})
    cursor.execute("select 1 where 2 in %s and 'b' = any(%s)", ((1, 2, 3), ["a", "b"]))
    assert cursor.fetchall() == [(1,)]
    cursor.callproc("pg_catalog.upper", ("x%",))
    assert cursor.fetchall() == [("X%",)]


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_lost_transaction_fails_until_its_rollback(connect: Connect, table: str) -> None:
    mine, other = connect(), connect(autocommit=True)
    cursor, killer = mine.cursor(), other.cursor()
    cursor.execute(f"insert into {table} values (1, 'lost')")
    cursor.execute("select pg_backend_pid()")
    (pid,) = cursor.fetchone() or (0,)
    killer.execute("select pg_terminate_backend(%s)", (pid,))
    with pytest.raises(dbapi.OperationalError) as caught:
        cursor.execute("select 1")
    assert caught.value.outcome == "NOT_APPLIED"
    for again in (lambda: cursor.execute(f"insert into {table} values (2, 'half')"), mine.commit):
        with pytest.raises(dbapi.OperationalError, match="the transaction is over") as caught:
            again()
        assert caught.value.reason == "TRANSACTION_ABORTED"
    mine.rollback()
    cursor.execute(f"insert into {table} values (3, 'whole')")
    mine.commit()
    assert names(other, table) == ["whole"]


def test_a_database_that_does_not_exist_is_told_when_connecting(address: str) -> None:
    with pytest.raises(dbapi.OperationalError, match="no database 'nowhere'"):
        dbapi.connect(address, database="nowhere")


def test_arguments_come_in_the_forms_of_psycopg2(address: str) -> None:
    host, _, rest = address.partition(":")
    port, _, name = rest.partition("/")
    for arguments in (
        {"dsn": f"host={host} port={port} dbname={name} user=ann"},
        {"dsn": f"rowgate://{host}:{port}/{name}?tag=forms"},
        {"host": host, "port": int(port), "dbname": name},
    ):
        connection: Any = dbapi.connect(**arguments)
        cursor = connection.cursor()
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        connection.close()


def test_options_of_a_url_are_switches_and_numbers(address: str) -> None:
    options = "tls=false&autocommit=true&readonly=0&timeout=7&retries=2&wait_for_ready=false&commit_keys=no&isolation_level=serializable"
    with closing(dbapi.connect(f"rowgate://{address}?{options}")) as connection:
        assert (connection.autocommit, connection.readonly, connection.isolation_level) == (True, False, "SERIALIZABLE")
        target = connection.driver_connection.target
        assert (target.secure, target.retries, connection.driver_connection.wait_for_ready) == (False, 2, None)
        assert connection._settings.timeout == 7.0
        assert connection.cursor().execute("select 1").fetchone() == (1,)
    with closing(dbapi.connect(f"rowgate://{address}?autocommit=true", autocommit=False)) as connection:
        assert connection.autocommit is False
    for options, message in (("tls=maybe", "tls is 'maybe'"), ("timeout=soon", "timeout is 'soon'"), ("autocommit=", "autocommit is ''")):
        with pytest.raises(dbapi.InterfaceError, match=message):
            dbapi.connect(f"rowgate://{address}?{options}")


def test_a_float_of_32_bits_has_the_digits_that_it_was_written_with(connect: Connect, backend: str) -> None:
    if backend == "sqlite":
        pytest.skip("SQLite has none")
    cursor = connect().cursor()
    cursor.execute(f"create temporary table floats (f {'real' if backend == 'postgres' else 'float'})")
    written = [0.1, -16777216.0, 3.4028234663852886e38, 1e-45, 0.0, 1 / 3, None]
    cursor.executemany("insert into floats values (%s)", [(value,) for value in written])
    cursor.execute("select f from floats")
    found = [row[0] for row in cursor.fetchall()]
    assert found[:2] == [0.1, -16777216.0] and found[4:] == [0.0, 0.33333334, None]
    cursor.execute("select count(*) from floats where f = %s" + ("::real" if backend == "postgres" else ""), (found[2],))
    assert found[2] == written[2] and (backend == "mysql" or cursor.fetchone() == (1,))
    if backend == "postgres":
        cursor.execute("select array[0.1, 2.5]::real[], 'NaN'::real")
        assert str(tuple(cursor.fetchone() or ())) == "([0.1, 2.5], nan)"
