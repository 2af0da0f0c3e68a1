//! Packs: a data set as one HDF5 file.
//!
//! # Format, version 1
//! The first 512 bytes (HDF5's user block, which HDF5 readers skip) are the seal, lines of text padded with spaces:
//! `eqr-pack 1`; `length` (bytes of the file); `train` and `test` (offset and bytes of their images in the file);
//! `blake3` of the lines above and of every byte after the block that is no image's. HDF5 itself may crash over damaged
//! structures: by the seal they are found first. Root attributes: `format` = "eqr-pack", `format_version`, `name`,
//! `kind` ("photographs" or "renders"), `class_names` (strings), `mean` and `std` (3 float32, of the training images in
//! [0, 1]), `provenance` (JSON) and `content`. Groups `train` and `test`, each with contiguous datasets:
//!
//! | dataset | shape | type |
//! |---|---|---|
//! | `images` | (N, S, S, 3) | uint8, RGB |
//! | `labels` | (N) | int32, index into `class_names` |
//! | `checksums` | (N, 32) | uint8, BLAKE3 of each image's bytes |
//! | `latents` | (N, 7) | float32, renders only, attribute `views` = views per object |
//!
//! `content` is the BLAKE3 (hex) of name, kind, class names, mean, std and, for each split, shape, labels, checksums,
//! views and latents; texts and arrays each preceded by their length in bytes as a little-endian uint64, numbers
//! little-endian. Nothing in a pack depends on the time or the number of threads: the same data set gives the same
//! bytes.
//!
//! A pack is written under a temporary name beside its own, synced and renamed: a half-written one never bears the
//! name. Readers that meet a file system without locks need `HDF5_USE_FILE_LOCKING=FALSE` in the environment.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use hdf5::types::VarLenUnicode;
use ndarray::{Array1, Array2, Array4, Axis, Dimension};
use rayon::prelude::*;

use crate::dataset::{Dataset, Kind, Scene, Split};
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Value of the root attribute `format`.
const FORMAT: &str = "eqr-pack";
/// Version that this program writes and reads.
const VERSION: u32 = 1;
/// Bytes of the seal, the smallest user block that HDF5 allows.
const SEAL_BYTES: usize = 512;
/// Values that a render's latents have.
const LATENTS: usize = 7;
/// What to do about a pack that is not whole.
const REPACK: &str = "hint: copy or pack the set again";

impl Dataset {
    /// Writes the set to a pack at `path`, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the set contradicts itself (counts, labels out of range, ...), [`Error::Io`] and
    /// [`Error::Hdf5`] where it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        check(self).map_err(|reason| Error::Invalid(format!("data set `{}`: {reason}", self.name)))?;
        write_atomically(path, |temporary| {
            let images = write_hdf5(self, temporary).map_err(Error::hdf5(path))?;
            Seal::set(temporary, images).map_err(Error::io(path))
        })
    }

    /// Reads the pack at `path` into memory and checks it: format and version, length, shapes, label range and the hash
    /// of everything but the images, whose bytes [`verify`] checks.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no pack, or not a whole one.
    pub fn open(path: impl AsRef<Path>) -> Result<Dataset> {
        open_with_checksums(path.as_ref()).map(|(dataset, _)| dataset)
    }

    /// BLAKE3 (hex) of the data themselves, wherever they came from: what a pack calls `content`.
    pub fn content_hash(&self) -> String {
        content(self, &self.splits().map(|(_, split)| image_checksums(&split.images)))
    }

    /// Both splits with their names in a pack.
    fn splits(&self) -> [(&'static str, &Split); 2] {
        [("train", &self.train), ("test", &self.test)]
    }
}

/// Reads the pack at `path` and checks every byte of it; gives the data set.
///
/// # Errors
/// As [`Dataset::open`]; where an image is damaged [`Error::Format`] names the first one, as `train image 17`.
pub fn verify(path: impl AsRef<Path>) -> Result<Dataset> {
    let path = path.as_ref();
    let (dataset, checksums) = open_with_checksums(path)?;
    for ((name, split), recorded) in dataset.splits().into_iter().zip(&checksums) {
        let found = image_checksums(&split.images);
        let damaged = found.rows().into_iter().zip(recorded.rows()).position(|(found, recorded)| found != recorded);
        if let Some(image) = damaged {
            let reason = format!("{name} image {image} is damaged: its bytes do not have the recorded checksum");
            return Err(Error::format(path, format!("{reason}\n{REPACK}")));
        }
    }
    Ok(dataset)
}

