//! Parameters of the transforms: random draws and target vectors.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::ranges::Ranges;
use super::shift::Shift;
use super::transform::Transform;
use crate::draw::{Purpose, rng};

/// Number of attempts to place a crop. After that, the largest possible crop is used, as in torchvision.
const CROP_ATTEMPTS: usize = 10;

/// Length of a small step along an entry of a parameter vector, whose range is [-1, 1].
const STEP: f64 = 0.05;

/// The box of a crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Centre (x, y). The image ranges from -1 (left, top) to 1 (right, bottom).
    pub centre: [f64; 2],
    /// Width as a fraction of the image width.
    pub width: f64,
    /// Height as a fraction of the image height.
    pub height: f64,
}

/// The parameters of the transforms for one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Rotation in degrees; counter-clockwise, as seen, is positive.
    pub angle: f64,
    /// Shift of the content to the right and down, as fractions of the side.
    pub shift: [f64; 2],
    /// The box that is resized to the full image.
    pub crop: Crop,
    /// Whether left and right are swapped.
    pub flip: bool,
    /// Factor on all values.
    pub brightness: f64,
    /// Factor on the difference from the image's mean grey.
    pub contrast: f64,
    /// Factor on the difference from the pixel's grey.
    pub saturation: f64,
    /// Shift of the hue in turns.
    pub hue: f64,
    /// Standard deviation of the blur in pixels; 0 means no blur.
    pub sigma: f64,
}

impl Draw {
    /// The parameters that change nothing.
    pub const IDENTITY: Draw = Draw {
        angle: 0.0,
        shift: [0.0; 2],
        crop: Crop { centre: [0.0; 2], width: 1.0, height: 1.0 },
        flip: false,
        brightness: 1.0,
        contrast: 1.0,
        saturation: 1.0,
        hue: 0.0,
        sigma: 0.0,
    };

    /// Draws all quantities, always in this order, so that a draw does not depend on which transforms are
    /// active. The crop comes last, because it takes a varying number of values from the generator.
    fn draw_all(rng: &mut Pcg64Mcg, ranges: &Ranges) -> Draw {
        Draw {
            angle: around(rng, 0.0, ranges.rotation),
            shift: [around(rng, 0.0, ranges.translation), around(rng, 0.0, ranges.translation)],
            flip: rng.r#gen::<f64>() < ranges.flip_p,
            brightness: around(rng, 1.0, ranges.brightness),
            contrast: around(rng, 1.0, ranges.contrast),
            saturation: around(rng, 1.0, ranges.saturation),
            hue: around(rng, 0.0, ranges.hue),
            sigma: between(rng, ranges.blur_min, ranges.blur_max),
            crop: Crop::draw(rng, ranges),
        }
    }

    /// Sets the parameters of all transforms except `active` to the identity.
    fn restricted(self, active: &[Transform]) -> Draw {
        let mut kept = Draw::IDENTITY;
        for transform in active {
            match transform {
                Transform::Rotation => kept.angle = self.angle,
                Transform::Translation => kept.shift = self.shift,
                Transform::Crop => kept.crop = self.crop,
                Transform::Flip => kept.flip = self.flip,
                Transform::Color => {
                    kept.brightness = self.brightness;
                    kept.contrast = self.contrast;
                    kept.saturation = self.saturation;
                    kept.hue = self.hue;
                }
                Transform::Blur => kept.sigma = self.sigma,
            }
        }
        kept
    }

