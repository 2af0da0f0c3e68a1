//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009), each in its binary or its Python version.
//!
//! Each member contains thousands of images and their labels. It is first read as a list, for the labels. Its
//! images are decoded later by `records`.

use image::RgbImage;
use serde_json::json;

use super::access::{Access, Download, Size};
use super::class_folders;
use super::listing::Listing;
use super::member_path::{file_name, has_image_ending};
use super::plan::{PackPlan, Sample};
use super::source::{Options, Source, SourceInfo};
use crate::error::{Error, Result};
use crate::formats::pickle;
use crate::formats::text_list::TextList;

/// Side of the images in pixels.
const SIDE: usize = 32;
/// Bytes per image: the red, the green and the blue plane.
const IMAGE_BYTES: usize = 3 * SIDE * SIDE;

/// The differences between the two sets.
struct CifarSet {
    name: &'static str,
    /// Bytes before the image in a record of the binary version; the last of them is the label.
    label_bytes: usize,
    /// Key of the labels in the Python version.
    labels_key: &'static str,
    /// Key of the class names in the Python version.
    names_key: &'static str,
    /// Batches of the training split. In the binary version, `.bin` is added to the names.
    train: &'static [&'static str],
    test: &'static str,
    /// File with the class names in the binary version.
    binary_names: &'static str,
    /// File with the class names in the Python version.
    python_names: &'static str,
}

static TEN: CifarSet = CifarSet {
    name: "CIFAR10",
    label_bytes: 1,
    labels_key: "labels",
    names_key: "label_names",
    train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
    test: "test_batch",
    binary_names: "batches.meta.txt",
    python_names: "batches.meta",
};

static HUNDRED: CifarSet = CifarSet {
    name: "CIFAR100",
    label_bytes: 2, // the coarse label, then the fine one
    labels_key: "fine_labels",
    names_key: "fine_label_names",
    train: &["train"],
    test: "test",
    binary_names: "fine_label_names.txt",
    python_names: "meta",
};

/// CIFAR-10: the published binary or Python version, or image files in class folders.
pub const CIFAR10: Source = Source {
    kind: "cifar10",
    is_list: |path| TEN.owns(path),
    is_sniffed: |path| !has_image_ending(path),
    plan: |listing, options| {
        if is_cifar10_batches(listing) {
            TEN.plan(listing, options)
        } else {
            class_folders::cifar10(listing, options)
        }
    },
    records: Some(|member, bytes| TEN.records(member, bytes)),
    side: Some(SIDE),
    info: SourceInfo {
        name: "CIFAR10",
        expects: "cifar-10-binary.tar.gz, cifar-10-python.tar.gz, or the folder inside one of them:\n\
                  cifar-10-batches-bin/{data_batch_{1,2,3,4,5},test_batch}.bin, batches.meta.txt\n\
                  cifar-10-batches-py/{data_batch_{1,2,3,4,5},test_batch}, batches.meta\n\
                  or class folders: {train,test}/<class>/<image>",
        sizes: "50,000 train / 10,000 test",
        access: Access::Public(&[Download {
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            size: Size::Exact(170_052_171),
            sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        }]),
        described: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of \
                    Toronto, 2009; cs.toronto.edu/~kriz/cifar.html",
        licence: "none stated by its author",
    },
};

