//! Packing is atomic, independent of the number of threads, and continues after an interruption.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use eqr_datasets::packing::{PackSpec, Resize, pack};
use eqr_datasets::sources::{ADE20K, CLASS_FOLDERS, DIEBENCH};
use eqr_datasets::{Error, Pack, pack as packs};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use crate::common;

fn spec(resize: Resize) -> PackSpec {
    common::spec(resize, 0.25, 3)
}

fn picture(width: u32, height: u32, salt: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 5 + salt) as u8, (y * 3 + salt * 7) as u8, (x + y) as u8])
    })
}

fn write_picture(path: &Path, image: &RgbImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save_with_format(path, ImageFormat::from_path(path).unwrap()).unwrap();
}

/// Three classes of 8 images of several sizes.
fn photographs(folder: &Path) -> PathBuf {
    let root = folder.join("photos");
    for (class, name) in ["cat", "dög", "two words"].into_iter().enumerate() {
        for index in 0..8u32 {
            let image = picture(20 + index * 3, 31 - index, class as u32 * 40 + index);
            write_picture(&root.join(name).join(format!("{index}.png")), &image);
        }
    }
    root
}

fn quiet(_: usize, _: usize) {}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn images_of_several_sizes_keep_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let out = folder.path().join("p.h5");
    let pack = pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Keep), &quiet).unwrap();
    assert_eq!((pack.split("train").unwrap().len(), pack.split("test").unwrap().len()), (18, 6));
    assert_eq!(pack.class_names, ["cat", "dög", "two words"]);
    assert!(!pack.split("train").unwrap().is_decoded());
    // every image of the source is in the pack once, with its pixels
    let mut found = 0;
    for split in &pack.splits {
        for index in 0..split.len() {
            let image = split.image(index).unwrap();
            assert_eq!(split.size(index), [image.height() as usize, image.width() as usize]);
            let class = split.labels[index] as u32;
            found += (0..8).filter(|&i| picture(20 + i * 3, 31 - i, class * 40 + i) == image).count();
        }
    }
    assert_eq!(found, 24);
    packs::verify(&out).unwrap();
    assert!(pack.load().is_err_and(|error| error.to_string().contains("--side")));
}

#[test]
fn the_pack_is_the_same_for_any_number_of_threads_and_from_a_folder_or_its_archive() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let packed = |threads: usize, input: &Path, name: &str| {
        let out = folder.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| pack(&CLASS_FOLDERS, input, &out, &spec(Resize::Square(16)), &quiet)).unwrap();
        out
    };
    let first = packed(1, &input, "a.h5");
    let bytes = fs::read(&first).unwrap();
    for threads in [2, 5] {
        assert!(fs::read(packed(threads, &input, "b.h5")).unwrap() == bytes, "{threads} threads");
    }
    let archive = folder.path().join("photos.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
    tar.append_dir_all("photos", &input).unwrap();
    tar.finish().unwrap();
    let (from_folder, from_archive) =
        (Pack::open(&first).unwrap(), Pack::open(packed(2, &archive, "c.h5")).unwrap());
    assert_eq!(from_folder.content, from_archive.content);
    assert!(from_archive.provenance["archive_blake3"].is_string());
    assert_eq!(from_folder.load().unwrap().train, from_archive.load().unwrap().train);
}

#[test]
fn a_packing_that_was_cut_off_goes_on_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let whole = folder.path().join("whole.h5");
    pack(&CLASS_FOLDERS, &input, &whole, &spec(Resize::ShortSide(12)), &quiet).unwrap();
    // the output may lie in the input folder
    for cut in [folder.path().join("cut.h5"), input.join("cut.h5")] {
        cut_off_and_go_on(&input, &cut);
        assert!(fs::read(&cut).unwrap() == fs::read(&whole).unwrap());
        assert!(!cut.with_extension("h5.part").exists());
    }
    assert_eq!(entries(folder.path()), ["cut.h5", "photos", "whole.h5"]);
}

