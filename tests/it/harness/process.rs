//! Signals to processes, each named by its id.

use std::process::{Command, Stdio};

/// Sends a signal by its name; whether there was somebody to get it.
pub(crate) fn send(signal: &str, pid: &str) -> bool {
    let mut command = Command::new("kill");
    command.args([&format!("-{signal}"), pid]).stderr(Stdio::null());
    command.status().expect("kill runs").success()
}

/// A process that is stopped until this is dropped.
pub(crate) struct Stopped(String);

impl Stopped {
    /// Stops it.
    pub(crate) fn new(pid: &str) -> Self {
        assert!(send("STOP", pid), "{pid} has ended");
        Self(pid.to_owned())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Whoever waited for it may have ended it.
        send("CONT", &self.0);
    }
}