impl Kind {
    /// Name in a pack.
    const fn pack_name(self) -> &'static str {
        match self {
            Kind::Photographs => "photographs",
            Kind::Renders => "renders",
        }
    }
}

/// What a data set must fulfil; the reason where it does not.
fn check(dataset: &Dataset) -> std::result::Result<(), String> {
    if dataset.class_names.is_empty() {
        return Err("no class names".into());
    }
    let usable = dataset.mean.iter().all(|m| m.is_finite()) && dataset.std.iter().all(|s| s.is_finite() && *s > 0.0);
    if !usable {
        return Err(format!("mean {:?} and std {:?} must be finite, std above 0", dataset.mean, dataset.std));
    }
    for (name, split) in dataset.splits() {
        check_split(dataset, split).map_err(|reason| format!("{name}: {reason}"))?;
    }
    match (dataset.train.side(), dataset.test.side()) {
        (train, test) if train != test => Err(format!("images of {train} px in train and of {test} px in test")),
        _ => Ok(()),
    }
}

/// [`check`] for one split.
fn check_split(dataset: &Dataset, split: &Split) -> std::result::Result<(), String> {
    let (count, classes) = (split.len(), dataset.class_names.len());
    let &[images, height, width, channels] = split.images.shape() else { unreachable!("Array4 has four axes") };
    if count == 0 || images != count {
        return Err(format!("{images} images and {count} labels"));
    }
    if height != width || height == 0 || channels != 3 {
        return Err(format!("images of {height} x {width} x {channels}, expected square RGB ones"));
    }
    if let Some(image) = split.labels.iter().position(|&label| label < 0 || label as usize >= classes) {
        return Err(format!("image {image} has label {}, expected 0 to {}", split.labels[image], classes - 1));
    }
    match (&split.scene, dataset.kind) {
        (None, Kind::Photographs) => Ok(()),
        (Some(scene), Kind::Renders) => check_scene(scene, count),
        (scene, kind) => {
            let has = if scene.is_some() { "has" } else { "lacks" };
            Err(format!("a set of {} that {has} scene latents", kind.pack_name()))
        }
    }
}

/// [`check`] for the scene of a split of `count` images.
fn check_scene(scene: &Scene, count: usize) -> std::result::Result<(), String> {
    if scene.latents.shape() != [count, LATENTS] {
        return Err(format!("latents of shape {:?}, expected [{count}, {LATENTS}]", scene.latents.shape()));
    }
    if scene.views == 0 || !count.is_multiple_of(scene.views) {
        return Err(format!("{count} images are no multiple of {} views per object", scene.views));
    }
    match scene.latents.rows().into_iter().position(|row| row.iter().any(|value| !value.is_finite())) {
        Some(image) => Err(format!("the latents of image {image} are not finite")),
        None => Ok(()),
    }
}

/// BLAKE3 of every image: (N, 32).
fn image_checksums(images: &Array4<u8>) -> Array2<u8> {
    let count = images.len_of(Axis(0));
    let mut checksums = Array2::zeros((count, blake3::OUT_LEN));
    let rows: Vec<_> = checksums.axis_iter_mut(Axis(0)).zip(images.axis_iter(Axis(0))).collect();
    rows.into_par_iter().for_each(|(mut checksum, image)| {
        let hash = match image.as_slice() {
            Some(bytes) => blake3::hash(bytes),
            None => blake3::hash(&image.iter().copied().collect::<Vec<u8>>()),
        };
        checksum.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    });
    checksums
}

