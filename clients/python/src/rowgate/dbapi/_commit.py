"""The end of a transaction, and statements of one that are sent together."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, Optional

from .. import _errors as errors

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)


def commit(
    database: Any, transaction: Any, key: Optional[str], outcome_timeout: float, sleep: Callable[[float], object]
) -> None:
    """Commits; an outcome in doubt is asked for, by the token in the error, else by the key of the transaction.

    Raises what the commit raised, unless the answer is that it was applied.
    """
    try:
        transaction.commit()
    except errors.Error as error:
        if error.outcome is not errors.Outcome.UNKNOWN:
            raise
        handle = {"token": error.transaction_token} if error.transaction_token else {"key": key}
        state = _outcome(database, handle, outcome_timeout, sleep) if any(handle.values()) else "UNKNOWN"
        if state == "NOT_APPLIED":
            raise _not_applied(error) from error
        if state != "APPLIED":
            raise


def _outcome(database: Any, handle: dict[str, Any], limit: float, sleep: Callable[[float], object]) -> str:
    """The state of a transaction; UNKNOWN if nobody tells it in time."""
    deadline = time.monotonic() + limit
    attempt = 0
    while time.monotonic() < deadline:
        try:
            state = str(database.outcome(**handle, timeout=max(0.1, deadline - time.monotonic())))
        except errors.Error:
            state = "IN_PROGRESS"
        # Of a key NOT_APPLIED is "not so far": a commit that has arrived may still be at work.
        if state != "IN_PROGRESS" and (state != "NOT_APPLIED" or "token" in handle):
            return state
        sleep(min(_PAUSES[min(attempt, len(_PAUSES) - 1)], max(0.0, deadline - time.monotonic())))
        attempt += 1
    return "UNKNOWN"


def _not_applied(error: errors.Error) -> errors.Error:
    return errors.OperationalError(
        f"the commit was not applied: its answer was lost, and the database says so now ({error.message})",
        reason=error.reason,
        outcome=errors.Outcome.NOT_APPLIED,
        code=error.code,
        hint="run the transaction again from its beginning",
    )


def failed(cause: errors.Error) -> errors.Error:
    """The error of a commit behind a statement that has failed: the statement's own, as nothing else tells why."""
    error = copy.copy(cause)
    error.message = f"nothing is committed, as a statement of the transaction has failed: {cause.message}"
    error.outcome, error.retry_after, error.failed_statement = errors.Outcome.NOT_APPLIED, None, None
    return error


def lost(cause: errors.Error) -> errors.Error:
    """The error of a statement that comes after the end of its transaction."""
    return errors.OperationalError(
        f"the transaction is over, and nothing of it was applied: {cause.message}",
        reason="TRANSACTION_ABORTED",
        outcome=cause.outcome,
        hint="call rollback(), then run the transaction again from its beginning",
    )


def roll_back(transaction: Any) -> None:
    """Rolls back. A transaction whose server or network is gone is undone by that."""
    try:
        transaction.rollback()
    except errors.Error:
        pass


def run(transaction: Any, commands: Sequence[Any], **limits: Any) -> list[Any]:
    """Sends commands together; their results, or the error of the first that failed."""
    answers: list[Any] = transaction.pipeline(commands, **limits)
    for index, answer in enumerate(answers):
        if isinstance(answer, errors.Error):
            if len(commands) > 1:
                answer.failed_statement = index
            raise answer
    return answers


def run_many(transaction: Any, name: Optional[str], statements: Sequence[Any], **limits: Any) -> list[Any]:
    """Runs statements, many in one message; their results, or the error of the first that failed.

    With the name of a savepoint a failure undoes them and leaves the transaction open.
    """
    if name is None:
        return list(transaction.execute_all(statements, **limits))
    run(transaction, [("savepoint", name)])
    try:
        results = list(transaction.execute_all(statements, **limits))
    except BaseException:
        if transaction.state in ("open", "failed"):
            run(transaction, [("rollback_to", name), ("release", name)])
        raise
    run(transaction, [("release", name)])
    return results


def run_in_savepoint(transaction: Any, name: str, commands: Sequence[Any], **limits: Any) -> list[Any]:
    """The same, and a failure undoes the commands and leaves the transaction open."""
    guarded = [("savepoint", name), *commands, ("release", name)]
    answers: list[Any] = transaction.pipeline(guarded, **limits)
    failed = next((index for index, answer in enumerate(answers) if isinstance(answer, errors.Error)), None)
    if failed is None:
        return answers[1:-1]
    error = answers[failed]
    if failed > 0:
        run(transaction, [("rollback_to", name), ("release", name)])
        if len(commands) > 1:
            error.failed_statement = failed - 1
    raise error
