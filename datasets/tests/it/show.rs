//! The pictures of `data show`: grids, masks and pairs.

use std::path::{Path, PathBuf};

use eqr_datasets::dataset::channel_statistics;
use eqr_datasets::images::encode::{encode_mask, encode_png};
use eqr_datasets::packing::{PackSpec, Resize, pack};
use eqr_datasets::show::{
    PairChoice, Picture, default_grid_size, evenly_spaced, grid_png, pairs_png, predictions_png,
};
use eqr_datasets::sources::{Options, source};
use eqr_datasets::transforms::Transform;
use eqr_datasets::{Dataset, Error, Pack, SceneLatents, SetKind, Split};
use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array2, Array4};

/// Three classes of `views * 2` images of the colour (80 * label, 10 * index, 0).
fn packed(folder: &Path, kind: SetKind, views: usize) -> Pack {
    let count = 6 * views;
    let labels: Vec<i32> = (0..count).map(|n| (n / (2 * views)) as i32).collect();
    let images =
        Array4::from_shape_fn((count, 32, 32, 3), |(n, _, _, c)| [80 * labels[n] as u8, 10 * n as u8, 0][c]);
    let latents = Array2::from_shape_fn((count, 7), |(n, k)| (n * 7 + k) as f32 * 0.1);
    let scene = (kind == SetKind::Renders).then_some(SceneLatents { latents, views });
    let (mean, std) = channel_statistics(&images);
    let split = Split { images, labels, scene };
    let dataset = Dataset {
        name: "tiny".into(),
        kind,
        class_names: vec![
            "ant".into(),
            "人 and a name that nobody would write beside a picture".into(),
            "c".into(),
        ],
        mean,
        std,
        test: split.clone(),
        train: split,
        provenance: serde_json::Value::Null,
    };
    let path = folder.join("tiny.h5");
    dataset.write(&path).unwrap();
    Pack::open(&path).unwrap()
}

/// A pack of the files that `write` writes.
fn packed_tree(folder: &Path, kind: &str, write: impl Fn(&dyn Fn(&str, Vec<u8>))) -> Pack {
    let tree = folder.join("tree");
    write(&|name, bytes| {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    });
    let options = Options { name: Some("set".into()), test_fraction: 0.5, seed: 0 };
    let spec = PackSpec { options, resize: Resize::Keep, skip_bad: false };
    pack(source(kind).unwrap(), &tree, &folder.join("tree.h5"), &spec, &|_, _| ()).unwrap()
}

/// The grid of the training split.
fn grid(pack: &Pack, rows: usize, columns: usize) -> RgbImage {
    drawn(|path| grid_png(pack, pack.split("train").unwrap(), rows, columns, path))
}

fn pairs(pack: &Pack, choice: &PairChoice, rows: usize, columns: usize) -> RgbImage {
    drawn(|path| pairs_png(pack, pack.split("train").unwrap(), choice, rows, columns, path))
}

/// The picture that `draw` writes. It must be the only file.
fn drawn(draw: impl FnOnce(&Path) -> eqr_datasets::Result<Picture>) -> RgbImage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grid.png");
    let Picture { width, height, .. } = draw(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let image = image::open(&path).unwrap().into_rgb8();
    assert_eq!(image.dimensions(), (width, height));
    image
}

/// Left, top, width and height of the pixels with exactly this colour, which must fill a box.
#[track_caller]
fn place(picture: &RgbImage, colour: [u8; 3]) -> [u32; 4] {
    let found: Vec<(u32, u32)> = picture
        .enumerate_pixels()
        .filter(|(_, _, pixel)| pixel.0 == colour)
        .map(|(x, y, _)| (x, y))
        .collect();
    assert!(!found.is_empty(), "{colour:?} is nowhere");
    let bounds = |side: fn(&(u32, u32)) -> u32| {
        (found.iter().map(side).min().unwrap(), found.iter().map(side).max().unwrap() + 1)
    };
    let ((left, right), (top, bottom)) = (bounds(|at| at.0), bounds(|at| at.1));
    assert_eq!(found.len() as u32, (right - left) * (bottom - top), "{colour:?} is no box");
    [left, top, right - left, bottom - top]
}

fn has(picture: &RgbImage, colour: [u8; 3]) -> bool {
    picture.pixels().any(|pixel| pixel.0 == colour)
}

