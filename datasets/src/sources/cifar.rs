//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary and their python version.
//!
//! Both hold thousands of images a member, with the labels beside the pixels. So a member is read as a list first, for
//! its labels, and decoded by `records` later.

use image::RgbImage;
use serde_json::json;

use super::class_folder_sets;
use super::lists::{self, List};
use super::pickle;
use super::plan::{About, Item, Listing, Options, Plan, Source};
use super::suffix::file_name;
use crate::dataset::Kind;
use crate::error::{Error, Result};

/// Side of the images in pixels.
const SIDE: usize = 32;
/// Bytes of an image: its red, green and blue plane.
const IMAGE: usize = 3 * SIDE * SIDE;

/// What tells the two sets apart.
struct Set {
    name: &'static str,
    /// Bytes before the image in a record of the binary version; the last of them is the label.
    label_bytes: usize,
    /// Key of the labels in the python version.
    labels_key: &'static str,
    /// Key of the class names in the python version.
    names_key: &'static str,
    /// Batches of the training split, without the `.bin` of the binary version.
    train: &'static [&'static str],
    test: &'static str,
    /// File of the class names in the binary version.
    binary_names: &'static str,
    /// File of the class names in the python version.
    python_names: &'static str,
}

static TEN: Set = Set {
    name: "CIFAR10",
    label_bytes: 1,
    labels_key: "labels",
    names_key: "label_names",
    train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
    test: "test_batch",
    binary_names: "batches.meta.txt",
    python_names: "batches.meta",
};

static HUNDRED: Set = Set {
    name: "CIFAR100",
    label_bytes: 2, // the coarse label, then the fine one
    labels_key: "fine_labels",
    names_key: "fine_label_names",
    train: &["train"],
    test: "test",
    binary_names: "fine_label_names.txt",
    python_names: "meta",
};

/// CIFAR-10 as published, binary or python version, or as class folders of pictures.
pub const CIFAR10: Source = Source {
    kind: "cifar10",
    is_list: |path| TEN.owns(path),
    plan: |listing, options| {
        if is_cifar10_batches(listing) {
            TEN.plan(listing, options)
        } else {
            class_folder_sets::cifar10(listing, options)
        }
    },
    records: Some(|member, bytes| TEN.records(member, bytes)),
    side: Some(SIDE),
    about: About {
        name: "CIFAR10",
        expects: "cifar-10-binary.tar.gz, cifar-10-python.tar.gz, or the folder that one of them holds:\n\
                  cifar-10-batches-bin/{data_batch_{1,2,3,4,5},test_batch}.bin, batches.meta.txt\n\
                  cifar-10-batches-py/{data_batch_{1,2,3,4,5},test_batch}, batches.meta\n\
                  or class folders: {train,test}/<class>/<image>",
        sizes: "50,000 train / 10,000 test",
        download: "170 MB",
        described: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of \
                    Toronto, 2009; cs.toronto.edu/~kriz/cifar.html",
        licence: "none stated by its author",
    },
};

/// CIFAR-100 as published, binary or python version, with its 100 fine labels.
pub const CIFAR100: Source = Source {
    kind: "cifar100",
    is_list: |path| HUNDRED.owns(path),
    plan: |listing, options| HUNDRED.plan(listing, options),
    records: Some(|member, bytes| HUNDRED.records(member, bytes)),
    side: Some(SIDE),
    about: About {
        name: "CIFAR100",
        expects: "cifar-100-binary.tar.gz, cifar-100-python.tar.gz, or the folder that one of them holds:\n\
                  cifar-100-binary/{train.bin,test.bin,fine_label_names.txt}\n\
                  cifar-100-python/{train,test,meta}",
        sizes: "50,000 train / 10,000 test",
        download: "169 MB",
        described: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of \
                    Toronto, 2009; cs.toronto.edu/~kriz/cifar.html",
        licence: "none stated by its author",
    },
};

/// Whether the input holds batches of CIFAR-10.
fn is_cifar10_batches(listing: &Listing) -> bool {
    listing.members.iter().any(|(path, _)| TEN.is_batch(file_name(path)))
}

/// Whether the member is of the binary version.
fn is_binary(path: &str) -> bool {
    path.ends_with(".bin")
}

