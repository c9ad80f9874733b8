"""A program of SQLAlchemy's ORM, as it is written for psycopg2, pysqlite or PyMySQL: only its URL names a driver.

    program.py URL

prints what each step found. Over Rowgate it has to print the same as over the driver that it was written for.
"""

from __future__ import annotations

import datetime
import decimal
import sys
import uuid
from typing import Any

from sqlalchemy import Engine, create_engine, func, inspect, insert, select, text, update
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.orm import Session, joinedload, selectinload, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from models import Base, Customer, Order, OrderTag, State, Tag

PLACED = datetime.datetime(2026, 1, 31, 23, 59, 59, 123000)


def show(step: str, *found: Any) -> None:
    print(f"{step}: {' | '.join(repr(value) for value in found)}")


def order(number: int, amount: str, **more: Any) -> Order:
    return Order(number=number, amount=decimal.Decimal(amount), token=uuid.UUID(int=number), placed=PLACED, **more)


def sessions(new: sessionmaker[Session]) -> None:
    with new.begin() as session:
        ada = Customer(name="Ada", email="ada@example.com", born=datetime.date(1815, 12, 10), notes={"likes": ["%", "100%s"]})
        ada.orders = [order(1, "10.50", receipt=b"\x00\xff%"), order(2, "0.01", state=State.paid)]
        ada.orders[0].tags = [Tag(label="rush"), Tag(label="gift", description="größer als 100 % ☃")]
        session.add(ada)
    with new() as session:
        ada = session.scalars(select(Customer).where(Customer.email == "ada@example.com")).one()
        show("a row", ada.name, ada.active, ada.born, ada.notes)
        first, second = ada.orders
        show("its children", first.number, first.state, first.amount, first.token, first.placed, first.receipt, second.amount)
        show("many to many", [(tag.label, tag.description) for tag in first.tags])
        try:
            session.scalars(select(Customer).where(Customer.name == "nobody")).one()
        except NoResultFound as error:
            show("no row", str(error))


def bulk(new: sessionmaker[Session]) -> None:
    with new.begin() as session:
        rows = [{"name": f"c{n}", "email": f"c{n}@example.com", "active": n % 3 != 0} for n in range(2500)]
        ids = session.scalars(insert(Customer).returning(Customer.id, sort_by_parameter_order=True), rows).all()
        show("bulk insert", len(ids), len(set(ids)), ids == sorted(ids))
        session.bulk_insert_mappings(Tag, [{"label": f"bulk{n}"} for n in range(1200)])
        session.add_all(Order(customer_id=id_, number=1, amount=decimal.Decimal(n), token=uuid.UUID(int=n), placed=PLACED)
                        for n, id_ in enumerate(ids[:500]))
    with new.begin() as session:
        done = session.execute(update(Customer).where(Customer.name.like("c%"), Customer.active.is_(False)).values(name="idle"))
        show("rows of an update", done.rowcount)
        session.execute(update(Customer), [{"id": id_, "name": "renamed"} for id_ in ids[:20]])
        show("bulk update", session.scalar(select(func.count()).where(Customer.name == "renamed")))
        total = session.execute(select(func.count(), func.sum(Order.amount), func.max(Order.placed)).select_from(Order)).one()
        show("aggregates", total[0], decimal.Decimal(total[1]).quantize(decimal.Decimal("0.01")), total[2])


def savepoints(new: sessionmaker[Session]) -> None:
    with new.begin() as session:
        session.add(Customer(name="kept", email="kept@example.com"))
        session.flush()
        try:
            with session.begin_nested():
                session.add(Customer(name="twice", email="kept@example.com"))
                session.flush()
        except IntegrityError:
            show("a violation", "IntegrityError")
        with session.begin_nested() as nested:
            session.add(Customer(name="undone", email="undone@example.com"))
            session.flush()
            nested.rollback()
        with session.begin_nested():
            session.add(Customer(name="nested", email="nested@example.com"))
    with new() as session:
        names = select(Customer.name).where(Customer.name.in_(["kept", "twice", "undone", "nested"])).order_by(Customer.name)
        show("behind savepoints", session.scalars(names).all())