/// The hash that the module's documentation calls `content`.
fn content(dataset: &Dataset, checksums: &[Array2<u8>; 2]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let floats = |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    add(dataset.name.as_bytes());
    add(dataset.kind.pack_name().as_bytes());
    dataset.class_names.iter().for_each(|name| add(name.as_bytes()));
    add(&floats(&mut dataset.mean.into_iter()));
    add(&floats(&mut dataset.std.into_iter()));
    for ((_, split), checksums) in dataset.splits().into_iter().zip(checksums) {
        add(&split.images.shape().iter().flat_map(|&axis| (axis as u64).to_le_bytes()).collect::<Vec<u8>>());
        add(&split.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>());
        add(&checksums.iter().copied().collect::<Vec<u8>>());
        if let Some(scene) = &split.scene {
            add(&(scene.views as u64).to_le_bytes());
            add(&floats(&mut scene.latents.iter().copied()));
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Writes everything but the seal; gives the bytes of the file that hold the images of both splits.
fn write_hdf5(dataset: &Dataset, path: &Path) -> hdf5::Result<[Range<u64>; 2]> {
    hdf5::silence_errors(true);
    let file = hdf5::File::with_options().with_fcpl(|p| p.userblock(SEAL_BYTES as u64)).create(path)?;
    let checksums = dataset.splits().map(|(_, split)| image_checksums(&split.images));
    write_attributes(dataset, &content(dataset, &checksums), &file)?;
    let mut ranges = [0..0, 0..0];
    for (((name, split), checksums), range) in dataset.splits().into_iter().zip(&checksums).zip(&mut ranges) {
        let group = file.create_group(name)?;
        let images = write_array(&group, "images", &split.images)?;
        let start = images.offset().ok_or("the images have no place of their own in the file")?;
        *range = start..start + images.storage_size();
        write_array(&group, "labels", &Array1::from_vec(split.labels.clone()))?;
        write_array(&group, "checksums", checksums)?;
        if let Some(scene) = &split.scene {
            let latents = write_array(&group, "latents", &scene.latents)?;
            latents.new_attr::<u64>().create("views")?.write_scalar(&(scene.views as u64))?;
        }
    }
    file.flush()?;
    file.close()?;
    Ok(ranges)
}

/// Writes the root attributes.
fn write_attributes(dataset: &Dataset, content: &str, file: &hdf5::File) -> hdf5::Result<()> {
    let texts = [
        ("format", FORMAT),
        ("name", &dataset.name),
        ("kind", dataset.kind.pack_name()),
        ("provenance", &dataset.provenance.to_string()),
        ("content", content),
    ];
    for (name, value) in texts {
        file.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value)?)?;
    }
    file.new_attr::<u32>().create("format_version")?.write_scalar(&VERSION)?;
    let class_names = dataset.class_names.iter().map(|name| text(name)).collect::<hdf5::Result<Vec<_>>>()?;
    file.new_attr_builder().with_data(&class_names).create("class_names")?;
    file.new_attr_builder().with_data(&dataset.mean).create("mean")?;
    file.new_attr_builder().with_data(&dataset.std).create("std")?;
    Ok(())
}

/// A string as HDF5 holds it, which knows no zero bytes.
fn text(value: &str) -> hdf5::Result<VarLenUnicode> {
    value.parse().map_err(|_| hdf5::Error::from(format!("{value:?} cannot be stored: it holds a zero byte")))
}

/// A contiguous dataset without time stamps.
fn write_array<T: hdf5::H5Type + Clone, D: Dimension>(
    group: &hdf5::Group,
    name: &str,
    array: &ndarray::Array<T, D>,
) -> hdf5::Result<hdf5::Dataset> {
    let array = array.as_standard_layout();
    group.new_dataset_builder().no_chunk().obj_track_times(false).with_data(array.view()).create(name)
}

/// The text in front of a pack by which a whole one is known.
#[derive(Debug, PartialEq)]
struct Seal {
    /// Bytes of the file, the seal's own included.
    length: u64,
    /// Where the images of train and test lie.
    images: [Range<u64>; 2],
    /// Of the lines above and everything after the seal but the images.
    hash: blake3::Hash,
}

impl Seal {
    /// Seals the finished HDF5 file at `path`, whose images lie at `images`.
    fn set(path: &Path, images: [Range<u64>; 2]) -> std::io::Result<()> {
        let mut file = File::options().read(true).write(true).open(path)?;
        let mut seal = Seal { length: file.metadata()?.len(), images, hash: blake3::Hash::from_bytes([0; 32]) };
        seal.hash = seal.hash_of(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&seal.block())
    }

    /// Reads the seal of the pack at `path` and holds the file against it.
    fn check(path: &Path) -> Result<Seal> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let found = file.metadata().map_err(Error::io(path))?.len();
        let mut block = Vec::with_capacity(SEAL_BYTES);
        (&file).take(SEAL_BYTES as u64).read_to_end(&mut block).map_err(Error::io(path))?;
        let seal = Seal::parse(&block).map_err(|reason| Error::format(path, reason))?;
        if seal.length != found {
            let reason = format!("expected {} bytes, found {found}: truncated or altered", seal.length);
            return Err(Error::format(path, format!("{reason}\n{REPACK}")));
        }
        if seal.hash_of(&mut file).map_err(Error::io(path))? != seal.hash {
            let reason = "damaged outside its images: seal, labels, names, latents, checksums or the HDF5 structure";
            return Err(Error::format(path, format!("{reason} do not have the recorded checksum\n{REPACK}")));
        }
        Ok(seal)
    }

    /// The lines above the hash.
    fn head(&self) -> String {
        let place = |range: &Range<u64>| format!("{} {}", range.start, range.end - range.start);
        let [train, test] = &self.images;
        format!("{FORMAT} {VERSION}\nlength {}\ntrain {}\ntest {}\n", self.length, place(train), place(test))
    }

    /// The hash that the seal of `file` should hold.
    fn hash_of(&self, file: &mut File) -> std::io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.head().as_bytes());
        let mut images = self.images.clone();
        images.sort_by_key(|range| range.start);
        let mut from = SEAL_BYTES as u64;
        for range in images.into_iter().chain(std::iter::once(self.length..self.length)) {
            file.seek(SeekFrom::Start(from))?;
            hasher.update_reader((&*file).take(range.start.saturating_sub(from)))?;
            from = range.end;
        }
        Ok(hasher.finalize())
    }

    /// The seal as it stands in the file.
    fn block(&self) -> [u8; SEAL_BYTES] {
        let text = format!("{}blake3 {}\n", self.head(), self.hash.to_hex());
        let mut block = [b' '; SEAL_BYTES];
        block[..text.len()].copy_from_slice(text.as_bytes());
        block
    }

    /// The seal that `block` holds, or why it holds none.
    fn parse(block: &[u8]) -> std::result::Result<Seal, String> {
        let text = String::from_utf8_lossy(block);
        let mut lines = text.lines();
        match lines.next().and_then(|line| line.strip_prefix(FORMAT)).map(str::trim) {
            Some(version) if version == VERSION.to_string() => {}
            Some(version) => return Err(other_version(version)),
            None if block.is_empty() => return Err(format!("expected an {FORMAT} file, found an empty one\n{REPACK}")),
            None => return Err(format!("expected an {FORMAT} file, found something else\n{}", hint_no_pack(block))),
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let seal = (|| {
            let length = field("length")?.parse().ok()?;
            let images = [range(field("train")?)?, range(field("test")?)?];
            Some(Seal { length, images, hash: blake3::Hash::from_hex(field("blake3")?).ok()? })
        })();
        // only what this program would have written
        seal.filter(|seal| seal.block() == block)
            .ok_or_else(|| format!("its first {SEAL_BYTES} bytes are damaged\n{REPACK}"))
    }
}