impl Set {
    fn batches(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// Whether a file of this name is a batch, of either version.
    fn is_batch(&self, name: &str) -> bool {
        let stem = name.strip_suffix(".bin").unwrap_or(name);
        self.batches().any(|batch| batch == stem)
    }

    /// Whether the set has a file at this path.
    fn owns(&self, path: &str) -> bool {
        let name = file_name(path);
        self.is_batch(name) || name == self.binary_names || name == self.python_names
    }

    /// Which image goes where. Where both versions are there it is the binary one that is read.
    fn plan(&self, listing: &Listing, options: &Options) -> Result<Plan> {
        let binary = listing.lists.keys().any(|path| is_binary(path) && self.is_batch(file_name(path)));
        if !binary && !listing.lists.keys().any(|path| self.is_batch(file_name(path))) {
            let (name, first) = (self.name, self.train[0]);
            let hint = "hint: `eqr-bench data list` shows what INPUT must hold";
            let reason = format!("expected batches of {name} ({first}.bin or {first}, ...), found none\n{hint}");
            return Err(Error::format(listing.input, reason));
        }
        let class_names = self.class_names(listing, binary)?;
        let split = |name: &str, batches: &[&str]| -> Result<(String, Vec<Item>)> {
            let mut items = Vec::new();
            for batch in batches {
                let end = if binary { format!("{batch}.bin") } else { batch.to_string() };
                items.extend(self.items(&lists::require(listing, &end)?, class_names.len())?);
            }
            Ok((name.to_string(), items))
        };
        let splits = vec![split("train", self.train)?, split("test", &[self.test])?];
        Ok(Plan {
            name: options.name.clone().unwrap_or_else(|| self.name.to_string()),
            kind: Kind::Photographs,
            class_names,
            views: None,
            splits,
            absent: Vec::new(),
            notes: json!({ "version": if binary { "binary" } else { "python" } }),
        })
    }

    fn class_names(&self, listing: &Listing, binary: bool) -> Result<Vec<String>> {
        if binary {
            return Ok(lists::require(listing, self.binary_names)?.classes()?.to_names());
        }
        let list = lists::require(listing, self.python_names)?;
        let names = pickle::read(list.bytes).and_then(|dict| dict.strings(self.names_key));
        names.map_err(|reason| list.error(reason))
    }

    /// The images of a batch, by their number in it.
    fn items(&self, batch: &List, classes: usize) -> Result<Vec<Item>> {
        let labels = match is_binary(batch.path) {
            true => self.binary_labels(batch.bytes),
            false => self.python_labels(batch.bytes),
        };
        let item = |(record, label): (usize, i64)| match usize::try_from(label).is_ok_and(|label| label < classes) {
            true => {
                let image = format!("{}#{record}", batch.path);
                Ok(Item { image, label: label as i32, mask: None, latents: None })
            }
            false => Err(batch.error(format!("image {record}: label {label}, expected 0 to {}", classes - 1))),
        };
        labels.map_err(|reason| batch.error(reason))?.into_iter().enumerate().map(item).collect()
    }

    fn binary_labels(&self, bytes: &[u8]) -> std::result::Result<Vec<i64>, String> {
        Ok(self.binary_records(bytes)?.map(|record| i64::from(record[self.label_bytes - 1])).collect())
    }

    /// Records of the binary version: labels, then an image.
    fn binary_records<'a>(&self, bytes: &'a [u8]) -> std::result::Result<std::slice::ChunksExact<'a, u8>, String> {
        let record = self.label_bytes + IMAGE;
        match !bytes.is_empty() && bytes.len().is_multiple_of(record) {
            true => Ok(bytes.chunks_exact(record)),
            false => {
                let hint = "hint: copy or download it again";
                Err(format!("{} bytes, expected a multiple of {record}, the bytes of an image\n{hint}", bytes.len()))
            }
        }
    }

    fn python_labels(&self, bytes: &[u8]) -> std::result::Result<Vec<i64>, String> {
        let dict = pickle::read(bytes)?;
        let labels = dict.numbers(self.labels_key)?;
        let images = python_images(&dict)?.rows;
        match labels.len() == images && images > 0 {
            true => Ok(labels),
            false => Err(format!("expected a label for each image, found {} and {images} images", labels.len())),
        }
    }

    /// The images of a member in their order.
    fn records(&self, member: &str, bytes: &[u8]) -> std::result::Result<Vec<RgbImage>, String> {
        if is_binary(member) {
            return Ok(self.binary_records(bytes)?.map(|record| rgb(&record[self.label_bytes..])).collect());
        }
        let dict = pickle::read(bytes)?;
        Ok(python_images(&dict)?.bytes().chunks_exact(IMAGE).map(rgb).collect())
    }
}

/// The images of the python version, one a row.
fn python_images<'d>(dict: &'d pickle::Dict) -> std::result::Result<&'d pickle::Array<'d>, String> {
    let images = dict.array("data")?;
    match images.columns == IMAGE {
        true => Ok(images),
        false => Err(format!("expected rows of {IMAGE} bytes at \"data\", found {}", images.columns)),
    }
}

/// Three planes of [`SIDE`] x [`SIDE`] as pixels.
fn rgb(planes: &[u8]) -> RgbImage {
    let plane = SIDE * SIDE;
    RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let pixel = y as usize * SIDE + x as usize;
        image::Rgb([planes[pixel], planes[plane + pixel], planes[2 * plane + pixel]])
    })
}
