//! What a window can show: its width, colours and letters.

use std::borrow::Cow;

use ::console::Term;

/// How text looks where it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Letters per line of the window; `None` for a file or a pipe, which get everything.
    pub width: Option<usize>,
    /// Whether colours are shown: not in files and pipes, with `NO_COLOR`, or with `TERM=dumb`.
    pub colours: bool,
    /// Whether only letters of ASCII are shown, since the locale has no others.
    pub ascii: bool,
}

impl Look {
    /// How text looks on stdout.
    pub fn of_stdout() -> Look {
        Look::of(&Term::stdout())
    }

    /// How text looks on stderr.
    pub fn of_stderr() -> Look {
        Look::of(&Term::stderr())
    }

    fn of(place: &Term) -> Look {
        Look {
            width: place.size_checked().map(|(_, columns)| usize::from(columns)),
            colours: place.features().colors_supported(),
            ascii: has_ascii_alone(|name| std::env::var(name).ok()),
        }
    }

    /// The text in the letters that are shown.
    pub fn letters(self, text: &str) -> Cow<'_, str> {
        if !self.ascii || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.chars().map(in_ascii).collect())
    }
}

/// Whether the locale names a character set other than UTF-8. Containers and schedulers often name none;
/// their output is read elsewhere, as UTF-8.
fn has_ascii_alone(variable: impl Fn(&str) -> Option<String>) -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|text| !text.is_empty());
    named.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    })
}

/// The letter, what is usually written for it in ASCII, or its number.
fn in_ascii(letter: char) -> String {
    match letter {
        '±' => "+-".to_owned(),
        '─' | '–' | '−' => "-".to_owned(),
        '═' => "=".to_owned(),
        '…' => "...".to_owned(),
        letter if letter.is_ascii() => letter.to_string(),
        letter => letter.escape_unicode().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_locale() {
        let of = |set: &[(&str, &str)]| {
            has_ascii_alone(|name| {
                set.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(of(&[("LC_ALL", "C")]) && of(&[("LC_ALL", "POSIX"), ("LANG", "de_DE.UTF-8")]));
        assert!(of(&[("LANG", "de_DE.ISO-8859-1")]));
        assert!(
            !of(&[]) && !of(&[("LC_ALL", ""), ("LANG", "C.UTF-8")]) && !of(&[("LC_CTYPE", "en_US.utf8")])
        );
    }

    #[test]
    fn letters_beyond_ascii_are_written_otherwise() {
        let look = Look { ascii: true, ..Look::default() };
        assert_eq!(look.letters("0.5 ± 0.1 ── é"), "0.5 +- 0.1 -- \\u{e9}");
        assert_eq!(Look::default().letters("±"), "±");
    }
}
