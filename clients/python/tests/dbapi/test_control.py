"""Transaction control in the text of a statement."""

from __future__ import annotations

from typing import Optional

import pytest

from rowgate.dbapi._control import Control, Kind, commits_by_itself, first_word, recognise, session_setting


@pytest.mark.parametrize(
    ("sql", "command"),
    [
        ("BEGIN", Control(Kind.BEGIN)),
        (" -- why\n/* so */ begin work ; ", Control(Kind.BEGIN)),
        ("BEGIN IMMEDIATE TRANSACTION", Control(Kind.BEGIN)),
        ("START TRANSACTION READ ONLY", Control(Kind.BEGIN, readonly=True)),
        (
            "begin isolation level repeatable  read, read write, not deferrable",
            Control(Kind.BEGIN, "", "REPEATABLE READ", False, False),
        ),
        ("COMMIT", Control(Kind.COMMIT)),
        ("end transaction", Control(Kind.COMMIT)),
        ("ROLLBACK;", Control(Kind.ROLLBACK)),
        ("abort", Control(Kind.ROLLBACK)),
        ("SAVEPOINT a1", Control(Kind.SAVEPOINT, "a1")),
        ("savepoint Upper", Control(Kind.SAVEPOINT, "upper")),
        ('SAVEPOINT "Mixed ""case"""', Control(Kind.SAVEPOINT, 'Mixed "case"')),
        ("SAVEPOINT `a b`", Control(Kind.SAVEPOINT, "a b")),
        ("ROLLBACK TO SAVEPOINT a1", Control(Kind.ROLLBACK_TO, "a1")),
        ("rollback transaction to a1", Control(Kind.ROLLBACK_TO, "a1")),
        ("RELEASE SAVEPOINT a1", Control(Kind.RELEASE, "a1")),
        ("release a1", Control(Kind.RELEASE, "a1")),
        ("set transaction isolation level serializable", Control(Kind.SET_TRANSACTION, isolation_level="SERIALIZABLE")),
        ("COMMIT PREPARED 'x'", None),
        ("PREPARE TRANSACTION 'x'", None),
        ("SET work_mem = '1MB'", None),
        ("select 'begin'", None),
        ("BEGIN; DELETE FROM t", None),
        ("beginning", None),
        ("", None),
    ],
)
def test_commands_are_recognised_and_nothing_else(sql: str, command: Optional[Control]) -> None:
    assert recognise(sql) == command


def test_a_long_comment_takes_no_long_time() -> None:
    assert recognise("begin " + "/* " * 2000 + "x") is None


@pytest.mark.parametrize(
    ("sql", "commits"),
    [
        ("create table t (a int)", True),
        ("/* x */ DROP TABLE t", True),
        ("truncate t", True),
        ("create temporary table t (a int)", False),
        ("drop temporary table t", False),
        ("insert into t values (1)", False),
    ],
)
def test_definitions_of_mysql_commit_by_themselves(sql: str, commits: bool) -> None:
    assert commits_by_itself(sql) is commits


def test_the_first_word_is_behind_comments() -> None:
    assert first_word("-- a\n /* b */ select 1") == "SELECT"
    assert first_word("(select 1)") == ""


@pytest.mark.parametrize(
    ("sql", "setting"),
    [
        ("SET SESSION search_path='app'", ("search_path", "app")),
        ("set search_path to app, public;", ("search_path", "app, public")),
        ("set work_mem = '8MB'", ("work_mem", "8MB")),
        ("set tenant.name = 'O''Neill'", ("tenant.name", "O'Neill")),
        ("set work_mem to default", ("work_mem", None)),
        ("set local work_mem = '8MB'", None),
        ("set time zone 'UTC'", None),
        ("set transaction isolation level serializable", None),
        ("set a = 'x'; drop table t", None),
        ("select 1", None),
    ],
)
def test_a_set_of_the_session_is_recognised(sql: str, setting: Optional[tuple[str, Optional[str]]]) -> None:
    assert session_setting(sql) == setting
