//! Feature files: what a frozen encoder made of a set, from whatever program. HDF5, with the groups `train`, `test` and, for transfer, `val`:
//!
//! - for probes `features_1` and `features_2` (N, D), the two views of each pair, and `targets/<name>` (N, k), what leads from
//!   the first view to the second;
//! - for transfer `features` (N, D) and `labels` (N), classes from 0.
//!
//! Numbers of any float type are read as float32, labels of any integer type as int64.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use eqr_probes::linear_classification::LabelledFeatures;
use eqr_probes::transfer::{LabelledSplit, TransferData};
use hdf5::types::TypeDescriptor;
use hdf5::{Dataset, File};
use tch::{Device, Tensor};

use crate::measure::regression::{PairFeatures, Regression};

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
        std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
        let file = File::open(path).map_err(|error| {
            anyhow!(
                "{}: not a feature file: HDF5 says: {error}\nhint: scripts/export_features.py writes one",
                path.display()
            )
        })?;
        Ok(FeatureFile { file, path: path.to_owned() })
    }

    /// Whether it holds labelled features beside those of pairs.
    pub fn has_labelled(&self) -> bool {
        self.file.dataset("train/labels").is_ok()
    }

    /// One regression for each target, by name, on `device`: the features of both views side by side.
    ///
    /// # Errors
    /// Groups or datasets that are missing, lengths or widths that do not fit, values that are not finite.
    pub fn regressions(&self, device: Device) -> Result<Vec<Regression>> {
        let names = self.target_names()?;
        let train = self.pair_features("train")?.to_device(device);
        let test = self.pair_features("test")?.to_device(device);
        self.same_width("test/features_1", &test, &train, 2)?;
        let problem = |name: String| {
            let target = |split: &str, features: &Tensor| {
                let dataset = format!("{split}/targets/{name}");
                let target = self.matrix(&dataset)?;
                self.same_length(&dataset, &target, features, &format!("{split}/features_1"))?;
                Ok::<_, anyhow::Error>(target.to_device(device))
            };
            let (train_t, test_t) = (target("train", &train)?, target("test", &test)?);
            self.same_width(&format!("test/targets/{name}"), &test_t, &train_t, 1)?;
            let pairs = |y: &Tensor, target| PairFeatures { y: y.shallow_clone(), grid: None, target };
            let (train, test) = (pairs(&train, train_t), pairs(&test, test_t));
            Ok(Regression { task: name, suffix: "", train, test })
        };
        names.into_iter().map(problem).collect()
    }

    /// The three labelled parts, on `device`. As many classes as the training labels' largest says.
    ///
    /// # Errors
    /// Groups or datasets that are missing, lengths or widths that do not fit, values that are not finite, labels that no training
    /// sample has, one class only.
    pub fn transfer_data(&self, device: Device) -> Result<TransferData> {
        let (train, classes) = self.labelled_train(device)?;
        let part = |split: &str| self.labelled_like(split, &train, classes, device);
        let (val, test) = (part("val")?, part("test")?);
        Ok(TransferData { name: self.path.display().to_string(), train, val, test, classes: usize::try_from(classes)? })
    }

    /// The labelled training and test parts as a classification problem, on `device`.
    ///
    /// # Errors
    /// As [`FeatureFile::transfer_data`], `val` aside.
    pub fn classification(&self, device: Device) -> Result<LabelledFeatures> {
        let (train, classes) = self.labelled_train(device)?;
        let test = self.labelled_like("test", &train, classes, device)?;
        let (name, classes) = ("classification".to_owned(), usize::try_from(classes)?);
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

    /// The labelled training part and the number of classes that it names.
    fn labelled_train(&self, device: Device) -> Result<(LabelledSplit, i64)> {
        let train = self.labelled("train", device)?;
        let classes = train.y.max().int64_value(&[]) + 1;
        self.labels_below(&train, "train", classes)?;
        ensure!(classes > 1, "{}: one class only, expected at least two", self.at("train/labels"));
        Ok((train, classes))
    }

    /// Another labelled part with the training part's features and classes.
    fn labelled_like(&self, split: &str, train: &LabelledSplit, classes: i64, device: Device) -> Result<LabelledSplit> {
        let part = self.labelled(split, device)?;
        self.same_width(&format!("{split}/features"), &part.x, &train.x, 1)?;
        self.labels_below(&part, split, classes)?;
        Ok(part)
    }

    /// `path: dataset`, as messages begin.
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

    fn labels_below(&self, part: &LabelledSplit, split: &str, classes: i64) -> Result<()> {
        let (min, max) = (part.y.min().int64_value(&[]), part.y.max().int64_value(&[]));
        ensure!(
            min >= 0 && max < classes,
            "{}: labels lie in {min}..={max}, expected 0..{classes} (classes from 0, as many as train/labels names)",
            self.at(&format!("{split}/labels"))
        );
        Ok(())
    }

    /// Features of both views of a split, (N, 2 D).
    fn pair_features(&self, split: &str) -> Result<Tensor> {
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

    /// Names under `train/targets`, which must be those under `test/targets`.
    fn target_names(&self) -> Result<Vec<String>> {
        let of = |split: &str| {
            let group = format!("{split}/targets");
            let found = self.file.group(&group).map_err(|_| self.missing(&group))?;
            let mut names = found.member_names().with_context(|| self.at(&group))?;
            names.sort();
            Ok::<_, anyhow::Error>(names)
        };
        let (train, test) = (of("train")?, of("test")?);
        ensure!(!train.is_empty(), "{}: no target, expected at least one dataset (N, k)", self.at("train/targets"));
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

    /// The error of a missing dataset or group: says what there is where the path breaks off.
    fn missing(&self, name: &str) -> anyhow::Error {
        let mut parent = String::new();
        for part in name.split('/') {
            let path = if parent.is_empty() { part.to_owned() } else { format!("{parent}/{part}") };
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

    /// A dataset (N, D) of finite floats, neither side empty, as float32.
    fn matrix(&self, name: &str) -> Result<Tensor> {
        let dataset = self.dataset(name)?;
        let shape = dataset.shape();
        let [rows, columns] = shape[..] else { bail!("{}: shape {shape:?}, expected (N, D)", self.at(name)) };
        ensure!(rows > 0 && columns > 0, "{}: shape {shape:?} holds no value", self.at(name));
        let float = matches!(dataset.dtype().and_then(|t| t.to_descriptor()), Ok(TypeDescriptor::Float(_)));
        ensure!(float, "{}: not of floats, expected float32", self.at(name));
        let values: Vec<f32> = dataset.read_raw().with_context(|| self.at(name))?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let bad = values.iter().filter(|value| !value.is_finite()).count();
            let (row, column) = (index / columns, index % columns);
            bail!("{}: {bad} NaN or infinite values, the first in row {row}, column {column}", self.at(name));
        }
        Ok(Tensor::from_slice(&values).view([i64::try_from(rows)?, i64::try_from(columns)?]))
    }

    /// A dataset (N) of integers, not empty, as int64.
    fn labels(&self, name: &str) -> Result<Tensor> {
        let dataset = self.dataset(name)?;
        let shape = dataset.shape();
        ensure!(shape.len() == 1 && shape[0] > 0, "{}: shape {shape:?}, expected (N)", self.at(name));
        let descriptor = dataset.dtype().and_then(|t| t.to_descriptor());
        let integer = matches!(descriptor, Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)));
        ensure!(integer, "{}: not of integers, expected int64", self.at(name));
        let values: Vec<i64> = dataset.read_raw().with_context(|| self.at(name))?;
        Ok(Tensor::from_slice(&values))
    }

    fn same_length(&self, name: &str, found: &Tensor, features: &Tensor, of: &str) -> Result<()> {
        let (rows, expected) = (found.size()[0], features.size()[0]);
        ensure!(rows == expected, "{}: {rows} rows, expected {expected}, as {of} has", self.at(name));
        Ok(())
    }

    /// Fails where `found` has other columns than `expected`, each in `views` parts.
    fn same_width(&self, name: &str, found: &Tensor, expected: &Tensor, views: i64) -> Result<()> {
        let (columns, expected) = (found.size()[1] / views, expected.size()[1] / views);
        let of = name.replacen("test/", "train/", 1).replacen("val/", "train/", 1);
        ensure!(columns == expected, "{}: {columns} columns, expected {expected}, as {of} has", self.at(name));
        Ok(())
    }
}
