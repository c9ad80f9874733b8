"""One class for each reason of Rowgate's own (docs/ERRORS.md): the class `PoolExhausted` has the reason POOL_EXHAUSTED."""

from ._errors import (
    DataError,
    InternalError,
    OperationalError,
    ProgrammingError,
)


class Unauthenticated(OperationalError):
    """No identity, or a credential that is unknown, revoked or expired."""


class AccessDenied(ProgrammingError):
    """The caller's section of the server's configuration does not allow it."""


class CallerLimit(OperationalError):
    """The caller is over a limit of its own."""


class PoolExhausted(OperationalError):
    """No connection became free in time."""


class DatabaseUnavailable(OperationalError):
    """The server does not reach the database."""


class ConnectionLost(OperationalError):
    """The database's connection was lost before anything was applied."""


class ShuttingDown(OperationalError):
    """This server is shutting down; another one may serve."""


class NotPrimary(OperationalError):
    """The database server is a standby."""


class BackendMisconfigured(OperationalError):
    """The database rejects the server's own login."""


class OutcomeUnknown(OperationalError):
    """The work may have been applied or not; `transaction_token` may tell later."""


class Deadline(OperationalError):
    """The deadline passed."""


class Cancelled(OperationalError):
    """The caller cancelled."""


class MultipleStatements(ProgrammingError):
    """More than one statement in one call."""


class TransactionAborted(InternalError):
    """A statement behind one that failed: roll back, or back to a savepoint."""


class NotCommitted(OperationalError):
    """The transaction was closed without a commit, and rolled back."""


class InvalidCommand(ProgrammingError):
    """A command that is not valid at this point of the transaction."""


class IdleInTransactionTimeout(OperationalError):
    """No command arrived in time, and the transaction was rolled back."""


class TransactionTimeout(OperationalError):
    """The transaction took too long, and was rolled back."""


class Terminated(OperationalError):
    """An operator ended the work."""


class PoolPaused(OperationalError):
    """An operator paused the pool."""


class ResultReference(DataError):
    """A batch refers to a statement that did not return one row with that column."""


class ExpectationFailed(OperationalError):
    """A statement of a batch changed more or fewer rows than expected."""


class KeyNotTransactional(ProgrammingError):
    """A key cannot protect what is written to tables without transactions: refused, or UNKNOWN where a part may have stayed."""


class KeyReused(ProgrammingError):
    """Another request was sent under this idempotency key."""


class KeyInProgress(OperationalError):
    """The first call under this key is not over."""


class KeyApplied(OperationalError):
    """A transaction under this key was committed before; nothing has run."""


class IdempotencyNotInstalled(ProgrammingError):
    """The database has no table of idempotency keys."""


class SqlstateRg001(ProgrammingError):
    """Claims with a signature that is not the server's."""


class SqlstateRg002(ProgrammingError):
    """Claims that have expired."""


class ClaimsNotInstalled(OperationalError):
    """PostgreSQL has no functions of claims."""


class ClaimsRefused(OperationalError):
    """PostgreSQL does not know the key that signed the claims."""


class ClaimsUnsafe(OperationalError):
    """Claims would be no boundary with this login."""


class IsolationLeft(OperationalError):
    """A statement ended the isolation level that was asked for."""


class IdempotencyKeyGone(ProgrammingError):
    """A statement removed the row of the call's own key."""


class MalformedRequest(ProgrammingError):
    """The request is not a message of the API."""


class StreamStalled(OperationalError):
    """The other side read or sent nothing for too long."""


class ListenerTooSlow(OperationalError):
    """More notifications wait than the server keeps: listen again, and read the state."""


class TooManyListeners(OperationalError):
    """The database has the most listeners that it may have."""


class ResultTooLarge(OperationalError):
    """The result is over the cap of rows or bytes: stream it."""


class RowTooLarge(OperationalError):
    """One row is over the cap."""


class NotInArrow(DataError):
    """A value that its Arrow column cannot hold: cast it to text."""


class NotInText(DataError):
    """A value of a table whose text would be another value in that table."""


class RequestTooLarge(OperationalError):
    """The request is over the server's cap."""


class InvalidParameter(DataError):
    """A parameter is missing, superfluous, of the wrong kind, or no text of its type."""


class ParameterOutOfRange(DataError):
    """A parameter is outside the range of its type."""


class InvalidOption(ProgrammingError):
    """An option is invalid."""


class InvalidSql(ProgrammingError):
    """The statement is empty, has a NUL character, or is too long."""


class TransactionControl(ProgrammingError):
    """The statement begins, ends or nests transactions."""


class SessionState(ProgrammingError):
    """The statement would leave state in a session."""


class DatabaseNotFound(ProgrammingError):
    """No database of the server has this name."""


class PoolNotFound(ProgrammingError):
    """No pool has this name."""


class ServiceNotFound(ProgrammingError):
    """The health of a service that there is not was asked for."""


class CheckoutNotFound(ProgrammingError):
    """The checkout has ended, or never existed."""


class ReadOnly(OperationalError):
    """A write where only reads are allowed."""


class PlanChanged(OperationalError):
    """The tables changed under a prepared statement."""


class Internal(InternalError):
    """A defect in Rowgate; please report it."""


class AlreadyExists(ProgrammingError):
    """Something exists already."""


class FailedPrecondition(OperationalError):
    """The state of the database does not allow it."""


class OutOfRange(DataError):
    """A value is out of range."""


class GetNotAllowed(ProgrammingError):
    """A GET over HTTP that a page may have made a browser send; none of this package's calls is one."""


class OriginNotAllowed(ProgrammingError):
    """A request over HTTP for a page of an origin that the server does not let in; none of this package's calls is one."""


class InvalidStatement(ProgrammingError):
    """The statement is invalid."""


class PermissionDenied(ProgrammingError):
    """The database does not allow it."""


class ResourceExhausted(OperationalError):
    """A limit of the database."""


class DataLoss(InternalError):
    """Data of the database is damaged."""


class DatabaseInternal(InternalError):
    """A failure inside the database."""


class SqliteError(ProgrammingError):
    """Anything else that SQLite says of a statement."""


class SqliteInternal(InternalError):
    """Any other code of SQLite's."""
