//! Texts in CSV files. A spreadsheet takes a text that begins like a formula for one, and some formulas start
//! programs. Such a text is written behind an apostrophe, which the reader takes away.

use std::borrow::Cow;

/// Beginnings of formulas, also in the wide letters of East Asian text.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// What a spreadsheet takes for a mark of text.
const APOSTROPHE: char = '\'';

/// The text as it is written.
pub fn guarded(text: &str) -> Cow<'_, str> {
    match needs_guard(text) {
        true => Cow::Owned(format!("{APOSTROPHE}{text}")),
        false => Cow::Borrowed(text),
    }
}

/// The text as it was before it was written.
pub fn unguarded(written: &str) -> &str {
    written.strip_prefix(APOSTROPHE).filter(|text| needs_guard(text)).unwrap_or(written)
}

/// Whether the text, without apostrophes in front, begins like a formula and is neither a dash nor made of
/// numbers.
fn needs_guard(text: &str) -> bool {
    text.trim_start_matches(APOSTROPHE).starts_with(FORMULA) && text != "-" && !is_of_numbers(text)
}

/// Whether the text is a list of numbers, which no spreadsheet calculates with.
fn is_of_numbers(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<f64>().is_ok();
    text.split(' ').map(|part| part.strip_suffix(',').unwrap_or(part)).all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_texts_and_are_read_as_they_were() {
        for text in [
            "=cmd|' /C calc'!A0",
            "+1+2",
            "-2+3+cmd",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "'=1",
            "''-x",
            "＝1",
            "-a",
            "- b",
        ] {
            let written = guarded(text);
            assert_eq!((&written[..1], unguarded(&written)), ("'", text));
        }
        for text in ["", "-", "-0.5", "-0.125 0.25 -1e-3", "-0.1, 0.2", "+0.5", "Ours", "'tis", "a=b", "−1"]
        {
            assert_eq!((&*guarded(text), unguarded(text)), (text, text));
        }
    }
}
