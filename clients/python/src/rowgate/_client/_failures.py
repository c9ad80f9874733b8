"""What a failed call means: the class of its error, its outcome, and if it may be sent again.

The rule is closed. A call is sent again only when nothing was applied and the server says when (RetryInfo), or when it carries
what makes a repetition harmless: an idempotency key, the caller's word (`idempotent`), or a database that refuses writes.
"""

import random
from datetime import timedelta
from typing import Any, Dict, NamedTuple, Optional, Type

import grpc

from .. import _conditions, _errors, _proto, _reasons
from .._errors import Error, Outcome, TransportError

_DETAILS = "grpc-status-details-bin"
_CODES: Dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
#: Said by grpc for a call that found no connection, so that nothing was sent.
_NEVER_SENT = ("failed to connect to all addresses", "connections to all backends failing", "DNS resolution failed", "errors resolving ")
_SQLSTATE_CLASSES: Dict[str, Type[Error]] = {
    "22": _errors.DataError,
    "23": _errors.IntegrityError,
    "0A": _errors.NotSupportedError,
    "42": _errors.ProgrammingError,
    "08": _errors.OperationalError,
    "40": _errors.OperationalError,
    "53": _errors.OperationalError,
    "57": _errors.OperationalError,
    "XX": _errors.InternalError,
}
_CODE_CLASSES: Dict[grpc.StatusCode, Type[Error]] = {
    grpc.StatusCode.INVALID_ARGUMENT: _errors.ProgrammingError,
    grpc.StatusCode.NOT_FOUND: _errors.ProgrammingError,
    grpc.StatusCode.PERMISSION_DENIED: _errors.ProgrammingError,
    grpc.StatusCode.OUT_OF_RANGE: _errors.DataError,
    grpc.StatusCode.UNIMPLEMENTED: _errors.NotSupportedError,
    grpc.StatusCode.UNAVAILABLE: _errors.OperationalError,
    grpc.StatusCode.ABORTED: _errors.OperationalError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _errors.OperationalError,
    grpc.StatusCode.DEADLINE_EXCEEDED: _errors.OperationalError,
    grpc.StatusCode.INTERNAL: _errors.InternalError,
    grpc.StatusCode.DATA_LOSS: _errors.InternalError,
}


class TransportDeadline(TransportError, _reasons.Deadline):
    """The client's own timer fired before the server answered: the outcome of a write is unknown."""


def _by_reason() -> Dict[str, Type[Error]]:
    """The class of each reason, told by its name: `UniqueViolation` is UNIQUE_VIOLATION. One has the name of PEP 249's."""
    found: Dict[str, Type[Error]] = {"INTERNAL_ERROR": _errors.InternalError}
    for module in (_conditions, _reasons):
        for name, cls in vars(module).items():
            if isinstance(cls, type) and issubclass(cls, Error) and cls.__module__ == module.__name__:
                words = "".join(f"_{letter}" if letter.isupper() else letter for letter in name)
                cls.reason = words.lstrip("_").upper()
                found[cls.reason] = cls
    return found


REASONS = _by_reason()


def error_class(reason: str, sqlstate: str = "", code: Optional[grpc.StatusCode] = None) -> Type[Error]:
    """The class of a reason; of one that this release does not know, that of its SQLSTATE or its code."""
    known = REASONS.get(reason) or _SQLSTATE_CLASSES.get(sqlstate[:2])
    return known or (_CODE_CLASSES.get(code) if code else None) or _errors.DatabaseError


def of_rpc(error: Any, reads: bool = False) -> Error:
    """The error of a call; `reads` if it cannot have written anything."""
    code = error.code()
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS:
            status = _proto.Status()
            try:
                status.ParseFromString(value)
            except Exception:  # noqa: BLE001 - a proxy's own bytes: the same as none
                break
            found = of_status(status)
            if found is not None:
                return found
    return _of_transport(code, error.details() or "", reads)


