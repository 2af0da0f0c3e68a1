//! The picture grids of `data show`.

use eqr_datasets::dataset::channel_statistics;
use eqr_datasets::show::grid_png;
use eqr_datasets::{Dataset, Error, Kind, Scene, Split};
use ndarray::{Array2, Array4};

/// Images whose flat colour is (label, index, 0): three classes of `views * 2` images.
fn dataset(kind: Kind, side: usize, views: usize) -> Dataset {
    let count = 6 * views;
    let labels: Vec<i32> = (0..count).map(|n| (n / (2 * views)) as i32).collect();
    let images = Array4::from_shape_fn((count, side, side, 3), |(n, _, _, c)| [labels[n] as u8, n as u8, 0][c]);
    let scene = (kind == Kind::Renders).then(|| Scene { latents: Array2::zeros((count, 7)), views });
    let (mean, std) = channel_statistics(&images);
    let split = Split { images, labels, scene };
    Dataset {
        name: "tiny".into(),
        kind,
        class_names: vec!["a".into(), "b".into(), "c".into()],
        mean,
        std,
        test: split.clone(),
        train: split,
        provenance: serde_json::Value::Null,
    }
}

/// Colours at the centres of a grid of images of 32 px shown at 3 x 32.
fn colours(dataset: &Dataset, rows: usize, columns: usize) -> Vec<Vec<[u8; 3]>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grid.png");
    grid_png(dataset, &dataset.train, rows, columns, &path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let picture = image::open(&path).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (columns as u32 * 100 + 4, rows as u32 * 100 + 4));
    assert_eq!(picture.get_pixel(0, 0).0, [255; 3], "the ground is white");
    let at = |row: usize, column: usize| picture.get_pixel(column as u32 * 100 + 52, row as u32 * 100 + 52).0;
    (0..rows).map(|row| (0..columns).map(|column| at(row, column)).collect()).collect()
}

#[test]
fn a_row_of_renders_shows_the_views_of_one_object() {
    let grid = colours(&dataset(Kind::Renders, 32, 3), 4, 4);
    let white = [255; 3];
    assert_eq!(grid[0], [[0, 0, 0], [0, 1, 0], [0, 2, 0], white]);
    assert_eq!(grid[1], [[1, 6, 0], [1, 7, 0], [1, 8, 0], white]);
    assert_eq!(grid[2], [[2, 12, 0], [2, 13, 0], [2, 14, 0], white]);
    assert_eq!(grid[3], [[0, 3, 0], [0, 4, 0], [0, 5, 0], white], "the second object of the first class");
}

#[test]
fn a_row_of_photographs_shows_one_class() {
    let grid = colours(&dataset(Kind::Photographs, 32, 2), 2, 3);
    assert_eq!(grid, [[[0, 0, 0], [0, 1, 0], [0, 2, 0]], [[1, 4, 0], [1, 5, 0], [1, 6, 0]]]);
}

#[test]
fn nothing_to_show_and_too_much_of_it_are_refused() {
    let set = dataset(Kind::Photographs, 32, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grid.png");
    for (rows, columns) in [(0, 3), (3, 0), (1_000_000, 2), (usize::MAX, 1)] {
        assert!(matches!(grid_png(&set, &set.train, rows, columns, &path), Err(Error::Invalid(_))));
    }
    let nowhere = folder.path().join("no/grid.png");
    assert!(matches!(grid_png(&set, &set.train, 1, 1, &nowhere), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