/// Asserts that the images `expected` (rows of indices) have 128 px each, in a grid of 134 px.
#[track_caller]
fn assert_grid(picture: &RgbImage, expected: &[&[(u8, u8)]]) {
    let colour = |(label, index): (u8, u8)| [80 * label, 10 * index, 0];
    let [left, top, ..] = place(picture, colour(expected[0][0]));
    for (row, images) in (0u32..).zip(expected) {
        for (column, &image) in (0u32..).zip(*images) {
            let found = place(picture, colour(image));
            assert_eq!(found, [left + 134 * column, top + 134 * row, 128, 128], "{image:?}");
        }
    }
    let shown = expected.iter().map(|row| row.len()).sum::<usize>();
    let all = (0..18).flat_map(|index| (0..3).map(move |label| (label, index)));
    assert_eq!(all.filter(|&image| has(picture, colour(image))).count(), shown);
    let columns = expected.iter().map(|row| row.len()).max().unwrap() as u32;
    assert_eq!(picture.height(), top + 134 * expected.len() as u32 - 6 + 16);
    assert_eq!(picture.width(), left + 134 * columns - 6 + 16);
    assert_eq!(picture.get_pixel(0, 0).0, [255; 3], "the ground is white");
}

/// Number of dark pixels (letters) in a strip left of the first image.
fn letters(picture: &RgbImage, left: u32, top: u32) -> usize {
    let strip = (0..left).flat_map(|x| (top..top + 128).map(move |y| (x, y)));
    strip.filter(|&(x, y)| picture.get_pixel(x, y)[0] < 100).count()
}

#[test]
fn a_row_of_renders_shows_the_views_of_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), SetKind::Renders, 3);
    let picture = grid(&pack, 4, 4);
    // the last row is the second object of the first class
    assert_grid(
        &picture,
        &[
            &[(0, 0), (0, 1), (0, 2)],
            &[(1, 6), (1, 7), (1, 8)],
            &[(2, 12), (2, 13), (2, 14)],
            &[(0, 3), (0, 4), (0, 5)],
        ],
    );
}

#[test]
fn a_row_of_photographs_shows_one_class_and_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), SetKind::Photographs, 2);
    let picture = grid(&pack, 2, 3);
    assert_grid(&picture, &[&[(0, 0), (0, 1), (0, 2)], &[(1, 4), (1, 5), (1, 6)]]);
    let [left, top, ..] = place(&picture, [0, 0, 0]);
    let [_, second, ..] = place(&picture, [80, 40, 0]);
    let (short, long) = (letters(&picture, left, top), letters(&picture, left, second));
    assert!(short > 20 && long > 3 * short, "{short} and {long} pixels of letters");
    assert!(left < 16 + 150 + 10, "a long name is elided: {left}");
    assert_grid(
        &grid(&pack, 9, 3),
        &[
            &[(0, 0), (0, 1), (0, 2)],
            &[(1, 4), (1, 5), (1, 6)],
            &[(2, 8), (2, 9), (2, 10)],
            &[(0, 3)],
            &[(1, 7)],
            &[(2, 11)],
        ],
    );
}

#[test]
fn images_of_any_size_are_fitted_into_one_grid() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [("a", 0, 300, 200), ("a", 1, 20, 64), ("b", 0, 1, 1), ("b", 1, 3_000, 10)];
    let pack = packed_tree(folder.path(), "class-folders", |write| {
        for (class, index, width, height) in sizes {
            let colour = if class == "a" { [200, 0, 40 * index] } else { [0, 200, 40 * index] };
            for split in ["train", "test"] {
                let image = RgbImage::from_pixel(width, height, Rgb(colour));
                write(&format!("{split}/{class}/{index}.png"), encode_png(&image).unwrap());
            }
        }
    });
    let picture = grid(&pack, 2, 2);
    let [x, y, ..] = place(&picture, [200, 0, 0]);
    assert_eq!(place(&picture, [200, 0, 0]), [x, y, 128, 85]);
    // cells are as wide and as high as the largest picture in them
    assert_eq!(place(&picture, [200, 0, 40])[2..], [40, 128]);
    assert_eq!(place(&picture, [0, 200, 0])[2..], [128, 128]);
    assert_eq!(place(&picture, [0, 200, 40])[2..], [128, 1]);
    let centre = |[left, top, width, height]: [u32; 4]| [left + width / 2, top + height / 2];
    let [first, second] = [[200, 0, 0], [200, 0, 40]].map(|colour| centre(place(&picture, colour)));
    assert_eq!((second[0] - first[0], second[1].abs_diff(first[1]) <= 1), (134, true));
}

