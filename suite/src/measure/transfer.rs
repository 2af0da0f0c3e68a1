//! Linear transfer (protocol section 5), also from a few images of each class: encodes a labelled pack with a
//! frozen encoder, and lists the accuracies as values.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::pack::PackedSplit;
use eqr_datasets::transforms::{Border, Draws, FirstView, Shift};
use eqr_datasets::{Loader, Pack};
use eqr_models::Normalisation;
use eqr_probes::bootstrap::{Objects, resample};
use eqr_probes::few_shot::{FewShot, FewShotConfig};
use eqr_probes::transfer::{GridEnd, LabelledSplit, TestPredictions, Transfer, TransferData};
use eqr_probes::{Accuracy, accuracy_statistics};
use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use crate::console::{counted, say};
use crate::encoder::frozen::FrozenEncoder;
use crate::encoder::representation::FeatureEncoder;
use crate::measure::evaluation::ENCODING;
use crate::registry::{
    FEW_SHOT_MEAN_PER_CLASS, FEW_SHOT_TOP1, KNN_MEAN_PER_CLASS, KNN_TOP1, LAMBDA, Measure,
    SHIFTED_MEAN_PER_CLASS, SHIFTED_TOP1, TRANSFER_MEAN_PER_CLASS, TRANSFER_TOP1,
};
use crate::run_folder::metric::{MeasuredValue, ResampledMetric};
use crate::suite_file::downstream_sets::Preparation;

/// Number of images encoded at a time.
const ENCODE: usize = 256;

/// Seed of the validation split, for sets that have none.
const VAL_SEED: u64 = 0;

/// Seed of the changes of shifted test images.
const SHIFT_SEED: u64 = 0x7e57_0003;

/// An encoder with the properties of the images that it takes.
#[derive(Clone, Copy)]
pub struct ImageEncoder<'a> {
    /// The encoder.
    pub encoder: &'a dyn FeatureEncoder,
    /// Side of its images in pixels.
    pub side: usize,
    /// Normalisation of its images.
    pub normalisation: Normalisation,
    /// Device that it computes on.
    pub device: Device,
}

impl<'a> ImageEncoder<'a> {
    /// An encoder from a file.
    pub fn frozen(encoder: &'a FrozenEncoder, device: Device) -> ImageEncoder<'a> {
        ImageEncoder { encoder, side: encoder.side(), normalisation: encoder.normalisation, device }
    }
}

/// What is asked of a labelled pack.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How its images are prepared.
    pub preparation: &'a Preparation,
    /// Whether a few images of each class are to suffice.
    pub few_shot: Option<&'a FewShotConfig>,
    /// Ranges of changes after which the test images are classified, too.
    pub shift: Option<Shift>,
}

/// Features and labels of `pack` for its splits `train`, `val` and `test`.
///
/// # Errors
/// As [`TransferImages::of`]; images that cannot be read, an encoder that fails.
pub fn transfer_data(pack: &Pack, encoder: ImageEncoder, asked: Asked) -> Result<TransferData> {
    TransferImages::of(pack, asked)?.encode(encoder)
}

/// The images that a transfer learns from, chooses by and is tested on.
pub struct TransferImages {
    name: String,
    /// The pack.
    path: PathBuf,
    classes: usize,
    preparation: Preparation,
    /// Changes of the test images, which are then classified once more.
    shift: Option<Shift>,
    train: Chosen,
    val: Chosen,
    test: Chosen,
}

/// Images of a split.
struct Chosen {
    split: PackedSplit,
    /// Their positions in the split.
    rows: Vec<usize>,
}