def of_status(status: Any) -> Optional[Error]:
    """The error of a status of Rowgate's; None for one of anything else."""
    info, database, bad_request = _proto.ErrorInfo(), _proto.DatabaseError(), _proto.BadRequest()
    retry, retry_after = _proto.RetryInfo(), None
    for detail in status.details:
        if detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            delay = retry.retry_delay
            retry_after = timedelta(seconds=delay.seconds, microseconds=delay.nanos // 1000)
        else:
            detail.Unpack(info) or detail.Unpack(database) or detail.Unpack(bad_request)
    if info.domain != "rowgate":
        return None
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    told = info.metadata["outcome"]
    outcome = Outcome(told) if told in ("NOT_APPLIED", "APPLIED") else Outcome.UNKNOWN
    failed = database.failed_statement if database.HasField("failed_statement") else None
    texts = {
        name: getattr(database, name)
        for name in "sqlstate severity constraint schema table column data_type position hint detail line"
        " transaction_token".split()
    }
    return error_class(info.reason, database.sqlstate, code)(
        status.message,
        reason=info.reason,
        outcome=outcome,
        code=code,
        retry_after=retry_after,
        fields={each.field: each.description for each in bad_request.field_violations},
        failed_statement=failed,
        **texts,
    )


def _of_transport(code: grpc.StatusCode, text: str, reads: bool) -> Error:
    never_sent = code is grpc.StatusCode.UNAVAILABLE and text.startswith(_NEVER_SENT)
    outcome = Outcome.NOT_APPLIED if reads or never_sent else Outcome.UNKNOWN
    cls: Type[Error] = TransportDeadline if code is grpc.StatusCode.DEADLINE_EXCEEDED else TransportError
    hint = ""
    if never_sent:
        hint = "Is Rowgate running at this address, and is TLS spoken on both sides or on none?"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        hint = "What answers at this address is no Rowgate, or one of another version."
    elif outcome is Outcome.UNKNOWN:
        hint = "The work may have been applied or not. With an idempotency key it can be sent again."
    reason = "DEADLINE" if cls is TransportDeadline else ""
    return cls(f"{code.name}: {text}", reason=reason, outcome=outcome, code=code, hint=hint)


def unreachable(limit: float) -> Error:
    """The error of a call that has waited for a server, and was not sent."""
    return TransportDeadline(
        f"the server was not reached within {limit:g} s",
        reason="DEADLINE",
        outcome=Outcome.NOT_APPLIED,
        code=grpc.StatusCode.DEADLINE_EXCEEDED,
        hint="Is Rowgate running at this address, and is TLS spoken on both sides or on none?",
    )


class Safety(NamedTuple):
    """What makes it harmless to send a call a second time, although the first one may have been applied."""

    key: bool = False
    idempotent: bool = False
    reads: bool = False


_REPEATABLE_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED,
)


def may_repeat(error: Error, safety: Safety) -> bool:
    """True if the call may be sent again."""
    if isinstance(error, TransportError):
        return error.code in _REPEATABLE_CODES and any(safety)
    if error.outcome is Outcome.NOT_APPLIED:
        return error.retry_after is not None
    if isinstance(error, _reasons.KeyNotTransactional):
        # Its key does not protect what it wrote.
        return False
    return error.outcome is Outcome.UNKNOWN and (safety.key or safety.idempotent) and error.code in _REPEATABLE_CODES


class Retry(NamedTuple):
    """The pauses between the attempts of a call: the server's delay or a longer one, doubled each time, with jitter."""

    retries: int = 3
    initial: float = 0.05
    most: float = 2.0

    def pause(self, error: Error, attempt: int, safety: Safety, remaining: Optional[float]) -> Optional[float]:
        """The pause before the next attempt, in seconds; None if there is none. `attempt` counts from 1."""
        if attempt > self.retries or not may_repeat(error, safety):
            return None
        told = error.retry_after.total_seconds() if error.retry_after is not None else 0.0
        least = max(told, min(self.initial * 2 ** (attempt - 1), self.most))
        pause = least * random.uniform(1.0, 1.5)
        return pause if remaining is None or pause < remaining else None
