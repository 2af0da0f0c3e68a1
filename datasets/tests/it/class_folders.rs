//! Class folders and archives of them, valid and broken.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use eqr_datasets::packing::{PackSpec, Resize, pack, remarks};
use eqr_datasets::sources::{CIFAR10, CIFAR10_CLASSES, CLASS_FOLDERS, Options, Source};
use eqr_datasets::{Dataset, Error};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};

use crate::common::{Files, encoded, gz_bytes, shared_archive, write_folder};

/// Options for packing class folders.
#[derive(Clone)]
struct FolderSpec {
    name: String,
    side: Option<usize>,
    test_fraction: f64,
    seed: u64,
}

fn read(source: &Source, input: &Path, spec: PackSpec) -> eqr_datasets::Result<Dataset> {
    let folder = tempfile::tempdir().unwrap();
    let packed = pack(source, input, &folder.path().join("p.h5"), &spec, &|_, _| {});
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, usize::from(packed.is_ok()), "a pack, or nothing at all");
    packed?.load()
}

fn read_class_folders(input: &Path, spec: &FolderSpec) -> eqr_datasets::Result<Dataset> {
    let FolderSpec { name, side, test_fraction, seed } = spec.clone();
    let options = Options { name: Some(name), test_fraction, seed };
    read(
        &CLASS_FOLDERS,
        input,
        PackSpec { options, resize: side.map_or(Resize::Keep, Resize::Square), skip_bad: false },
    )
}

fn read_cifar10_folders(input: &Path) -> eqr_datasets::Result<Dataset> {
    let options = Options { name: None, test_fraction: 0.2, seed: 0 };
    read(&CIFAR10, input, PackSpec { options, resize: Resize::Keep, skip_bad: false })
}

fn spec() -> FolderSpec {
    FolderSpec { name: "tiny".into(), side: None, test_fraction: 0.25, seed: 3 }
}

fn with_side(side: usize) -> FolderSpec {
    FolderSpec { side: Some(side), ..spec() }
}

/// A PNG of one colour.
fn flat(colour: [u8; 3], width: u32, height: u32) -> Vec<u8> {
    encoded(RgbImage::from_pixel(width, height, Rgb(colour)), ImageFormat::Png)
}

/// Two classes and two splits, not sorted. Each image has its own colour.
fn two_splits() -> Files {
    let mut files: Files = Vec::new();
    for (split, count, red) in [("train", 3u8, 10u8), ("test", 2, 200)] {
        for (class, green) in [("zebra", 90u8), ("ant", 30)] {
            for index in (0..count).rev() {
                files.push((format!("{split}/{class}/{index}.png"), flat([red, green, index], 8, 8)));
            }
        }
    }
    files.push(("README.txt".into(), b"not an image".to_vec()));
    files.push(("train/ant/._0.png".into(), b"a side file of a Mac".to_vec()));
    files
}

/// Four classes of eight images without splits below a folder `top`.
fn one_tree() -> Files {
    let image =
        |class: u8, index: u8| (format!("top/class {class}/ä{index}.png"), flat([class, index, 0], 4, 4));
    (0..4).flat_map(|class| (0..8).map(move |index| image(class, index))).collect()
}

