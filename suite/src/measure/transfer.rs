//! A labelled pack as features of a frozen encoder, in the three parts that linear transfer takes (protocol section 5).

use anyhow::{Context, Result, ensure};
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::pack::PackedSplit;
use eqr_datasets::{Loader, Pack};
use eqr_probes::transfer::{LabelledSplit, TransferData};
use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use crate::encoder::representation::FeatureEncoder;
use eqr_models::Normalisation;
use crate::suite_file::downstream_sets::Preparation;

/// Images that are encoded at a time.
const ENCODE: usize = 256;

/// Seed of the validation part where the set has none.
const VAL_SEED: u64 = 0;

/// An encoder with how it takes images.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The encoder.
    pub encoder: &'a dyn FeatureEncoder,
    /// Side of its images in pixels.
    pub side: usize,
    /// What they are normalised by.
    pub normalisation: Normalisation,
    /// Where it computes.
    pub device: Device,
}

/// Features and labels of `pack`: `train`, `val` and `test` where it has them; without `val`, a part of `train`.
///
/// # Errors
/// A value of `preparation` out of range, a pack without the splits or with images that cannot be read, an encoder that fails.
pub fn transfer_data(pack: &Pack, reader: Reader, preparation: &Preparation) -> Result<TransferData> {
    preparation.validate()?;
    let (train, test) = (pack.expect_split("train")?, pack.expect_split("test")?);
    let read = |split: &PackedSplit, indices: &[usize]| {
        features(split, indices, reader, preparation).with_context(|| pack.path().display().to_string())
    };
    let all = |split: &PackedSplit| (0..split.len()).collect::<Vec<_>>();
    let (train_rows, val) = match pack.split("val") {
        Some(val) => (all(train), read(val, &all(val))?),
        None => {
            let (kept, aside) = set_aside(&train.labels, preparation.val_fraction);
            ensure!(
                !aside.is_empty(),
                "{}: the classes are too small to set {} of them aside for validation\nhint: raise --val-fraction",
                pack.path().display(),
                preparation.val_fraction
            );
            (kept, read(train, &aside)?)
        }
    };
    Ok(TransferData {
        name: pack.name.clone(),
        train: read(train, &train_rows)?,
        val,
        test: read(test, &all(test))?,
        classes: pack.class_names.len(),
    })
}

/// Rows that stay and rows that are set aside, ascending both: `fraction` of every class, at random; what rounding leaves of one class goes
/// to the next.
fn set_aside(labels: &[i32], fraction: f64) -> (Vec<usize>, Vec<usize>) {
    let classes = labels.iter().max().map_or(0, |&last| last + 1);
    let mut aside = Vec::new();
    let mut wanted = 0.0;
    for class in 0..classes {
        let mut rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] == class).collect();
        rows.shuffle(&mut rng(VAL_SEED, 0, class as u64, Purpose::Subset));
        wanted += fraction * rows.len() as f64;
        // no class loses its last training sample
        let count = (wanted.round() as usize).min(rows.len().saturating_sub(1));
        wanted -= count as f64;
        aside.extend(&rows[..count]);
    }
    aside.sort_unstable();
    let kept = (0..labels.len()).filter(|row| aside.binary_search(row).is_err()).collect();
    (kept, aside)
}

fn features(split: &PackedSplit, indices: &[usize], reader: Reader, preparation: &Preparation) -> Result<LabelledSplit> {
    let Reader { encoder, side, normalisation, device } = reader;
    let loader = Loader::new(split.clone(), side);
    let short = ((side as f64 / preparation.crop_pct).round() as usize).max(side);
    let encode = |indices: &[usize]| {
        let pixels = loader.centre_crops(indices, short)?.to_device(device).to_kind(Kind::Float) / 255.0;
        Ok(encoder.represent(&normalisation.apply(&pixels))?.y)
    };
    let x = indices.chunks(ENCODE).map(encode).collect::<Result<Vec<_>>>()?;
    let y: Vec<i64> = indices.iter().map(|&row| i64::from(split.labels[row])).collect();
    Ok(LabelledSplit { x: Tensor::cat(&x, 0), y: Tensor::from_slice(&y).to_device(device) })
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

    /// Of classes of three, every third gives one: rounding neither takes one of each nor none at all.
    #[test]
    fn small_classes_share_what_is_set_aside() {
        let labels: Vec<i32> = (0..300).map(|row| row / 3).collect();
        let (kept, aside) = set_aside(&labels, 0.1);
        assert_eq!(aside.len(), 30);
        assert!((0..100).all(|class| kept.iter().any(|&row| labels[row] == class)));
    }
}
