//! The help texts, which are printed without the engine and its libraries.
//!
//! `help.txt` holds what the engine's command line prints. A test of the command line renews it and holds it
//! against the definitions.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// For every text, a line `==> ` with the command lines that print it, then the text with its colours.
const TEXTS: &str = include_str!("help.txt");

const HEAD: &str = "==> ";

/// A help text.
pub struct Help {
    text: &'static str,
    /// Without a subcommand, the help is what the command line gets for being wrong.
    is_error: bool,
}

impl Help {
    /// The text, if the command line asks for help and nothing else.
    pub fn asked_for(args: &[OsString]) -> Option<Help> {
        let words: Vec<&str> = args.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
        Some(Help { text: text(&asked(&words)?)?, is_error: words.is_empty() })
    }

    /// Prints the text. A reader that has gone is no failure.
    pub fn print(&self) {
        let _ = if self.is_error { print(self.text, io::stderr()) } else { print(self.text, io::stdout()) };
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_error { 2 } else { 0 })
    }
}

/// The command line by which the text is found: `help data pack` is `data pack --help`.
fn asked(words: &[&str]) -> Option<String> {
    match words {
        [] => Some("-h".to_owned()),
        ["help", names @ ..] => Some([names, &["--help"]].concat().join(" ")),
        [.., "-h" | "--help"] => Some(words.join(" ")),
        _ => None,
    }
}

fn text(asked: &str) -> Option<&'static str> {
    TEXTS.split(HEAD).skip(1).find_map(|section| {
        let (lines, text) = section.split_once('\n')?;
        lines.split(", ").any(|line| line == asked).then_some(text)
    })
}

fn print(text: &str, mut place: impl Write + IsTerminal) -> io::Result<()> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    let has_colours = place.is_terminal() && !is_dumb && !is_set("NO_COLOR");
    let text = if has_colours { text.to_owned() } else { plain(text) };
    place.write_all(text.as_bytes())?;
    place.flush()
}

/// The text without its colours: escape, `[`, numbers, `m`.
fn plain(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| plain + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_found_by_every_command_line_that_asks_for_it() {
        let found =
            |line: &str| asked(&line.split_whitespace().collect::<Vec<_>>()).and_then(|line| text(&line));
        for line in ["", "-h", "--help", "help", "run --help", "data pack -h", "help data pack", "man --help"]
        {
            assert!(plain(found(line).unwrap()).contains("Usage: eqr-bench"), "{line}");
        }
        assert_eq!(found("help data pack"), found("data pack --help"));
        for line in ["run quickstart --help", "nothing --help", "help nothing", "report x", "--version"] {
            assert!(found(line).is_none(), "{line}");
        }
    }

    #[test]
    fn colours_are_left_out() {
        assert_eq!(plain("\x1b[1m\x1b[4mUsage:\x1b[0m run\n"), "Usage: run\n");
    }
}