fn tar_bytes(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A `.tar.gz` of `files` in `folder`.
fn write_archive(folder: &Path, files: &Files) -> PathBuf {
    let path = folder.join("set.tar.gz");
    fs::write(&path, gz_bytes(&tar_bytes(files))).unwrap();
    path
}

/// An archive of one member with this name and type, which `tar::Builder` would refuse to write.
fn strange_archive(folder: &Path, name: &str, kind: tar::EntryType, declared: u64, bytes: &[u8]) -> PathBuf {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(declared);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend_from_slice(bytes);
    let path = folder.join("strange.tar");
    fs::write(&path, archive).unwrap();
    path
}

fn member_error(result: eqr_datasets::Result<Dataset>) -> (String, String) {
    match result {
        Err(Error::Member { member, reason, .. }) => (member, reason),
        other => panic!("expected Error::Member, found {other:?}"),
    }
}

fn format_error(result: eqr_datasets::Result<Dataset>) -> String {
    match result {
        Err(Error::Format { reason, .. }) => reason,
        other => panic!("expected Error::Format, found {other:?}"),
    }
}

#[test]
fn folder_tar_and_tar_gz_give_the_same_set_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let files = two_splits();
    let tree = write_folder(&folder.path().join("tree"), &files);
    let tar = folder.path().join("set.tar");
    fs::write(&tar, tar_bytes(&files)).unwrap();
    let zipped = write_archive(folder.path(), &files);
    for input in [&tree, &tar, &zipped] {
        let set = read_class_folders(input, &spec()).unwrap();
        assert_eq!(set.class_names, ["ant", "zebra"]);
        assert_eq!(set.train.labels, [0, 0, 0, 1, 1, 1]);
        assert_eq!(set.test.labels, [0, 0, 1, 1]);
        let pixel = |n: usize| [0, 1, 2].map(|c| set.train.images[(n, 5, 2, c)]);
        let expected = [[10, 30, 0], [10, 30, 1], [10, 30, 2], [10, 90, 0], [10, 90, 1], [10, 90, 2]];
        assert_eq!([0, 1, 2, 3, 4, 5].map(pixel), expected, "{}", input.display());
        assert_eq!(set.test.images[(3, 0, 0, 0)], 200);
    }
    let provenance = read_class_folders(&zipped, &spec()).unwrap().provenance;
    assert_eq!(provenance["input"], "set.tar.gz");
    assert_eq!(provenance["archive_blake3"], blake3::hash(&fs::read(&zipped).unwrap()).to_hex().as_str());
    assert!(!provenance.to_string().contains(&*folder.path().to_string_lossy()), "no paths of this machine");
}

#[test]
fn val_is_the_test_split_where_there_is_no_test() {
    let folder = tempfile::tempdir().unwrap();
    let files: Files =
        two_splits().into_iter().map(|(path, bytes)| (path.replace("test/", "val/"), bytes)).collect();
    let set = read_class_folders(&write_archive(folder.path(), &files), &spec()).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (6, 4));
}

#[test]
fn a_tree_without_splits_is_split_by_the_seed_class_by_class() {
    let folder = tempfile::tempdir().unwrap();
    let archive = write_archive(folder.path(), &one_tree());
    let set = read_class_folders(&archive, &spec()).unwrap();
    assert_eq!(set.class_names, ["class 0", "class 1", "class 2", "class 3"]);
    for label in 0..4 {
        assert_eq!(set.train.labels.iter().filter(|&&l| l == label).count(), 6);
        assert_eq!(set.test.labels.iter().filter(|&&l| l == label).count(), 2);
    }
    let pixel =
        |split: &eqr_datasets::Split, n: usize| (split.images[(n, 0, 0, 0)], split.images[(n, 0, 0, 1)]);
    let mut all: Vec<(u8, u8)> =
        (0..24).map(|n| pixel(&set.train, n)).chain((0..8).map(|n| pixel(&set.test, n))).collect();
    all.sort_unstable();
    assert_eq!(all, (0..4).flat_map(|c| (0..8).map(move |i| (c, i))).collect::<Vec<_>>(), "each image once");
    assert_eq!(set, read_class_folders(&archive, &spec()).unwrap());
    assert_ne!(set.test, read_class_folders(&archive, &FolderSpec { seed: 4, ..spec() }).unwrap().test);
}

