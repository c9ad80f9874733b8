"""SQLAlchemy's suite, with what it knows of its own drivers told for this one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import testing
from sqlalchemy.testing.suite import *  # noqa: F403
from sqlalchemy.testing.suite import ComponentReflectionTest as _ComponentReflectionTest
from sqlalchemy.testing.suite import ComponentReflectionTestExtra as _ComponentReflectionTestExtra
from sqlalchemy.testing.suite import ServerSideCursorsTest as _ServerSideCursorsTest


class ServerSideCursorsTest(_ServerSideCursorsTest):
    def _is_server_side(self, cursor: Any) -> bool:
        if self.engine.dialect.driver == "rowgate":
            return cursor.name is not None
        return bool(super()._is_server_side(cursor))


class ComponentReflectionTest(_ComponentReflectionTest):
    # One half of it is about a schema, which it forgets to require.
    test_metadata = testing.requires.schemas(_ComponentReflectionTest.test_metadata)


class ComponentReflectionTestExtra(_ComponentReflectionTestExtra):
    @testing.fixture(params=[True, False])
    def use_schema_fixture(self, request: Any) -> Any:
        """The schema or None, as in the suite, which forgets to require schemas."""
        if request.param and not testing.requires.schemas.enabled:
            testing.config.skip_test("the database has no schemas")
        return testing.config.test_schema if request.param else None