/// The range that a line of the seal gives as offset and length.
fn range(text: &str) -> Option<Range<u64>> {
    let (start, length) = text.split_once(' ')?;
    let start: u64 = start.parse().ok()?;
    Some(start..start.checked_add(length.parse().ok()?)?)
}

/// What to do about a file that starts with `block` and is no pack.
fn hint_no_pack(block: &[u8]) -> &'static str {
    if block.starts_with(b"\x89HDF") {
        "hint: this is an HDF5 file of another kind; `eqr-bench data pack` makes packs"
    } else {
        "hint: `eqr-bench data pack` makes packs out of folders and archives"
    }
}

/// About a pack of another version.
fn other_version(found: impl std::fmt::Display) -> String {
    format!("expected {FORMAT} version {VERSION}, found version {found}\nhint: pack the set again with this program")
}

/// Reads a pack and its image checksums (train, test), everything checked but the images' bytes.
fn open_with_checksums(path: &Path) -> Result<(Dataset, [Array2<u8>; 2])> {
    let seal = Seal::check(path)?;
    hdf5::silence_errors(true);
    let file = hdf5::File::open(path).map_err(|source| {
        let hint = "hint: pack it again; where the file system has no locks set HDF5_USE_FILE_LOCKING=FALSE";
        Error::format(path, format!("HDF5 cannot open it: {source}\n{hint}"))
    })?;
    let reader = Reader { path, file, length: seal.length };
    let (dataset, checksums) = reader.dataset()?;
    check(&dataset).map_err(|reason| Error::format(path, format!("{reason}\n{REPACK}")))?;
    if content(&dataset, &checksums) != reader.text("content")? {
        let reason = "its labels, names, latents or checksums do not have the recorded content hash";
        return Err(Error::format(path, format!("{reason}\n{REPACK}")));
    }
    Ok((dataset, checksums))
}

/// An open pack; every failure becomes an error that names what was read.
struct Reader<'a> {
    path: &'a Path,
    file: hdf5::File,
    length: u64,
}

