"""The asyncio engine: sessions, streams, savepoints, errors and concurrent transactions.

    asynchronous.py URL
"""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import rowgate

metadata = MetaData()
notes = Table("async_notes", metadata, Column("id", Integer, primary_key=True), Column("text", String(40), unique=True))


async def transactions(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(notes), [{"text": f"note {n}"} for n in range(3000)])
    async with engine.connect() as connection:
        await connection.execute(insert(notes).values(text="undone"))
        await connection.rollback()
        count = await connection.scalar(select(func.count()).select_from(notes))
        assert count == 3000, count
        result = await connection.stream(select(notes.c.id).order_by(notes.c.id))
        streamed = [row.id async for row in result]
        assert len(streamed) == 3000 and streamed == sorted(streamed)


async def sessions(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(insert(notes).values(text="kept"))
        try:
            async with session.begin_nested():
                await session.execute(insert(notes).values(text="kept"))
            raise AssertionError("the second one was taken")
        except IntegrityError as error:
            assert isinstance(error.orig, rowgate.UniqueViolation), error.orig
        await session.execute(insert(notes).values(text="after"))
    async with AsyncSession(engine) as session:
        found = await session.scalars(select(notes.c.text).where(notes.c.text.in_(["kept", "after"])).order_by(notes.c.text))
        assert found.all() == ["after", "kept"]


async def concurrent(engine: AsyncEngine) -> None:
    async def add(n: int) -> None:
        async with engine.begin() as connection:
            await connection.execute(insert(notes).values(text=f"concurrent {n}"))
            await connection.execute(select(func.count()).select_from(notes))

    await asyncio.gather(*(add(n) for n in range(20)))
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        assert isinstance(raw.driver_connection, rowgate.aio.Connection), raw.driver_connection
        assert await connection.scalar(select(func.count()).where(notes.c.text.like("concurrent%"))) == 20


async def main(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    await transactions(engine)
    await sessions(engine)
    await concurrent(engine)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await engine.dispose()
    print(f"{url.partition('://')[0]}: ok")


if __name__ == "__main__":
    import rowgate.aio

    asyncio.run(main(sys.argv[1]))
