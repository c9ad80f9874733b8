//! A program on a pseudo-terminal, as a person uses it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::wait::{eventually, seen_within};

/// The longest wait for anything on the screen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys.
pub(crate) const ENTER: &str = "\r";
const TAB: &str = "\t";
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";
pub(crate) const UP: &str = "\x1b[A";

/// The program, its keyboard and its screen.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// The part of the screen that was expected already, in bytes.
    seen: usize,
}

impl Terminal {
    /// Starts a program on a terminal of so many columns.
    pub(crate) fn start(command: &Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("it has a size");
        let path = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
            .open(OsStr::from_bytes(path.to_bytes()))
            .expect("the program's side opens");
        // Ctrl-C is a signal for the session of the terminal only.
        let mut session = Command::new("/usr/bin/setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.env_clear().env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            session.env(name, value.expect("a value"));
        }
        session.current_dir(command.get_current_dir().expect("a directory"));
        let side = || slave.try_clone().expect("it can be shared");
        session.stdin(side()).stdout(side()).stderr(side());
        let child = session.spawn().expect("setsid is part of util-linux");
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(String::new()));
        read(keyboard.try_clone().expect("it can be shared"), Arc::clone(&screen));
        Self { child, keyboard, screen, seen: 0 }
    }

    /// The process id of the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Types a line.
    pub(crate) fn line(&mut self, text: &str) {
        self.press(text);
        self.press(ENTER);
    }

    /// Waits until a text appears behind what was expected before; returns what is between.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let Some(between) = self.find(text, PATIENCE) else {
            let screen = self.screen.lock().expect("nobody panics with it");
            panic!("no {text:?} in {:?}", &screen[self.seen..]);
        };
        between
    }

    /// Presses TAB until a text appears: names that are not read yet are not waited for.
    #[track_caller]
    pub(crate) fn complete(&mut self, text: &str) {
        for _ in 0..PATIENCE.as_secs() {
            self.press(TAB);
            if self.find(text, Duration::from_secs(1)).is_some() {
                return;
            }
        }
        self.expect(text);
    }

    fn find(&mut self, text: &str, within: Duration) -> Option<String> {
        let between = seen_within(within, || {
            let screen = self.screen.lock().expect("nobody panics with it");
            let rest = &screen[self.seen..];
            rest.find(text).map(|at| rest[..at].to_owned())
        })?;
        self.seen += between.len() + text.len();
        Some(between)
    }

    /// Types a line, and waits for a text of its result, and for the next prompt.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, result: &str, prompt: &str) -> String {
        self.line(line);
        let before = self.expect(result);
        let after = self.expect(prompt);
        format!("{before}{result}{after}")
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> ExitStatus {
        eventually("the program ends", PATIENCE, || self.child.try_wait().expect("our child"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Reads what is drawn, without the sequences that move the cursor and clear lines.
fn read(mut terminal: File, screen: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut raw = Vec::new();
        let mut buffer = [0; 4096];
        // At the end of the program the terminal gives an error.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            raw.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&raw);
            *screen.lock().expect("nobody panics with it") = without_sequences(&text);
        }
    });
}

/// The text without the control sequences of ECMA-48, and with plain line breaks.
fn without_sequences(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\x1b' => {
                if characters.next() == Some('[') {
                    characters.find(|c| ('@'..='~').contains(c));
                }
            }
            '\r' => {}
            c => plain.push(c),
        }
    }
    plain
}

#[test]
fn sequences_are_left_out() {
    assert_eq!(without_sequences("\x1b[?2004ha\x1b[1;31mb\x1b[0m\r\n\x1b[Kc"), "ab\nc");
}
