//! The alternate screen of a terminal, drawn frame by frame.

use std::io::{self, IsTerminal as _, Write};

use terminal_size::{Height, Width, terminal_size_of};

/// The size of a terminal that does not report it.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Returns the columns and lines of the terminal on standard output, if it is one that can be drawn on.
pub(crate) fn size() -> Option<(usize, usize)> {
    #[expect(clippy::disallowed_methods, reason = "only the environment has the kind of terminal")]
    let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    if is_dumb || !io::stdout().is_terminal() {
        return None;
    }
    let size = |(Width(columns), Height(lines))| (columns.into(), lines.into());
    Some(terminal_size_of(io::stdout()).map_or(DEFAULT_SIZE, size))
}

/// Returns the width limit of a table on standard output.
pub(crate) fn width() -> Option<usize> {
    size().map(|(columns, _)| columns)
}

/// The alternate screen, which leaves the terminal's own contents intact, and the last frame.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    entered: bool,
    last: Vec<String>,
}

impl Screen {
    /// Draws a frame over the last one, as one update without flicker. A line as wide as the terminal would wrap.
    pub(crate) fn draw(
        &mut self,
        mut frame: Vec<String>,
        lines: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.last.clone_from(&frame);
        if frame.len() > lines {
            frame.truncate(lines.saturating_sub(1));
            frame.push("…".to_owned());
        }
        let start = if self.entered { "" } else { ENTER };
        self.entered = true;
        let drawn = frame.join("\x1b[K\r\n");
        write!(out, "{start}\x1b[?2026h\x1b[H{drawn}\x1b[K\x1b[J\x1b[?2026l")?;
        out.flush()
    }

    /// Leaves the screen, and prints the last frame.
    pub(crate) fn leave(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.entered) {
            write!(out, "{LEAVE}")?;
            self.last.drain(..).try_for_each(|line| writeln!(out, "{line}"))?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_drawn_in_place_and_the_terminal_is_restored() {
        let mut screen = Screen::default();
        let mut out = Vec::new();
        let mut written = |frame: Option<&[&str]>| {
            out.clear();
            match frame {
                Some(lines) => {
                    let frame = lines.iter().map(|line| (*line).to_owned()).collect();
                    screen.draw(frame, 2, &mut out).unwrap();
                }
                None => screen.leave(&mut out).unwrap(),
            }
            String::from_utf8(out.clone()).unwrap()
        };
        let drawn = "\x1b[?2026h\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J\x1b[?2026l";
        assert_eq!(written(Some(&["a", "b"])), format!("\x1b[?1049h\x1b[?25l{drawn}"));
        assert_eq!(written(Some(&["a", "b"])), drawn);
        // The end of a frame that does not fit is left out.
        let cut = written(Some(&["a", "b", "c"]));
        assert!(cut.contains("\x1b[Ha\x1b[K\r\n…\x1b[K"), "{cut:?}");
        assert_eq!(written(None), "\x1b[?25h\x1b[?1049la\nb\nc\n");
        assert_eq!(written(None), "");
    }
}
