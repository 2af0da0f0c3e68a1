//! Control characters in a suite are refused: its names and notes are printed in tables and messages, and
//! would change what stands around them.

use std::ops::Range;

use anyhow::{Result, bail, ensure};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use crate::console::is_control;

/// The key whose texts may have several lines.
const PROSE: &str = "notes";

const HINT: &str = "hint: write the text without it";

/// Checks a suite file: no control characters in it except line breaks and tabs between its keys, and none in
/// its texts, where they may be written as escapes such as `\u001b`. Only `notes` have line breaks and tabs.
///
/// # Errors
/// The first control character with its line and column; for an escape, those of the text that it stands in.
/// A file that is not TOML.
pub fn check_file(text: &str, origin: &str) -> Result<()> {
    // TOML allows a carriage return before a line feed only, and says where another one stands
    let raw = text.char_indices().find(|(_, c)| is_control(*c) && !matches!(c, '\n' | '\r' | '\t'));
    if let Some((at, c)) = raw {
        bail!("{origin}: {}: control character {}\n{HINT}", place(text, at), number(c));
    }
    let table = DeTable::parse(text).map_err(|error| anyhow::anyhow!("{origin} is not TOML: {error}"))?;
    match in_table(table.get_ref(), false) {
        Some((span, c)) => {
            let place = place(text, span.start);
            bail!("{origin}: {place}: control character {} in this text\n{HINT}", number(c))
        }
        None => Ok(()),
    }
}

/// Checks a value of the command line; `place` is its option.
///
/// # Errors
/// The first control character in a text.
pub fn check_value(value: &Value, place: &str) -> Result<()> {
    match value {
        Value::String(text) => check_text(text, place),
        Value::Array(values) => values.iter().try_for_each(|value| check_value(value, place)),
        Value::Table(table) => table.iter().try_for_each(|(key, value)| {
            check_text(key, place)?;
            check_value(value, place)
        }),
        _ => Ok(()),
    }
}

/// Checks a name or a line of text; `place` says where it stands.
///
/// # Errors
/// The first control character.
pub fn check_text(text: &str, place: &str) -> Result<()> {
    let found = hidden(text, false);
    ensure!(found.is_none(), "{place}: control character {}\n{HINT}", number(found.unwrap_or_default()));
    Ok(())
}

/// The first control character of a text; in prose, line breaks and tabs are none.
fn hidden(text: &str, is_prose: bool) -> Option<char> {
    text.chars().find(|c| is_control(*c) && !(is_prose && matches!(c, '\n' | '\t')))
}

/// The first text with a control character: its place in the file, and the character.
type Found = Option<(Range<usize>, char)>;

fn in_table(table: &DeTable, is_prose: bool) -> Found {
    table.iter().find_map(|(key, value)| {
        let in_key = hidden(key.get_ref(), false).map(|c| (key.span(), c));
        in_key.or_else(|| in_value(value, is_prose || key.get_ref() == PROSE))
    })
}

fn in_value(value: &Spanned<DeValue>, is_prose: bool) -> Found {
    match value.get_ref() {
        DeValue::String(text) => hidden(text, is_prose).map(|c| (value.span(), c)),
        DeValue::Array(values) => values.iter().find_map(|value| in_value(value, is_prose)),
        DeValue::Table(table) => in_table(table, is_prose),
        _ => None,
    }
}

/// Line and column of a byte, both from 1.
fn place(text: &str, at: usize) -> String {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}")
}

fn number(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        check_file(text, "s.toml").unwrap_err().to_string()
    }

    #[test]
    fn control_characters_are_refused_with_line_and_column() {
        for (text, says) in [
            (
                "name = \"a\"\ntitle = \"b\u{9b}31m\"",
                "s.toml: line 2, column 11: control character U+009B\nhint",
            ),
            ("# harmless? \u{202e}\n", "s.toml: line 1, column 13: control character U+202E"),
            (
                "name = \"a\"\ntitle = \"ä\\u001b[2J\"",
                "line 2, column 9: control character U+001B in this text",
            ),
            ("[[rows]]\nname = \"a\\nb\"", "line 2, column 8: control character U+000A in this text"),
            ("methods = [\"x\",\n\"\\u200f\"]", "line 2, column 1: control character U+200F in this text"),
            ("a = { \"\\u0007\" = 1 }", "line 1, column 7: control character U+0007 in this text"),
            ("notes = [\"a\\u001b\"]", "line 1, column 10: control character U+001B in this text"),
            ("name = \"a\u{1b}\"", "line 1, column 10: control character U+001B\n"),
        ] {
            assert!(refused(text).contains(says), "{text:?}: {}", refused(text));
        }
        assert!(refused("name = ").contains("s.toml is not TOML"));
    }

    #[test]
    fn texts_of_any_language_and_notes_of_several_lines_are_fine() {
        let text = "name = \"עברית 中文 👩‍🔬\"\r\n\tx = '''a'''\nnotes = [\"\"\"\nfirst\n\tsecond\"\"\"]\n";
        check_file(text, "s.toml").unwrap();
    }

    #[test]
    fn so_are_those_of_the_command_line() {
        let value = |text: &str| format!("x = {text}").parse::<toml::Table>().unwrap()["x"].clone();
        let found = check_value(&value("[{a = \"\\u001b\"}]"), "--set x").unwrap_err().to_string();
        assert!(found.starts_with("--set x: control character U+001B"), "{found}");
        assert!(check_value(&value("{\"\\t\" = 1}"), "--set x").is_err());
        assert!(check_value(&value("[1, \"a\", 2.5]"), "--set x").is_ok());
    }
}
