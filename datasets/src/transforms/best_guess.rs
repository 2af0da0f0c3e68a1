//! The best possible guess of a pair's parameters if crop and translation are drawn together.
//!
//! Flip, crop, rotation and translation compose to one affine map. Its linear part determines the rotation,
//! the flip and the size of the crop. Its offset `o = centre - S R^-1 shift` has only two numbers, while crop
//! centre and shift have four. So even the exact map does not determine the shift. Given the map, the shift
//! is uniform over a convex polygon: all shifts within their range that keep the crop inside the image. The
//! best guess in the mean-square sense is the centroid of this polygon. The R2 of this guess is the upper
//! limit for every probe of pairs that differ by all transforms at once (protocol section 4).

use super::draws::{Crop, Draw, Draws};
use super::ranges::Ranges;
use super::transform::Transform;

/// A shift, as fractions of the side.
type Point = [f64; 2];

impl Draws {
    /// The best guess of these draws of `active`, given their affine maps. Shift and crop centre become their
    /// means over all draws with the same map. All other parameters keep their values. Views must be square.
    #[must_use]
    pub fn best_guess_from_map(&self, active: &[Transform], ranges: &Ranges) -> Draws {
        // if only one of the two is active, the offset determines it
        let mixed = active.contains(&Transform::Crop) && active.contains(&Transform::Translation);
        let guess = |draw: &Draw| if mixed { guess(draw, ranges.translation) } else { *draw };
        Draws { each: self.each.iter().map(guess).collect() }
    }
}

fn guess(draw: &Draw, range: f64) -> Draw {
    let Crop { centre, width, height } = draw.crop;
    let (sin, cos) = draw.angle.to_radians().sin_cos();
    // a shift moves the centre of the box by S R^-1 shift; coordinates range from -1 to 1, so a fraction of
    // the side counts twice
    let moved = |[x, y]: Point| [2.0 * width * (cos * x - sin * y), 2.0 * height * (sin * x + cos * y)];
    let own = moved(draw.shift);
    let offset = [centre[0] - own[0], centre[1] - own[1]];
    let centre_of = |shift: Point| std::array::from_fn(|axis| offset[axis] + moved(shift)[axis]);

    let mut shifts = vec![[-range, -range], [range, -range], [range, range], [-range, range]];
    for (axis, room) in [1.0 - width, 1.0 - height].into_iter().enumerate() {
        for sign in [1.0, -1.0] {
            shifts = clipped(&shifts, |shift| room - sign * centre_of(shift)[axis]);
        }
    }
    // if the polygon has no area, the map determines the shift
    let shift = centroid(&shifts).unwrap_or(draw.shift);
    Draw { shift, crop: Crop { centre: centre_of(shift), ..draw.crop }, ..*draw }
}

/// Clips a convex polygon to the part where the affine function `inside` is not negative (Sutherland and
/// Hodgman 1974).
fn clipped(polygon: &[Point], inside: impl Fn(Point) -> f64) -> Vec<Point> {
    let mut kept = Vec::with_capacity(polygon.len() + 1);
    for (i, &from) in polygon.iter().enumerate() {
        let to = polygon[(i + 1) % polygon.len()];
        let (a, b) = (inside(from), inside(to));
        if a >= 0.0 {
            kept.push(from);
        }
        if (a >= 0.0) != (b >= 0.0) {
            let part = a / (a - b);
            kept.push([from[0] + part * (to[0] - from[0]), from[1] + part * (to[1] - from[1])]);
        }
    }
    kept
}

