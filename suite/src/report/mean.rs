//! The mean of a few numbers.

/// The arithmetic mean; NaN of no value.
pub fn mean<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}
