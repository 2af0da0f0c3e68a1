//! Text that is shown again and again: a window is drawn anew, anything else gets the new text below the old.

use anyhow::Result;

use super::write_to_stdout;

/// Lines of the window that the text leaves free: the cursor's own, and one that says what is cut off.
const FREE: usize = 2;

/// Where the text is shown.
pub struct Screen {
    is_window: bool,
    shown: Option<String>,
}

impl Screen {
    /// Stdout: a window if it is one that can be drawn in.
    pub fn of_stdout() -> Screen {
        Screen { is_window: height().is_some() && !::console::is_dumb(), shown: None }
    }

    /// Stdout as lines, also in a window.
    pub fn of_lines() -> Screen {
        Screen { is_window: false, shown: None }
    }

    /// Shows the text if it is a new one, and returns whether anybody still reads. Its names must have been
    /// made visible; other control characters are colours.
    ///
    /// # Errors
    /// An error when writing to stdout.
    pub fn show(&mut self, text: &str) -> Result<bool> {
        let drawn = match height().filter(|_| self.is_window) {
            Some(height) => drawn(text, height, self.shown.is_none()),
            None if self.shown.as_deref() == Some(text) => return Ok(true),
            None => format!("{}{text}", if self.shown.is_some() { "\n" } else { "" }),
        };
        self.shown = Some(text.to_owned());
        write_to_stdout(|stdout| stdout.write_all(drawn.as_bytes()))
    }
}

/// Lines of the window.
fn height() -> Option<usize> {
    ::console::Term::stdout().size_checked().map(|(rows, _)| usize::from(rows))
}

/// The text over the old one, from the window's upper left corner. What does not fit is cut off.
fn drawn(text: &str, height: usize, is_first: bool) -> String {
    let room = height.saturating_sub(FREE).max(1);
    let lines: Vec<&str> = text.lines().collect();
    let begin = if is_first { "\x1b[2J\x1b[H" } else { "\x1b[H" };
    let shown = lines.iter().take(room).map(|line| format!("{line}\x1b[K\n")).collect::<String>();
    let more = match lines.len().saturating_sub(room) {
        0 => String::new(),
        more => format!("({more} more lines)\x1b[K\n"),
    };
    format!("{begin}{shown}{more}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_drawn_over_and_never_scrolls() {
        assert_eq!(drawn("a\nb\n", 5, true), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        let long = drawn("1\n2\n3\n4\n", 4, false);
        assert_eq!(long, "\x1b[H1\x1b[K\n2\x1b[K\n(2 more lines)\x1b[K\n\x1b[J");
    }
}
