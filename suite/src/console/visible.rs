//! Text of files and names, made visible. A terminal obeys control characters, and some of them change the
//! order of the letters around them; none has a picture of its own.

use std::borrow::Cow;

/// Whether a character is a control of C0 or C1, a control of bidirectional text, a separator of lines or
/// paragraphs, or none at all (U+FFFE, U+FFFF).
pub fn is_control(c: char) -> bool {
    let is_bidi_or_separator =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidi_or_separator || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The text with every control character as its number, such as `\u001b`, except line feeds and tabs. JSON
/// stays the same JSON, since it reads these numbers.
pub fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| is_control(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let show = |c: char| if is_hidden(c) { number(c) } else { c.to_string() };
    Cow::Owned(text.chars().map(show).collect())
}

/// The text in one line: line breaks and tabs become spaces, other control characters their numbers.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match visible(text) {
        text if text.contains(['\n', '\t']) => Cow::Owned(text.replace(['\n', '\t'], " ")),
        text => text,
    }
}

/// The number of a control character, all of which have four digits.
fn number(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_as_numbers() {
        assert_eq!(visible("a\u{1b}[31mb\r\n\u{9b}2J\u{7f}"), "a\\u001b[31mb\\u000d\n\\u009b2J\\u007f");
        assert_eq!(visible("\u{202e}gnp.exe\u{2066}\u{200f}"), "\\u202egnp.exe\\u2066\\u200f");
        assert_eq!(one_line("a\nb\tc\u{2028}"), "a b c\\u2028");
        let harmless = "Zürich, עברית, 中文, 👩‍🔬 ± † [95%]";
        assert!(matches!(one_line(harmless), Cow::Borrowed(text) if text == harmless));
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"name": "a\u{1b}[0m\u{9b}\u{202e}\n\"\\u0041"});
        let text = format!("{value:#}\n");
        assert_ne!(visible(&text), text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&visible(&text)).unwrap(), value);
    }
}
