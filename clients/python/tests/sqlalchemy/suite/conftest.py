"""Runs SQLAlchemy's own suite of dialects: `pytest --dburi rowgate+postgresql://HOST:PORT/DATABASE`."""

from __future__ import annotations

from typing import Any

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.dialects.postgresql import provision as _postgresql  # noqa: E402, F401 - registers
from sqlalchemy.dialects.sqlite import provision as _sqlite  # noqa: E402, F401 - registers
from sqlalchemy.testing import provision  # noqa: E402
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403


# What the suite does for a database, given a configuration or an engine.
_OF_DATABASES = """
    allow_stale_update_impl dbapi_error delete_from_all_tables drop_all_schema_objects_post_tables
    drop_all_schema_objects_pre_tables get_temp_table_name normalize_sequence prepare_for_drop_tables
    set_default_schema_on_connection stop_test_class_outside_fixtures temp_table_keyword_args upsert
""".split()


def _as_the_database(register: Any) -> None:
    """The suite finds the function of a database by the first word of the URL, which is `rowgate` here."""

    def call(config: Any, *arguments: Any, **options: Any) -> Any:
        dialect = getattr(config, "db", config).dialect
        return register.fns.get(dialect.name, register.fns["*"])(config, *arguments, **options)

    register.for_db("rowgate")(call)


@provision.is_preferred_driver.for_db("rowgate")
def _is_preferred_driver(config: Any, engine: Any) -> bool:
    """True: no other driver of the database is in a run with this one."""
    return True


for _name in _OF_DATABASES:
    if hasattr(provision, _name):
        _as_the_database(getattr(provision, _name))
