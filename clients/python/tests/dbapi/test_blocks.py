"""`with connection`, and commits of transactions in which a statement has failed."""

from __future__ import annotations

from typing import Any, Callable

import pytest

import rowgate
from rowgate import dbapi

Connect = Callable[..., dbapi.Connection]


def count(connection: dbapi.Connection, table: str) -> int:
    row: Any = connection.cursor().execute(f"select count(*) from {table}").fetchone()
    return int(row[0])


def test_a_block_is_one_transaction_in_autocommit_too(connect: Connect, table: str) -> None:
    mine, other = connect(autocommit=True), connect(autocommit=True)
    with pytest.raises(ZeroDivisionError), mine:
        mine.cursor().execute(f"insert into {table} values (1, 'one')")
        mine.cursor().executemany(f"insert into {table} values (%s, 'x')", [(2,), (3,)])
        raise ZeroDivisionError
    assert count(other, table) == 0
    with mine:
        mine.cursor().execute(f"insert into {table} values (1, 'one')")
        assert mine.in_transaction and count(other, table) == 0
        mine.commit()
        mine.cursor().execute(f"insert into {table} values (2, 'two')")
        with mine:  # the inner one commits all that is open
            mine.cursor().execute(f"insert into {table} values (3, 'three')")
        assert count(other, table) == 3
        mine.cursor().execute(f"insert into {table} values (4, 'four')")
        assert count(other, table) == 3
    assert count(other, table) == 4
    mine.cursor().execute(f"insert into {table} values (5, 'five')")
    assert not mine.in_transaction and count(other, table) == 5


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_commit_behind_a_failed_statement_tells_what_has_failed(connect: Connect, table: str) -> None:
    mine = connect()
    cursor = mine.cursor()
    cursor.execute(f"insert into {table} values (1, 'one')")
    with pytest.raises(rowgate.UniqueViolation):
        cursor.execute(f"insert into {table} values (1, 'again')")
    with pytest.raises(rowgate.TransactionAborted):
        cursor.execute("select 1")
    with pytest.raises(rowgate.UniqueViolation, match="nothing is committed, .* duplicate key") as caught:
        mine.commit()
    assert (caught.value.outcome, caught.value.sqlstate, caught.value.table) == ("NOT_APPLIED", "23505", table)
    assert not mine.in_transaction and count(mine, table) == 0
    cursor.execute(f"insert into {table} values (1, 'one')")
    cursor.execute("savepoint a")
    with pytest.raises(rowgate.UniqueViolation):
        cursor.execute(f"insert into {table} values (1, 'again')")
    cursor.execute("rollback to savepoint a")
    mine.commit()
    assert count(mine, table) == 1
