//! The soft shadow on the floor.

use super::raster::{Target, Window};

/// Radius of the blur in texels, for a shadow map with `side` x `side` texels.
pub(super) fn blur_reach(side: usize) -> usize {
    (side / 48).max(1)
}

/// Computes the shadow on the floor from the light's view: two box blurs of the "not blocked" mask. The
/// result is in `open`, (side, side).
///
/// Only the area around the object is written.
pub(super) fn soften(shadow: &Target, side: usize, open: &mut Vec<f32>, spare: &mut Vec<f32>) {
    let reach = blur_reach(side);
    let window = shadow.window.grown(2 * reach + 2, side);
    open.resize(side * side, 1.0);
    spare.resize(side * side, 1.0);
    for row in window.top..window.top + window.rows {
        open[row * side + window.left..][..window.columns].fill(1.0);
    }
    for row in 0..shadow.window.rows {
        let from = (row + shadow.window.top) * side + shadow.window.left;
        let seen = &shadow.triangle[row * shadow.window.columns..][..shadow.window.columns];
        for (value, &triangle) in open[from..].iter_mut().zip(seen) {
            *value = if triangle == 0 { 1.0 } else { 0.0 };
        }
    }
    for _ in 0..2 {
        blur_rows(open, spare, side, window, reach);
        blur_columns(spare, open, side, window, reach);
    }
}

/// Averages along rows over `reach` texels on both sides. The values at the window's edge are repeated.
fn blur_rows(from: &[f32], to: &mut [f32], side: usize, window: Window, reach: usize) {
    let share = 1.0 / (2 * reach + 1) as f32;
    for row in window.top..window.top + window.rows {
        let source = &from[row * side + window.left..][..window.columns];
        let target = &mut to[row * side + window.left..][..window.columns];
        for (column, value) in target.iter_mut().enumerate() {
            let sum: f32 = if column >= reach && column + reach < source.len() {
                source[column - reach..=column + reach].iter().sum()
            } else {
                (0..=2 * reach)
                    .map(|tap| source[(column + tap).saturating_sub(reach).min(source.len() - 1)])
                    .sum()
            };
            *value = sum * share;
        }
    }
}

/// Averages along columns in the same way, one row at a time.
fn blur_columns(from: &[f32], to: &mut [f32], side: usize, window: Window, reach: usize) {
    let share = 1.0 / (2 * reach + 1) as f32;
    for row in 0..window.rows {
        let target = &mut to[(row + window.top) * side + window.left..][..window.columns];
        target.fill(0.0);
        for tap in 0..=2 * reach {
            let other = (row + tap).saturating_sub(reach).min(window.rows - 1) + window.top;
            let source = &from[other * side + window.left..][..window.columns];
            for (value, &neighbour) in target.iter_mut().zip(source) {
                *value += neighbour * share;
            }
        }
    }
}
