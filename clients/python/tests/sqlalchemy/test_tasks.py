"""Tasks of asyncio that share a connection of the engine."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Callable, Coroutine

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from sqlalchemy import text  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine  # noqa: E402
from sqlalchemy.util import await_only, greenlet_spawn  # noqa: E402

from rowgate.sqlalchemy._task_lock import TaskLock  # noqa: E402

DIALECTS = {"postgres": "postgresql", "mysql": "mariadb", "sqlite": "sqlite"}


def run(backend: str, work: Callable[[AsyncEngine], Coroutine[Any, Any, None]]) -> None:
    """Runs the work with an engine whose pool has a connection, and an empty table `shared` with the column `id`."""
    address = os.environ.get(f"ROWGATE_TEST_{backend.upper()}")
    if not address:
        pytest.skip(f"ROWGATE_TEST_{backend.upper()} names no server")

    async def with_engine() -> None:
        engine = create_async_engine(f"rowgate+{DIALECTS[backend]}://{address}")
        async with engine.begin() as connection:
            await connection.execute(text("drop table if exists shared"))
            await connection.execute(text("create table shared (id integer)"))
        try:
            await work(engine)
        finally:
            async with engine.begin() as connection:
                await connection.execute(text("drop table shared"))
            await engine.dispose()

    asyncio.run(with_engine())


async def inserted(connection: Any) -> list[int]:
    return list((await connection.execute(text("select id from shared order by id"))).scalars())


async def insert(connection: Any, number: int) -> int:
    return int((await connection.execute(text("insert into shared values (:id)"), {"id": number})).rowcount)


@pytest.mark.parametrize("backend", list(DIALECTS))
def test_the_first_statements_of_several_tasks_belong_to_one_transaction(backend: str) -> None:
    async def work(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            assert await asyncio.gather(*(insert(session, number) for number in range(5))) == [1] * 5
            await session.commit()
            assert await inserted(session) == [0, 1, 2, 3, 4]
        async with engine.connect() as connection:
            assert await asyncio.gather(*(insert(connection, number) for number in range(5, 10))) == [1] * 5
            await connection.rollback()
            assert await inserted(connection) == [0, 1, 2, 3, 4]

    run(backend, work)


def test_a_task_that_is_cancelled_while_it_waits_lets_the_others_go_on() -> None:
    async def work() -> list[str]:
        lock, log = TaskLock(), []

        def hold(name: str) -> None:
            with lock, lock:  # its task may take it again
                log.append(f"{name} begins")
                await_only(asyncio.sleep(0.05))
                log.append(f"{name} ends")

        tasks = [asyncio.ensure_future(greenlet_spawn(hold, name)) for name in ("first", "second", "third", "fourth")]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        await tasks[0]
        tasks[2].cancel()  # the lock was handed over to it in this turn of the loop
        assert await tasks[3] is None
        assert all(task.cancelled() for task in tasks[1:3])
        return log

    log = asyncio.run(work())
    assert [entry for entry in log if "third" not in entry] == ["first begins", "first ends", "fourth begins", "fourth ends"]