    /// The same draw with the quantities of `transform` in the ranges of `shift`: each keeps its place
    /// between the ends of its range, and its sign.
    fn shifted(self, transform: Transform, ranges: &Ranges, shift: &Shift) -> Draw {
        let mut moved = self;
        let within = |value: &mut f64, share: f64, range: Option<[f64; 2]>| {
            if let Some([low, high]) = range {
                *value = low + (high - low) * share;
            }
        };
        let magnitude = |value: &mut f64, half: f64, range: Option<[f64; 2]>| {
            let sign = value.signum();
            within(value, value.abs() / half, range.map(|range| range.map(|end| sign * end)));
        };
        let factor =
            |value: &mut f64, half: f64, range| within(value, (*value - 1.0 + half) / (2.0 * half), range);
        match transform {
            Transform::Rotation => magnitude(&mut moved.angle, ranges.rotation, shift.rotation),
            Transform::Color => {
                factor(&mut moved.brightness, ranges.brightness, shift.brightness);
                factor(&mut moved.contrast, ranges.contrast, shift.contrast);
                factor(&mut moved.saturation, ranges.saturation, shift.saturation);
                magnitude(&mut moved.hue, ranges.hue, shift.hue);
            }
            Transform::Blur => {
                let share = (self.sigma - ranges.blur_min) / (ranges.blur_max - ranges.blur_min);
                within(&mut moved.sigma, share, shift.blur);
            }
            Transform::Translation | Transform::Crop | Transform::Flip => {}
        }
        moved
    }

    /// The same draw with one entry of the parameter vector of `transform` moved by [`STEP`] towards the
    /// middle of its range. A crop becomes smaller, so that its box stays within the image. A flip has no
    /// small step: it is undone, or done.
    fn stepped(self, transform: Transform, output: usize, ranges: &Ranges) -> Draw {
        let mut moved = self;
        // from a value whose entry is (value - middle) / half
        let inwards = |value: &mut f64, middle: f64, half: f64| {
            *value += if *value > middle { -STEP * half } else { STEP * half };
        };
        match (transform, output) {
            (Transform::Rotation, _) => inwards(&mut moved.angle, 0.0, ranges.rotation),
            (Transform::Translation, axis) => inwards(&mut moved.shift[axis], 0.0, ranges.translation),
            (Transform::Crop, axis @ (0 | 1)) => inwards(&mut moved.crop.centre[axis], 0.0, 1.0),
            (Transform::Crop, 2) => moved.crop.height -= STEP / 2.0,
            (Transform::Crop, _) => moved.crop.width -= STEP / 2.0,
            (Transform::Flip, _) => moved.flip = !self.flip,
            (Transform::Color, 0) => inwards(&mut moved.brightness, 1.0, ranges.brightness),
            (Transform::Color, 1) => inwards(&mut moved.contrast, 1.0, ranges.contrast),
            (Transform::Color, 2) => inwards(&mut moved.saturation, 1.0, ranges.saturation),
            (Transform::Color, _) => inwards(&mut moved.hue, 0.0, ranges.hue),
            (Transform::Blur, _) => {
                let [low, high] = [ranges.blur_min, ranges.blur_max];
                inwards(&mut moved.sigma, (high + low) / 2.0, (high - low) / 2.0);
            }
        }
        moved
    }

    /// Appends the parameter vector of `transform`. For draws from `ranges`, its values are in [-1, 1].
    fn write_target(&self, transform: Transform, ranges: &Ranges, out: &mut Vec<f32>) {
        let mut push = |value: f64| out.push(value as f32);
        match transform {
            Transform::Rotation => push(self.angle / ranges.rotation),
            Transform::Translation => self.shift.iter().for_each(|shift| push(shift / ranges.translation)),
            Transform::Crop => {
                let Crop { centre, width, height } = self.crop;
                [centre[0], centre[1], 2.0 * height - 1.0, 2.0 * width - 1.0].into_iter().for_each(push);
            }
            Transform::Flip => push(if self.flip { 1.0 } else { -1.0 }),
            Transform::Color => {
                push((self.brightness - 1.0) / ranges.brightness);
                push((self.contrast - 1.0) / ranges.contrast);
                push((self.saturation - 1.0) / ranges.saturation);
                push(self.hue / ranges.hue);
            }
            // no blur has the same target as the weakest blur
            Transform::Blur if self.sigma == 0.0 => push(-1.0),
            Transform::Blur => {
                let middle = (ranges.blur_max + ranges.blur_min) / 2.0;
                let half = (ranges.blur_max - ranges.blur_min) / 2.0;
                push((self.sigma - middle) / half);
            }
        }
    }
}

