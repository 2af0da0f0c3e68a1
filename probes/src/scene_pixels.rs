//! Pixels of every class in every scene of a set, and the bootstrap of its segmentation scores over scenes.

use crate::bootstrap::{Objects, Resampled, Statistic, resample};
use crate::confusion::Confusion;
use eqr_models::Collective;
use tch::{Device, Kind, Tensor};

/// For every scene and class: the pixels that are classified correctly, those of the ground truth, and those
/// predicted, all without void. The scores of any selection of scenes follow from these sums, with 24 bytes
/// for each scene and class instead of a confusion matrix for each scene.
#[derive(Debug)]
pub struct ScenePixels {
    /// (S, 3, C), f64, on the CPU.
    pixels: Tensor,
}

/// Values of the three scores in every draw of a bootstrap over test scenes. All pixels of a scene are drawn
/// together, because neighbouring pixels are not independent.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentationDraws {
    /// Of the mean intersection over union.
    pub miou: Resampled,
    /// Of the mean accuracy of the classes.
    pub macc: Resampled,
    /// Of the share of correct pixels.
    pub aacc: Resampled,
}

impl ScenePixels {
    /// No pixels in any of `scenes` scenes.
    pub(crate) fn new(scenes: usize, classes: i64) -> ScenePixels {
        ScenePixels { pixels: Tensor::zeros([scenes as i64, 3, classes], (Kind::Double, Device::Cpu)) }
    }

    /// Sets the pixels of the scene `scene`.
    pub(crate) fn set(&mut self, scene: usize, confusion: &Confusion) {
        let pixels: Vec<f64> = confusion.pixels().iter().map(|&count| count as f64).collect();
        let classes = self.pixels.size()[2];
        // (C, C): true class, then predicted class
        let matrix = Tensor::from_slice(&pixels).view([classes, classes]);
        let along = |dim: i64| matrix.sum_dim_intlist(&[dim][..], false, Kind::Double);
        let rows = Tensor::stack(&[matrix.diag(0), along(1), along(0)], 0);
        self.pixels.get(scene as i64).copy_(&rows);
    }

    /// Adds the scenes of all ranks, which have none in common.
    pub(crate) fn sum_over(&mut self, ranks: &dyn Collective) {
        ranks.all_reduce_sum(&mut self.pixels);
    }

    /// The draws. A class that is neither in the ground truth of the drawn scenes nor predicted in them is
    /// left out of the means, as in [`Confusion::score`]. `None` if there are fewer than
    /// [`crate::bootstrap::FEWEST_OBJECTS`] scenes, or all scenes of a draw are void.
    pub fn resample(&self) -> Option<SegmentationDraws> {
        let [scenes, _, classes] = self.pixels.size()[..] else { unreachable!("pixels are (S, 3, C)") };
        let classes = classes as usize;
        // (S, 3 C), (S, 2 C), (S, 2)
        let all = self.pixels.flatten(1, 2);
        let right_and_truth = self.pixels.narrow(1, 0, 2).flatten(1, 2);
        let totals = self.pixels.narrow(1, 0, 2).sum_dim_intlist(&[2i64][..], false, Kind::Double);
        let statistics = [
            Statistic::new(all, move |sums| {
                let (right, others) = sums.split_at(classes);
                let (truth, predicted) = others.split_at(classes);
                let union = truth.iter().zip(predicted).zip(right).map(|((t, p), r)| t + p - r);
                mean_share(right.iter().copied().zip(union))
            }),
            Statistic::new(right_and_truth, move |sums| {
                let (right, truth) = sums.split_at(classes);
                mean_share(right.iter().copied().zip(truth.iter().copied()))
            }),
            Statistic::new(totals, |sums| mean_share(std::iter::once((sums[0], sums[1])))),
        ];
        let found = resample(&Objects::of_rows(scenes as usize), &statistics);
        let [miou, macc, aacc] = found.try_into().expect("three statistics");
        Some(SegmentationDraws { miou: miou?, macc: macc?, aacc: aacc? })
    }
}

