"""Tables of the program, which knows nothing of Rowgate."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any, Optional

from sqlalchemy import JSON, Boolean, DateTime, Enum, ForeignKey, LargeBinary, Numeric, String, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class State(enum.Enum):
    open = "open"
    paid = "paid"


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(120), unique=True)
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    born: Mapped[Optional[datetime.date]]
    notes: Mapped[Optional[Any]] = mapped_column(JSON().with_variant(JSONB, "postgresql"))
    orders: Mapped[list[Order]] = relationship(back_populates="customer", cascade="all, delete-orphan", order_by="Order.id")


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (UniqueConstraint("customer_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    number: Mapped[int]
    state: Mapped[State] = mapped_column(Enum(State), default=State.open)
    amount: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2))
    token: Mapped[uuid.UUID] = mapped_column(Uuid)
    placed: Mapped[datetime.datetime] = mapped_column(DateTime)
    receipt: Mapped[Optional[bytes]] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column()
    customer: Mapped[Customer] = relationship(back_populates="orders")
    tags: Mapped[list[Tag]] = relationship(secondary="order_tags", order_by="Tag.label")

    __mapper_args__ = {"version_id_col": version}


class Tag(Base):
    __tablename__ = "tags"

    label: Mapped[str] = mapped_column(String(40), primary_key=True)
    description: Mapped[Optional[str]] = mapped_column(Text)


class OrderTag(Base):
    __tablename__ = "order_tags"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    label: Mapped[str] = mapped_column(ForeignKey("tags.label"), primary_key=True)