/// CIFAR-100 with its 100 fine labels: the published binary or Python version.
pub const CIFAR100: Source = Source {
    kind: "cifar100",
    is_list: |path| HUNDRED.owns(path),
    is_sniffed: |_| false,
    plan: |listing, options| HUNDRED.plan(listing, options),
    records: Some(|member, bytes| HUNDRED.records(member, bytes)),
    side: Some(SIDE),
    info: SourceInfo {
        name: "CIFAR100",
        expects: "cifar-100-binary.tar.gz, cifar-100-python.tar.gz, or the folder inside one of them:\n\
                  cifar-100-binary/{train.bin,test.bin,fine_label_names.txt}\n\
                  cifar-100-python/{train,test,meta}",
        sizes: "50,000 train / 10,000 test",
        access: Access::Public(&[Download {
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            size: Size::Exact(168_513_733),
            sha256: Some("58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
        }]),
        described: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, University of \
                    Toronto, 2009; cs.toronto.edu/~kriz/cifar.html",
        licence: "none stated by its author",
    },
};

/// Whether the input contains batches of CIFAR-10.
fn is_cifar10_batches(listing: &Listing) -> bool {
    listing.members.iter().any(|(path, _)| TEN.is_batch(file_name(path)))
}

/// Whether the member belongs to the binary version.
fn is_binary(path: &str) -> bool {
    path.ends_with(".bin")
}

impl CifarSet {
    fn batches(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// Whether `name` is the file name of a batch in either version.
    fn is_batch(&self, name: &str) -> bool {
        let stem = name.strip_suffix(".bin").unwrap_or(name);
        self.batches().any(|batch| batch == stem)
    }

    /// Whether this path is a file of the set.
    fn owns(&self, path: &str) -> bool {
        let name = file_name(path);
        self.is_batch(name) || name == self.binary_names || name == self.python_names
    }

    /// Decides where each image goes. If both versions are present, the binary one is used.
    fn plan(&self, listing: &Listing, options: &Options) -> Result<PackPlan> {
        let binary = listing.lists.keys().any(|path| is_binary(path) && self.is_batch(file_name(path)));
        if !binary && !listing.lists.keys().any(|path| self.is_batch(file_name(path))) {
            let (name, first) = (self.name, self.train[0]);
            let hint = "hint: `eqr-bench data list` shows what INPUT must contain";
            let reason =
                format!("expected batches of {name} ({first}.bin or {first}, ...), found none\n{hint}");
            return Err(Error::format(listing.input, reason));
        }
        let class_names = self.class_names(listing, binary)?;
        let split = |name: &str, batches: &[&str]| -> Result<(String, Vec<Sample>)> {
            let mut samples = Vec::new();
            for batch in batches {
                let end = if binary { format!("{batch}.bin") } else { batch.to_string() };
                samples.extend(self.samples(&listing.require_list(&end)?, class_names.len())?);
            }
            Ok((name.to_string(), samples))
        };
        let splits = vec![split("train", self.train)?, split("test", &[self.test])?];
        let notes = json!({ "version": if binary { "binary" } else { "python" } });
        Ok(PackPlan::photographs(options.name_or(self.name), class_names, splits, notes))
    }

    fn class_names(&self, listing: &Listing, binary: bool) -> Result<Vec<String>> {
        if binary {
            return Ok(listing.require_list(self.binary_names)?.classes()?.to_names());
        }
        let list = listing.require_list(self.python_names)?;
        let names = pickle::read(list.bytes).and_then(|dict| dict.strings(self.names_key));
        names.map_err(|reason| list.error(reason))
    }

    /// The samples of a batch. Images are named by their index in the batch.
    fn samples(&self, batch: &TextList, classes: usize) -> Result<Vec<Sample>> {
        let labels = match is_binary(batch.path) {
            true => self.binary_labels(batch.bytes),
            false => self.python_labels(batch.bytes),
        };
        let sample =
            |(record, label): (usize, i64)| match usize::try_from(label).is_ok_and(|label| label < classes) {
                true => Ok(Sample::labelled(format!("{}#{record}", batch.path), label as i32)),
                false => {
                    Err(batch.error(format!("image {record}: label {label}, expected 0 to {}", classes - 1)))
                }
            };
        labels.map_err(|reason| batch.error(reason))?.into_iter().enumerate().map(sample).collect()
    }

    fn binary_labels(&self, bytes: &[u8]) -> std::result::Result<Vec<i64>, String> {
        Ok(self.binary_records(bytes)?.map(|record| i64::from(record[self.label_bytes - 1])).collect())
    }

    /// Splits a batch of the binary version into its records: labels followed by an image.
    fn binary_records<'a>(
        &self,
        bytes: &'a [u8],
    ) -> std::result::Result<std::slice::ChunksExact<'a, u8>, String> {
        let record = self.label_bytes + IMAGE_BYTES;
        match !bytes.is_empty() && bytes.len().is_multiple_of(record) {
            true => Ok(bytes.chunks_exact(record)),
            false => {
                let hint = "hint: copy or download it again";
                Err(format!(
                    "{} bytes, expected a multiple of {record}, the bytes per image\n{hint}",
                    bytes.len()
                ))
            }
        }
    }

    fn python_labels(&self, bytes: &[u8]) -> std::result::Result<Vec<i64>, String> {
        let dict = pickle::read(bytes)?;
        let labels = dict.numbers(self.labels_key)?;
        let images = python_images(&dict)?.rows;
        match labels.len() == images && images > 0 {
            true => Ok(labels),
            false => {
                Err(format!("expected a label for each image, found {} and {images} images", labels.len()))
            }
        }
    }

    /// The images of a member, in order.
    fn records(&self, member: &str, bytes: &[u8]) -> std::result::Result<Vec<RgbImage>, String> {
        if is_binary(member) {
            return Ok(self.binary_records(bytes)?.map(|record| rgb(&record[self.label_bytes..])).collect());
        }
        let dict = pickle::read(bytes)?;
        Ok(python_images(&dict)?.bytes().chunks_exact(IMAGE_BYTES).map(rgb).collect())
    }
}

/// The images of the Python version, one per row.
fn python_images<'d>(dict: &'d pickle::Dict) -> std::result::Result<&'d pickle::Array<'d>, String> {
    let images = dict.array("data")?;
    match images.columns == IMAGE_BYTES {
        true => Ok(images),
        false => Err(format!("expected rows of {IMAGE_BYTES} bytes at \"data\", found {}", images.columns)),
    }
}

/// Makes an image from its three planes of [`SIDE`] x [`SIDE`] bytes.
fn rgb(planes: &[u8]) -> RgbImage {
    let plane = SIDE * SIDE;
    RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let pixel = y as usize * SIDE + x as usize;
        image::Rgb([planes[pixel], planes[plane + pixel], planes[2 * plane + pixel]])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::{listing, options};

    /// A record of CIFAR-100 with these labels.
    fn record(coarse: u8, fine: u8) -> Vec<u8> {
        let mut record = vec![coarse, fine];
        record.extend((0..IMAGE_BYTES).map(|at| (at / (SIDE * SIDE)) as u8 * 50 + (at % SIDE) as u8));
        record
    }

    #[test]
    fn a_binary_record_is_a_label_and_three_planes() {
        let bytes = [record(9, 3), record(8, 4)].concat();
        assert_eq!(HUNDRED.binary_labels(&bytes).unwrap(), [3, 4]);
        let images = HUNDRED.records("train.bin", &bytes).unwrap();
        assert_eq!((images.len(), images[1].dimensions()), (2, (32, 32)));
        assert_eq!(images[1].get_pixel(7, 20).0, [7, 57, 107]);
        let error = HUNDRED.binary_labels(&bytes[1..]).unwrap_err();
        assert!(error.contains("6147 bytes, expected a multiple of 3074"), "{error}");
    }

    #[test]
    fn an_input_without_batches_names_what_is_expected() {
        let listing = listing(&[("README.txt", b"")], CIFAR100.is_list);
        let error = (CIFAR100.plan)(&listing, &options()).unwrap_err().to_string();
        assert!(error.contains("expected batches of CIFAR100 (train.bin or train, ...)"), "{error}");
    }
}
