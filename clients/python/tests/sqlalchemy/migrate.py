"""Runs the migrations of `migrations/` forwards, compares the database with the models, and runs them back.

    migrate.py URL
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text


def main(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.cmd_opts = argparse.Namespace(x=[f"url={url}"])
    command.upgrade(config, "head")
    engine = create_engine(url)
    with engine.connect() as connection:
        print("version:", connection.scalar(text("SELECT version_num FROM alembic_version")))
        print("rows:", connection.execute(text("SELECT count(*), sum(cents), min(owner) FROM accounts")).one())
        print("postings:", connection.scalar(text("SELECT count(*) FROM postings")))
    command.check(config)
    print("tables:", sorted(inspect(engine).get_table_names()))
    command.downgrade(config, "0001")
    print("back at 0001:", [column["name"] for column in inspect(engine).get_columns("accounts")])
    command.downgrade(config, "base")
    with engine.begin() as connection:
        print("left:", sorted(inspect(connection).get_table_names()))
        connection.execute(text("DROP TABLE alembic_version"))
    engine.dispose()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1])
