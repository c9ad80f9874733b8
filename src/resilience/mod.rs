//! Pure decisions about failure and time: no I/O, no clocks but those passed in.

mod deadline;

pub use deadline::{CallLimits, Deadline};