#[test]
fn the_set_does_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let archive = write_archive(folder.path(), &one_tree());
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| read_class_folders(&archive, &spec()).unwrap())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn grey_alpha_palette_and_sixteen_bits_become_rgb() {
    let folder = tempfile::tempdir().unwrap();
    let grey = ImageBuffer::from_pixel(4, 4, Luma([77u8]));
    let grey_alpha = ImageBuffer::from_pixel(4, 4, LumaA([78u8, 10]));
    let grey16 = ImageBuffer::from_pixel(4, 4, Luma([257u16 * 79]));
    let rgb16 = ImageBuffer::from_pixel(4, 4, Rgb([257u16 * 10, 257 * 20, 257 * 30]));
    let rgba = ImageBuffer::from_pixel(4, 4, Rgba([1u8, 2, 3, 0]));
    let jpeg = ImageBuffer::from_pixel(4, 4, Luma([80u8]));
    let files: Files = vec![
        ("train/a/0.png".into(), encoded(DynamicImage::ImageLuma8(grey), ImageFormat::Png)),
        ("train/a/1.png".into(), encoded(DynamicImage::ImageLumaA8(grey_alpha), ImageFormat::Png)),
        ("train/a/2.png".into(), encoded(DynamicImage::ImageLuma16(grey16), ImageFormat::Png)),
        ("train/a/3.png".into(), encoded(DynamicImage::ImageRgb16(rgb16), ImageFormat::Png)),
        ("train/a/4.PNG".into(), encoded(DynamicImage::ImageRgba8(rgba), ImageFormat::Png)),
        ("train/a/5.JPEG".into(), encoded(DynamicImage::ImageLuma8(jpeg), ImageFormat::Jpeg)),
        ("train/a/6.png".into(), palette_png()),
        ("train/b/0.png".into(), flat([0; 3], 4, 4)),
        ("test/a/0.png".into(), flat([0; 3], 4, 4)),
    ];
    let set = read_class_folders(&write_folder(folder.path(), &files), &spec()).unwrap();
    let pixel = |n: usize| [0, 1, 2].map(|c| set.train.images[(n, 1, 1, c)]);
    let expected = [[77; 3], [78; 3], [79; 3], [10, 20, 30], [1, 2, 3], [80; 3], [9, 8, 7]];
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(pixel), expected);
}

/// A 4 x 4 PNG with a palette of one colour, written chunk by chunk, because the image crate cannot write it.
fn palette_png() -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&[0; 4 * 5]).unwrap();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [0, 0, 0, 4, 0, 0, 0, 4, 8, 3, 0, 0, 0];
    let pixels = zlib.finish().unwrap();
    for (name, data) in [(b"IHDR", &header[..]), (b"PLTE", &[9, 8, 7]), (b"IDAT", &pixels), (b"IEND", &[])] {
        png.extend((data.len() as u32).to_be_bytes());
        let chunk = [&name[..], data].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&chunk);
        png.extend(chunk);
        png.extend(crc.sum().to_be_bytes());
    }
    png
}

#[test]
fn with_a_side_the_central_square_is_resized() {
    let folder = tempfile::tempdir().unwrap();
    // a red centre between blue sides, horizontally and vertically
    let wings = |x: u32| if (10..20).contains(&x) { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) };
    let files: Files = vec![
        ("a/wide.png".into(), encoded(RgbImage::from_fn(30, 10, |x, _| wings(x)), ImageFormat::Png)),
        ("a/tall.png".into(), encoded(RgbImage::from_fn(10, 30, |_, y| wings(y)), ImageFormat::Png)),
        ("b/dot.png".into(), flat([5, 6, 7], 1, 1)),
        ("b/strip.png".into(), flat([5, 6, 7], 3000, 1)),
    ];
    let set = read_class_folders(&write_folder(folder.path(), &files), &with_side(5)).unwrap();
    assert_eq!(set.train.side(), 5);
    for split in [&set.train, &set.test] {
        for (image, &label) in split.images.outer_iter().zip(&split.labels) {
            let expected = if label == 0 { [250, 0, 0] } else { [5, 6, 7] };
            assert!(image.rows().into_iter().all(|pixel| pixel.to_vec() == expected));
        }
    }
}

#[test]
fn without_a_side_other_sizes_are_named_with_the_hint() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = two_splits();
    files.push(("train/zebra/9.png".into(), flat([1; 3], 9, 8)));
    let reason = format_error(read_class_folders(&write_archive(folder.path(), &files), &spec()));
    assert!(reason.contains("one size") && reason.contains("--side"), "{reason}");
    let oblong: Files =
        ["a/0.png", "a/1.png", "b/0.png", "b/1.png"].map(|path| (path.to_owned(), flat([1; 3], 9, 8))).into();
    let other = tempfile::tempdir().unwrap();
    let reason = format_error(read_class_folders(&write_folder(other.path(), &oblong), &spec()));
    assert!(reason.contains("not squares"), "{reason}");
}

