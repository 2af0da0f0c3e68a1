//! Feature files: features of a data set from any frozen encoder, written by any program. They are HDF5 with
//! the groups `train`, `test` and, for transfer, `val`:
//!
//! - for probes, `features_1` and `features_2` (N, D), the two views of each pair, and `targets/<name>` (N,
//!   k), the transformation from the first view to the second; `test/objects` (N) may say which test pairs
//!   are of one object, for the bootstrap;
//! - for transfer, `features` (N, D) and `labels` (N), classes from 0.
//!
//! All float types, float16 among them, are read as float32, those of targets as float64, and labels of all
//! integer types as int64.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use eqr_datasets::FileKind;
use eqr_datasets::output::{OutputKind, write_atomically};
use eqr_probes::bootstrap::Objects;
use eqr_probes::linear_classification::LabelledFeatures;
use eqr_probes::transfer::{LabelledSplit, TransferData};
use hdf5::types::TypeDescriptor;
use hdf5::{Dataset, File, H5Type};
use ndarray::{Array1, Array2};
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use crate::console::say;
use crate::measure::pair_features::{PairFeatures, PairSet};
use crate::measure::transfer::absent_classes;
use crate::registry::TaskFamily;

/// Feature files among the files that may be replaced: none, because their first bytes tell nothing of what
/// an HDF5 file holds.
pub const FEATURES: OutputKind = OutputKind { name: "made by this call", begins: |_| false };

/// Writes the labelled features of a transfer: `train|val|test/features` (N, D), float32, and
/// `train|val|test/labels` (N), int64. [`FeatureFile::transfer_data`] reads the same numbers.
///
/// # Errors
/// A file that cannot be written.
pub fn write_labelled(path: &Path, data: &TransferData) -> Result<()> {
    let structure = |temporary: &Path| -> Result<()> {
        let file = File::create(temporary)?;
        for (name, LabelledSplit { x, y }) in
            [("train", &data.train), ("val", &data.val), ("test", &data.test)]
        {
            let shape = (x.size()[0] as usize, x.size()[1] as usize);
            let x = Vec::<f32>::try_from(x.to_device(Device::Cpu).to_kind(Kind::Float).reshape([-1]))?;
            let y = Vec::<i64>::try_from(y.to_device(Device::Cpu))?;
            let group = file.create_group(name)?;
            group.new_dataset_builder().with_data(&Array2::from_shape_vec(shape, x)?).create("features")?;
            group.new_dataset_builder().with_data(&Array1::from_vec(y)).create("labels")?;
        }
        Ok(file.close()?)
    };
    write_atomically(path, structure).with_context(|| format!("cannot write {}", path.display()))
}

/// An open feature file.
pub struct FeatureFile {
    file: File,
    path: PathBuf,
}

