//! The statements that may run in a unit: MySQL commits the transaction for many others, and tells nobody.

use crate::error::{Error, ErrorKind, Result};
use crate::sql::{MysqlStatement, MysqlText, UnitAdmission, Unsendable};

/// The text of a statement as it is sent; fails for one that cannot be read.
pub(crate) fn text_of(facts: &MysqlStatement) -> Result<&MysqlText> {
    facts.text.as_ref().map_err(|why| match why {
        Unsendable::Invalid(why) => Error::field(ErrorKind::InvalidSql, "sql", why.clone()),
        Unsendable::Several { line } => {
            let message =
                format!("the text holds more than one statement: the second is on line {line}");
            Error::new(ErrorKind::InvalidStatement, message)
                .with_condition("MULTIPLE_STATEMENTS")
                .with_hint("Send several statements as a batch.")
        }
    })
}

/// Checks that a statement may run in a batch or transaction.
pub(crate) fn admit_to_unit(facts: &MysqlStatement) -> Result<()> {
    let message = match facts.unit {
        UnitAdmission::Admitted => return Ok(()),
        UnitAdmission::ImplicitCommit(keyword) => {
            format!("{keyword} would commit the transaction that it runs in")
        }
        UnitAdmission::TransactionControl(keyword) => {
            format!("{keyword} controls the transaction, which SQL text may not do here")
        }
        UnitAdmission::SessionStatement(keyword) => {
            let message =
                format!("{keyword} is of the session, and cannot be part of a transaction");
            return Err(Error::new(ErrorKind::TransactionControl, message).with_hint(
                "Name the database before the table, as in shop.orders, and read with SELECT. Nothing of this call was sent \
                 to the database.",
            ));
        }
        UnitAdmission::UnknownVariable => {
            "SET may change how the transaction ends or how texts are read: the variable is none \
             of those known to be harmless"
                .to_owned()
        }
    };
    Err(Error::new(ErrorKind::TransactionControl, message)
        .with_hint("Send it by Query, alone. Nothing of this call was sent to the database."))
}

/// Checks that a statement may run where writes are forbidden: the database would let some of them run.
pub(crate) fn admit_to_read_only(facts: &MysqlStatement) -> Result<()> {
    if facts.reads {
        return Ok(());
    }
    let message = "the statement may write, and the call is READ_ONLY";
    Err(Error::new(ErrorKind::ReadOnly, message))
}
