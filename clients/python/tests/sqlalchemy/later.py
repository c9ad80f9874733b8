"""Tables as they are behind all migrations."""

from typing import Optional

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (Index("ix_accounts_owner", "owner"), CheckConstraint("cents >= 0", name="ck_accounts_cents"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    owner: Mapped[str] = mapped_column(String(200), nullable=False)
    cents: Mapped[int] = mapped_column(BigInteger, nullable=False, server_default="0")


class Posting(Base):
    __tablename__ = "postings"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", name="fk_postings_account"), nullable=False)
    amount: Mapped[Optional[Numeric]] = mapped_column(Numeric(10, 2))
