//! The colour and the marker of a method: the same in every report, whatever other methods it has.

use super::plot::COLOURS;

/// Number of different styles: colours times markers, since the numbers of both have no common divisor.
const STYLES: usize = COLOURS.len() * super::plot::MARKERS;

/// Methods that often stand in one report. Their colours differ, or at least their markers.
const COMMON: [(&str, usize); 12] = [
    ("VICReg", 0),
    ("Ours", 1),
    ("SIE(rot)", 2),
    ("SIE(rot+color)", 3),
    ("SIE(color)", 4),
    ("Supervised", 5),
    ("Ours, no reconstruction", 13),
    ("SIE(all)", 9),
    ("SIE(all, single each time)", 10),
    ("Ours, other view 1", 27),
    ("SimCLR", 18),
    ("VICReg(cls)", 25),
];

/// Index of the method's style.
pub fn style_index(method: &str) -> usize {
    let common = COMMON.iter().find(|(name, _)| *name == method);
    common.map_or_else(|| hashed(method), |(_, index)| *index)
}

/// A style drawn by the letters of the name.
fn hashed(name: &str) -> usize {
    let hash = blake3::hash(name.as_bytes());
    hash.as_bytes()[..4].iter().fold(0, |number, byte| (256 * number + usize::from(*byte)) % STYLES)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn common_methods_differ_and_any_name_has_a_style() {
        let indices: BTreeSet<usize> = COMMON.iter().map(|(name, _)| style_index(name)).collect();
        assert!(indices.len() == COMMON.len() && indices.iter().all(|index| *index < STYLES));
        assert!(style_index("somebody's encoder") < STYLES && style_index("") < STYLES);
        assert_eq!(style_index("DINO"), style_index("DINO"));
    }
}