impl Reader<'_> {
    /// The set and its image checksums.
    fn dataset(&self) -> Result<(Dataset, [Array2<u8>; 2])> {
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
        let provenance = self.text("provenance")?;
        let class_names = self.values::<VarLenUnicode>(&self.file, "class_names")?;
        let (train, train_checksums) = self.split("train", kind)?;
        let (test, test_checksums) = self.split("test", kind)?;
        let dataset = Dataset {
            name: self.text("name")?,
            kind,
            class_names: class_names.iter().map(ToString::to_string).collect(),
            mean: self.channels("mean")?,
            std: self.channels("std")?,
            train,
            test,
            provenance: serde_json::from_str(&provenance).map_err(|error| self.wrong("provenance", error))?,
        };
        Ok((dataset, [train_checksums, test_checksums]))
    }

    /// A split and its image checksums.
    fn split(&self, name: &str, kind: Kind) -> Result<(Split, Array2<u8>)> {
        let images: Array4<u8> = self.array(&format!("{name}/images"))?.1;
        let labels: Array1<i32> = self.array(&format!("{name}/labels"))?.1;
        let (_, checksums) = self.array::<u8, ndarray::Ix2>(&format!("{name}/checksums"))?;
        if checksums.shape() != [images.len_of(Axis(0)), blake3::OUT_LEN] {
            let reason = format!("shape {:?} for {} images", checksums.shape(), images.len_of(Axis(0)));
            return Err(self.wrong(&format!("{name}/checksums"), reason));
        }
        let scene = match kind {
            Kind::Photographs => None,
            Kind::Renders => Some(self.scene(name)?),
        };
        Ok((Split { images, labels: labels.into_raw_vec_and_offset().0, scene }, checksums))
    }

    /// The scene of a split of renders.
    fn scene(&self, split: &str) -> Result<Scene> {
        let (dataset, latents) = self.array(&format!("{split}/latents"))?;
        match self.values::<u64>(&dataset, "views")?[..] {
            [views] => Ok(Scene { latents, views: views as usize }),
            _ => Err(self.wrong("views", "expected one number")),
        }
    }

    /// A dataset of this element type and number of axes, not larger than the file.
    fn array<T: hdf5::H5Type, D: Dimension>(&self, name: &str) -> Result<(hdf5::Dataset, ndarray::Array<T, D>)> {
        let dataset = self.file.dataset(name).map_err(|error| self.wrong(name, error))?;
        let shape = dataset.get_shape().map_err(|error| self.wrong(name, error))?;
        let same_type = dataset.dtype().is_ok_and(|dtype| dtype.is::<T>());
        if !same_type || D::NDIM != Some(shape.len()) {
            let reason =
                format!("expected {} axes of {}, found shape {shape:?}", D::NDIM.unwrap_or(0), type_name::<T>());
            return Err(self.wrong(name, reason));
        }
        // a damaged shape must not make this program ask for more memory than the file can fill
        let bytes = shape.iter().try_fold(size_of::<T>(), |bytes, &axis| bytes.checked_mul(axis));
        if bytes.is_none_or(|bytes| bytes as u64 > self.length) {
            return Err(self.wrong(name, format!("shape {shape:?} is larger than the file")));
        }
        let array = dataset.read().map_err(|error| self.wrong(name, error))?;
        Ok((dataset, array))
    }

    /// All values of an attribute.
    fn values<T: hdf5::H5Type>(&self, at: &hdf5::Location, name: &str) -> Result<Vec<T>> {
        let read = at.attr(name).and_then(|attribute| attribute.read_raw());
        read.map_err(|error| self.wrong(&format!("attribute {name}"), error))
    }

    /// A text attribute of the root.
    fn text(&self, name: &str) -> Result<String> {
        match &self.values::<VarLenUnicode>(&self.file, name)?[..] {
            [value] => Ok(value.to_string()),
            _ => Err(self.wrong(&format!("attribute {name}"), "expected one text")),
        }
    }

    /// An attribute of the root with a value per channel.
    fn channels(&self, name: &str) -> Result<[f32; 3]> {
        let values = self.values::<f32>(&self.file, name)?;
        values.try_into().map_err(|_| self.wrong(&format!("attribute {name}"), "expected 3 numbers"))
    }

    /// An [`Error::Format`] about one part of the pack.
    fn wrong(&self, part: &str, reason: impl std::fmt::Display) -> Error {
        Error::format(self.path, format!("{part}: {reason}\n{REPACK}"))
    }
}

/// Name of an element type in messages, such as `u8`.
fn type_name<T>() -> &'static str {
    std::any::type_name::<T>()
}
