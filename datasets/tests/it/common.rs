//! Helpers of several tests.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use eqr_datasets::packing::{PackSpec, Resize};
use eqr_datasets::sources::{Listing, Options, PackPlan, Source};
use eqr_datasets::{FileKind, Result};
use image::{DynamicImage, ImageFormat};
use tch::Tensor;

/// Path and content of files.
pub type Files = Vec<(String, Vec<u8>)>;

/// Packing with this resize. If the source has no splits, a share of `test_fraction` is the test split.
pub fn spec(resize: Resize, test_fraction: f64, seed: u64) -> PackSpec {
    PackSpec { options: Options { name: None, test_fraction, seed }, resize, skip_bad: false }
}

/// The plan of `source` for an input with these files.
pub fn plan(source: &Source, files: &Files) -> Result<PackPlan> {
    let mut members: Vec<(String, u64)> =
        files.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    members.sort();
    let lists = files.iter().filter(|(path, _)| (source.is_list)(path)).cloned().collect();
    let kinds = files.iter().filter(|(path, _)| (source.is_sniffed)(path));
    let kinds = kinds.map(|(path, bytes)| (path.clone(), FileKind::of(bytes))).collect();
    let listing = Listing { input: Path::new("input"), members, lists, kinds };
    (source.plan)(&listing, &Options { name: None, test_fraction: 0.2, seed: 0 })
}

/// `files` with the file at `path` replaced or added.
pub fn with(files: &Files, path: &str, content: impl AsRef<[u8]>) -> Files {
    let mut files = without(files, path);
    files.push((path.to_string(), content.as_ref().to_vec()));
    files
}

/// `files` without the file at `path`.
pub fn without(files: &Files, path: &str) -> Files {
    files.iter().filter(|(other, _)| other != path).cloned().collect()
}

/// Writes `files` below `root`.
pub fn write_folder(root: &Path, files: &Files) -> PathBuf {
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    root.to_owned()
}

/// `bytes` compressed with gzip.
pub fn gz_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `image` as a file of this format.
pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Largest absolute difference of two tensors.
pub fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// The shared archive of this name. If it is not there, a line says so and the test passes, unless
/// EQR_REQUIRE contains `shared`.
pub fn shared_archive(name: &str) -> Option<PathBuf> {
    let root = std::env::var("EQR_SHARED").map_or_else(|_| PathBuf::from("../../shared"), PathBuf::from);
    let archive = root.join("data").join(name);
    if archive.is_file() {
        return Some(archive);
    }
    let why = format!("{} is not there (EQR_SHARED names the folder)", archive.display());
    let required =
        std::env::var("EQR_REQUIRE").is_ok_and(|list| list.split(',').any(|item| item.trim() == "shared"));
    assert!(!required, "{why}, and EQR_REQUIRE contains `shared`");
    // written directly, because the test harness hides the output of a passing test
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("stderr is open");
    None
}
