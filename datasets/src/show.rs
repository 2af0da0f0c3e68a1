//! Pictures of a data set for people.

use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, imageops};

use crate::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Pixels between the images and about them.
const PADDING: u32 = 4;
/// Images smaller than this are shown enlarged, by 3 at most.
const COMFORTABLE_SIDE: u32 = 96;
/// Longest side of the picture.
const LONGEST_SIDE: u32 = 32_768;

/// Writes a PNG with `rows` x `columns` images of `split` (one of `dataset`'s) on a white ground to `path`.
///
/// A row of renders shows views of one object, a row of photographs images of one class; rows go through the classes
/// evenly, again from the first where there are more rows than classes. Small images are enlarged by whole factors.
///
/// # Errors
/// [`Error::Invalid`] for an empty grid, split or too large a picture, [`Error::Io`] where it cannot be written.
pub fn grid_png(dataset: &Dataset, split: &Split, rows: usize, columns: usize, path: &Path) -> Result<()> {
    if rows == 0 || columns == 0 || split.is_empty() {
        let images = split.len();
        return Err(Error::Invalid(format!("a grid of {rows} x {columns} images out of {images}: nothing to show")));
    }
    let side = split.side() as u32;
    let zoom = (COMFORTABLE_SIDE / side.max(1)).clamp(1, 3);
    let pitch = u64::from(side * zoom + PADDING);
    let extent = |count: usize| (count as u64).checked_mul(pitch).map_or(u64::MAX, |e| e + u64::from(PADDING));
    let (width, height) = (extent(columns), extent(rows));
    if width.max(height) > u64::from(LONGEST_SIDE) {
        let found = format!("a grid of {rows} x {columns} images has {width} x {height} pixels");
        return Err(Error::Invalid(format!("{found}, expected at most {LONGEST_SIDE} a side")));
    }
    let mut canvas = RgbImage::from_pixel(width as u32, height as u32, Rgb([255; 3]));
    let place = |index: usize| i64::from(PADDING) + index as i64 * pitch as i64;
    for (row, images) in grid_rows(dataset, split, rows, columns).into_iter().enumerate() {
        for (column, image) in images.into_iter().enumerate() {
            imageops::replace(&mut canvas, &enlarged(split, image, zoom), place(column), place(row));
        }
    }
    write_atomically(path, |temporary| {
        canvas.save_with_format(temporary, ImageFormat::Png).map_err(|error| match error {
            image::ImageError::IoError(source) => Error::io(path)(source),
            other => Error::format(path, other.to_string()),
        })
    })
}

/// The images of each row.
fn grid_rows(dataset: &Dataset, split: &Split, rows: usize, columns: usize) -> Vec<Vec<usize>> {
    // a unit is what a row of its own would show: an object, or an image
    let views = split.scene.as_ref().map_or(1, |scene| scene.views.max(1));
    let mut units: Vec<Vec<usize>> = vec![Vec::new(); dataset.class_names.len()];
    for unit in 0..split.len() / views {
        if let Some(class) = units.get_mut(split.labels[unit * views] as usize) {
            class.push(unit);
        }
    }
    units.retain(|class| !class.is_empty());
    let row = |row: usize| {
        let class = &units[class_of_row(row, rows, units.len())];
        let round = row / units.len();
        match split.scene {
            Some(_) => {
                let first = class[round % class.len()] * views;
                (first..first + views.min(columns)).collect()
            }
            None => class.iter().copied().skip(round * columns).take(columns).collect(),
        }
    };
    if units.is_empty() { Vec::new() } else { (0..rows).map(row).collect() }
}

/// Fewer rows than classes are spread over all classes; more go round.
fn class_of_row(row: usize, rows: usize, classes: usize) -> usize {
    if rows < classes { row * classes / rows } else { row % classes }
}

/// An image of the split with each pixel repeated `zoom` times along both axes.
fn enlarged(split: &Split, index: usize, zoom: u32) -> RgbImage {
    let side = split.side() as u32;
    RgbImage::from_fn(side * zoom, side * zoom, |x, y| {
        let at = |channel: usize| split.images[(index, (y / zoom) as usize, (x / zoom) as usize, channel)];
        Rgb([at(0), at(1), at(2)])
    })
}