impl Crop {
    /// torchvision's RandomResizedCrop, but in fractions of the side instead of whole pixels.
    fn draw(rng: &mut Pcg64Mcg, ranges: &Ranges) -> Crop {
        let (low, high) = (ranges.crop_ratio_min.ln(), ranges.crop_ratio_max.ln());
        for _ in 0..CROP_ATTEMPTS {
            let area = between(rng, ranges.crop_scale_min, 1.0);
            let ratio = between(rng, low, high).exp();
            let (width, height) = ((area * ratio).sqrt(), (area / ratio).sqrt());
            if width <= 1.0 && height <= 1.0 {
                let centre = [around(rng, 0.0, 1.0 - width), around(rng, 0.0, 1.0 - height)];
                return Crop { centre, width, height };
            }
        }
        let ratio = 1f64.clamp(ranges.crop_ratio_min, ranges.crop_ratio_max);
        Crop { centre: [0.0; 2], width: ratio.min(1.0), height: (1.0 / ratio).min(1.0) }
    }
}

/// Uniform in [low, high).
fn between(rng: &mut Pcg64Mcg, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.r#gen::<f64>()
}

/// Uniform in [middle - half, middle + half).
fn around(rng: &mut Pcg64Mcg, middle: f64, half: f64) -> f64 {
    between(rng, middle - half, middle + half)
}

/// The parameters of a batch, one [`Draw`] per image.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws {
    /// In the order of the batch.
    pub each: Vec<Draw>,
}

impl Draws {
    /// `n` draws that change nothing.
    pub fn identity(n: usize) -> Draws {
        Draws { each: vec![Draw::IDENTITY; n] }
    }

    /// Draws parameters for the samples `keys` (their indices in the data set). `active` transforms are drawn
    /// from `ranges`; all others are the identity.
    ///
    /// A value depends only on seed, epoch, sample index and its own range. It does not depend on the order
    /// of the batch, the rank or the other active transforms.
    pub fn sample(keys: &[u64], seed: u64, epoch: u64, active: &[Transform], ranges: &Ranges) -> Draws {
        let draw = |&key: &u64| {
            let mut rng = rng(seed, epoch, key, Purpose::Transform);
            let _choice: f64 = rng.r#gen();
            Draw::draw_all(&mut rng, ranges).restricted(active)
        };
        Draws { each: keys.iter().map(draw).collect() }
    }

