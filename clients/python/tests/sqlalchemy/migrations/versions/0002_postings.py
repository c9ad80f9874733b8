"""Postings, and a balance that is filled in"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "postings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id", name="fk_postings_account"), nullable=False),
        sa.Column("amount", sa.Numeric(10, 2)),
    )
    op.execute("INSERT INTO postings (account_id, amount) SELECT id, 1.25 FROM accounts WHERE name LIKE 'account %'")
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("cents", sa.BigInteger, nullable=True))
    op.execute("UPDATE accounts SET cents = 125")
    with op.batch_alter_table("accounts") as accounts:
        accounts.alter_column("cents", existing_type=sa.BigInteger, nullable=False, server_default="0")


def downgrade() -> None:
    with op.batch_alter_table("accounts") as accounts:
        accounts.drop_column("cents")
    op.drop_table("postings")
