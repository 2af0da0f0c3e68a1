//! A curve as a line of letters.

use crate::console::Look;

/// From the lowest to the highest value.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The same where the locale has no other letters.
const ASCII: [char; 8] = ['_', '.', ',', '-', '~', '=', '*', '#'];

/// The curve in at most `width` letters, each the mean of as many values as the others. Values that are not
/// finite are left out.
pub fn sparkline(values: &[f64], width: usize, look: Look) -> String {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let count = values.len().min(width);
    let share = |place: usize| place * values.len() / count;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means: Vec<f64> = (0..count).map(|place| mean(&values[share(place)..share(place + 1)])).collect();
    let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let letters = if look.ascii { ASCII } else { BLOCKS };
    let top = (letters.len() - 1) as f64;
    let letter = |mean: f64| {
        let height = if highest > lowest { (mean - lowest) / (highest - lowest) } else { 0.0 };
        letters[(height * top).round() as usize]
    };
    means.into_iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_curve_falls() {
        let values: Vec<f64> = (0..16).map(|step| f64::from(16 - step)).collect();
        assert_eq!(sparkline(&values, 8, Look::default()), "█▇▆▅▄▃▂▁");
        assert_eq!(sparkline(&values, 8, Look { ascii: true, ..Look::default() }), "#*=~-,._");
        assert_eq!(sparkline(&values[..3], 40, Look::default()), "█▅▁");
    }

    #[test]
    fn what_has_no_height_is_flat_or_left_out() {
        assert_eq!(sparkline(&[2.0, f64::NAN, 2.0], 9, Look::default()), "▁▁");
        assert_eq!(sparkline(&[], 9, Look::default()), "");
    }
}
