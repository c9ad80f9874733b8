//! The admission of a statement to a batch or a transaction.

use UnitAdmission::{
    Admitted, ImplicitCommit, SessionStatement, TransactionControl, UnknownVariable,
};

/// The admission of a statement to a batch or a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitAdmission {
    Admitted,
    /// It controls transactions.
    TransactionControl(&'static str),
    /// It commits the transaction that it runs in, or may.
    ImplicitCommit(&'static str),
    /// It changes what later statements of the session mean, or reads beside the transaction.
    SessionStatement(&'static str),
    /// It sets a variable that may change how a transaction ends, or how texts are read.
    UnknownVariable,
}

pub(super) const START: &str = "START TRANSACTION";
pub(super) const SET_TRANSACTION: &str = "SET TRANSACTION";
pub(super) const SET_AUTOCOMMIT: &str = "SET autocommit";

/// The words with which transactions are controlled.
pub(super) const CONTROL: [&str; 8] =
    ["BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA", "END"];

impl UnitAdmission {
    /// The control of transactions that no statement may contain, alone or not.
    pub(crate) fn control(self) -> Option<&'static str> {
        let control = match self {
            TransactionControl(control) => control,
            Admitted | ImplicitCommit(_) | SessionStatement(_) | UnknownVariable => return None,
        };
        let is_known = CONTROL.contains(&control)
            || [START, SET_TRANSACTION, SET_AUTOCOMMIT].contains(&control);
        is_known.then_some(control)
    }
}
