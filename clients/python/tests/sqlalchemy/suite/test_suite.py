"""SQLAlchemy's suite, with what it knows of its own drivers told for this one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import testing
from sqlalchemy.testing.suite import *  # noqa: F403
from sqlalchemy.testing.suite import ComponentReflectionTest as _ComponentReflectionTest
from sqlalchemy.testing.suite import ServerSideCursorsTest as _ServerSideCursorsTest


class ServerSideCursorsTest(_ServerSideCursorsTest):
    def _is_server_side(self, cursor: Any) -> bool:
        if self.engine.dialect.driver == "rowgate":
            return cursor.name is not None
        return bool(super()._is_server_side(cursor))


class ComponentReflectionTest(_ComponentReflectionTest):
    # One half of it is about a schema, which it forgets to require.
    test_metadata = testing.requires.schemas(_ComponentReflectionTest.test_metadata)
