//! Packs: a data set is read as it was written, and damage is always found.

use std::fs;
use std::path::{Path, PathBuf};

use eqr_datasets::dataset::channel_statistics;
use eqr_datasets::{Dataset, Error, Pack, SceneLatents, SetKind, Split, pack};
use ndarray::{Array2, Array4};

const SIDE: usize = 6;

fn images(count: usize, salt: usize) -> Array4<u8> {
    Array4::from_shape_fn((count, SIDE, SIDE, 3), |(n, y, x, c)| {
        ((n * 131 + y * 31 + x * 7 + c * 3 + salt) % 251) as u8
    })
}

fn split(count: usize, salt: usize, views: Option<usize>) -> Split {
    let scene = views.map(|views| SceneLatents {
        latents: Array2::from_shape_fn((count, 7), |(n, k)| n as f32 * 0.1 + k as f32 - salt as f32),
        views,
    });
    Split { images: images(count, salt), labels: (0..count).map(|n| (n % 3) as i32).collect(), scene }
}

fn dataset(kind: SetKind) -> Dataset {
    let views = |views| if kind == SetKind::Renders { Some(views) } else { None };
    let train = split(24, 0, views(4));
    let (mean, std) = channel_statistics(&train.images);
    Dataset {
        name: "tiny".into(),
        kind,
        class_names: vec!["café".into(), "a b".into(), "c".into()],
        mean,
        std,
        train,
        test: split(6, 1, views(2)),
        provenance: serde_json::json!({ "source": "a test", "fraction": 0.1 + 0.2 }),
    }
}

fn packed(folder: &Path, kind: SetKind) -> PathBuf {
    let path = folder.join("tiny.h5");
    dataset(kind).write(&path).unwrap();
    path
}

fn format_reason<T: std::fmt::Debug>(result: eqr_datasets::Result<T>) -> String {
    match result {
        Err(Error::Format { reason, .. }) => reason,
        other => panic!("expected Error::Format, found {other:?}"),
    }
}

/// Rewrites `path` with the byte at `position` flipped.
fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// The position of `needle` in the file, which must contain it once.
fn position_of(path: &Path, needle: &[u8]) -> usize {
    let bytes = fs::read(path).unwrap();
    let found: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).map(|(i, _)| i).collect();
    assert_eq!(found.len(), 1, "the bytes looked for must be there once");
    found[0]
}

#[test]
fn what_goes_in_comes_out() {
    for kind in [SetKind::Photographs, SetKind::Renders] {
        let folder = tempfile::tempdir().unwrap();
        let path = packed(folder.path(), kind);
        assert_eq!(Dataset::open(&path).unwrap(), dataset(kind));
        assert_eq!(pack::verify(&path).unwrap().load().unwrap(), dataset(kind));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["tiny.h5"], "nothing else may be left");
    }
}

#[test]
fn the_same_set_gives_the_same_bytes_later_and_on_other_threads() {
    let folder = tempfile::tempdir().unwrap();
    let first = fs::read(packed(folder.path(), SetKind::Renders)).unwrap();
    // HDF5's time stamps have a resolution of seconds
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let again = pool.install(|| fs::read(packed(folder.path(), SetKind::Renders)).unwrap());
        assert!(first == again, "{threads} threads");
    }
}

/// As many class names as no attribute of HDF5 holds, of which the labels use three.
#[test]
fn a_set_may_have_any_number_of_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.h5");
    let class_names: Vec<String> = (0..20_000).map(|class| format!("class {class}")).collect();
    Dataset { class_names: class_names.clone(), ..dataset(SetKind::Photographs) }.write(&path).unwrap();
    assert_eq!(pack::verify(&path).unwrap().class_names, class_names);
}

/// Two images of 2 x 2 pixels in each split, packed by the program of version 2 of the format.
#[test]
fn packs_of_the_version_before_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/version-2.pack");
    let pack = pack::verify(&path).unwrap();
    assert_eq!(pack.class_names, ["a", "b"]);
    assert_eq!((pack.splits[0].labels.as_slice(), pack.splits[1].len()), (&[0, 1][..], 2));
    assert_eq!(pack.splits[0].image(1).unwrap().get_pixel(0, 0).0[0], 50);
    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("later.h5");
    let text = fs::read(&path).unwrap();
    fs::write(&later, [b"eqr-pack 9", &text[10..]].concat()).unwrap();
    assert!(
        format_reason(Pack::open(&later)).starts_with("expected eqr-pack version 2 to 3, found version 9")
    );
}

#[test]
fn a_flipped_byte_of_an_image_is_found_and_the_image_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Photographs);
    let image = dataset(SetKind::Photographs).train.images.index_axis(ndarray::Axis(0), 17).to_owned();
    flip(&path, position_of(&path, image.as_slice().unwrap()) + 5);
    let says = "train image 17 is damaged: its bytes do not have the recorded checksum";
    assert!(format_reason(Dataset::open(&path)).starts_with(says));
    let pack = Pack::open(&path).unwrap();
    assert!(pack.splits[0].image(16).is_ok());
    assert!(format_reason(pack.splits[0].image(17)).starts_with(says));
    assert!(format_reason(pack::verify(&path)).starts_with("train image 17 is damaged"));
}