#[test]
fn a_corrupt_member_is_named_whatever_is_wrong_with_it() {
    let jpeg =
        encoded(RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 3) as u8, (y * 2) as u8, 9])), ImageFormat::Jpeg);
    let png = flat([3; 3], 8, 8);
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty.jpg", Vec::new()),
        ("text.png", b"hello".to_vec()),
        ("half.jpg", jpeg[..jpeg.len() / 2].to_vec()),
        ("header.jpg", jpeg[..20].to_vec()),
        ("half.png", png[..png.len() / 2].to_vec()),
        ("gif.png", b"GIF89a\x01\0\x01\0\0\0\0;".to_vec()),
    ];
    for (name, bytes) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut files = two_splits();
        files.insert(3, (format!("train/ant/{name}"), bytes));
        files.push(("train/ant/zz.png".into(), b"bad, too, but later".to_vec()));
        let archive = write_archive(folder.path(), &files);
        let error = read_class_folders(&archive, &with_side(8)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("set.tar.gz") && message.contains(&format!("train/ant/{name}")),
            "{message}"
        );
    }
}

#[test]
fn a_picture_of_too_many_pixels_is_refused_by_its_header() {
    let mut bomb = flat([0; 3], 8, 8);
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let mut crc = flate2::Crc::new();
    crc.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let folder = tempfile::tempdir().unwrap();
    let mut files = two_splits();
    files.push(("train/ant/bomb.png".into(), bomb));
    let (member, reason) = member_error(read_class_folders(&write_archive(folder.path(), &files), &spec()));
    assert_eq!(member, "train/ant/bomb.png");
    assert!(reason.contains("30000 x 30000"), "{reason}");
}

#[test]
fn members_that_reach_outside_and_links_are_refused() {
    use tar::EntryType;
    for (name, kind, expected) in [
        ("../a/0.png", EntryType::Regular, ".."),
        ("a/../../0.png", EntryType::Regular, ".."),
        ("/etc/0.png", EntryType::Regular, "absolute"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (member, reason) =
            member_error(read_class_folders(&strange_archive(folder.path(), name, kind, 0, &[]), &spec()));
        assert_eq!(member, name);
        assert!(reason.contains(expected), "{reason}");
    }
    for (kind, expected) in
        [(EntryType::Symlink, "link"), (EntryType::Link, "link"), (EntryType::Fifo, "special")]
    {
        let folder = tempfile::tempdir().unwrap();
        let strange = strange_archive(folder.path(), "train/ant/9.png", kind, 0, &[]);
        let both = [fs::read(&strange).unwrap(), tar_bytes(&two_splits())].concat();
        fs::write(&strange, both).unwrap();
        let (member, reason) = member_error(read_class_folders(&strange, &spec()));
        assert_eq!(member, "train/ant/9.png");
        assert!(reason.contains(expected), "{reason}");
        let set = read(&CLASS_FOLDERS, &strange, leaving_out()).unwrap();
        assert_eq!(set.train.labels, [0, 0, 0, 1, 1, 1], "--skip-bad leaves it out");
        assert_eq!(set.provenance["left_out"][0]["member"], "train/ant/9.png");
    }
}

/// Options of `--skip-bad`.
fn leaving_out() -> PackSpec {
    let options = Options { name: None, test_fraction: 0.25, seed: 3 };
    PackSpec { options, resize: Resize::Keep, skip_bad: true }
}

#[test]
fn broken_links_of_a_folder_are_named_and_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let tree = write_folder(&folder.path().join("tree"), &two_splits());
    std::os::unix::fs::symlink("/gone/3.png", tree.join("train/ant/3.png")).unwrap();
    let (member, reason) = member_error(read_class_folders(&tree, &spec()));
    assert_eq!(member, "train/ant/3.png");
    assert!(reason.contains("a broken link to /gone/3.png"), "{reason}");
    assert_eq!(read(&CLASS_FOLDERS, &tree, leaving_out()).unwrap().train.len(), 6);
}

