//! Opening a pack, and reading images out of it one by one or all at once.

use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hdf5::types::VarLenUnicode;
use image::{GrayImage, RgbImage};
use ndarray::{Array1, Array2, Array4, Axis, Dimension, Ix2};
use rayon::prelude::*;

use super::seal::{Seal, other_version};
use super::{FORMAT, REPACK, SPLITS, VERSION};
use crate::dataset::{Dataset, Kind, Scene, Split};
use crate::error::{Error, Result};
use crate::sources::decode::{check_size, decode, decode_mask};

/// How images or masks lie in a pack.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// As arrays of one size.
    Pixels {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// 3 of images, 1 of masks.
        channels: usize,
    },
    /// As files: JPEG, PNG, GIF or BMP; masks PNG.
    Encoded {
        /// Offset and length of each file.
        places: Vec<[u64; 2]>,
        /// Height and width of each image.
        sizes: Vec<[u32; 2]>,
    },
}

impl Form {
    /// Offset and length of image `index` among the bytes of all.
    fn place(&self, index: usize) -> [u64; 2] {
        match self {
            Form::Pixels { height, width, channels } => {
                let bytes = (height * width * channels) as u64;
                [index as u64 * bytes, bytes]
            }
            Form::Encoded { places, .. } => places[index],
        }
    }

    /// Height and width of image `index`.
    fn size(&self, index: usize) -> [usize; 2] {
        match self {
            Form::Pixels { height, width, .. } => [*height, *width],
            Form::Encoded { sizes, .. } => sizes[index].map(|side| side as usize),
        }
    }
}

/// An open pack: what it says about its images, which stay in the file.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Name as it stands in tables.
    pub name: String,
    /// What a pair is.
    pub kind: Kind,
    /// Class names; labels index it. Of a set with masks: of the ids 1, 2, ...
    pub class_names: Vec<String>,
    /// Per-channel mean of the training images, in [0, 1].
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the training images, in [0, 1] units.
    pub std: [f32; 3],
    /// How the set was made, as JSON.
    pub provenance: serde_json::Value,
    /// BLAKE3 (hex) of the data, independent of the file.
    pub content: String,
    /// The splits that there are, in the order of [`SPLITS`].
    pub splits: Vec<PackedSplit>,
    path: PathBuf,
}

/// A split whose images stay in the file. Any number of threads and processes may read it at once.
#[derive(Clone, Debug)]
pub struct PackedSplit {
    /// `train`, `val` or `test`.
    pub name: &'static str,
    /// (N), class index.
    pub labels: Vec<i32>,
    /// Renders only.
    pub scene: Option<Scene>,
    images: Stored,
    masks: Option<Stored>,
    file: Arc<File>,
    path: Arc<Path>,
}

/// Where images or masks lie.
#[derive(Clone, Debug)]
struct Stored {
    form: Form,
    /// First byte in the file.
    start: u64,
}

impl Pack {
    /// Opens the pack at `path` and checks it: format and version, length, shapes, label range and the hash of everything but images
    /// and masks, whose bytes [`super::verify`] checks.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no pack, or not a whole one.
    pub fn open(path: impl AsRef<Path>) -> Result<Pack> {
        Reader::open(path.as_ref())?.pack()
    }

    /// The split of this name.
    pub fn split(&self, name: &str) -> Option<&PackedSplit> {
        self.splits.iter().find(|split| split.name == name)
    }

    /// [`Pack::split`], which must be there.
    ///
    /// # Errors
    /// [`Error::Format`] names the splits that there are.
    pub fn expect_split(&self, name: &str) -> Result<&PackedSplit> {
        self.split(name).ok_or_else(|| {
            let found = self.splits.iter().map(|split| split.name).collect::<Vec<_>>().join(", ");
            Error::format(&self.path, format!("the pack has no split `{name}`, only {found}"))
        })
    }