fn cut_off_and_go_on(input: &Path, cut: &Path) {
    // the process dies half-way (simulated by a panic), with a partial last line in the journal
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let stop = |done: usize, _: usize| assert!(done < 10, "stop here");
    let run = || pool.install(|| pack(&CLASS_FOLDERS, input, cut, &spec(Resize::ShortSide(12)), &stop));
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(died.is_err() && !cut.exists());
    let part = cut.with_extension("h5.part");
    let mut journal = fs::read(part.join("journal")).unwrap();
    assert!(journal.len() > 200);
    journal.extend(b"{\"slot\":[0,");
    fs::write(part.join("journal"), &journal).unwrap();
    let mut bytes = fs::read(part.join("bytes")).unwrap();
    bytes.extend([1, 2, 3]);
    fs::write(part.join("bytes"), &bytes).unwrap();

    // the leftovers of a process that was killed while it wrote the pack
    fs::write(part.join(".eqr-x.part"), [0; 100]).unwrap();

    let first = AtomicUsize::new(usize::MAX);
    let note = |done: usize, _: usize| _ = first.fetch_min(done, Ordering::SeqCst);
    pack(&CLASS_FOLDERS, input, cut, &spec(Resize::ShortSide(12)), &note).unwrap();
    assert!(first.load(Ordering::SeqCst) > 8, "it began anew");
}

#[test]
fn what_was_kept_of_other_options_or_was_damaged_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let out = folder.path().join("p.h5");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let die = |resize: Resize| {
        let stop = |done: usize, _: usize| assert!(done < 10, "stop here");
        let run = || pool.install(|| pack(&CLASS_FOLDERS, &input, &out, &spec(resize), &stop));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    };
    die(Resize::Square(9));
    let other = pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Square(16)), &quiet).unwrap();
    assert_eq!(other.split("train").unwrap().side(), Some(16));
    fs::remove_file(&out).unwrap();
    die(Resize::Square(16));
    let spooled = folder.path().join("p.h5.part/bytes");
    let mut bytes = fs::read(&spooled).unwrap();
    bytes[700] ^= 4;
    fs::write(&spooled, bytes).unwrap();
    let again = pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Square(16)), &quiet).unwrap();
    assert_eq!(again.content, other.content);
}

#[test]
fn bad_images_are_all_named_and_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let whole = fs::read(input.join("cat/3.png")).unwrap();
    fs::write(input.join("cat/3.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(input.join("two words/0.png"), b"").unwrap();
    let out = folder.path().join("p.h5");
    let error = pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Square(8)), &quiet).unwrap_err();
    assert!(matches!(error, Error::Member { .. }));
    let text = error.to_string();
    assert!(
        text.contains("cat/3.png") && text.contains("two words/0.png") && text.contains("--skip-bad"),
        "{text}"
    );
    assert_eq!(entries(folder.path()), ["photos"], "something was left");
    let pack =
        pack(&CLASS_FOLDERS, &input, &out, &PackSpec { skip_bad: true, ..spec(Resize::Square(8)) }, &quiet)
            .unwrap();
    assert_eq!(pack.splits.iter().map(|split| split.len()).sum::<usize>(), 22);
    let mut left_out: Vec<&str> = pack.provenance["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["member"].as_str().unwrap())
        .collect();
    left_out.sort_unstable();
    assert_eq!(left_out, ["cat/3.png", "two words/0.png"]);
    packs::verify(&out).unwrap();
}

#[test]
fn a_damaged_image_of_a_pack_is_named_as_in_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let out = folder.path().join("p.h5");
    pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Keep), &quiet).unwrap();
    let mut bytes = fs::read(&out).unwrap();
    let needle = fs::read(input.join("dög/5.png")).unwrap();
    let place = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[place + 40] ^= 1;
    fs::write(&out, bytes).unwrap();
    let text = packs::verify(&out).unwrap_err().to_string();
    assert!(text.contains("dög/5.png") && text.contains("is damaged"), "{text}");
    assert!(Pack::open(&out).is_ok(), "opening does not read the images");
}

#[test]
fn two_packings_to_one_file_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let input = photographs(folder.path());
    let out = folder.path().join("p.h5");
    let inner = |_: usize, _: usize| {
        let error =
            pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Square(8)), &quiet).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
    };
    pack(&CLASS_FOLDERS, &input, &out, &spec(Resize::Square(8)), &inner).unwrap();
    packs::verify(&out).unwrap();
}

