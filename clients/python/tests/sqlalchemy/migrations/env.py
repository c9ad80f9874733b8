"""Alembic's environment, as `alembic init` writes it, with the URL from its `-x url=URL`."""

from alembic import context
from sqlalchemy import create_engine

from later import Base

target_metadata = Base.metadata
url = context.get_x_argument(as_dictionary=True)["url"]

engine = create_engine(url)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
