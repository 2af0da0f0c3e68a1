//! Text in LaTeX.

use crate::console::one_line;

/// Last letter of Latin Extended-A, whose letters the T1 fonts have, except a few.
const LAST_LETTER: char = '\u{17e}';

/// Letters up to there that they lack.
const LACKING: [char; 8] = ['Ħ', 'ħ', 'ĸ', 'Ŀ', 'ŀ', 'ŉ', 'Ŧ', 'ŧ'];

/// Letters of a word after which its line may be broken.
const UNBROKEN: usize = 20;

/// Characters beyond those letters that LaTeX knows in text.
const KNOWN: [char; 12] = ['–', '—', '‘', '’', '‚', '“', '”', '„', '•', '…', '€', '™'];

/// Text in one line with LaTeX's special characters escaped. A character that LaTeX's T1 fonts lack stands as
/// its number. A line may be broken inside a long word.
pub fn escaped(text: &str) -> String {
    let text = one_line(text);
    let mut escaped = String::with_capacity(text.len());
    // `\\` before a row takes a bracket or a star for its own
    if text.starts_with(['[', '*']) {
        escaped.push_str("{}");
    }
    let (mut before, mut unbroken) = (' ', 0);
    for c in text.chars() {
        unbroken = if c == ' ' { 0 } else { unbroken + 1 };
        if unbroken > UNBROKEN {
            escaped.push_str("\\allowbreak{}");
            (before, unbroken) = (' ', 1);
        }
        // two of these are one other sign
        if c == before && matches!(c, '-' | '\'' | '`' | ',') {
            escaped.push_str("{}");
        }
        before = c;
        match c {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("$<$"),
            '>' => escaped.push_str("$>$"),
            '±' => escaped.push_str("$\\pm$"),
            '†' => escaped.push_str("$\\dagger$"),
            '−' => escaped.push_str("$-$"),
            '≤' => escaped.push_str("$\\leq$"),
            '≥' => escaped.push_str("$\\geq$"),
            c if KNOWN.contains(&c) || c <= LAST_LETTER && !LACKING.contains(&c) => escaped.push(c),
            c => escaped.push_str(&format!("\\texttt{{U+{:04X}}}", u32::from(c))),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_latex_reads_otherwise_is_escaped() {
        assert_eq!(escaped("50% of a_b & <1 ± {x}"), "50\\% of a\\_b \\& $<$1 $\\pm$ \\{x\\}");
        assert_eq!(escaped("\\~^"), "\\textbackslash{}\\textasciitilde{}\\textasciicircum{}");
        assert_eq!(escaped("\\input{x}\n\n%"), "\\textbackslash{}input\\{x\\}  \\%");
        assert_eq!(escaped("[2ex] a"), "{}[2ex] a");
        assert_eq!(escaped("*"), "{}*");
        let word = "x".repeat(UNBROKEN);
        assert_eq!(escaped(&format!("{word} {word}x")), format!("{word} {word}\\allowbreak{{}}x"));
        assert_eq!(escaped("a -- b ,, [0.1, 0.2]"), "a -{}- b ,{}, [0.1, 0.2]");
        assert_eq!(escaped("Zürich… ħ ≤ ש"), "Zürich… \\texttt{U+0127} $\\leq$ \\texttt{U+05E9}");
        assert_eq!(escaped("\u{1b}[0m\u{202e}"), "\\textbackslash{}u001b[0m\\textbackslash{}u202e");
    }
}