#[test]
fn a_flipped_byte_of_a_label_or_latent_is_found_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Renders);
    let latents = dataset(SetKind::Renders).train.scene.unwrap().latents;
    let bytes: Vec<u8> = latents.iter().flat_map(|value| value.to_le_bytes()).collect();
    flip(&path, position_of(&path, &bytes) + 40);
    assert!(format_reason(Dataset::open(&path)).contains("damaged outside its images"));
    assert!(format_reason(pack::verify(&path)).contains("damaged outside its images"));
}

#[test]
fn any_flipped_byte_is_found_and_none_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Photographs);
    let whole = fs::read(&path).unwrap();
    for position in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&path, bytes).unwrap();
        let found = pack::verify(&path);
        assert!(matches!(found, Err(Error::Format { .. })), "byte {position} of {}: {found:?}", whole.len());
    }
}

#[test]
fn truncated_packs_and_other_files_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Photographs);
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 100, 512, 600, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        for result in [Dataset::open(&path).map(drop), pack::verify(&path).map(drop)] {
            assert!(format_reason(result).contains("hint:"), "{length} bytes");
        }
    }
    fs::write(&path, b"\x89HDF\r\n\x1a\n and so on").unwrap();
    assert!(format_reason(Dataset::open(&path)).contains("HDF5 file of another kind"));
    fs::write(&path, vec![7u8; 5000]).unwrap();
    assert!(format_reason(Dataset::open(&path)).contains("found a file of an unknown kind"));
    fs::write(&path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n").unwrap();
    let reason = format_reason(Dataset::open(&path));
    assert!(reason.contains("found a Git LFS pointer") && reason.contains("git lfs pull"), "{reason}");
}

/// `h5py.File(path, "a")` of a process that is killed leaves the flag of an open file.
#[test]
fn a_pack_whose_writer_was_killed_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Photographs);
    let mut bytes = fs::read(&path).unwrap();
    let flags = 512 + 20;
    assert_eq!(bytes[flags..flags + 4], [0; 4]);
    bytes[flags] = 1;
    fs::write(&path, &bytes).unwrap();
    pack::verify(&path).unwrap().load().unwrap();
    bytes[flags] = 3;
    fs::write(&path, &bytes).unwrap();
    assert!(format_reason(pack::verify(&path)).contains("damaged outside its images"));
}

#[test]
fn another_version_is_named_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Photographs);
    let mut bytes = fs::read(&path).unwrap();
    bytes[9] = b'7';
    fs::write(&path, bytes).unwrap();
    let reason = format_reason(Dataset::open(&path));
    assert!(reason.contains("expected eqr-pack version 2 to 3, found version 7"), "{reason}");
}

#[test]
fn missing_and_unwritable_paths_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere/tiny.h5");
    for error in
        [Dataset::open(&missing).unwrap_err(), dataset(SetKind::Photographs).write(&missing).unwrap_err()]
    {
        assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("nowhere"), "{error}");
    }
    // there is a folder with the name of the pack: the pack is written and cannot be renamed
    let taken = folder.path().join("taken.h5");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("inside"), "").unwrap();
    assert!(matches!(dataset(SetKind::Photographs).write(&taken), Err(Error::Io { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a half-written file was left");
}

#[test]
fn sets_that_contradict_themselves_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.h5");
    let changed = |kind: SetKind, change: &dyn Fn(&mut Dataset)| {
        let mut bad = dataset(kind);
        change(&mut bad);
        bad
    };
    let bad = [
        (changed(SetKind::Photographs, &|d| d.train.labels[3] = 3), "label 3"),
        (changed(SetKind::Photographs, &|d| d.test.labels[0] = -1), "label -1"),
        (changed(SetKind::Photographs, &|d| d.test.labels.truncate(5)), "6 images and 5 labels"),
        (changed(SetKind::Photographs, &|d| d.kind = SetKind::Renders), "lacks scene latents"),
        (changed(SetKind::Photographs, &|d| d.test = split(0, 0, None)), "0 images"),
        (changed(SetKind::Photographs, &|d| d.std[1] = 0.0), "std"),
        (changed(SetKind::Photographs, &|d| d.class_names[0] = "a\0b".into()), "zero byte"),
        (
            changed(SetKind::Renders, &|d| d.train.scene.as_mut().unwrap().latents[(2, 1)] = f32::NAN),
            "image 2",
        ),
        (changed(SetKind::Renders, &|d| d.train.scene.as_mut().unwrap().views = 5), "5 views"),
    ];
    for (bad, reason) in bad {
        let message = bad.write(&path).unwrap_err().to_string();
        assert!(message.contains(reason), "{message:?} for {reason:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{reason}: something was left");
    }
}

#[test]
fn a_failed_write_leaves_the_old_pack() {
    let folder = tempfile::tempdir().unwrap();
    let path = packed(folder.path(), SetKind::Photographs);
    let mut bad = dataset(SetKind::Photographs);
    bad.provenance = serde_json::json!("a\0b");
    bad.name = "a\0b".into();
    assert!(bad.write(&path).is_err());
    assert_eq!(pack::verify(&path).unwrap().load().unwrap(), dataset(SetKind::Photographs));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
