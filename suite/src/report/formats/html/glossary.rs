//! The terms of a report: explained where they stand, by a tooltip, and once more at the end.

use maud::{Markup, html};

/// A term.
struct Term {
    /// How it is written in titles and headings.
    word: &'static str,
    /// What it means.
    meaning: &'static str,
}

const TERMS: [Term; 11] = [
    Term {
        word: "R2",
        meaning: "The share of a target's variance that a probe predicts on test pairs, the mean over \
                  the target's outputs. 1 is perfect; a constant predictor gets 0 or less.",
    },
    Term { word: "top-1", meaning: "The share of test images whose class a linear classifier on y names." },
    Term {
        word: "y",
        meaning: "The vector that an encoder gives for an image, and that the probes read. It has two \
                  halves: inv and equi.",
    },
    Term {
        word: "inv",
        meaning: "The half of y that the loss makes invariant: equal for both views of an image.",
    },
    Term {
        word: "equi",
        meaning: "The other half of y, which may keep the transformations: equivariant if a \
                  transformation of the image changes it in a predictable way.",
    },
    Term {
        word: "grid",
        meaning: "A readout of more than y: y and the means of the four quadrants of the encoder's \
                  token map.",
    },
    Term {
        word: "floor",
        meaning: "The encoder with random weights (Random init): what can be read without any \
                  training.",
    },
    Term {
        word: "ceiling",
        meaning: "An encoder trained to predict the transformations themselves (Direct regression).",
    },
    Term {
        word: "†",
        meaning: "Dagger: best of its column or row, and significantly better than the runner-up.",
    },
    Term {
        word: "Holm",
        meaning: "Holm's correction: p values made larger for the number of tests of a table, so that \
                  the table errs with a probability of 5% at most.",
    },
    Term {
        word: "seed",
        meaning: "The number that a training's random draws follow from. Spreads and intervals are \
                  over trainings that differ in their pretraining seed alone.",
    },
];

/// A text whose terms have tooltips.
pub fn explained(text: &str) -> Markup {
    let is_inside = |c: char| c.is_alphanumeric() || c == '-';
    html! {
        @for piece in text.split_inclusive(|c| !is_inside(c)) {
            @let word = piece.trim_end_matches(|c| !is_inside(c));
            @match TERMS.iter().find(|term| term.word == word) {
                Some(term) => { abbr title=(term.meaning) { (word) } (piece[word.len()..]) }
                None => { (piece) }
            }
        }
    }
}

/// All terms with their meanings.
pub fn markup() -> Markup {
    html! { dl.glossary { @for Term { word, meaning } in TERMS { dt { (word) } dd { (meaning) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_explained_and_other_words_are_text() {
        let text = explained("Half of y, <y>: rotation R2").into_string();
        assert!(text.starts_with("Half of <abbr title=\"The vector "), "{text}");
        assert!(text.contains("y</abbr>, &lt;<abbr ") && text.ends_with(">R2</abbr>"), "{text}");
        assert_eq!(explained("yes, R22").into_string(), "yes, R22");
    }
}
