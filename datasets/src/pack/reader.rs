//! Reading the structure of a pack: everything except images and masks.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use hdf5::types::VarLenUnicode;
use ndarray::{Array1, Array2, Dimension, Ix1, Ix2};

use super::format::{FORMAT, NAMES_IN_ATTRIBUTE, REPACK, SPLITS, wrong_version};
use super::opened::Pack;
use super::seal::Seal;
use super::split::{PackedSplit, StoredImages};
use super::storage::Storage;
use crate::error::{Error, Result};
use crate::images::decode::check_size;
use crate::scene_latents::SceneLatents;
use crate::set_kind::SetKind;

impl Pack {
    /// Opens the pack at `path`. Checks format, version, length, shapes, labels and the hash of everything
    /// except images and masks. [`super::verify`] also checks images and masks.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Format`] if it is not a pack or is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Pack> {
        Reader::open(path.as_ref())?.pack()
    }
}

/// An open pack file. Errors name the part of the pack that was being read.
pub(super) struct Reader<'a> {
    path: &'a Path,
    file: hdf5::File,
    version: u32,
    length: u64,
}

impl<'a> Reader<'a> {
    /// Checks the seal and opens the HDF5 structure.
    pub fn open(path: &'a Path) -> Result<Self> {
        let seal = Seal::check(path)?;
        hdf5::silence_errors(true);
        let file = hdf5::File::open(path).map_err(|source| {
            let hint =
                "hint: pack it again; if the file system does not support locks, set HDF5_USE_FILE_LOCKING=FALSE";
            Error::format(path, format!("HDF5 cannot open it: {source}\n{hint}"))
        })?;
        Ok(Reader { path, file, version: seal.version, length: seal.length })
    }

    /// Reads everything except images and masks.
    pub fn pack(&self) -> Result<Pack> {
        let format = self.text("format")?;
        if format != FORMAT {
            return Err(self.wrong("format", format!("expected {FORMAT}, found {format}")));
        }
        match self.values::<u32>(&self.file, "format_version")?[..] {
            [version] if version == self.version => {}
            ref other => return Err(Error::format(self.path, wrong_version(format!("{other:?}")))),
        }
        let kind = self.text("kind")?;
        let kind = SetKind::ALL.into_iter().find(|other| other.name() == kind);
        let kind = kind.ok_or_else(|| self.wrong("kind", "expected photographs or renders"))?;
        let class_names = self.class_names()?;
        let file = Arc::new(File::open(self.path).map_err(Error::io(self.path))?);
        let present = SPLITS.into_iter().filter(|name| self.file.link_exists(name));
        let splits = present
            .map(|name| self.split(name, kind, &file, class_names.len()))
            .collect::<Result<Vec<_>>>()?;
        if splits.is_empty() {
            return Err(self.wrong("splits", "expected train, val or test"));
        }
        let provenance = self.text("provenance")?;
        Ok(Pack {
            version: self.version,
            name: self.text("name")?,
            kind,
            class_names,
            mean: self.channels("mean", 0.0..=1.0)?,
            std: self.channels("std", f32::MIN_POSITIVE..=1.0)?,
            provenance: serde_json::from_str(&provenance).map_err(|error| self.wrong("provenance", error))?,
            content: self.text("content")?,
            splits,
            path: self.path.to_owned(),
        })
    }

    /// Reads the class names, at least one.
    fn class_names(&self) -> Result<Vec<String>> {
        const PART: &str = "class_names";
        let names = match self.version {
            NAMES_IN_ATTRIBUTE => self.values::<VarLenUnicode>(&self.file, PART)?,
            _ => self.array::<VarLenUnicode, Ix1>(PART)?.1.to_vec(),
        };
        if names.is_empty() {
            return Err(self.wrong(PART, "expected at least one name"));
        }
        Ok(names.iter().map(ToString::to_string).collect())
    }

