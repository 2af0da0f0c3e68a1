//! Memory of a pack of many images: labels and offsets are in memory, images are not. `EQR_TEST_FULL=1` packs
//! 200,000 instead of 40,000.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::ImageFormat;

use crate::common::{eqr, picture, stderr, succeeded};

/// Images of ImageNet's training split, and the memory of a rank that they may take, in MiB.
const IMAGENET: (f64, f64) = (1_281_167.0, 4096.0);
/// Bytes of memory that an image of a pack may take: less than its file (some 700 bytes) or its pixels (768).
const BYTES_AN_IMAGE: f64 = 300.0;

/// An archive of `images` small JPEG files, eight different ones, in four classes and two splits.
fn archive(path: &Path, images: usize) {
    let files: Vec<Vec<u8>> = (0..8)
        .map(|salt| {
            let mut file = std::io::Cursor::new(Vec::new());
            picture(16, 16, salt).write_to(&mut file, ImageFormat::Jpeg).unwrap();
            file.into_inner()
        })
        .collect();
    let packed = GzEncoder::new(BufWriter::new(File::create(path).unwrap()), Compression::fast());
    let mut builder = tar::Builder::new(packed);
    let mut add = |name: String, index: usize| {
        let mut header = tar::Header::new_ustar();
        header.set_size(files[index % 8].len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, files[index % 8].as_slice()).unwrap();
    };
    (0..images).for_each(|index| add(format!("train/{}/{index}.jpg", index % 4), index));
    (0..4).for_each(|index| add(format!("test/{index}/0.jpg"), index));
    builder.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

/// Peak memory, in MiB, of a process that opens a pack of `images` images and reads random batches.
fn peak_mib(folder: &Path, images: usize) -> f64 {
    archive(&folder.join("many.tar.gz"), images);
    succeeded(&eqr(folder, &["data", "pack", "class-folders", "many.tar.gz", "--out", "many.h5"]));
    let output = eqr(
        folder,
        &[
            "perf",
            "load",
            "--pack",
            "many.h5",
            "--side",
            "16",
            "--images",
            "2048",
            "--rounds",
            "1",
            "--threads",
            "1",
            "--json",
        ],
    );
    succeeded(&output);
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["config"]["images"], 2048, "{}", stderr(&output));
    result["peak_memory_mib"].as_f64().expect("the system says how much memory was used")
}

#[test]
fn memory_grows_by_labels_and_places_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (few, many) =
        if std::env::var_os("EQR_TEST_FULL").is_some() { (4_000, 200_000) } else { (4_000, 40_000) };
    let [small, large] = [few, many].map(|images| peak_mib(folder.path(), images));
    let bytes = (large - small) * f64::from(1 << 20) / (many - few) as f64;
    let imagenet = large + bytes.max(0.0) * (IMAGENET.0 - many as f64) / f64::from(1 << 20);
    println!(
        "{few} images: {small:.0} MiB, {many}: {large:.0} MiB, {bytes:.0} bytes each; ImageNet: {imagenet:.0} MiB"
    );
    assert!(bytes < BYTES_AN_IMAGE, "{bytes} bytes an image");
    assert!(imagenet < IMAGENET.1, "{imagenet} MiB");
}
