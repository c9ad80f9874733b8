"""Postings of the accounts"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "postings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.id", name="fk_postings_account"), nullable=False),
        sa.Column("amount", sa.Numeric(10, 2)),
    )
    op.execute("INSERT INTO postings (account_id, amount) SELECT id, 1.25 FROM accounts WHERE owner LIKE 'account %'")


def downgrade() -> None:
    op.drop_table("postings")