    /// Reads training and test split into memory.
    ///
    /// # Errors
    /// [`Error::Format`] for images that are not squares of one size, or that cannot be decoded.
    pub fn load(&self) -> Result<Dataset> {
        let split = |name| self.expect_split(name)?.load();
        Ok(Dataset {
            name: self.name.clone(),
            kind: self.kind,
            class_names: self.class_names.clone(),
            mean: self.mean,
            std: self.std,
            train: split("train")?,
            test: split("test")?,
            provenance: self.provenance.clone(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl PackedSplit {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image; false of every pack that can be written.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of units a training epoch walks over: objects of renders, images of photographs.
    pub fn units(&self) -> usize {
        self.scene.as_ref().map_or(self.len(), |scene| self.len() / scene.views)
    }

    /// Whether every image has a mask.
    pub fn has_masks(&self) -> bool {
        self.masks.is_some()
    }

    /// Height and width of image `index`.
    pub fn size(&self, index: usize) -> [usize; 2] {
        self.images.form.size(index)
    }

    /// The side of all images where they are squares of one size.
    pub fn side(&self) -> Option<usize> {
        let [height, width] = self.size(0);
        let same = |index| self.size(index) == [height, width];
        (height == width && (matches!(self.images.form, Form::Pixels { .. }) || (0..self.len()).all(same)))
            .then_some(height)
    }

    /// Bytes that the images take in the file.
    pub fn image_bytes(&self) -> u64 {
        let [last, bytes] = self.images.form.place(self.len() - 1);
        last + bytes
    }

    /// Whether the images lie there as arrays and need no decoding.
    pub fn is_decoded(&self) -> bool {
        matches!(self.images.form, Form::Pixels { .. })
    }

    /// The JPEG or PNG file of image `index`; nothing where the images lie there as arrays.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn image_file(&self, index: usize) -> Result<Option<Vec<u8>>> {
        if self.is_decoded() { Ok(None) } else { self.bytes(&self.images, index).map(Some) }
    }

    /// Image `index`.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is damaged.
    pub fn image(&self, index: usize) -> Result<RgbImage> {
        let bytes = self.bytes(&self.images, index)?;
        let image = match &self.images.form {
            Form::Pixels { height, width, .. } => RgbImage::from_raw(*width as u32, *height as u32, bytes),
            Form::Encoded { .. } => Some(decode(&bytes).map_err(|reason| self.damaged("image", index, &reason))?),
        };
        let image = image.filter(|image| [image.height() as usize, image.width() as usize] == self.size(index));
        image.ok_or_else(|| self.damaged("image", index, "it has not the size that the pack says"))
    }

    /// The mask of image `index`: a class id a pixel, 0 = void; nothing of a set without masks.
    ///
    /// # Errors
    /// As [`PackedSplit::image`].
    pub fn mask(&self, index: usize) -> Result<Option<GrayImage>> {
        let Some(masks) = &self.masks else { return Ok(None) };
        let bytes = self.bytes(masks, index)?;
        let mask = match &masks.form {
            Form::Pixels { height, width, .. } => GrayImage::from_raw(*width as u32, *height as u32, bytes),
            Form::Encoded { .. } => Some(decode_mask(&bytes).map_err(|reason| self.damaged("mask", index, &reason))?),
        };
        let mask = mask.filter(|mask| [mask.height() as usize, mask.width() as usize] == masks.form.size(index));
        mask.map(Some).ok_or_else(|| self.damaged("mask", index, "it has not the size that the pack says"))
    }

    /// All images and labels in memory.
    ///
    /// # Errors
    /// [`Error::Format`] for images that are not squares of one size, or that cannot be decoded.
    pub fn load(&self) -> Result<Split> {
        let Some(side) = self.side() else {
            let reason = format!("the {} images are not squares of one size\nhint: pack them with --side N", self.name);
            return Err(Error::format(&*self.path, reason));
        };
        let mut images = Array4::zeros((self.len(), side, side, 3));
        let pixels = images.as_slice_mut().expect("a new array lies in standard order");
        if self.is_decoded() {
            self.file.read_exact_at(pixels, self.images.start).map_err(Error::io(&*self.path))?;
        } else {
            let all = pixels.par_chunks_exact_mut(side * side * 3).enumerate();
            all.try_for_each(|(index, to)| self.image(index).map(|image| to.copy_from_slice(image.as_raw())))?;
        }
        Ok(Split { images, labels: self.labels.clone(), scene: self.scene.clone() })
    }

    /// The stored bytes of image or mask `index`.
    fn bytes(&self, of: &Stored, index: usize) -> Result<Vec<u8>> {
        let [offset, length] = of.form.place(index);
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, of.start + offset).map_err(Error::io(&*self.path))?;
        Ok(bytes)
    }

    /// The first image or mask whose bytes do not have the `recorded` checksum (N, 32).
    pub(super) fn first_damaged(&self, masks: bool, recorded: &Array2<u8>) -> Result<Option<usize>> {
        let Some(stored) = (if masks { self.masks.as_ref() } else { Some(&self.images) }) else { return Ok(None) };
        let differs = |index: usize| -> Result<bool> {
            let hash = blake3::hash(&self.bytes(stored, index)?);
            Ok(recorded.index_axis(Axis(0), index).iter().ne(hash.as_bytes()))
        };
        let found = (0..self.len()).into_par_iter().map(|index| differs(index).map(|bad| bad.then_some(index)));
        found.find_first(|found| !matches!(found, Ok(None))).unwrap_or(Ok(None))
    }

    fn damaged(&self, what: &str, index: usize, reason: &str) -> Error {
        Error::format(&*self.path, format!("{} {what} {index} is damaged: {reason}\n{REPACK}", self.name))
    }
}

/// An open file; every failure becomes an error that names what was read.
pub(super) struct Reader<'a> {
    path: &'a Path,
    file: hdf5::File,
    length: u64,
}

impl<'a> Reader<'a> {
    /// Checks the seal and opens the HDF5 behind it.
    pub fn open(path: &'a Path) -> Result<Self> {
        let seal = Seal::check(path)?;
        hdf5::silence_errors(true);
        let file = hdf5::File::open(path).map_err(|source| {
            let hint = "hint: pack it again; where the file system refuses locks set HDF5_USE_FILE_LOCKING=FALSE";
            Error::format(path, format!("HDF5 cannot open it: {source}\n{hint}"))
        })?;
        Ok(Reader { path, file, length: seal.length })
    }

    /// All but images, masks and their checksums.
    pub fn pack(&self) -> Result<Pack> {
        let format = self.text("format")?;
        if format != FORMAT {
            return Err(self.wrong("format", format!("expected {FORMAT}, found {format}")));
        }
        match self.values::<u32>(&self.file, "format_version")?[..] {
            [VERSION] => {}
            ref other => return Err(Error::format(self.path, other_version(format!("{other:?}")))),
        }
        let kind = self.text("kind")?;
        let kind = [Kind::Photographs, Kind::Renders].into_iter().find(|known| known.pack_name() == kind);
        let kind = kind.ok_or_else(|| self.wrong("kind", "expected photographs or renders"))?;
        let class_names: Vec<String> =
            self.values::<VarLenUnicode>(&self.file, "class_names")?.iter().map(ToString::to_string).collect();
        if class_names.is_empty() {
            return Err(self.wrong("attribute class_names", "expected at least one name"));
        }
        let file = Arc::new(File::open(self.path).map_err(Error::io(self.path))?);
        let present = SPLITS.into_iter().filter(|name| self.file.link_exists(name));
        let splits =
            present.map(|name| self.split(name, kind, &file, class_names.len())).collect::<Result<Vec<_>>>()?;
        if splits.is_empty() {
            return Err(self.wrong("splits", "expected train, val or test"));
        }
        let provenance = self.text("provenance")?;
        Ok(Pack {
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

    /// A split.
    fn split(&self, name: &'static str, kind: Kind, file: &Arc<File>, classes: usize) -> Result<PackedSplit> {
        let labels: Array1<i32> = self.array(&format!("{name}/labels"))?.1;
        let labels = labels.into_raw_vec_and_offset().0;
        if labels.is_empty() || labels.iter().any(|&label| label < 0 || label as usize >= classes) {
            return Err(self.wrong(&format!("{name}/labels"), format!("expected labels of {classes} classes")));
        }
        let scene = match kind {
            Kind::Photographs => None,
            Kind::Renders => Some(self.scene(name, labels.len())?),
        };
        let images = self.stored(name, "image", labels.len())?.ok_or_else(|| self.wrong(name, "no images"))?;
        let masks = self.stored(name, "mask", labels.len())?;
        if let Some(masks) = &masks
            && let Some(index) = (0..labels.len()).find(|&index| masks.form.size(index) != images.form.size(index))
        {
            let ([height, width], [high, wide]) = (masks.form.size(index), images.form.size(index));
            let reason = format!("mask {index} has {width} x {height} pixels, its image {wide} x {high}");
            return Err(self.wrong(name, reason));
        }
        Ok(PackedSplit { name, labels, scene, images, masks, file: file.clone(), path: self.path.into() })
    }

    /// How and where the images or masks (`prefix`) of a split lie.
    fn stored(&self, split: &str, prefix: &str, count: usize) -> Result<Option<Stored>> {
        let (pixels, bytes) = (format!("{split}/{prefix}s"), format!("{split}/{prefix}_bytes"));
        let name = if self.file.link_exists(&pixels) { &pixels } else { &bytes };
        if !self.file.link_exists(name) {
            return Ok(None);
        }
        let dataset = self.file.dataset(name).map_err(|error| self.wrong(name, error))?;
        let refuse = |found: &dyn std::fmt::Debug| Err(self.wrong(name, format!("unexpected shape {found:?}")));
        let shape = dataset.get_shape().map_err(|error| self.wrong(name, error))?;
        self.fits(name, &shape, 1)?;
        if shape.contains(&0) {
            return refuse(&shape);
        }
        let form = match shape[..] {
            [n, height, width, 3] if prefix == "image" && n == count => Form::Pixels { height, width, channels: 3 },
            [n, height, width] if prefix == "mask" && n == count => Form::Pixels { height, width, channels: 1 },
            [bytes] => self.encoded(&format!("{split}/{prefix}"), count, bytes as u64)?,
            _ => return refuse(&shape),
        };
        let end = |start: u64| start.checked_add(dataset.storage_size()).is_some_and(|end| end <= self.length);
        let [last, bytes] = form.place(count - 1);
        match dataset.offset() {
            Some(start) if end(start) && last.checked_add(bytes) == Some(dataset.storage_size()) => {
                Ok(Some(Stored { form, start }))
            }
            _ => refuse(&shape),
        }
    }

    /// Places and sizes of `count` files that fill `bytes` bytes without gap.
    fn encoded(&self, prefix: &str, count: usize, bytes: u64) -> Result<Form> {
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
            return Err(self
                .wrong(&format!("{prefix}_places"), format!("they do not describe {count} images of {bytes} bytes")));
        }
        for (index, (&[_, length], &[height, width])) in places.iter().zip(&sizes).enumerate() {
            check_size(length, (width, height))
                .map_err(|reason| self.wrong(&format!("{prefix}_sizes"), format!("image {index}: {reason}")))?;
        }
        Ok(Form::Encoded { places, sizes })
    }

    /// The scene of a split of `count` renders.
    fn scene(&self, split: &str, count: usize) -> Result<Scene> {
        let name = format!("{split}/latents");
        let (dataset, latents): (_, Array2<f32>) = self.array(&name)?;
        let views = match self.values::<u64>(&dataset, "views")?[..] {
            [views] => views as usize,
            _ => return Err(self.wrong("views", "expected one number")),
        };
        let scene = Scene { latents, views };
        scene.check(count).map_err(|reason| self.wrong(&name, reason))?;
        Ok(scene)
    }

    /// The checksums of a split's images or masks: (N, 32).
    pub fn checksums(&self, split: &str, masks: bool) -> Result<Array2<u8>> {
        let name = format!("{split}/{}", if masks { "mask_checksums" } else { "checksums" });
        let (_, checksums) = self.array::<u8, Ix2>(&name)?;
        if checksums.ncols() == blake3::OUT_LEN { Ok(checksums) } else { Err(self.wrong(&name, "expected 32 columns")) }
    }

    /// The names of a split's `count` images in their source.
    pub fn names(&self, split: &str, count: usize) -> Result<Option<Vec<String>>> {
        let name = format!("{split}/names");
        if !self.file.link_exists(&name) {
            return Ok(None);
        }
        let (_, bytes) = self.array::<u8, ndarray::Ix1>(&name)?;
        let text = String::from_utf8(bytes.into_raw_vec_and_offset().0).map_err(|error| self.wrong(&name, error))?;
        let names: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
        if names.len() == count {
            Ok(Some(names))
        } else {
            Err(self.wrong(&name, format!("{} names for {count} images", names.len())))
        }
    }

    /// A dataset of this element type and number of axes, not larger than the file.
    fn array<T: hdf5::H5Type, D: Dimension>(&self, name: &str) -> Result<(hdf5::Dataset, ndarray::Array<T, D>)> {
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

    /// Refuses a shape that the file cannot fill with elements of `bytes` bytes: a damaged one must not make this program ask for more
    /// memory, nor any place in it overflow.
    fn fits(&self, part: &str, shape: &[usize], bytes: usize) -> Result<()> {
        match shape.iter().try_fold(bytes, |bytes, &axis| bytes.checked_mul(axis)) {
            Some(bytes) if bytes as u64 <= self.length => Ok(()),
            _ => Err(self.wrong(part, format!("shape {shape:?} is larger than the file"))),
        }
    }

    /// A text attribute of the root.
    fn text(&self, name: &str) -> Result<String> {
        match &self.values::<VarLenUnicode>(&self.file, name)?[..] {
            [value] => Ok(value.to_string()),
            _ => Err(self.wrong(&format!("attribute {name}"), "expected one text")),
        }
    }

    /// An attribute of the root with a value per channel, each in `range`.
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