    /// Reads one split.
    fn split(
        &self,
        name: &'static str,
        kind: SetKind,
        file: &Arc<File>,
        classes: usize,
    ) -> Result<PackedSplit> {
        let labels: Array1<i32> = self.array(&format!("{name}/labels"))?.1;
        let labels = labels.into_raw_vec_and_offset().0;
        if labels.is_empty() || labels.iter().any(|&label| label < 0 || label as usize >= classes) {
            return Err(
                self.wrong(&format!("{name}/labels"), format!("expected labels of {classes} classes"))
            );
        }
        let scene = match kind {
            SetKind::Photographs => None,
            SetKind::Renders => Some(self.scene(name, labels.len())?),
        };
        let images =
            self.stored(name, "image", labels.len())?.ok_or_else(|| self.wrong(name, "no images"))?;
        let masks = self.stored(name, "mask", labels.len())?;
        if let Some(masks) = &masks
            && let Some(index) =
                (0..labels.len()).find(|&index| masks.storage.size(index) != images.storage.size(index))
        {
            let ([height, width], [high, wide]) = (masks.storage.size(index), images.storage.size(index));
            let reason = format!("mask {index} has {width} x {height} pixels, its image {wide} x {high}");
            return Err(self.wrong(name, reason));
        }
        Ok(PackedSplit { name, labels, scene, images, masks, file: file.clone(), path: self.path.into() })
    }

    /// How and where a split's images or masks are stored. `prefix` is `image` or `mask`.
    fn stored(&self, split: &str, prefix: &str, count: usize) -> Result<Option<StoredImages>> {
        let (pixels, bytes) = (format!("{split}/{prefix}s"), format!("{split}/{prefix}_bytes"));
        let name = if self.file.link_exists(&pixels) { &pixels } else { &bytes };
        if !self.file.link_exists(name) {
            return Ok(None);
        }
        let dataset = self.file.dataset(name).map_err(|error| self.wrong(name, error))?;
        let refuse =
            |found: &dyn std::fmt::Debug| Err(self.wrong(name, format!("unexpected shape {found:?}")));
        let shape = dataset.get_shape().map_err(|error| self.wrong(name, error))?;
        self.fits(name, &shape, 1)?;
        if shape.contains(&0) {
            return refuse(&shape);
        }
        let storage = match shape[..] {
            [n, height, width, 3] if prefix == "image" && n == count => {
                Storage::Pixels { height, width, channels: 3 }
            }
            [n, height, width] if prefix == "mask" && n == count => {
                Storage::Pixels { height, width, channels: 1 }
            }
            [bytes] => self.encoded(&format!("{split}/{prefix}"), count, bytes as u64)?,
            _ => return refuse(&shape),
        };
        let end =
            |start: u64| start.checked_add(dataset.storage_size()).is_some_and(|end| end <= self.length);
        let [last, bytes] = storage.place(count - 1);
        match dataset.offset() {
            Some(start) if end(start) && last.checked_add(bytes) == Some(dataset.storage_size()) => {
                let checksums = self.checksums(split, prefix == "mask", count)?;
                Ok(Some(StoredImages::new(storage, start, checksums)))
            }
            _ => refuse(&shape),
        }
    }

    /// Reads the positions and sizes of `count` files. Together they must fill `bytes` bytes without gaps.
    fn encoded(&self, prefix: &str, count: usize, bytes: u64) -> Result<Storage> {
        let places: Array2<u64> = self.array(&format!("{prefix}_places"))?.1;
        let sizes: Array2<u32> = self.array(&format!("{prefix}_sizes"))?.1;
        let places: Vec<[u64; 2]> =
            places.rows().into_iter().filter_map(|row| Some([*row.get(0)?, *row.get(1)?])).collect();
        let sizes: Vec<[u32; 2]> =
            sizes.rows().into_iter().filter_map(|row| Some([*row.get(0)?, *row.get(1)?])).collect();
        let mut end = 0u64;
        let dense = places.iter().all(|&[offset, length]| {
            let fits = offset == end;
            end = end.saturating_add(length);
            fits
        });
        if places.len() != count || sizes.len() != count || !dense || end != bytes {
            return Err(self.wrong(
                &format!("{prefix}_places"),
                format!("they do not describe {count} images of {bytes} bytes"),
            ));
        }
        for (index, (&[_, length], &[height, width])) in places.iter().zip(&sizes).enumerate() {
            check_size(length, (width, height)).map_err(|reason| {
                self.wrong(&format!("{prefix}_sizes"), format!("image {index}: {reason}"))
            })?;
        }
        Ok(Storage::Encoded { places, sizes })
    }