impl TransferImages {
    /// Those of the splits `train`, `val` and `test` of `pack`. If the pack has no `val`, a part of `train`
    /// is held out.
    ///
    /// # Errors
    /// A value out of range, a pack without the splits, a class with too few training images for few shots.
    pub fn of(pack: &Pack, asked: Asked) -> Result<TransferImages> {
        let Asked { preparation, few_shot, shift } = asked;
        preparation.validate()?;
        shift.map_or(Ok(()), |shift| shift.validate())?;
        let (train, test) = (pack.expect_split("train")?, pack.expect_split("test")?);
        pack.expect_labels("`transfer`")?;
        check_classes(pack, train, test)?;
        let all = |split: &PackedSplit| (0..split.len()).collect::<Vec<_>>();
        let (train_rows, val, val_rows) = match pack.split("val") {
            Some(val) => (all(train), val, all(val)),
            None => {
                let (kept, aside) = set_aside(&train.labels, preparation.val_fraction);
                ensure!(
                    !aside.is_empty(),
                    "{}: the classes are too small to set {} of them aside for validation\nhint: raise --val-fraction",
                    pack.path().display(),
                    preparation.val_fraction
                );
                (kept, train, aside)
            }
        };
        few_shot.map_or(Ok(()), |few_shot| check_shots(pack, train, &train_rows, few_shot))?;
        let chosen = |split: &PackedSplit, rows| Chosen { split: split.clone(), rows };
        Ok(TransferImages {
            name: pack.name.clone(),
            path: pack.path().to_owned(),
            classes: pack.class_names.len(),
            preparation: *preparation,
            shift,
            train: chosen(train, train_rows),
            val: chosen(val, val_rows),
            test: chosen(test, all(test)),
        })
    }