impl FeatureFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read or is not HDF5.
    pub fn open(path: &Path) -> Result<FeatureFile> {
        hdf5::silence_errors(true);
        let place = path.display();
        let kind = FileKind::of_file(path).with_context(|| format!("{place}"))?;
        let hint = "hint: scripts/export_features.py writes one";
        let file = File::open(path).map_err(|error| match kind {
            FileKind::Hdf5 => anyhow!("{place}: not a feature file: HDF5 says: {error}\n{hint}"),
            other => anyhow!("{place}: {}", other.instead_of("a feature file, which is HDF5", hint)),
        })?;
        Ok(FeatureFile { file, path: path.to_owned() })
    }

    /// Path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file holds labelled features in addition to pairs.
    pub fn has_labelled(&self) -> bool {
        self.file.dataset("train/labels").is_ok()
    }

    /// The pairs of each target, ordered by the targets' names, on `device`.
    ///
    /// # Errors
    /// Groups or datasets that are missing, lengths or widths that do not match, values that are not finite.
    pub fn pair_sets(&self, device: Device) -> Result<Vec<PairSet>> {
        let names = self.target_names()?;
        let train = self.both_views("train")?.to_device(device);
        let test = self.both_views("test")?.to_device(device);
        self.same_width("test/features_1", &test, &train, 2)?;
        let objects = self.test_objects(&test)?;
        let set = |task: String| {
            let target = |split: &str, features: &Tensor| {
                let dataset = format!("{split}/targets/{task}");
                let target = self.floats::<f64>(&dataset)?;
                self.same_length(&dataset, &target, features, &format!("{split}/features_1"))?;
                Ok::<_, anyhow::Error>(target.to_device(device))
            };
            let (train_t, test_t) = (target("train", &train)?, target("test", &test)?);
            self.same_width(&format!("test/targets/{task}"), &test_t, &train_t, 1)?;
            let pairs = |y: &Tensor, target, objects| PairFeatures {
                y: y.shallow_clone(),
                grid: None,
                target,
                objects,
                redrawn: None,
            };
            let each = Objects::of_rows(train.size()[0] as usize);
            let (train, test) = (pairs(&train, train_t, each), pairs(&test, test_t, objects.clone()));
            Ok(PairSet { task, combined: false, train, test, shifted: None })
        };
        names.into_iter().map(set).collect()
    }

    /// The three labelled splits, on `device`. The largest training label gives the number of classes.
    ///
    /// # Errors
    /// Groups or datasets that are missing, lengths or widths that do not match, values that are not finite,
    /// labels that no training sample has, a single class.
    pub fn transfer_data(&self, device: Device) -> Result<TransferData> {
        let (train, classes) = self.labelled_train(device)?;
        let labelled = |split: &str| self.labelled_like(split, &train, classes, device);
        let (val, test) = (labelled("val")?, labelled("test")?);
        let numbers: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let labels = Vec::<i32>::try_from(&test.y.to_kind(Kind::Int).to_device(Device::Cpu))?;
        let untested = absent_classes(&numbers, &labels).join(", ");
        if !untested.is_empty() {
            let place = self.at("test/labels");
            say(&format!("note: {place}: no sample of class {untested}: left out of the mean per class"));
        }
        Ok(TransferData {
            name: self.path.display().to_string(),
            train,
            val,
            test,
            shifted: None,
            classes: usize::try_from(classes)?,
        })
    }

    /// The labelled training and test splits as a classification problem, on `device`.
    ///
    /// # Errors
    /// As [`FeatureFile::transfer_data`], without `val`.
    pub fn classification(&self, device: Device) -> Result<LabelledFeatures> {
        let (train, classes) = self.labelled_train(device)?;
        let test = self.labelled_like("test", &train, classes, device)?;
        let (name, classes) = (TaskFamily::Classification.name().to_owned(), usize::try_from(classes)?);
        Ok(LabelledFeatures {
            name,
            train_x: train.x,
            train_y: train.y,
            test_x: test.x,
            test_y: test.y,
            views: 1,
            classes,
        })
    }

    /// The labelled training split and its number of classes.
    fn labelled_train(&self, device: Device) -> Result<(LabelledSplit, i64)> {
        let train = self.labelled("train", device)?;
        let classes = train.y.max().int64_value(&[]) + 1;
        self.labels_below(&train, "train", classes)?;
        ensure!(classes > 1, "{}: one class only, expected at least two", self.at("train/labels"));
        Ok((train, classes))
    }

    /// Another labelled split, which must have the width and classes of the training split.
    fn labelled_like(
        &self,
        split: &str,
        train: &LabelledSplit,
        classes: i64,
        device: Device,
    ) -> Result<LabelledSplit> {
        let labelled = self.labelled(split, device)?;
        self.same_width(&format!("{split}/features"), &labelled.x, &train.x, 1)?;
        self.labels_below(&labelled, split, classes)?;
        Ok(labelled)
    }

    /// `path: dataset`, the beginning of error messages.
    fn at(&self, dataset: &str) -> String {
        format!("{}: {dataset}", self.path.display())
    }

    fn labelled(&self, split: &str, device: Device) -> Result<LabelledSplit> {
        let x = self.matrix(&format!("{split}/features"))?;
        let dataset = format!("{split}/labels");
        let y = self.labels(&dataset)?;
        self.same_length(&dataset, &y, &x, &format!("{split}/features"))?;
        Ok(LabelledSplit { x: x.to_device(device), y: y.to_device(device) })
    }

    fn labels_below(&self, labelled: &LabelledSplit, split: &str, classes: i64) -> Result<()> {
        let (min, max) = (labelled.y.min().int64_value(&[]), labelled.y.max().int64_value(&[]));
        ensure!(
            min >= 0 && max < classes,
            "{}: labels lie in {min}..={max}, expected 0..{classes} (classes from 0, as many as train/labels names)",
            self.at(&format!("{split}/labels"))
        );
        Ok(())
    }

    /// Features of both views of a split, (N, 2 D).
    fn both_views(&self, split: &str) -> Result<Tensor> {
        let names = [format!("{split}/features_1"), format!("{split}/features_2")];
        let [first, second] = [self.matrix(&names[0])?, self.matrix(&names[1])?];
        ensure!(
            first.size() == second.size(),
            "{}: shape {:?}, expected that of {}, {:?}",
            self.at(&names[1]),
            second.size(),
            names[0],
            first.size()
        );
        Ok(Tensor::cat(&[first, second], 1))
    }

    /// The object of each test pair: `test/objects` (N), any integers; without it, every pair is an object of
    /// its own.
    fn test_objects(&self, features: &Tensor) -> Result<Objects> {
        const DATASET: &str = "test/objects";
        if self.file.dataset(DATASET).is_err() {
            return Ok(Objects::of_rows(features.size()[0] as usize));
        }
        let objects = self.labels(DATASET)?;
        self.same_length(DATASET, &objects, features, "test/features_1")?;
        Ok(Objects::new(&Vec::<i64>::try_from(&objects)?))
    }

    /// Names under `train/targets`, which must equal those under `test/targets`.
    fn target_names(&self) -> Result<Vec<String>> {
        let names = |split: &str| {
            let group = format!("{split}/targets");
            let found = self.file.group(&group).map_err(|_| self.missing(&group))?;
            let mut names = found.member_names().with_context(|| self.at(&group))?;
            names.sort();
            Ok::<_, anyhow::Error>(names)
        };
        let (train, test) = (names("train")?, names("test")?);
        ensure!(
            !train.is_empty(),
            "{}: no target, expected at least one dataset (N, k)",
            self.at("train/targets")
        );
        ensure!(
            train == test,
            "{}: targets {}, expected those of train/targets, {}",
            self.at("test/targets"),
            test.join(", "),
            train.join(", ")
        );
        Ok(train)
    }

    fn dataset(&self, name: &str) -> Result<Dataset> {
        self.file.dataset(name).map_err(|_| self.missing(name))
    }

    /// The error for a missing dataset or group. It lists what the deepest existing group on the path holds.
    fn missing(&self, name: &str) -> anyhow::Error {
        let mut parent = String::new();
        for step in name.split('/') {
            let path = if parent.is_empty() { step.to_owned() } else { format!("{parent}/{step}") };
            if self.file.group(&path).is_err() {
                break;
            }
            parent = path;
        }
        let (place, group) = match parent.as_str() {
            "" => ("the file".to_owned(), self.file.as_group()),
            parent => (parent.to_owned(), self.file.group(parent)),
        };
        let found = group.and_then(|group| group.member_names()).unwrap_or_default().join(", ");
        let found = if found.is_empty() { "nothing".to_owned() } else { found };
        anyhow!(
            "{}: missing or not readable; {place} holds {found}\nhint: `eqr-bench probe --help` and `transfer --help` say what is expected",
            self.at(name)
        )
    }

    /// A dataset (N, D) of finite floats as float32.
    fn matrix(&self, name: &str) -> Result<Tensor> {
        self.floats::<f32>(name)
    }

    /// A dataset (N, D) of finite floats, N and D at least 1, as values of type `T`.
    fn floats<T: H5Type + Element + Copy + Into<f64>>(&self, name: &str) -> Result<Tensor> {
        let dataset = self.dataset(name)?;
        let shape = dataset.shape();
        let [rows, columns] = shape[..] else { bail!("{}: shape {shape:?}, expected (N, D)", self.at(name)) };
        ensure!(rows > 0 && columns > 0, "{}: shape {shape:?} holds no value", self.at(name));
        let float = matches!(dataset.dtype().and_then(|t| t.to_descriptor()), Ok(TypeDescriptor::Float(_)));
        ensure!(float, "{}: not floats, expected float32 or float64", self.at(name));
        let values: Vec<T> = dataset.read_raw().with_context(|| self.at(name))?;
        let is_bad = |value: &T| !Into::<f64>::into(*value).is_finite();
        if let Some(index) = values.iter().position(is_bad) {
            let bad = values.iter().filter(|value| is_bad(value)).count();
            let (row, column) = (index / columns, index % columns);
            bail!("{}: {bad} NaN or infinite values, the first in row {row}, column {column}", self.at(name));
        }
        Ok(Tensor::from_slice(&values).view([i64::try_from(rows)?, i64::try_from(columns)?]))
    }

    /// A dataset (N) of integers, N at least 1, as int64.
    fn labels(&self, name: &str) -> Result<Tensor> {
        let dataset = self.dataset(name)?;
        let shape = dataset.shape();
        ensure!(shape.len() == 1 && shape[0] > 0, "{}: shape {shape:?}, expected (N)", self.at(name));
        let descriptor = dataset.dtype().and_then(|t| t.to_descriptor());
        let integer = matches!(descriptor, Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)));
        ensure!(integer, "{}: not integers, expected int64", self.at(name));
        let values: Vec<i64> = dataset.read_raw().with_context(|| self.at(name))?;
        Ok(Tensor::from_slice(&values))
    }

    fn same_length(&self, name: &str, found: &Tensor, features: &Tensor, like: &str) -> Result<()> {
        let (rows, expected) = (found.size()[0], features.size()[0]);
        ensure!(rows == expected, "{}: {rows} rows, expected {expected}, as {like} has", self.at(name));
        Ok(())
    }

    /// Fails if `found` and `expected` differ in columns per view.
    fn same_width(&self, name: &str, found: &Tensor, expected: &Tensor, views: i64) -> Result<()> {
        let (columns, expected) = (found.size()[1] / views, expected.size()[1] / views);
        let like = name.replacen("test/", "train/", 1).replacen("val/", "train/", 1);
        ensure!(
            columns == expected,
            "{}: {columns} columns, expected {expected}, as {like} has",
            self.at(name)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hdf5::types::FloatSize;

    use super::*;

    /// A file with the given labels, and pairs of width 3 whose test targets have `columns` columns.
    fn written(folder: &tempfile::TempDir, labels: [[i64; 4]; 2], columns: usize) -> FeatureFile {
        let path = folder.path().join("features.h5");
        let file = File::create(&path).unwrap();
        for (split, labels, columns) in [("train", labels[0], 2), ("test", labels[1], columns)] {
            let matrix = |name: &str, width: usize, start: f32| {
                let values = Array2::from_shape_fn((4, width), |(i, j)| start + (i * width + j) as f32);
                file.new_dataset_builder()
                    .with_data(&values)
                    .create(format!("{split}/{name}").as_str())
                    .unwrap();
            };
            matrix("features_1", 3, 0.0);
            matrix("features_2", 3, 100.0);
            matrix("targets/color", columns, 0.0);
            matrix("features", 3, 0.0);
            let labels = Array1::from_vec(labels.to_vec());
            file.new_dataset_builder().with_data(&labels).create(format!("{split}/labels").as_str()).unwrap();
        }
        drop(file);
        FeatureFile::open(&path).unwrap()
    }

    #[test]
    fn both_views_stand_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let file = written(&folder, [[0, 1, 2, 0], [0, 1, 2, 2]], 2);
        let sets = file.pair_sets(Device::Cpu).unwrap();
        assert_eq!(
            (sets.len(), sets[0].task.as_str(), sets[0].train.target.size()),
            (1, "color", vec![4, 2])
        );
        let first_row = Vec::<f32>::try_from(sets[0].train.y.get(0)).unwrap();
        assert_eq!(first_row, [0.0, 1.0, 2.0, 100.0, 101.0, 102.0]);
        assert!(file.has_labelled());
        assert_eq!(file.classification(Device::Cpu).unwrap().classes, 3);
    }

    #[test]
    fn half_precision_is_read_as_float32() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.h5");
        let file = File::create(&path).unwrap();
        let half = TypeDescriptor::Float(FloatSize::U2);
        let values = Array2::from_shape_fn((2, 3), |(i, j)| (i * 3 + j) as f32 / 4.0);
        let dataset = file.new_dataset_builder().empty_as(&half).shape((2, 3)).create("x").unwrap();
        dataset.write(&values).unwrap();
        assert_eq!(dataset.storage_size(), 12, "two bytes a value");
        drop(file);
        let read = FeatureFile::open(&path).unwrap().matrix("x").unwrap();
        assert_eq!(Vec::<f32>::try_from(read.view([-1])).unwrap(), values.into_raw_vec_and_offset().0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (labels, columns, says) in [
            ([[0, 1, 0, 1], [0, 1, 2, 0]], 2, "test/labels: labels lie in 0..=2, expected 0..2"),
            ([[0, 0, 0, 0], [0, 0, 0, 0]], 2, "train/labels: one class only"),
            ([[0, 1, 0, 1], [0, 1, 0, 1]], 3, "test/targets/color: 3 columns, expected 2"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = written(&folder, labels, columns);
            let errors = [file.pair_sets(Device::Cpu).err(), file.classification(Device::Cpu).err()];
            let text = errors.into_iter().flatten().map(|error| format!("{error:#}")).collect::<String>();
            assert!(text.contains(says), "{says}: {text}");
            let missing = format!("{:#}", file.transfer_data(Device::Cpu).unwrap_err());
            assert!(missing.contains("val/features: missing") || missing.contains("one class"), "{missing}");
        }
    }
}
