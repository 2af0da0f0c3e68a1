//! A picture of images, with one class or one object per row.

use std::collections::BTreeSet;
use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;

use super::grid_size::check_grid_size;
use super::labels::{class_name, summary, undrawable};
use super::masks::{classes, legend, overlaid};
use super::sheet::{Block, Picture, Row, Sheet, fitted};
use crate::error::Result;
use crate::pack::{Pack, PackedSplit};

/// Largest side of an image in the picture, in pixels.
const CELL: u32 = 128;
/// Largest side of an image with a mask, in pixels. It is larger, because the regions of a mask may be small.
const MASKED_CELL: u32 = 160;

/// Writes a PNG to `path` that shows `rows` x `columns` images of `split` (a split of `pack`) on white.
///
/// A row of renders shows views of one object. A row of photographs shows images of one class, with the class
/// name on the left. Rows are spread evenly over the classes, and start again from the first class if there
/// are more rows than classes. Images are fitted into cells of 128 px: small images are enlarged by whole
/// factors, large images are reduced with antialiasing. For sets with masks, the images are evenly spaced
/// over the split. Each is shown with and without its mask, with one colour per class and a legend.
///
/// # Errors
/// [`crate::Error::Invalid`] for rows or columns out of range, [`crate::Error::Io`] and
/// [`crate::Error::Format`] if an image cannot be read or the picture cannot be written.
pub fn grid_png(
    pack: &Pack,
    split: &PackedSplit,
    rows: usize,
    columns: usize,
    path: &Path,
) -> Result<Picture> {
    check_grid_size(rows, columns)?;
    let chosen = if split.has_masks() {
        spread_rows(split, rows, columns)
    } else {
        class_rows(pack, split, rows, columns)
    };
    let drawn: Vec<Vec<Drawn>> = chosen
        .par_iter()
        .map(|images| images.par_iter().map(|&image| draw(split, image)).collect())
        .collect::<Result<_>>()?;
    let present = drawn.iter().flatten().flat_map(|drawn| &drawn.classes).copied().collect();
    let row = |(images, drawn): (&Vec<usize>, Vec<Drawn>)| Row {
        name: images.first().and_then(|&image| class_name(pack, split, image)).map(str::to_owned),
        blocks: drawn.into_iter().map(|drawn| Block { pictures: drawn.pictures, caption: None }).collect(),
    };
    let sheet = Sheet {
        title: pack.name.clone(),
        subtitle: summary(pack, split),
        rows: chosen.iter().zip(drawn).map(row).collect(),
        legend: legend(pack, &present),
    };
    sheet.write_png(path)
}

/// An image in the picture.
struct Drawn {
    pictures: Vec<RgbImage>,
    /// Classes that its mask contains.
    classes: BTreeSet<u8>,
}

fn draw(split: &PackedSplit, index: usize) -> Result<Drawn> {
    let image = split.image(index)?;
    let at = |image: &RgbImage, cell| fitted(image, cell).map_err(undrawable(split, index));
    let Some(mask) = split.mask(index)? else {
        return Ok(Drawn { pictures: vec![at(&image, CELL)?], classes: BTreeSet::new() });
    };
    let pictures = vec![at(&image, MASKED_CELL)?, at(&overlaid(&image, &mask), MASKED_CELL)?];
    Ok(Drawn { pictures, classes: classes(&mask) })
}

/// Rows of evenly spaced images.
fn spread_rows(split: &PackedSplit, rows: usize, columns: usize) -> Vec<Vec<usize>> {
    evenly_spaced(split, rows * columns).chunks(columns).map(<[usize]>::to_vec).collect()
}

/// Indices of `count` evenly spaced images, or of all images if there are fewer. Even spacing avoids similar
/// neighbours, as in frames of videos.
pub fn evenly_spaced(split: &PackedSplit, count: usize) -> Vec<usize> {
    let count = count.min(split.len());
    (0..count).map(|position| position * split.len() / count).collect()
}

/// Rows of images, with one class or one object per row.
fn class_rows(pack: &Pack, split: &PackedSplit, rows: usize, columns: usize) -> Vec<Vec<usize>> {
    // a unit is an object or an image
    let views = split.scene.as_ref().map_or(1, |scene| scene.views.max(1));
    let mut units: Vec<Vec<usize>> = vec![Vec::new(); pack.class_names.len()];
    for unit in 0..split.len() / views {
        if let Some(class) = units.get_mut(split.labels[unit * views] as usize) {
            class.push(unit);
        }
    }
    units.retain(|class| !class.is_empty());
    let row = |row: usize| -> Vec<usize> {
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
    let filled = if units.is_empty() { 0 } else { rows };
    (0..filled).map(row).filter(|images| !images.is_empty()).collect()
}

/// The class of a row. If there are fewer rows than classes, they are spread over all classes. If there are
/// more, they start again from the first class.
fn class_of_row(row: usize, rows: usize, classes: usize) -> usize {
    if rows < classes { row * classes / rows } else { row % classes }
}