    /// Reads the latents of a split with `count` renders.
    fn scene(&self, split: &str, count: usize) -> Result<SceneLatents> {
        let name = format!("{split}/latents");
        let (dataset, latents): (_, Array2<f32>) = self.array(&name)?;
        let views = match self.values::<u64>(&dataset, "views")?[..] {
            [views] => views as usize,
            _ => return Err(self.wrong("views", "expected one number")),
        };
        let scene = SceneLatents { latents, views };
        scene.check(count).map_err(|reason| self.wrong(&name, reason))?;
        Ok(scene)
    }

    /// Reads the checksums of a split's `count` images or masks: (N, 32).
    fn checksums(&self, split: &str, masks: bool, count: usize) -> Result<Array2<u8>> {
        let name = format!("{split}/{}", if masks { "mask_checksums" } else { "checksums" });
        let (_, checksums) = self.array::<u8, Ix2>(&name)?;
        match checksums.dim() {
            (rows, columns) if rows == count && columns == blake3::OUT_LEN => Ok(checksums),
            found => Err(self.wrong(&name, format!("expected {count} rows of 32 columns, found {found:?}"))),
        }
    }

    /// Reads the source names of a split's `count` images, if the pack has names.
    pub fn names(&self, split: &str, count: usize) -> Result<Option<Vec<String>>> {
        let name = format!("{split}/names");
        if !self.file.link_exists(&name) {
            return Ok(None);
        }
        let (_, bytes) = self.array::<u8, Ix1>(&name)?;
        let text =
            String::from_utf8(bytes.into_raw_vec_and_offset().0).map_err(|error| self.wrong(&name, error))?;
        let names: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
        if names.len() == count {
            Ok(Some(names))
        } else {
            Err(self.wrong(&name, format!("{} names for {count} images", names.len())))
        }
    }

    /// Reads a dataset with this element type and number of axes.
    fn array<T: hdf5::H5Type, D: Dimension>(
        &self,
        name: &str,
    ) -> Result<(hdf5::Dataset, ndarray::Array<T, D>)> {
        let dataset = self.file.dataset(name).map_err(|error| self.wrong(name, error))?;
        let shape = dataset.get_shape().map_err(|error| self.wrong(name, error))?;
        let same_type = dataset.dtype().is_ok_and(|dtype| dtype.is::<T>());
        if !same_type || D::NDIM != Some(shape.len()) {
            let reason = format!(
                "expected {} axes of {}, found shape {shape:?}",
                D::NDIM.unwrap_or(0),
                std::any::type_name::<T>()
            );
            return Err(self.wrong(name, reason));
        }
        self.fits(name, &shape, size_of::<T>())?;
        let array = dataset.read().map_err(|error| self.wrong(name, error))?;
        Ok((dataset, array))
    }

    /// All values of an attribute.
    fn values<T: hdf5::H5Type>(&self, at: &hdf5::Location, name: &str) -> Result<Vec<T>> {
        let part = format!("attribute {name}");
        let attribute = at.attr(name).map_err(|error| self.wrong(&part, error))?;
        self.fits(&part, &attribute.get_shape().map_err(|error| self.wrong(&part, error))?, size_of::<T>())?;
        attribute.read_raw().map_err(|error| self.wrong(&part, error))
    }

