//! Signals to processes, each named by its id.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::wait::eventually;

/// Sends a signal by its name; whether there was somebody to get it.
pub(crate) fn send(signal: &str, pid: &str) -> bool {
    let mut command = Command::new("kill");
    command.args([&format!("-{signal}"), pid]).stderr(Stdio::null());
    command.status().expect("kill runs").success()
}

/// A process that is stopped until this is dropped.
pub(crate) struct Stopped(String);

impl Stopped {
    /// Stops it, and waits for that: a thread that waits for a processor lets the others go on.
    pub(crate) fn new(pid: &str) -> Self {
        assert!(send("STOP", pid), "{pid} has ended");
        eventually("it is stopped", Duration::from_secs(10), || {
            let state = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
            state.expect("ps runs").stdout.starts_with(b"T").then_some(())
        });
        Self(pid.to_owned())
    }

    /// Stops it and the processes that it has started, but for those that end meanwhile.
    pub(crate) fn family(pid: &str) -> Vec<Self> {
        // The first makes no more of them.
        let mut family = vec![Self::new(pid)];
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", pid]).output();
        let children = children.expect("ps runs").stdout;
        let children = String::from_utf8(children).expect("they are numbers");
        let stopped = children.split_whitespace().filter(|child| send("STOP", child));
        family.extend(stopped.map(|child| Self(child.to_owned())));
        assert!(family.len() > 1, "{pid} has children");
        family
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Whoever waited for it may have ended it.
        send("CONT", &self.0);
    }
}
