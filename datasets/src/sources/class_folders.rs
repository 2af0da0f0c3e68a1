//! Images in one folder per class: `{train,test|val}/<class>/<image>` or `<class>/<image>`, in a directory, a `.tar` or
//! a `.tar.gz`.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use image::RgbImage;
use ndarray::Array4;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::by_seed::BySeed;
use super::class_folder_sets::CIFAR10_CLASSES;
use super::decode::decode;
use super::folders::Layout;
use super::members::{self, Member, member_error};
use crate::dataset::{Dataset, Kind, Split, channel_statistics};
use crate::error::{Error, Result};

/// Side of CIFAR-10's images.
const CIFAR10_SIDE: usize = 32;
/// Largest side of the images of a pack.
const LARGEST_SIDE: usize = 4096;
/// Batches of files that wait for decoding at most.
const WAITING_BATCHES: usize = 2;

/// How class folders are read.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderSpec {
    /// Name of the data set.
    pub name: String,
    /// Side in pixels to which the central square of every image is resized; without it all images must be squares of
    /// one size.
    pub side: Option<usize>,
    /// Share of each class that becomes the test split where the folders name none; in (0, 1).
    pub test_fraction: f64,
    /// Seed of that split.
    pub seed: u64,
}

/// Reads class folders. Classes are numbered in the order of their names; images lie in the order of class and path.
///
/// A folder that holds everything else is passed over, as are files that are neither `.jpg`, `.jpeg` nor `.png`. Where
/// there are `train` and `test` (or else `val`) they are the splits; else each class is split by [`FolderSpec::seed`].
///
/// # Errors
/// [`Error::Invalid`] for a bad `spec`, [`Error::Io`] and [`Error::Format`] for an input that cannot be read or has
/// another layout, [`Error::Member`] for an image that cannot be used and for members of an archive that must not be:
/// absolute paths, `..`, links, files above 64 MiB.
pub fn read_class_folders(input: &Path, spec: &FolderSpec) -> Result<Dataset> {
    spec.validate()?;
    let (images, hash) = read_images(input, spec)?;
    let side = common_side(input, &images)?;
    let paths: Vec<&str> = images.iter().map(|image| image.path.as_str()).collect();
    let layout = Layout::of(input, &paths, BySeed::new(spec.test_fraction, spec.seed)?)?;
    let provenance = spec.provenance(input, hash, &images, &layout);
    let mut pixels: Vec<Option<RgbImage>> = images.into_iter().map(|image| Some(image.pixels)).collect();
    let train = assemble(&layout.train, &mut pixels, side);
    let test = assemble(&layout.test, &mut pixels, side);
    let (mean, std) = channel_statistics(&train.images);
    Ok(Dataset {
        name: spec.name.clone(),
        kind: Kind::Photographs,
        class_names: layout.class_names,
        mean,
        std,
        train,
        test,
        provenance,
    })
}

/// Reads CIFAR-10 as class folders of JPEG or PNG files, 32 x 32, with the ten classes of [`CIFAR10_CLASSES`].
///
/// # Errors
/// As [`read_class_folders`]; [`Error::Format`] for other classes or sizes.
pub fn read_cifar10_folders(input: &Path) -> Result<Dataset> {
    let spec = FolderSpec { name: "CIFAR10".into(), side: None, test_fraction: 1.0 / 6.0, seed: 0 };
    let dataset = read_class_folders(input, &spec)?;
    if dataset.class_names != CIFAR10_CLASSES {
        let (expected, found) = (CIFAR10_CLASSES.join(", "), dataset.class_names.join(", "));
        return Err(Error::format(input, format!("expected the classes {expected}, found {found}")));
    }
    match dataset.train.side() {
        CIFAR10_SIDE => Ok(dataset),
        side => Err(Error::format(input, format!("expected images of {CIFAR10_SIDE} px, found {side} px"))),
    }
}

impl FolderSpec {
    /// Checks the values.
    fn validate(&self) -> Result<()> {
        BySeed::new(self.test_fraction, self.seed)?;
        match self.side {
            Some(side) if !(1..=LARGEST_SIDE).contains(&side) => {
                Err(Error::Invalid(format!("the side must be 1 to {LARGEST_SIDE} pixels, and is {side}")))
            }
            _ => Ok(()),
        }
    }

