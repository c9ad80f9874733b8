//! The preamble of a transaction: what it begins with, before its first statement.
//!
//! It is opaque to the engine beyond its making. Each backend sends it in the same flight as BEGIN.

use std::sync::Arc;

use crate::config::Secret;
use crate::sql::keeps_meaning;

/// A setting that holds for one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionSetting {
    /// In lower case.
    pub name: String,
    pub value: String,
}

/// The beginning of a transaction, behind BEGIN. A call that has a preamble runs in a transaction of its own, and on no lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preamble {
    /// The claims of the caller, if the database takes them: an object of JSON in ASCII.
    pub claims: Option<Arc<Secret>>,
    pub settings: Vec<TransactionSetting>,
    /// The field of the request that has the settings: `options.settings`.
    pub settings_field: &'static str,
}

impl TransactionSetting {
    /// True for a setting that is an application's own, `tenant.id`.
    pub(crate) fn is_custom(&self) -> bool {
        self.name.contains('.')
    }

    /// True if it gives no text another meaning.
    pub(crate) fn keeps_meaning(&self) -> bool {
        keeps_meaning(&self.name)
    }
}

impl Preamble {
    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_none() && self.settings.is_empty()
    }

    /// True if texts may have another meaning behind it than in other transactions, as with another
    /// `search_path`.
    pub(crate) fn changes_meaning(&self) -> bool {
        !self.settings.iter().all(TransactionSetting::keeps_meaning)
    }
}