/// The formats that the program reads, each under a name that says nothing or something else.
#[test]
fn images_are_taken_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let image = |red: u8| RgbImage::from_pixel(8, 8, Rgb([red, 7, 9]));
    let formats = [
        ("1.webp", ImageFormat::WebP),
        ("2.bmp", ImageFormat::Bmp),
        ("3.tif", ImageFormat::Tiff),
        ("4.gif", ImageFormat::Gif),
        ("5.jfif", ImageFormat::Jpeg),
        ("6", ImageFormat::Png),
        ("7.php", ImageFormat::WebP),
        ("8.dat", ImageFormat::Tiff),
    ];
    let mut files = two_splits();
    for (name, format) in formats {
        files.push((format!("train/zebra/{name}"), encoded(image(100), format)));
    }
    files.push(("train/ant/x.avif".into(), b"\0\0\0\x14ftypavif\0\0\0\0mif1".to_vec()));
    files.push(("train/ant/x.svg".into(), b"<svg xmlns='x'>".to_vec()));
    for input in [write_folder(&folder.path().join("tree"), &files), write_archive(folder.path(), &files)] {
        let pack = folder.path().join("p.h5");
        let packed = pack_class_folders(&input, &pack);
        assert_eq!(packed.expect_split("train").unwrap().labels, [vec![0; 3], vec![1; 11]].concat());
        assert!((0..14).all(|index| packed.expect_split("train").unwrap().image(index).is_ok()));
        assert_eq!(remarks(&packed), ["left out: 1 AVIF image, 1 SVG drawing, 1 text file"]);
    }
}

fn pack_class_folders(input: &Path, out: &Path) -> eqr_datasets::Pack {
    let options = Options { name: Some("tiny".into()), test_fraction: 0.25, seed: 3 };
    let spec = PackSpec { options, resize: Resize::Keep, skip_bad: false };
    pack(&CLASS_FOLDERS, input, out, &spec, &|_, _| {}).unwrap()
}

#[test]
fn a_class_that_lost_all_its_images_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = two_splits();
    for split in ["train", "test"] {
        files.push((format!("{split}/lynx/0.heic"), b"\0\0\0\x14ftypheic\0\0\0\0mif1".to_vec()));
    }
    let (member, reason) = member_error(read_class_folders(&write_archive(folder.path(), &files), &spec()));
    assert_eq!(member, "test/lynx");
    assert!(reason.contains("class `lynx` has no image that can be read, only 1 HEIC image"), "{reason}");
    assert!(reason.contains("hint: convert it"), "{reason}");
    // pointers under the names of images, which --skip-bad would leave out
    let mut files = two_splits();
    for index in 0..3 {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n".to_vec();
        files.push((format!("train/lynx/{index}.jpg"), pointer));
    }
    let archive = write_archive(folder.path(), &files);
    let (member, reason) = member_error(read_class_folders(&archive, &spec()));
    assert_eq!(member, "train/lynx/0.jpg");
    assert!(reason.contains("found a Git LFS pointer") && reason.contains("git lfs pull"), "{reason}");
    let reason = format_error(read(&CLASS_FOLDERS, &archive, leaving_out()));
    assert!(reason.contains("class `lynx` has no train image that can be used"), "{reason}");
}

#[test]
fn a_folder_that_is_no_split_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = two_splits();
    files.push(("extra/ant/0.png".into(), flat([5; 3], 8, 8)));
    files.push(("unlabelled/0.png".into(), flat([5; 3], 8, 8)));
    let archive = write_archive(folder.path(), &files);
    let (member, reason) = member_error(read_class_folders(&archive, &spec()));
    assert_eq!(member, "extra/");
    assert!(
        reason.contains("a folder with 1 image beside the splits") && reason.contains("unlabelled/"),
        "{reason}"
    );
    let set = read(&CLASS_FOLDERS, &archive, leaving_out()).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (6, 4));
}

#[test]
fn full_names_of_splits_are_splits() {
    let folder = tempfile::tempdir().unwrap();
    for (train, test) in [("Train", "Valid"), ("training", "validation"), ("training_set", "test_set")] {
        let rename = |path: String| {
            path.replacen("train/", &format!("{train}/"), 1).replacen("test/", &format!("{test}/"), 1)
        };
        let files: Files = two_splits().into_iter().map(|(path, bytes)| (rename(path), bytes)).collect();
        let set = read_class_folders(&write_archive(folder.path(), &files), &spec()).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (6, 4), "{train}");
        assert_eq!(set.class_names, ["ant", "zebra"]);
    }
}

