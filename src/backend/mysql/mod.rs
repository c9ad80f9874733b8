//! MySQL and MariaDB behind the backend's trait.
#![expect(dead_code, reason = "the backend's next commit uses it")]

mod codec;
mod error;
mod protocol;
