"""Errors: one class for each reason, what they tell, and the rule by which a call is sent again."""

import pickle
import re
from datetime import timedelta
from pathlib import Path
from typing import Set

import grpc
import pytest

import rowgate
from rowgate import Outcome, TransportError
from rowgate._client._caller import Clock
from rowgate._client._failures import Retry, Safety, error_class, may_repeat
from rowgate._proto import QueryOptions

PAGE = Path(__file__).resolve().parents[3] / "docs" / "ERRORS.md"
ROW = re.compile(r"^\| ((?:`[A-Z][A-Z0-9_]*`(?:, )?)+) \|", re.MULTILINE)


def _documented() -> Set[str]:
    """The reasons that docs/ERRORS.md names."""
    page = PAGE.read_text()
    own, _, database = page.partition("## Reasons of the database's")
    found = set(re.findall(r"`([A-Z0-9_]+)`", " ".join(ROW.findall(own.partition("## Reasons of Rowgate's own")[2]))))
    found |= set(re.findall(r"`([A-Z0-9_]+)`", " ".join(ROW.findall(database))))
    prose = database.partition("### SQLite")[0]
    found |= {word for word in re.findall(r"`([A-Z0-9_]+)`", prose) if not word.startswith("SQLSTATE_SH")}
    return found


def test_each_documented_reason_has_a_class() -> None:
    documented = _documented()
    assert len(documented) > 120
    assert documented - set(rowgate.REASONS) == set()
    for reason in documented:
        cls = rowgate.REASONS[reason]
        assert getattr(rowgate, cls.__name__) is cls
        assert cls.reason == reason or (reason, cls) == ("INTERNAL_ERROR", rowgate.InternalError)


def test_classes_are_named_after_their_reasons() -> None:
    assert rowgate.REASONS["UNIQUE_VIOLATION"] is rowgate.UniqueViolation
    assert rowgate.REASONS["SQLSTATE_RG001"] is rowgate.SqlstateRg001
    assert issubclass(rowgate.UniqueViolation, rowgate.IntegrityError)
    assert issubclass(rowgate.TransportDeadline, (rowgate.Deadline, rowgate.TransportError))


def test_a_reason_that_is_not_known_has_the_class_of_its_sqlstate_or_code() -> None:
    assert error_class("SQLSTATE_22ABC", "22ABC") is rowgate.DataError
    assert error_class("ERRNO_1105", "", grpc.StatusCode.UNAVAILABLE) is rowgate.OperationalError
    assert error_class("SQLSTATE_SH001", "SH001", grpc.StatusCode.FAILED_PRECONDITION) is rowgate.DatabaseError


def test_an_error_tells_what_the_database_reported(db: rowgate.Connection, backend: str) -> None:
    db.query("drop table if exists told")
    db.query("create table told (id integer primary key, name varchar(20) not null)")
    db.query("insert into told values (1, 'a')")
    with pytest.raises(rowgate.UniqueViolation) as raised:
        db.query("insert into told values (1, 'b')")
    error = raised.value
    assert (error.reason, error.outcome, error.code) == ("UNIQUE_VIOLATION", "NOT_APPLIED", grpc.StatusCode.ALREADY_EXISTS)
    assert error.retry_after is None and error.failed_statement is None
    if backend == "postgres":
        assert (error.sqlstate, error.constraint, error.table) == ("23505", "told_pkey", "told")
    with pytest.raises(rowgate.NotNullViolation) as raised_by_null:
        db.batch(["insert into told values (2, 'c')", "insert into told values (3, null)"])
    assert raised_by_null.value.failed_statement == 1
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is rowgate.UniqueViolation and again.__dict__ == error.__dict__
    assert "UNIQUE_VIOLATION" in str(error)
    db.query("drop table told")


def test_the_field_of_a_bad_request_is_named(db: rowgate.Connection) -> None:
    with pytest.raises(rowgate.InvalidParameter) as raised:
        db.query("select $1, $2", 1)
    assert raised.value.fields


