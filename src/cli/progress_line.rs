//! A line on a terminal that tells how far long work is.

use std::io::{IsTerminal as _, Write, stderr};

use crate::app::Progress;

/// Back to the start of the line, and erase it: ECMA-48's `EL`.
const CLEAR: &str = "\r\u{1b}[K";

const STEP: u64 = 1024;
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// The line; nothing is written where no terminal shows it.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    is_shown: bool,
    last: Progress,
}

impl ProgressLine {
    pub(crate) fn on_standard_error() -> Self {
        Self { is_shown: stderr().is_terminal(), last: Progress::default() }
    }

    /// Shows the progress, if it is another one than before.
    pub(crate) fn show(&mut self, progress: Progress, err: &mut dyn Write) {
        if self.is_shown && self.last != progress {
            self.last = progress;
            // A terminal that is gone is no reason to stop.
            write!(err, "{CLEAR}{}", text(progress)).and_then(|()| err.flush()).unwrap_or(());
        }
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self, err: &mut dyn Write) {
        if self.is_shown && self.last != Progress::default() {
            write!(err, "{CLEAR}").and_then(|()| err.flush()).unwrap_or(());
        }
    }
}

fn text(Progress { done, total }: Progress) -> String {
    // In 128 bits: no size overflows.
    match (u128::from(done) * 100).checked_div(u128::from(total)) {
        Some(percent) => format!("{:>3} %  {} of {}", percent.min(100), bytes(done), bytes(total)),
        None => bytes(done),
    }
}

/// A size for people.
pub(crate) fn bytes(size: u64) -> String {
    let mut whole = size;
    let mut rest = 0;
    let mut unit = 0;
    while whole >= STEP && unit + 1 < UNITS.len() {
        rest = whole % STEP;
        whole /= STEP;
        unit += 1;
    }
    let tenth = if unit == 0 { String::new() } else { format!(".{}", rest * 10 / STEP) };
    format!("{whole}{tenth} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_percentage_where_the_whole_is_known() {
        for (done, total, expected) in [
            (0, 0, "0 B"),
            (5 << 20, 0, "5.0 MiB"),
            (1, 3, " 33 %  1 B of 3 B"),
            (1536, 2048, " 75 %  1.5 KiB of 2.0 KiB"),
            (u64::MAX, u64::MAX, "100 %  16777215.9 TiB of 16777215.9 TiB"),
            (9, 3, "100 %  9 B of 3 B"),
        ] {
            assert_eq!(text(Progress { done, total }), expected);
        }
    }

    #[test]
    fn nothing_is_written_where_there_is_no_terminal() {
        let mut err = Vec::new();
        let mut line = ProgressLine { is_shown: false, last: Progress::default() };
        line.show(Progress { done: 1, total: 2 }, &mut err);
        line.clear(&mut err);
        assert!(err.is_empty());
        line.is_shown = true;
        for _ in 0..2 {
            line.show(Progress { done: 1, total: 2 }, &mut err);
        }
        line.clear(&mut err);
        let written = String::from_utf8(err).unwrap();
        assert_eq!(written, format!("{CLEAR} 50 %  1 B of 2 B{CLEAR}"));
    }
}