/// Mean of part / whole over the pairs whose whole is above 0; `None` if there is none.
fn mean_share(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let shares = pairs.filter(|(_, whole)| *whole > 0.0).map(|(part, whole)| part / whole);
    let (sum, n) = shares.fold((0.0, 0), |(sum, n), share| (sum + share, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::{DRAWS, counts};
    use eqr_models::test_device::test_tensor;
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    const CLASSES: usize = 4;

    /// Scenes of 8 x 8 pixels. Class 3 is in every tenth scene only, so that some draws lack it.
    fn scenes(count: usize) -> Vec<Confusion> {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let scene = |index: usize| {
            let classes = if index.is_multiple_of(10) { 4 } else { 3 };
            let wrong = rng.gen_range(0.0..0.6);
            let truth: Vec<u8> = (0..64).map(|_| rng.gen_range(0..classes)).collect();
            let other = |&class: &u8| if rng.r#gen::<f64>() < wrong { (class + 1) % classes } else { class };
            let predicted: Vec<u8> = truth.iter().map(other).collect();
            let mut confusion = Confusion::new(CLASSES);
            confusion.add(&test_tensor(&predicted), &test_tensor(&truth), 255).unwrap();
            confusion
        };
        (0..count).map(scene).collect()
    }

    fn pixels(scenes: &[Confusion]) -> ScenePixels {
        let mut pixels = ScenePixels::new(scenes.len(), CLASSES as i64);
        scenes.iter().enumerate().for_each(|(index, scene)| pixels.set(index, scene));
        pixels
    }

    /// The reference adds up the whole confusion matrices of the drawn scenes.
    #[test]
    fn a_draw_has_the_scores_of_its_scenes() {
        let scenes = scenes(30);
        let draws = pixels(&scenes).resample().unwrap();
        let mut lacking = 0;
        for draw in 0..DRAWS {
            let often: Vec<f64> = Vec::try_from(counts(30, draw..draw + 1).get(0)).unwrap();
            let mut whole = Confusion::new(CLASSES);
            for (scene, often) in scenes.iter().zip(often) {
                (0..often as usize).for_each(|_| whole.merge(scene));
            }
            let score = whole.score().unwrap();
            lacking += usize::from(score.classes[3].iou.is_none());
            let found = [&draws.miou, &draws.macc, &draws.aacc].map(|draws| draws.values()[draw]);
            for (found, expected) in found.into_iter().zip([score.miou, score.macc, score.aacc]) {
                assert!((found - expected).abs() < 1e-12, "draw {draw}: {found} {expected}");
            }
        }
        assert!(lacking > 10, "some draws lack a class: {lacking}");
    }

    /// With scenes of equal size, aAcc is a mean over scenes, whose standard error has a closed form.
    #[test]
    fn the_interval_of_a_mean_is_its_standard_error() {
        let scenes = scenes(400);
        let (low, high) = pixels(&scenes).resample().unwrap().aacc.interval();
        let shares: Vec<f64> = scenes.iter().map(|scene| scene.score().unwrap().aacc).collect();
        let mean = shares.iter().sum::<f64>() / 400.0;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 399.0;
        let expected = 2.0 * 1.96 * (variance / 400.0).sqrt();
        assert!(((high - low) / expected - 1.0).abs() < 0.1, "{} {expected}", high - low);
        assert!(low < mean && mean < high);
    }

    /// Scenes of `side`² pixels of three classes, which are wrong with a probability of their own from U(0,
    /// 0.6).
    fn planted(rng: &mut Pcg64Mcg, scenes: usize, side: usize) -> Vec<Confusion> {
        let scene = |_| {
            let wrong = rng.gen_range(0.0..0.6);
            let truth: Vec<u8> = (0..side * side).map(|_| rng.gen_range(0..3)).collect();
            let other = |&class: &u8| if rng.r#gen::<f64>() < wrong { (class + 1) % 3 } else { class };
            let predicted: Vec<u8> = truth.iter().map(other).collect();
            let mut confusion = Confusion::new(3);
            confusion.add(&test_tensor(&predicted), &test_tensor(&truth), 255).unwrap();
            confusion
        };
        (0..scenes).map(scene).collect()
    }

    /// Share of `trials` in which the interval of mIoU holds the value of all scenes there are: with 0.3 of
    /// the pixels wrong, every class has 0.7 / (1 + 1 - 0.7).
    fn coverage(trials: usize, mut sample: impl FnMut() -> Vec<Confusion>) -> f64 {
        let covers = |_: &usize| {
            let scenes = sample();
            let mut pixels = ScenePixels::new(scenes.len(), 3);
            scenes.iter().enumerate().for_each(|(index, scene)| pixels.set(index, scene));
            let (low, high) = pixels.resample().unwrap().miou.interval();
            (low..=high).contains(&(0.7 / 1.3))
        };
        (0..trials).filter(covers).count() as f64 / trials as f64
    }

    #[test]
    fn intervals_of_miou_cover_95_percent() {
        let mut rng = Pcg64Mcg::seed_from_u64(3);
        let covered = coverage(600, || planted(&mut rng, 100, 8));
        assert!((0.93..=0.97).contains(&covered), "{covered}");
    }

    /// Pixels that are drawn one by one, as if those of a scene had nothing in common, give intervals that
    /// are too narrow.
    #[test]
    fn intervals_over_pixels_do_not_cover() {
        let mut rng = Pcg64Mcg::seed_from_u64(4);
        let pixel = |correct: u64, truth: usize| {
            let mut confusion = Confusion::new(3);
            let (truth, predicted) =
                (truth as u8, if correct > 0 { truth as u8 } else { (truth as u8 + 1) % 3 });
            confusion.add(&test_tensor(&[predicted]), &test_tensor(&[truth]), 255).unwrap();
            confusion
        };
        let pixels = |scene: &Confusion| {
            let cells = scene.pixels().iter().copied().enumerate().collect::<Vec<_>>();
            let each = |(place, count): (usize, u64)| {
                let (truth, predicted) = (place / 3, place % 3);
                (0..count).map(move |_| pixel(u64::from(truth == predicted), truth))
            };
            cells.into_iter().flat_map(each).collect::<Vec<_>>()
        };
        let covered = coverage(60, || planted(&mut rng, 30, 6).iter().flat_map(pixels).collect());
        assert!(covered < 0.75, "{covered}");
    }

    #[test]
    fn few_scenes_have_no_interval() {
        assert_eq!(pixels(&scenes(19)).resample(), None);
    }
}
