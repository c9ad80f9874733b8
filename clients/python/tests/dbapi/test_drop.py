"""DROP TABLE on SQLite, whose foreign keys are always enforced: never at the cost of rows of other tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Callable

import pytest

from rowgate import dbapi
from rowgate.dbapi._drop import dropped_table

Connect = Callable[..., dbapi.Connection]
only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def family(connect: Connect) -> Iterator[None]:
    """The tables `parent`, with two rows, and `child`, with two that refer to the first of them."""
    statements = (
        "drop table if exists child",
        "drop table if exists parent",
        "create table parent (a integer, b integer, primary key (a, b))",
        "create table child (a integer, b integer, foreign key (a, b) references Parent (a, b) on delete set null)",
        "insert into parent values (1, 1), (2, 2)",
        "insert into child values (1, 1), (1, 1), (null, 2)",
    )
    with closing(connect(autocommit=True)) as connection:
        for statement in statements:
            connection.cursor().execute(statement)
        yield
        connection.cursor().execute("drop table child")
        connection.cursor().execute("drop table if exists parent")


@only_sqlite
@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("name", [None, "stream"])
def test_a_drop_that_would_change_other_tables_is_refused(connect: Connect, family: None, autocommit: bool, name: str) -> None:
    connection = connect(autocommit=autocommit)
    with pytest.raises(dbapi.NotSupportedError, match=r"would change 2 rows of child \(ON DELETE SET NULL\)") as caught:
        connection.cursor(name).execute('DROP TABLE IF EXISTS "PARENT"')
    assert caught.value.outcome == "NOT_APPLIED"
    assert connection.in_transaction is not autocommit
    connection.cursor().execute("update child set a = null")
    connection.cursor(name).execute("drop table parent")
    connection.commit()
    cursor = connect().cursor().execute("select count(*), (select count(*) from sqlite_master where name = 'parent') from child")
    assert cursor.fetchone() == (3, 0)


@only_sqlite
def test_other_drops_run(connect: Connect, family: None) -> None:
    cursor = connect(autocommit=True).cursor()
    cursor.execute("drop table if exists nowhere")
    cursor.execute("create table alone (id integer primary key, up integer references alone on delete cascade)")
    cursor.execute("insert into alone values (1, 1)")
    cursor.execute("/* all of it */ drop table main.[alone];")
    with pytest.raises(dbapi.ProgrammingError):
        cursor.execute("drop table alone")


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ('drop table "a""b"', 'a"b'),
        ("-- x\nDROP /* y */ TABLE if exists main . `t` ; -- z", "t"),
        ("drop table [my table]", "my table"),
        ("drop view t", None),
        ("select 'drop table t'", None),
    ],
)
def test_the_table_is_told_by_the_text(sql: str, table: str) -> None:
    assert dropped_table(sql) == table