    /// What is recorded about the source: names and checksums, no paths of this machine.
    fn provenance(&self, input: &Path, hash: Option<blake3::Hash>, images: &[Decoded], layout: &Layout) -> Value {
        let name = input.canonicalize().unwrap_or_else(|_| input.to_owned());
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
        let (kind, hash) = match hash {
            Some(hash) => ("archive_blake3", hash),
            None => ("files_blake3", hash_of_files(images)),
        };
        let split = match layout.split_by_seed {
            true => json!({ "test_fraction": self.test_fraction, "seed": self.seed }),
            false => json!("as in the source"),
        };
        json!({
            "source": "class folders",
            "input": name,
            kind: hash.to_hex().as_str(),
            "side": self.side,
            "resize": self.side.map(|_| "central square, bilinear, antialiased"),
            "split": split,
        })
    }
}

/// BLAKE3 over path and checksum of every image, in the order of their paths.
fn hash_of_files(images: &[Decoded]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for image in images {
        hasher.update(&(image.path.len() as u64).to_le_bytes());
        hasher.update(image.path.as_bytes());
        hasher.update(image.hash.as_bytes());
    }
    hasher.finalize()
}

/// An image of the source.
struct Decoded {
    /// Path below the input, parts joined by `/`.
    path: String,
    /// BLAKE3 of the file.
    hash: blake3::Hash,
    pixels: RgbImage,
}

/// All images of `input`, sorted by path, and the checksum of an archive. One thread reads and unzips, the others
/// decode.
fn read_images(input: &Path, spec: &FolderSpec) -> Result<(Vec<Decoded>, Option<blake3::Hash>)> {
    let (to, from) = sync_channel(WAITING_BATCHES);
    let (images, hash) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| members::read(input, to));
        let images = decode_all(input, spec, from);
        // a panic of the reader goes on here; it has none of its own
        let hash = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (images, hash)
    });
    let mut images = images?;
    let hash = hash?;
    images.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((images, hash))
}

/// Decodes batch after batch. Of several bad images the first one is named, whatever the number of threads.
fn decode_all(input: &Path, spec: &FolderSpec, from: Receiver<Vec<Member>>) -> Result<Vec<Decoded>> {
    let mut images = Vec::new();
    for batch in from {
        let decoded: Vec<Result<Decoded>> =
            batch.into_par_iter().map(|member| decode_member(input, spec, member)).collect();
        for image in decoded {
            images.push(image?);
        }
    }
    Ok(images)
}

/// Decodes one file.
fn decode_member(input: &Path, spec: &FolderSpec, member: Member) -> Result<Decoded> {
    let Member { path, bytes } = member;
    match decode(&bytes, spec.side) {
        Ok(pixels) => Ok(Decoded { path, hash: blake3::hash(&bytes), pixels }),
        Err(reason) => Err(member_error(input, path, reason)),
    }
}

/// The side that all images have.
fn common_side(input: &Path, images: &[Decoded]) -> Result<usize> {
    let Some(first) = images.first() else {
        let reason = "no .jpg, .jpeg or .png file inside\nhint: expected <class>/<image> or train/<class>/<image>";
        return Err(Error::format(input, reason));
    };
    let (width, height) = first.pixels.dimensions();
    let hint = "hint: --side N resizes all images";
    if width != height {
        return Err(member_error(input, &first.path, format!("{width} x {height} pixels is no square\n{hint}")));
    }
    match images.iter().find(|image| image.pixels.dimensions() != (width, height)) {
        None => Ok(width as usize),
        Some(other) => {
            let (other_width, other_height) = other.pixels.dimensions();
            let expected = format!("but {} has {width} x {height}", first.path);
            let reason = format!("{other_width} x {other_height} pixels, {expected}\n{hint}");
            Err(member_error(input, &other.path, reason))
        }
    }
}

/// The images of a split as one array. Each is given up as soon as it is copied, so that the set lies in memory about
/// once.
fn assemble(members: &[(usize, i32)], pixels: &mut [Option<RgbImage>], side: usize) -> Split {
    let mut bytes = Vec::with_capacity(members.len() * side * side * 3);
    for &(image, _) in members {
        if let Some(image) = pixels[image].take() {
            bytes.extend_from_slice(image.as_raw());
        }
    }
    let images = Array4::from_shape_vec((members.len(), side, side, 3), bytes).expect("all images have one size");
    Split { images, labels: members.iter().map(|&(_, label)| label).collect(), scene: None }
}