/// The centroid of a convex polygon; `None` if it has no area.
fn centroid(polygon: &[Point]) -> Option<Point> {
    let [first, rest @ ..] = polygon else { return None };
    let (mut area, mut sum) = (0.0, [0.0; 2]);
    for pair in rest.windows(2) {
        let edge = |to: Point| [to[0] - first[0], to[1] - first[1]];
        let (a, b) = (edge(pair[0]), edge(pair[1]));
        let part = a[0] * b[1] - a[1] * b[0];
        area += part;
        for axis in 0..2 {
            sum[axis] += part * (a[axis] + b[axis]) / 3.0;
        }
    }
    (area.abs() > 1e-12).then(|| std::array::from_fn(|axis| first[axis] + sum[axis] / area))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(active: &[Transform]) -> Draws {
        Draws::sample(&(0..4000).collect::<Vec<_>>(), 3, 0, active, &Ranges::default())
    }

    #[test]
    fn a_polygon_is_clipped_and_its_centroid_found() {
        let square = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]];
        assert_eq!(centroid(&square), Some([1.0, 1.0]));
        // the triangle below the diagonal
        let half = clipped(&square, |[x, y]| x - y);
        let [x, y] = centroid(&half).unwrap();
        assert!((x - 4.0 / 3.0).abs() < 1e-12 && (y - 2.0 / 3.0).abs() < 1e-12, "{x} {y}");
        assert!(centroid(&clipped(&square, |[x, _]| -1.0 - x)).is_none());
    }

    #[test]
    fn the_guess_has_the_map_of_the_draw() {
        use crate::transforms::affine::source_of_output;
        let all = draws(&Transform::ALL);
        let guessed = all.best_guess_from_map(&Transform::ALL, &Ranges::default());
        for (draw, guess) in all.each.iter().zip(&guessed.each) {
            let maps = [draw, guess].map(|draw| source_of_output(draw, 1.0, [1.0, 1.0]));
            assert!(maps[0].iter().zip(maps[1]).all(|(a, b)| (a - b).abs() < 1e-12), "{maps:?}");
            assert!(guess.shift.iter().all(|shift| shift.abs() <= 0.25 + 1e-12), "{guess:?}");
        }
    }

    /// Compares the guess with the mean over a fine grid of shifts that give the same map.
    #[test]
    fn the_guess_is_the_mean_over_shifts_that_give_the_same_map() {
        let ranges = Ranges::default();
        let draw = Draw {
            angle: 30.0,
            shift: [0.2, -0.1],
            crop: Crop { centre: [0.35, 0.1], width: 0.6, height: 0.7 },
            ..Draw::IDENTITY
        };
        let guess = Draws { each: vec![draw] }.best_guess_from_map(&Transform::ALL, &ranges).each[0];
        let (mut sum, mut count) = ([0.0; 2], 0.0);
        let steps = 400;
        for (i, j) in (0..steps).flat_map(|i| (0..steps).map(move |j| (i, j))) {
            let at = |k: usize| (2.0 * (k as f64 + 0.5) / f64::from(steps as u32) - 1.0) * ranges.translation;
            let shift = [at(i), at(j)];
            let (sin, cos) = draw.angle.to_radians().sin_cos();
            let by = [shift[0] - draw.shift[0], shift[1] - draw.shift[1]];
            let x = draw.crop.centre[0] + 2.0 * draw.crop.width * (cos * by[0] - sin * by[1]);
            let y = draw.crop.centre[1] + 2.0 * draw.crop.height * (sin * by[0] + cos * by[1]);
            if x.abs() <= 1.0 - draw.crop.width && y.abs() <= 1.0 - draw.crop.height {
                sum = [sum[0] + shift[0], sum[1] + shift[1]];
                count += 1.0;
            }
        }
        for axis in 0..2 {
            assert!((guess.shift[axis] - sum[axis] / count).abs() < 2e-3, "{guess:?} {sum:?} {count}");
        }
    }

    #[test]
    fn without_a_crop_or_without_a_shift_the_map_determines_everything() {
        for active in [
            &[Transform::Rotation, Transform::Translation, Transform::Flip][..],
            &[Transform::Crop, Transform::Flip],
        ] {
            let draws = draws(active);
            assert_eq!(draws.best_guess_from_map(active, &Ranges::default()), draws);
        }
    }
}