/// Grey photographs with masks of two halves: void and 1, or 2 and 3.
fn packed_masks(folder: &Path) -> Pack {
    packed_tree(folder, "ade20k", |write| {
        for part in ["training", "validation"] {
            for (index, ids) in [[0, 1], [2, 3]].into_iter().enumerate() {
                let image = RgbImage::from_pixel(80, 60, Rgb([100; 3]));
                let mask = GrayImage::from_fn(80, 60, |x, _| Luma([ids[usize::from(x >= 40)]]));
                write(&format!("images/{part}/{index}.jpg"), encode_png(&image).unwrap());
                write(&format!("annotations/{part}/{index}.png"), encode_mask(&mask).unwrap());
            }
        }
    })
}

#[test]
fn masks_are_coloured_where_they_say_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed_masks(folder.path());
    assert_eq!(default_grid_size(&pack.splits[0], false), (4, 3));
    let picture = grid(&pack, 1, 2);
    // three quarters of (31, 119, 180), (255, 127, 14) and (44, 160, 44) over the image's grey
    let ids = [[48, 114, 160], [216, 120, 36], [58, 145, 58]];
    let [one, two, three] = ids.map(|colour| place(&picture, colour));
    assert_eq!([one[2..].to_vec(), two[2..].to_vec(), three[2..].to_vec()], [[80, 120]; 3]);
    assert_eq!(three[0], two[0] + 80, "side by side in one mask");
    let [left, top] = [one[0] - 80, one[1]];
    for x in [left, left + 79, left - 2 - 160, left - 3] {
        assert_eq!(picture.get_pixel(x, top + 60).0, [100; 3], "void and the image itself stay as they are");
    }
    // the same over a middle grey
    let swatches = [[55, 121, 167], [223, 127, 43], [65, 152, 65]].map(|colour| place(&picture, colour));
    assert!(swatches.iter().all(|swatch| swatch[1] > top + 120 && swatch[2..] == [14, 14]), "{swatches:?}");
    assert!(swatches[0][0] < swatches[1][0] && swatches[1][0] < swatches[2][0]);
    assert!(!has(&grid(&pack, 1, 1), [223, 127, 43]), "only classes that occur are explained");
}

#[test]
fn predictions_stand_beside_image_and_truth_in_the_same_colours() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed_masks(folder.path());
    let split = &pack.splits[0];
    let [height, width] = split.size(0).map(|side| side as u32);
    let predicted = |id: u8| GrayImage::from_pixel(width, height, Luma([id]));
    let shown =
        |predictions: &[(usize, GrayImage)]| drawn(|path| predictions_png(&pack, split, predictions, path));
    // class 3 over the image's grey, and its colour in the legend
    let picture = shown(&[(0, predicted(3))]);
    let [left, top, wide, high] = place(&picture, [58, 145, 58]);
    assert_eq!((wide, high), (width * (256 / width.max(height)), height * (256 / width.max(height))));
    assert!(has(&picture, [65, 152, 65]), "what is predicted is explained");
    assert_eq!(
        picture.get_pixel(left - 2 * (wide + 2), top).0,
        [100; 3],
        "the image itself, two pictures to the left"
    );
    assert_ne!(shown(&[(0, predicted(1))]), picture);
    let two = shown(&[(0, predicted(3)), (1, predicted(3))]);
    assert!(two.height() > picture.height() + high, "a row a scene");
    assert_eq!((evenly_spaced(split, 0), evenly_spaced(split, 1)), (vec![], vec![0]));
    assert_eq!(evenly_spaced(split, split.len() + 5), (0..split.len()).collect::<Vec<_>>());
    let none = predictions_png(&pack, split, &[], &folder.path().join("none.png")).unwrap_err();
    assert!(none.to_string().contains("rows must be 1"), "{none}");
}

#[test]
fn pairs_follow_from_the_seed() {
    for kind in [SetKind::Photographs, SetKind::Renders] {
        let folder = tempfile::tempdir().unwrap();
        let pack = packed(folder.path(), kind, 3);
        let with = |seed| pairs(&pack, &PairChoice { seed, transforms: None }, 2, 2);
        assert_eq!(with(1), with(1), "{kind:?}");
        assert_ne!(with(1), with(2), "{kind:?}");
    }
}