    /// Refuses a shape with elements of `bytes` bytes that is larger than the file. A wrong shape must not
    /// allocate memory or overflow a position.
    fn fits(&self, part: &str, shape: &[usize], bytes: usize) -> Result<()> {
        match shape.iter().try_fold(bytes, |bytes, &axis| bytes.checked_mul(axis)) {
            Some(bytes) if bytes as u64 <= self.length => Ok(()),
            _ => Err(self.wrong(part, format!("shape {shape:?} is larger than the file"))),
        }
    }

    /// Reads a root attribute with one text.
    fn text(&self, name: &str) -> Result<String> {
        match &self.values::<VarLenUnicode>(&self.file, name)?[..] {
            [value] => Ok(value.to_string()),
            _ => Err(self.wrong(&format!("attribute {name}"), "expected one text")),
        }
    }

    /// Reads a root attribute with one value per channel. All values must be in `range`.
    fn channels(&self, name: &str, range: RangeInclusive<f32>) -> Result<[f32; 3]> {
        match self.values::<f32>(&self.file, name)?[..] {
            [r, g, b] if [r, g, b].iter().all(|value| range.contains(value)) => Ok([r, g, b]),
            ref other => {
                let reason = format!("expected 3 numbers of {range:?}, found {other:?}");
                Err(self.wrong(&format!("attribute {name}"), reason))
            }
        }
    }

    /// An [`Error::Format`] about one part of the pack.
    fn wrong(&self, part: &str, reason: impl std::fmt::Display) -> Error {
        Error::format(self.path, format!("{part}: {reason}\n{REPACK}"))
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::pack::blake3_rows;
    use crate::pack::contents::{Contents, Payload, SplitContents};
    use crate::pack::write::write;

    /// Writes a pack with two images of one pixel each.
    fn written(path: &Path) {
        let storage = Storage::Pixels { height: 1, width: 1, channels: 3 };
        let mut checksums = blake3_rows([[1, 2, 3], [4, 5, 6]].par_iter().map(|pixel| &pixel[..]));
        checksums[[0, 0]] ^= 1;
        let images = Payload { storage, checksums, write: Box::new(|to| to.write_all(&[1, 2, 3, 4, 5, 6])) };
        let (names, labels) = (Some(vec!["a.png", "b.png"]), &[0, 1][..]);
        let split = SplitContents { name: "train", labels, names, scene: None, images, masks: None };
        let contents = Contents {
            name: "tiny",
            kind: SetKind::Photographs,
            class_names: &["x".into(), "y".into()],
            mean: [0.5; 3],
            std: [0.2; 3],
            provenance: &serde_json::json!({ "by": "a test" }),
            splits: vec![split],
        };
        write(path, None, &contents).unwrap();
    }

    #[test]
    fn the_structure_is_read_and_errors_name_the_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.h5");
        written(&path);
        let reader = Reader::open(&path).unwrap();
        let pack = reader.pack().unwrap();
        assert_eq!((pack.name.as_str(), pack.kind, pack.splits.len()), ("tiny", SetKind::Photographs, 1));
        assert_eq!(pack.provenance["by"], "a test");
        assert_eq!(pack.splits[0].image(1).unwrap().as_raw(), &[4, 5, 6]);
        assert_eq!(reader.names("train", 2).unwrap().unwrap(), ["a.png", "b.png"]);
        let says = |error: Error, words: &str| assert!(error.to_string().contains(words), "{error}");
        says(pack.splits[0].image(0).unwrap_err(), "train image 0 is damaged: its bytes do not have the");
        says(reader.checksums("train", false, 3).unwrap_err(), "train/checksums: expected 3 rows");
        says(reader.names("train", 3).unwrap_err(), "train/names: 2 names for 3 images");
        says(reader.text("nothing").unwrap_err(), "attribute nothing");
        says(
            reader.array::<u16, Ix2>("train/checksums").unwrap_err(),
            "train/checksums: expected 2 axes of u16",
        );
        says(reader.fits("part", &[usize::MAX, 2], 1).unwrap_err(), "part: shape");
    }
}
