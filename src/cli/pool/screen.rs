//! A terminal that is drawn anew, frame by frame.

use std::io::{self, IsTerminal as _, Write};

use terminal_size::{Height, Width, terminal_size_of};

/// Of a terminal that does not tell its size.
const USUAL: (usize, usize) = (80, 24);

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The columns and lines of the terminal that standard output is; `None` when it is none, or one that
/// cannot be drawn on.
pub(crate) fn size() -> Option<(usize, usize)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "what kind of terminal this is stands nowhere else"
    )]
    let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    if is_dumb || !io::stdout().is_terminal() {
        return None;
    }
    let size = terminal_size_of(io::stdout());
    Some(size.map_or(USUAL, |(Width(columns), Height(lines))| (columns.into(), lines.into())))
}

/// How wide a table on standard output may be; `None`: as wide as it likes.
pub(crate) fn width() -> Option<usize> {
    size().map(|(columns, _)| columns)
}

/// What is drawn on a screen of its own, so that nothing of the terminal's is lost, and what there was to
/// draw last.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    entered: bool,
    last: Vec<String>,
}

impl Screen {
    /// Draws a frame over the last one, in one piece: nothing is blanked before it is drawn, and a terminal
    /// that can waits for all of it. No line may be as wide as the window, or it would wrap.
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

    /// Gives the terminal back, with the last frame on it.
    pub(crate) fn leave(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.entered) {
            write!(out, "{LEAVE}")?;
            for line in self.last.drain(..) {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_drawn_in_place_and_the_terminal_is_given_back() {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
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
        // Of more than fits the end is left out.
        let cut = written(Some(&["a", "b", "c"]));
        assert!(cut.contains("\x1b[Ha\x1b[K\r\n…\x1b[K"), "{cut:?}");
        assert_eq!(written(None), "\x1b[?25h\x1b[?1049la\nb\nc\n");
        assert_eq!(written(None), "");
    }
}