    /// Number of images of each split: training, validation, test.
    pub fn counts(&self) -> [usize; 3] {
        [&self.train, &self.val, &self.test].map(|chosen| chosen.rows.len())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Their features and labels.
    ///
    /// # Errors
    /// Images that cannot be read, an encoder that fails.
    pub fn encode(&self, encoder: ImageEncoder) -> Result<TransferData> {
        let seen = |chosen: &Chosen, shift: Option<Shift>| {
            self.features(chosen, encoder, shift).with_context(|| self.path.display().to_string())
        };
        let [train, val, test] = [&self.train, &self.val, &self.test].map(|chosen| seen(chosen, None));
        let shifted = self.shift.map(|shift| seen(&self.test, Some(shift)));
        Ok(TransferData {
            name: self.name.clone(),
            train: train?,
            val: val?,
            test: test?,
            shifted: shifted.transpose()?.map(|shifted| shifted.x),
            classes: self.classes,
        })
    }

    fn features(
        &self,
        Chosen { split, rows }: &Chosen,
        encoder: ImageEncoder,
        shift: Option<Shift>,
    ) -> Result<LabelledSplit> {
        let ImageEncoder { encoder, side, normalisation, device } = encoder;
        let loader = Loader::new(split.clone(), side);
        let short = ((side as f64 / self.preparation.crop_pct).round() as usize).max(side);
        let encode = |rows: &[usize]| {
            let pixels = loader.centre_crops(rows, short)?.to_device(device).to_kind(Kind::Float) / 255.0;
            let pixels = shift.map_or_else(|| pixels.shallow_clone(), |shift| shifted(&pixels, rows, &shift));
            tch::no_grad(|| Ok(encoder.represent(&normalisation.apply(&pixels))?.y))
        };
        let x = counted(ENCODING, rows.chunks(ENCODE)).map(encode).collect::<Result<Vec<_>>>()?;
        let y: Vec<i64> = rows.iter().map(|&row| i64::from(split.labels[row])).collect();
        Ok(LabelledSplit { x: Tensor::cat(&x, 0), y: Tensor::from_slice(&y).to_device(device) })
    }
}

/// Names the classes that a split lacks, before anything is encoded. Nothing is learned of a class without
/// training images; one without test images is left out of the mean per class.
fn check_classes(pack: &Pack, train: &PackedSplit, test: &PackedSplit) -> Result<()> {
    let place = pack.path().display();
    let absent = |split: &PackedSplit| absent_classes(&pack.class_names, &split.labels).join(", ");
    let untrained = absent(train);
    ensure!(
        untrained.is_empty(),
        "{place}: no training images of {untrained}\nhint: pack the set again without these classes"
    );
    let untested = absent(test);
    if !untested.is_empty() {
        say(&format!("note: {place}: no test images of {untested}: left out of the mean per class"));
    }
    let unchosen = pack.split("val").map(absent).unwrap_or_default();
    if !unchosen.is_empty() {
        say(&format!("note: {place}: no validation images of {unchosen}: lambda is chosen without them"));
    }
    Ok(())
}

/// Names the classes that have fewer training images than `few_shot` asks for, before anything is encoded.
fn check_shots(pack: &Pack, train: &PackedSplit, rows: &[usize], few_shot: &FewShotConfig) -> Result<()> {
    let labels = rows.iter().map(|&row| i64::from(train.labels[row]));
    let small = few_shot.small_classes(labels, pack.class_names.len());
    let named = small.iter().map(|(class, images)| format!("`{}` has {images}", pack.class_names[*class]));
    let aside = if pack.split("val").is_none() { " beside those held out for validation" } else { "" };
    ensure!(
        small.is_empty(),
        "{}: too few training images{aside} for draws of {} of each class: {}\nhint: ask for fewer, or pack the set \
         without these classes",
        pack.path().display(),
        few_shot.most_shots(),
        named.collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// The quoted names of the classes without a label in `labels`.
pub(super) fn absent_classes(names: &[String], labels: &[i32]) -> Vec<String> {
    let occurring: BTreeSet<i32> = labels.iter().copied().collect();
    let named = names.iter().enumerate();
    named
        .filter(|(class, _)| !occurring.contains(&(*class as i32)))
        .map(|(_, name)| format!("`{name}`"))
        .collect()
}

/// The accuracies of logistic regression and of nearest neighbours, and the strength of the penalty.
pub fn values(result: &Transfer) -> Vec<MeasuredValue> {
    let Transfer { accuracy, knn, lambda, shifted, .. } = result;
    let of_shifted = |Accuracy { top1, mean_per_class }: &Accuracy| {
        [(SHIFTED_TOP1, *top1), (SHIFTED_MEAN_PER_CLASS, *mean_per_class)]
    };
    let values = [
        (TRANSFER_TOP1, accuracy.top1),
        (TRANSFER_MEAN_PER_CLASS, accuracy.mean_per_class),
        (KNN_TOP1, knn.top1),
        (KNN_MEAN_PER_CLASS, knn.mean_per_class),
        (LAMBDA, *lambda),
    ];
    let values = values.into_iter().chain(shifted.iter().flat_map(of_shifted));
    values.map(|(measure, value)| measure.value(None, value)).collect()
}

/// The accuracies after a few images of each class. Their `eval_seed` is the draw.
pub fn few_shot_values(found: &[FewShot]) -> Vec<MeasuredValue> {
    let of_draw = |FewShot { shots, accuracies, .. }: &FewShot| {
        let shots = shots.to_string();
        let values = |(accuracy, draw): (&Accuracy, u64)| {
            [(FEW_SHOT_TOP1, accuracy.top1), (FEW_SHOT_MEAN_PER_CLASS, accuracy.mean_per_class)]
                .map(|(measure, value)| measure.value_of(&shots, Some(draw), value))
        };
        accuracies.iter().zip(0..).flat_map(values).collect::<Vec<_>>()
    };
    found.iter().flat_map(of_draw).collect()
}

/// Says that fits of few-shot draws stopped before they reached their tolerance.
pub fn unfinished_note(found: &[FewShot]) -> Option<String> {
    let unfinished: usize = found.iter().map(|shots| shots.unfinished).sum();
    let fits: usize = found.iter().map(|shots| shots.accuracies.len()).sum();
    (unfinished > 0)
        .then(|| format!("note: {unfinished} of {fits} few-shot fits stopped at their last iteration"))
}

/// The draws of a bootstrap over the test images, for every accuracy.
pub fn resampled(Transfer { test, .. }: &Transfer) -> Vec<ResampledMetric> {
    let mut all = vec![
        ([TRANSFER_TOP1, TRANSFER_MEAN_PER_CLASS], &test.linear[..]),
        ([KNN_TOP1, KNN_MEAN_PER_CLASS], &test.neighbours),
    ];
    if !test.shifted.is_empty() {
        all.push(([SHIFTED_TOP1, SHIFTED_MEAN_PER_CLASS], &test.shifted));
    }
    resampled_accuracies(test, &all)
}

/// The draws of a bootstrap over the images of `test`, for the two accuracies of every list of predictions,
/// under the names of its two measures.
pub fn resampled_accuracies(
    test: &TestPredictions,
    predictions: &[([Measure; 2], &[i64])],
) -> Vec<ResampledMetric> {
    let labels = Tensor::from_slice(&test.labels);
    let of_predictions = predictions.iter().flat_map(|([top1, mean_per_class], predicted)| {
        let (share, per_class) = accuracy_statistics(&Tensor::from_slice(predicted), &labels, test.classes);
        [Some((*top1, share)), per_class.map(|statistic| (*mean_per_class, statistic))]
    });
    let (measures, statistics): (Vec<_>, Vec<_>) = of_predictions.flatten().unzip();
    let draws = resample(&Objects::of_rows(test.labels.len()), &statistics);
    let of_measure = measures.iter().zip(draws);
    of_measure
        .filter_map(|(measure, draws)| {
            Some(ResampledMetric::new(measure.family.name(), measure.metric, &draws?))
        })
        .collect()
}

/// Says that the strength `lambda` is an end of the grid, because the best one may lie beyond it.
pub fn end_of_grid_note(lambda: f64) -> Option<String> {
    let (end, beyond) = match GridEnd::of(lambda)? {
        GridEnd::Weakest => ("weakest", "weaker"),
        GridEnd::Strongest => ("strongest", "stronger"),
    };
    Some(format!(
        "note: the {end} penalty of the grid (lambda {lambda:.0e}, in units of the features' mean variance) \
         was chosen: a {beyond} one may be better, or all are equal"
    ))
}

/// Rows to keep and rows to hold out, both ascending. A random `fraction` of every class is held out; the
/// rounding remainder of one class is added to the next.
fn set_aside(labels: &[i32], fraction: f64) -> (Vec<usize>, Vec<usize>) {
    let classes = labels.iter().max().map_or(0, |&last| last + 1);
    let mut aside = Vec::new();
    let mut wanted = 0.0;
    for class in 0..classes {
        let mut rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] == class).collect();
        rows.shuffle(&mut rng(VAL_SEED, 0, class as u64, Purpose::Subset));
        wanted += fraction * rows.len() as f64;
        // every class keeps at least one training sample
        let count = (wanted.round() as usize).min(rows.len().saturating_sub(1));
        wanted -= count as f64;
        aside.extend(&rows[..count]);
    }
    aside.sort_unstable();
    let kept = (0..labels.len()).filter(|row| aside.binary_search(row).is_err()).collect();
    (kept, aside)
}

/// Images (N, 3, S, S) in [0, 1] after changes from the ranges of `shift`, mirrored at their edges. The
/// change of an image depends only on its index in the split.
fn shifted(pixels: &Tensor, indices: &[usize], shift: &Shift) -> Tensor {
    let keys: Vec<u64> = indices.iter().map(|&index| index as u64).collect();
    let draws = Draws::of_shift(&keys, SHIFT_SEED, shift);
    FirstView::without_surroundings(pixels).transformed(&draws, Border::Reflection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_every_class_is_set_aside() {
        let labels: Vec<i32> = (0..210).map(|row| if row < 10 { 2 } else { row % 2 }).collect();
        let (kept, aside) = set_aside(&labels, 0.1);
        let count = |rows: &[usize], class: i32| rows.iter().filter(|&&row| labels[row] == class).count();
        assert_eq!([0, 1, 2].map(|class| count(&aside, class)), [10, 10, 1]);
        assert_eq!((kept.len(), aside.len()), (189, 21));
        assert!(kept.iter().all(|row| aside.binary_search(row).is_err()));
    }

    #[test]
    fn absent_classes_are_named() {
        let names = ["cat", "dog", "elk"].map(str::to_owned);
        assert_eq!(absent_classes(&names, &[0, 2, 2]), ["`dog`"]);
        assert!(absent_classes(&names, &[2, 1, 0]).is_empty());
    }

    /// With three rows per class, one row is held out from every third class.
    #[test]
    fn small_classes_share_what_is_set_aside() {
        let labels: Vec<i32> = (0..300).map(|row| row / 3).collect();
        let (kept, aside) = set_aside(&labels, 0.1);
        assert_eq!(aside.len(), 30);
        assert!((0..100).all(|class| kept.iter().any(|&row| labels[row] == class)));
    }
}