/// Street scenes in ADE20K's layout.
fn scenes(folder: &Path) -> PathBuf {
    let root = folder.join("ADEChallengeData2016");
    for (split, count) in [("training", 4u32), ("validation", 2)] {
        for index in 0..count {
            let name = format!("ADE_{split}_{index:04}");
            write_picture(
                &root.join("images").join(split).join(format!("{name}.jpg")),
                &picture(40, 30, index),
            );
            let mask = GrayImage::from_fn(40, 30, |x, y| Luma([((x / 10 + y / 10 + index) % 5) as u8]));
            let path = root.join("annotations").join(split).join(format!("{name}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            mask.save(path).unwrap();
        }
    }
    root
}

#[test]
fn masks_go_with_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let input = scenes(folder.path());
    for (resize, size) in
        [(Resize::Keep, [30, 40]), (Resize::ShortSide(15), [15, 20]), (Resize::Square(15), [15, 15])]
    {
        let out = folder.path().join("p.h5");
        let pack = pack(&ADE20K, &input, &out, &spec(resize), &quiet).unwrap();
        let split = pack.split("train").unwrap();
        assert_eq!(split.size(1), size, "{resize:?}");
        let mask = split.mask(1).unwrap().unwrap();
        assert_eq!([mask.height() as usize, mask.width() as usize], size);
        // blocks of 10 pixels with one id each, the same at every size
        let at = |x: u32, y: u32| ((x / 10 + y / 10 + 1) % 5) as u8;
        if resize != Resize::Square(15) {
            let step = 30 / size[0] as u32;
            assert_eq!(mask.get_pixel(25 / step, 15 / step).0[0], at(25, 15));
            assert_eq!(mask.get_pixel(5 / step, 25 / step).0[0], at(5, 25));
        }
        packs::verify(&out).unwrap();
    }
}

#[test]
fn masks_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = scenes(folder.path());
    let mask = |name: &str, width, id| {
        GrayImage::from_pixel(width, 30, Luma([id]))
            .save(input.join("annotations/training").join(name))
            .unwrap();
    };
    mask("ADE_training_0002.png", 39, 1);
    mask("ADE_training_0003.png", 40, 200);
    let out = folder.path().join("p.h5");
    let text = pack(&ADE20K, &input, &out, &spec(Resize::Square(8)), &quiet).unwrap_err().to_string();
    assert!(text.contains("ADE_training_0002.png") && text.contains("39 x 30"), "{text}");
    assert!(text.contains("ADE_training_0003.png") && text.contains("id 200"), "{text}");
}

/// An npy file of 7 float64.
fn npy(values: [f64; 7]) -> Vec<u8> {
    let mut header = "{'descr': '<f8', 'fortran_order': False, 'shape': (7,), }".to_owned();
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn renders(folder: &Path) -> PathBuf {
    let root = folder.join("3DIEBench");
    for synset in ["02691156", "02773838"] {
        for object in 0..4 {
            for view in 0..3u32 {
                let object = root.join(synset).join(format!("obj{object}"));
                write_picture(&object.join(format!("image_{view}.jpg")), &picture(12, 12, view));
                let values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7].map(|v| v + f64::from(view));
                fs::write(object.join(format!("latent_{view}.npy")), npy(values)).unwrap();
            }
        }
    }
    root
}

#[test]
fn renders_keep_latents_and_whole_objects() {
    let folder = tempfile::tempdir().unwrap();
    let input = renders(folder.path());
    let out = folder.path().join("p.h5");
    let pack_with =
        |skip_bad| pack(&DIEBENCH, &input, &out, &PackSpec { skip_bad, ..spec(Resize::Keep) }, &quiet);
    let pack = pack_with(false).unwrap();
    let scene = pack.split("train").unwrap().scene.as_ref().unwrap();
    assert_eq!(
        (pack.split("train").unwrap().len(), pack.split("test").unwrap().len(), scene.views),
        (18, 6, 3)
    );
    assert!((scene.latents[[4, 6]] - 1.7).abs() < 1e-6 && (scene.latents[[2, 0]] - 2.1).abs() < 1e-6);

    let bad = input.join("02691156/obj0/latent_1.npy");
    fs::write(&bad, npy([f64::NAN; 7])).unwrap();
    let text = pack_with(false).unwrap_err().to_string();
    assert!(text.contains("02691156/obj0/latent_1.npy"), "{text}");
    let pack = pack_with(true).unwrap();
    assert_eq!(
        pack.splits.iter().map(|split| split.len()).sum::<usize>(),
        21,
        "the whole object is left out"
    );
}