def stale(new: sessionmaker[Session]) -> None:
    query = select(Order).join(Customer).where(Customer.email == "ada@example.com", Order.number == 2)
    keeping = Session(new.kw["bind"], expire_on_commit=False)
    with keeping:
        ours = keeping.scalars(query).one()
        keeping.commit()
        with new.begin() as other:
            other.scalars(query).one().amount = decimal.Decimal("5")
        ours.amount = decimal.Decimal("6")
        try:
            keeping.commit()
        except StaleDataError:
            keeping.rollback()
            show("an update of an old version", "StaleDataError")
    with new() as session:
        found = session.scalars(query).one()
        show("who came first", found.amount, found.version)


def loading(new: sessionmaker[Session]) -> None:
    with new() as session:
        eager = select(Customer).options(selectinload(Customer.orders).selectinload(Order.tags)).order_by(Customer.id).limit(3)
        show("selectinload", [(c.name, [len(o.tags) for o in c.orders]) for c in session.scalars(eager)])
        joined = select(Order).options(joinedload(Order.customer)).order_by(Order.id).limit(3)
        show("joinedload", [(o.number, o.customer.name) for o in session.scalars(joined)])
        streamed = session.scalars(select(Customer.id).order_by(Customer.id).execution_options(yield_per=100))
        show("yield_per", sum(1 for _ in streamed))
        counted = session.execute(text("select count(*) from customers where name like 'c%' and email <> :email"), {"email": "x"})
        show("text", counted.scalar())


def core(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert(Tag), [{"label": f"auto{n}", "description": None} for n in range(3)])
        show("autocommit", connection.scalar(select(func.count()).where(Tag.label.like("auto%"))))
    with engine.connect() as connection:
        connection.execute(insert(Tag).values(label="gone"))
        connection.rollback()
        show("rollback", connection.scalar(select(func.count()).where(Tag.label == "gone")))
        result = connection.execution_options(stream_results=True).execute(select(Tag.label).order_by(Tag.label))
        show("stream", result.fetchmany(2), len(result.fetchall()))
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        show("isolation", connection.get_isolation_level(), connection.scalar(select(func.count()).select_from(Tag)))
    found = inspect(engine)
    show("reflection", sorted(found.get_table_names()), found.get_pk_constraint("order_tags")["constrained_columns"])
    show("columns", [(c["name"], type(c["type"]).__name__, c["nullable"]) for c in found.get_columns("orders")])
    show("foreign keys", sorted(k["referred_table"] for k in found.get_foreign_keys("order_tags")))


def postgresql(engine: Engine) -> None:
    from sqlalchemy.dialects.postgresql import array, insert as upsert

    with engine.begin() as connection:
        row = upsert(Tag).values(label="rush", description="new")
        row = row.on_conflict_do_update(index_elements=[Tag.label], set_={"description": row.excluded.description})
        show("upsert", connection.execute(row.returning(Tag.label, Tag.description)).one())
        show("jsonb", connection.scalar(select(Customer.notes["likes"][1].as_string()).where(Customer.email == "ada@example.com")))
        show("array", connection.scalar(select(array([1, 2, 3]))), connection.scalar(text("select :a = any(:b)"), {"a": 1, "b": [1, 2]}))
        show("interval", connection.scalar(select(func.now() - func.now())))
        connection.execute(text("lock table tags in share mode"))
        show("for update", connection.execute(select(Tag.label).where(Tag.label == "rush").with_for_update()).scalar())


def main(url: str) -> None:
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    new = sessionmaker(engine)
    sessions(new)
    bulk(new)
    savepoints(new)
    stale(new)
    loading(new)
    core(engine)
    if engine.dialect.name == "postgresql":
        postgresql(engine)
    with new.begin() as session:
        session.delete(session.scalars(select(Customer).where(Customer.email == "ada@example.com")).one())
    with new() as session:
        show("delete cascades", session.scalar(select(func.count()).select_from(OrderTag)))
    Base.metadata.drop_all(engine)
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