    /// Like [`Draws::sample`], but each sample keeps only one random transform of `active`.
    ///
    /// The kept values are the same as in [`Draws::sample`] with the same keys.
    pub fn single_each(keys: &[u64], seed: u64, epoch: u64, active: &[Transform], ranges: &Ranges) -> Draws {
        let active: Vec<Transform> = Transform::ALL.into_iter().filter(|t| active.contains(t)).collect();
        let draw = |&key: &u64| {
            let mut rng = rng(seed, epoch, key, Purpose::Transform);
            let choice = (rng.r#gen::<f64>() * active.len() as f64) as usize;
            let kept = active.get(choice).map_or(&[][..], std::slice::from_ref);
            Draw::draw_all(&mut rng, ranges).restricted(kept)
        };
        Draws { each: keys.iter().map(draw).collect() }
    }

    /// Half of the samples as in [`Draws::sample`], half with only one random transform of `singles`.
    ///
    /// The kept values are the same as in [`Draws::sample`] with the same keys.
    pub fn half_single(
        keys: &[u64],
        seed: u64,
        epoch: u64,
        active: &[Transform],
        singles: &[Transform],
        ranges: &Ranges,
    ) -> Draws {
        let draw = |&key: &u64| {
            let mut rng = rng(seed, epoch, key, Purpose::Transform);
            let choice = (rng.r#gen::<f64>() * 2.0 * singles.len() as f64) as usize;
            Draw::draw_all(&mut rng, ranges)
                .restricted(singles.get(choice).map_or(active, std::slice::from_ref))
        };
        Draws { each: keys.iter().map(draw).collect() }
    }

    /// The same draws, in each image with one entry of the parameter vector of `transform` changed by a small
    /// step of 0.05 that stays within the range; `outputs` says which, one per image. A flip is undone, or
    /// done.
    pub fn stepped(&self, transform: Transform, outputs: &[usize], ranges: &Ranges) -> Draws {
        assert_eq!(self.len(), outputs.len(), "one entry per image");
        let moved = |(draw, &output): (&Draw, &usize)| draw.stepped(transform, output, ranges);
        Draws { each: self.each.iter().zip(outputs).map(moved).collect() }
    }

    /// The same draws from `ranges` with the quantities of `transform` in the ranges of `shift`.
    pub fn shifted(&self, transform: Transform, ranges: &Ranges, shift: &Shift) -> Draws {
        Draws { each: self.each.iter().map(|draw| draw.shifted(transform, ranges, shift)).collect() }
    }

    /// Draws for the samples `keys` that change what `shift` names, from its ranges, and nothing else.
    pub fn of_shift(keys: &[u64], seed: u64, shift: &Shift) -> Draws {
        let ranges = Ranges::default();
        let transforms: Vec<Transform> = shift.transforms().collect();
        let plain = Draws::sample(keys, seed, 0, &transforms, &ranges);
        let mut moved =
            transforms.iter().fold(plain, |draws, &transform| draws.shifted(transform, &ranges, shift));
        let unless_named = |value: &mut f64, range: Option<[f64; 2]>, identity: f64| {
            if range.is_none() {
                *value = identity;
            }
        };
        for draw in &mut moved.each {
            unless_named(&mut draw.brightness, shift.brightness, 1.0);
            unless_named(&mut draw.contrast, shift.contrast, 1.0);
            unless_named(&mut draw.saturation, shift.saturation, 1.0);
            unless_named(&mut draw.hue, shift.hue, 0.0);
        }
        moved
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Parameter vectors of `transform` in row-major order (N x [`Transform::dim`]), scaled by `ranges` to
    /// [-1, 1].
    ///
    /// | transform | vector | identity |
    /// |---|---|---|
    /// | rotation | angle / range | 0 |
    /// | translation | dx / range, dy / range | 0, 0 |
    /// | crop | centre x, centre y, 2h - 1, 2w - 1 | 0, 0, 1, 1 |
    /// | flip | -1 or 1 | -1 |
    /// | color | (factor - 1) / range of brightness, contrast, saturation; hue / range | 0, 0, 0, 0 |
    /// | blur | (sigma - middle) / half of the range | -1 |
    pub fn target(&self, transform: Transform, ranges: &Ranges) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.len() * transform.dim());
        self.each.iter().for_each(|draw| draw.write_target(transform, ranges, &mut out));
        out
    }

    /// Whether `identity` is true for every image.
    pub(super) fn all(&self, identity: impl Fn(&Draw) -> bool) -> bool {
        self.each.iter().all(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inactive_transforms_are_the_identity_and_active_ones_keep_their_values() {
        let (keys, ranges) = ([3, 4, 5], Ranges::default());
        let all = Draws::sample(&keys, 1, 2, &Transform::ALL, &ranges);
        let flips = Draws::sample(&keys, 1, 2, &[Transform::Flip, Transform::Blur], &ranges);
        for (all, flip) in all.each.iter().zip(&flips.each) {
            assert_eq!(*flip, Draw { flip: all.flip, sigma: all.sigma, ..Draw::IDENTITY });
        }
    }

    #[test]
    fn a_step_moves_one_entry_and_stays_in_range() {
        let (ranges, count) = (Ranges::default(), 200);
        let keys: Vec<u64> = (0..count).collect();
        let draws = Draws::sample(&keys, 1, 2, &Transform::ALL, &ranges);
        for transform in Transform::ALL {
            for output in 0..transform.dim() {
                let stepped = draws.stepped(transform, &vec![output; draws.len()], &ranges);
                let [before, after] = [&draws, &stepped].map(|draws| draws.target(transform, &ranges));
                for (place, (before, after)) in before.iter().zip(&after).enumerate() {
                    let step = if transform == Transform::Flip { 2.0 } else { STEP as f32 };
                    let moved = if place % transform.dim() == output { step } else { 0.0 };
                    assert!(((after - before).abs() - moved).abs() < 1e-5, "{transform} {output}");
                    assert!(after.abs() <= 1.0 + 1e-6, "{transform} {output}: {after}");
                }
                let others = Transform::ALL.into_iter().filter(|&other| other != transform);
                for other in others {
                    assert_eq!(draws.target(other, &ranges), stepped.target(other, &ranges), "{other}");
                }
            }
        }
    }

    /// A magnitude keeps its sign, a factor its place in the range; targets keep the units of the ordinary
    /// range.
    #[test]
    fn shifted_draws_fill_their_ranges() {
        let ranges = Ranges::default();
        let shift = Shift {
            rotation: Some([90.0, 135.0]),
            brightness: Some([0.2, 0.6]),
            hue: Some([0.1, 0.2]),
            blur: Some([2.0, 3.0]),
            ..Shift::default()
        };
        let plain = Draws::sample(&(0..2000).collect::<Vec<_>>(), 1, 2, &Transform::ALL, &ranges);
        let mut moved = plain.clone();
        for transform in Transform::ALL {
            moved = moved.shifted(transform, &ranges, &shift);
        }
        let range = |value: fn(&Draw) -> f64| {
            let values = moved.each.iter().map(value);
            values.fold([f64::INFINITY, 0.0], |[low, high], value| [value.min(low), value.max(high)])
        };
        let close = |found: [f64; 2], expected: [f64; 2]| {
            let room = 0.01 * (expected[1] - expected[0]);
            assert!(found[0] >= expected[0] && found[0] < expected[0] + room, "{found:?} {expected:?}");
            assert!(found[1] <= expected[1] && found[1] > expected[1] - room, "{found:?} {expected:?}");
        };
        close(range(|draw| draw.angle.abs()), [90.0, 135.0]);
        close(range(|draw| draw.brightness), [0.2, 0.6]);
        close(range(|draw| draw.hue.abs()), [0.1, 0.2]);
        close(range(|draw| draw.sigma), [2.0, 3.0]);
        for (moved, plain) in moved.each.iter().zip(&plain.each) {
            assert_eq!(moved.angle.signum(), plain.angle.signum());
            assert_eq!((moved.contrast, moved.shift, moved.crop), (plain.contrast, plain.shift, plain.crop));
        }
        let angles = moved.target(Transform::Rotation, &ranges);
        assert!(angles.iter().all(|angle| (1.0..=1.5).contains(&angle.abs())), "in units of 90 degrees");
    }

    #[test]
    fn a_shift_by_itself_changes_what_it_names() {
        let keys: Vec<u64> = (0..200).collect();
        let shift = Shift { rotation: Some([90.0, 135.0]), brightness: Some([0.2, 0.6]), ..Shift::default() };
        let found = Draws::of_shift(&keys, 3, &shift);
        for draw in &found.each {
            assert!((90.0..=135.0).contains(&draw.angle.abs()) && (0.2..=0.6).contains(&draw.brightness));
            let Draw { angle, brightness, .. } = *draw;
            assert_eq!(Draw { angle, brightness, ..Draw::IDENTITY }, *draw);
        }
        assert_eq!(found.each[7], Draws::of_shift(&[7], 3, &shift).each[0], "a sample has its own draw");
    }

    #[test]
    fn ranges_are_read_and_checked() {
        let read = |text: &str| text.parse::<Shift>();
        assert_eq!(read("rotation=90..135").unwrap().rotation, Some([90.0, 135.0]));
        for (text, says) in [
            ("rotation=135..90", "low < high"),
            ("hue=0.1..0.7", "<= 0.5"),
            ("rotation", "rotation=90..135"),
            ("zoom=1..2", "the quantities are"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn targets_have_the_documented_identity_and_range() {
        let ranges = Ranges::default();
        let identity = Draws::identity(1);
        let values = Transform::ALL.map(|transform| identity.target(transform, &ranges));
        let expected: [&[f32]; 6] = [&[0.0], &[0.0; 2], &[0.0, 0.0, 1.0, 1.0], &[-1.0], &[0.0; 4], &[-1.0]];
        assert_eq!(values.each_ref().map(Vec::as_slice), expected);
        let draws = Draws::sample(&(0..500).collect::<Vec<_>>(), 1, 2, &Transform::ALL, &ranges);
        for transform in Transform::ALL {
            let target = draws.target(transform, &ranges);
            assert_eq!(target.len(), 500 * transform.dim());
            assert!(target.iter().all(|value| value.abs() <= 1.0 + 1e-6), "{transform}");
        }
    }
}