#[test]
fn a_pair_of_renders_is_two_views_of_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), SetKind::Renders, 3);
    let picture = pairs(&pack, &PairChoice::default(), 1, 1);
    let shown: Vec<u8> = (0..18).filter(|&n| has(&picture, [n / 6 * 80, 10 * n, 0])).collect();
    assert!(shown.len() == 2 && shown[0] / 3 == shown[1] / 3, "images {shown:?}");
    let [a, b] = [0, 1].map(|at| place(&picture, [shown[at] / 6 * 80, 10 * shown[at], 0]));
    assert_eq!((a[1], a[0].abs_diff(b[0]), &a[2..]), (b[1], 162, &[160, 160][..]));
    assert!(picture.height() > a[1] + 160 + 40, "there is room for words");
}

#[test]
fn only_the_asked_transforms_make_view_2() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed(folder.path(), SetKind::Photographs, 2);
    let with = |transforms: &[Transform]| {
        let transforms = Some(transforms.to_vec());
        pairs(&pack, &PairChoice { seed: 3, transforms }, 1, 1)
    };
    // an image of one colour does not show its rotation, but its colour
    let turned = with(&[Transform::Rotation, Transform::Flip]);
    let coloured = with(&[Transform::Color]);
    let colour = (0..12).map(|n| [n / 4 * 80, 10 * n, 0]).find(|&colour| has(&turned, colour)).unwrap();
    let boxes = [&turned, &coloured].map(|picture| {
        let columns = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == colour).map(|(x, ..)| x);
        columns.clone().max().unwrap() - columns.min().unwrap() + 1
    });
    assert_eq!(boxes, [322, 160]);
}

#[test]
fn pairs_of_large_photographs_and_of_those_with_masks_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed_masks(folder.path());
    let picture = pairs(&pack, &PairChoice::default(), 4, 3);
    assert!(
        picture.width() > 2 * 322 && picture.height() > 160,
        "both images in one row: {:?}",
        picture.dimensions()
    );
}

#[test]
fn nothing_to_show_and_too_much_of_it_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let set = packed(folder.path(), SetKind::Renders, 1);
    let split = set.split("train").unwrap();
    let path: PathBuf = folder.path().join("grid.png");
    let refused = |result: eqr_datasets::Result<Picture>, words: &str| match result {
        Err(Error::Invalid(reason)) => assert!(reason.contains(words), "{reason}"),
        other => panic!("expected a refusal with `{words}`, found {other:?}"),
    };
    for (rows, columns, words) in [
        (0, 3, "rows must be 1 to 200, but is 0"),
        (3, 0, "columns must be 1 to 200, but is 0"),
        (usize::MAX, 1, "rows"),
        (1, 201, "columns"),
        (200, 200, "rows x columns must be at most 2500, but is 40000"),
    ] {
        refused(grid_png(&set, split, rows, columns, &path), words);
        refused(pairs_png(&set, split, &PairChoice::default(), rows, columns, &path), words);
    }
    refused(pairs_png(&set, split, &PairChoice::default(), 1, 1, &path), "objects of one view have no pairs");
    let choice = PairChoice { transforms: Some(vec![Transform::Blur]), ..PairChoice::default() };
    refused(pairs_png(&set, split, &choice, 1, 1, &path), "transforms are for photographs");
    let nowhere = folder.path().join("no/grid.png");
    assert!(matches!(grid_png(&set, split, 1, 1, &nowhere), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the pack alone");
}

#[test]
fn a_damaged_image_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pack = packed_tree(folder.path(), "class-folders", |write| {
        for name in ["train/a/0", "train/b/0", "test/a/0", "test/b/0"] {
            let side = if name.ends_with("a/0") { 40 } else { 30 };
            let image = RgbImage::from_pixel(side, 30, Rgb([1, 2, 3]));
            write(&format!("{name}.png"), encode_png(&image).unwrap());
        }
    });
    let mut bytes = std::fs::read(pack.path()).unwrap();
    let image = bytes.windows(4).position(|window| window == b"IDAT").unwrap();
    bytes[image..image + 40].fill(7);
    std::fs::write(pack.path(), bytes).unwrap();
    let opened = Pack::open(pack.path()).unwrap();
    let out = folder.path().join("grid.png");
    let error = grid_png(&opened, &opened.splits[0], 2, 2, &out).unwrap_err().to_string();
    assert!(error.contains("tree.h5: train image 0 is damaged"), "{error}");
    assert!(!out.exists());
}
