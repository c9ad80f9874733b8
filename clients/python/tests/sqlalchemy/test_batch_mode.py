"""Alembic's batch mode on SQLite, which makes a table anew: it loses no rows of tables that refer to it."""

from __future__ import annotations

import os

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
pytest.importorskip("alembic", reason="Alembic is not installed")

from alembic.migration import MigrationContext  # noqa: E402
from alembic.operations import Operations  # noqa: E402
from sqlalchemy import Connection, String, create_engine, inspect, text  # noqa: E402
from sqlalchemy.exc import NotSupportedError  # noqa: E402


def widen(connection: Connection) -> None:
    with Operations(MigrationContext.configure(connection)).batch_alter_table("batch_parent") as batch:
        batch.alter_column("name", type_=String(50), existing_type=String(20), nullable=False)


@pytest.mark.parametrize("action", ["cascade", "set null", "no action"])
def test_a_table_that_others_refer_to_is_not_made_anew(action: str) -> None:
    address = os.environ.get("ROWGATE_TEST_SQLITE")
    if not address:
        pytest.skip("ROWGATE_TEST_SQLITE names no server")
    engine = create_engine(f"rowgate+sqlite://{address}")
    with engine.begin() as connection:
        for sql in (
            "drop table if exists batch_child",
            "drop table if exists batch_parent",
            "create table batch_parent (id integer primary key, name varchar(20))",
            f"create table batch_child (id integer primary key, parent integer references batch_parent on delete {action})",
            "insert into batch_parent values (1, 'one'), (2, 'two')",
        ):
            connection.execute(text(sql))
        widen(connection)  # nobody refers to it yet
        connection.execute(text("insert into batch_child values (1, 1), (2, 2), (3, 2)"))
    refused = NotSupportedError if action != "no action" else sqlalchemy.exc.IntegrityError
    with engine.connect() as connection, pytest.raises(refused):
        widen(connection)
        connection.commit()
    with engine.begin() as connection:
        assert connection.execute(text("select parent from batch_child order by id")).scalars().all() == [1, 2, 2]
        assert "_alembic_tmp_batch_parent" not in inspect(connection).get_table_names()
        connection.execute(text("drop table batch_child"))
        connection.execute(text("drop table batch_parent"))
    engine.dispose()