def test_a_server_that_is_not_there_has_not_applied_anything() -> None:
    with rowgate.connect("127.0.0.1:1") as db, pytest.raises(TransportError) as raised:
        db.query("delete from orders")
    assert raised.value.outcome == "NOT_APPLIED" and "Is Rowgate running" in str(raised.value)


UNAVAILABLE, UNKNOWN = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN
LATER = timedelta(milliseconds=20)
KEY, READS, IDEMPOTENT, NOTHING = Safety(key=True), Safety(reads=True), Safety(idempotent=True), Safety()


@pytest.mark.parametrize(
    ("error", "safety", "again"),
    [
        (rowgate.SerializationFailure(retry_after=LATER), NOTHING, True),
        (rowgate.ConnectionLost(code=UNAVAILABLE), NOTHING, False),
        (rowgate.ConnectionLost(code=UNAVAILABLE), KEY, False),
        (rowgate.UniqueViolation(), KEY, False),
        (rowgate.OutcomeUnknown(outcome=Outcome.UNKNOWN, code=UNKNOWN), NOTHING, False),
        (rowgate.OutcomeUnknown(outcome=Outcome.UNKNOWN, code=UNKNOWN, retry_after=LATER), NOTHING, False),
        (rowgate.OutcomeUnknown(outcome=Outcome.UNKNOWN, code=UNKNOWN), KEY, True),
        (rowgate.OutcomeUnknown(outcome=Outcome.UNKNOWN, code=UNKNOWN), IDEMPOTENT, True),
        (rowgate.KeyNotTransactional(outcome=Outcome.UNKNOWN, code=UNKNOWN), KEY, False),
        (rowgate.KeyNotTransactional(outcome=Outcome.UNKNOWN, code=UNKNOWN), IDEMPOTENT, False),
        (rowgate.ResultTooLarge(outcome=Outcome.APPLIED), KEY, False),
        (TransportError(outcome=Outcome.UNKNOWN, code=UNAVAILABLE), NOTHING, False),
        (TransportError(outcome=Outcome.NOT_APPLIED, code=UNAVAILABLE), NOTHING, False),
        (TransportError(outcome=Outcome.UNKNOWN, code=UNAVAILABLE), KEY, True),
        (TransportError(outcome=Outcome.NOT_APPLIED, code=UNAVAILABLE), READS, True),
        (TransportError(outcome=Outcome.UNKNOWN, code=grpc.StatusCode.UNAUTHENTICATED), KEY, False),
        (rowgate.TransportDeadline(outcome=Outcome.UNKNOWN, code=grpc.StatusCode.DEADLINE_EXCEEDED), KEY, False),
    ],
)
def test_only_what_is_known_to_be_safe_is_sent_again(error: rowgate.Error, safety: Safety, again: bool) -> None:
    assert may_repeat(error, safety) is again


def test_the_server_keeps_the_time_and_the_clients_clock_fires_later() -> None:
    options = QueryOptions()
    own = Clock(1.0, Retry()).timeout(options)
    assert own is not None and 1.2 < own <= 1.25
    assert 0.9 < options.timeout.seconds + options.timeout.nanos / 1e9 <= 1.0
    assert Clock(None, Retry()).timeout(QueryOptions()) is None
    assert 0.9 < (Clock(1.0, Retry()).timeout() or 0) <= 1.0


def test_pauses_are_the_servers_delay_or_longer_and_fit_into_the_time() -> None:
    error = rowgate.PoolExhausted(retry_after=timedelta(milliseconds=100))
    pauses = [Retry(retries=3).pause(error, attempt, NOTHING, None) for attempt in (1, 2, 3)]
    assert all(pause is not None and 0.1 <= pause <= 0.45 for pause in pauses)
    assert Retry(retries=3).pause(error, 4, NOTHING, None) is None
    assert Retry(retries=3).pause(error, 1, NOTHING, 0.05) is None
    assert Retry(retries=0).pause(error, 1, NOTHING, None) is None
