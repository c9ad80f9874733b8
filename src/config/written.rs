//! The configuration as it was written, from which a section can be read again.

use std::fmt;
use std::sync::Arc;

use super::entries::Entries;
use super::source::Environment;

/// The entries of all layers, references to files not yet followed.
#[derive(Clone)]
pub struct Written {
    pub(crate) entries: Arc<Entries>,
    pub(crate) environment: Arc<Environment>,
}

impl PartialEq for Written {
    /// Compares the places, not the entries: a configuration is read once.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
            && Arc::ptr_eq(&self.environment, &other.environment)
    }
}

impl fmt::Debug for Written {
    // It leads to secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}