#[test]
fn declared_sizes_that_lie_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = tar::EntryType::Regular;
    for declared in [1u64 << 33, 60 << 20] {
        let lying = strange_archive(folder.path(), "a/0.png", file, declared, b"few");
        let reason = format_error(read_class_folders(&lying, &spec()));
        assert!(reason.contains("truncated"), "{reason}");
    }
}

#[test]
fn truncated_and_foreign_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = write_archive(folder.path(), &two_splits());
    let whole = fs::read(&archive).unwrap();
    for length in [10, whole.len() / 2, whole.len() - 4] {
        fs::write(&archive, &whole[..length]).unwrap();
        assert!(format_error(read_class_folders(&archive, &spec())).contains("truncated"), "{length} bytes");
    }
    for (bytes, reason) in [(&b""[..], ".tar.gz"), (b"PK\x03\x04 a zip", "truncated or damaged")] {
        fs::write(&archive, bytes).unwrap();
        let found = format_error(read_class_folders(&archive, &spec()));
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn empty_single_class_and_uneven_inputs_are_refused() {
    let png = || flat([1; 3], 4, 4);
    let cases: [(Files, &str); 5] = [
        (vec![("notes.txt".into(), b"x".to_vec())], "no images, found 1 text file"),
        (vec![("a/0.png".into(), png()), ("a/1.png".into(), png())], "at least two class folders"),
        (vec![("a/0.png".into(), png()), ("b/0.png".into(), png())], "nothing is left for the test split"),
        (
            vec![
                ("train/a/0.png".into(), png()),
                ("train/b/0.png".into(), png()),
                ("test/c/0.png".into(), png()),
            ],
            "class `c`",
        ),
        (
            vec![
                ("train/a/0.png".into(), png()),
                ("train/b/x/0.png".into(), png()),
                ("test/a/0.png".into(), png()),
            ],
            "for all images",
        ),
    ];
    for (files, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let message =
            read_class_folders(&write_archive(folder.path(), &files), &spec()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} for {expected:?}");
    }
}

#[test]
fn missing_inputs_and_bad_options_are_named() {
    let missing = Path::new("no/such/archive.tar.gz");
    let error = read_class_folders(missing, &spec()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("no/such/archive"), "{error}");
    for bad in [
        FolderSpec { test_fraction: 1.0, ..spec() },
        FolderSpec { test_fraction: f64::NAN, ..spec() },
        with_side(0),
    ] {
        assert!(matches!(read_class_folders(missing, &bad), Err(Error::Invalid(_))));
    }
}

#[test]
fn cifar10_must_have_its_classes_and_its_size() {
    let tree = |classes: &[&str], side| -> Files {
        let image = |split: &str, class: &str| (format!("{split}/{class}/0.png"), flat([1; 3], side, side));
        classes.iter().flat_map(|class| [image("train", class), image("test", class)]).collect()
    };
    let read = |files: Files| {
        let folder = tempfile::tempdir().unwrap();
        read_cifar10_folders(&write_archive(folder.path(), &files))
    };
    let set = read(tree(&CIFAR10_CLASSES, 32)).unwrap();
    assert_eq!((set.name.as_str(), set.train.len()), ("CIFAR10", 10));
    assert!(format_error(read(tree(&CIFAR10_CLASSES[..9], 32))).contains("truck"));
    let (member, reason) = member_error(read(tree(&CIFAR10_CLASSES, 16)));
    assert!(
        member == "train/airplane/0.png" && reason.contains("16 x 16 pixels, expected 32 x 32"),
        "{reason}"
    );
}

#[test]
fn the_shared_photographs_are_packed() {
    let Some(archive) = shared_archive("dtd-10x30.tar.gz") else { return };
    let set = read_class_folders(&archive, &with_side(64)).unwrap();
    assert_eq!((set.class_names.len(), set.train.len() + set.test.len()), (10, 300));
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("dtd.h5");
    set.write(&pack).unwrap();
    assert_eq!(eqr_datasets::pack::verify(&pack).unwrap().load().unwrap(), set);
}
