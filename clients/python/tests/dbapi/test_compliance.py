"""The compliance test of DB-API 2.0: the package `dbapi-compliance`, as it is, on each backend."""

from __future__ import annotations

import os

import pytest

from rowgate import dbapi

dbapi20 = pytest.importorskip("dbapi20", reason="the package dbapi-compliance is not installed")


class Compliance(dbapi20.DatabaseAPI20Test):
    """The test, with what it leaves to a driver."""

    __test__ = False
    driver = dbapi
    variable = ""

    def setUp(self) -> None:
        address = os.environ.get(self.variable)
        if not address:
            self.skipTest(f"{self.variable} names no server")
        self.connect_args = (address,)

    def test_nextset(self) -> None:
        """A statement has one result: the optional method is not there."""
        assert not hasattr(dbapi.Cursor, "nextset")

    def test_setoutputsize(self) -> None:
        """The method takes what it is given, and does nothing."""
        self.test_setoutputsize_basic()

    def test_non_idempotent_close(self) -> None:
        """PEP 249 does not ask for an error of the second close; as with psycopg2 there is none."""
        connection = self._connect()
        connection.close()
        connection.close()


class TestPostgres(Compliance):
    __test__ = True
    variable = "ROWGATE_TEST_POSTGRES"


class TestSQLite(Compliance):
    __test__ = True
    variable = "ROWGATE_TEST_SQLITE"

    def test_callproc(self) -> None:
        """SQLite has no procedures."""
        with pytest.raises(dbapi.NotSupportedError):
            self._connect().cursor().callproc("lower", ("FOO",))


class TestMySQL(TestSQLite):
    variable = "ROWGATE_TEST_MYSQL"
