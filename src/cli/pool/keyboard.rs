//! The keyboard of the live view: single keys, without Enter and without echo.

use std::io::{self, IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

/// A terminal that hands over each key at once, until this is dropped. Ctrl-C remains a signal.
pub(crate) struct Keyboard {
    saved: Option<Termios>,
}

impl Keyboard {
    /// Starts to listen; the receiver gets the first `q`, and an error if there is no keyboard.
    pub(crate) fn listen() -> (Self, oneshot::Receiver<()>) {
        let (sender, quit) = oneshot::channel();
        if !io::stdin().is_terminal() {
            return (Self { saved: None }, quit);
        }
        let saved = tcgetattr(io::stdin()).ok();
        if let Some(mut modes) = saved.clone() {
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &modes).unwrap_or(());
        }
        // It waits for a key until the process ends.
        let read = move || {
            let mut keys = io::stdin().lock().bytes().map_while(Result::ok);
            if keys.any(|key| key.eq_ignore_ascii_case(&b'q')) {
                sender.send(()).unwrap_or(());
            }
        };
        drop(std::thread::Builder::new().name("keyboard".to_owned()).spawn(read));
        (Self { saved }, quit)
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            tcsetattr(io::stdin(), OptionalActions::Now, saved).unwrap_or(());
        }
    }
}
