//! Images in rows of one class or one object.

use std::collections::BTreeSet;
use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;

use super::masks::{classes, legend, overlaid};
use super::sheet::{Block, Row, Sheet, fitted};
use super::{about, check, class_name, undrawable};
use crate::error::Result;
use crate::pack::{Pack, PackedSplit};

/// Longest side of an image as it is drawn.
const CELL: u32 = 128;
/// Of one with a mask, whose regions may be small.
const MASKED_CELL: u32 = 160;

/// Writes a PNG with `rows` x `columns` images of `split` (one of `pack`'s) on a white ground to `path`.
///
/// A row of renders shows views of one object, a row of photographs images of one class, whose name stands beside it; rows go through
/// the classes evenly, again from the first where there are more rows than classes. Images are fitted into cells of 128 px: small ones
/// enlarged by whole factors, large ones made smaller with antialiasing. Of a set with masks, images from all over the split are shown,
/// each beside itself under its mask, a colour a class, with a legend of the classes that occur.
///
/// # Errors
/// [`crate::Error::Invalid`] for rows or columns out of range, [`crate::Error::Io`] and [`crate::Error::Format`] where an image cannot
/// be read or the picture cannot be written.
pub fn grid_png(pack: &Pack, split: &PackedSplit, rows: usize, columns: usize, path: &Path) -> Result<()> {
    check(rows, columns)?;
    let chosen = if split.has_masks() { spread(split, rows, columns) } else { by_class(pack, split, rows, columns) };
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
        about: about(pack, split),
        rows: chosen.iter().zip(drawn).map(row).collect(),
        legend: legend(pack, &present),
    };
    sheet.write_png(path)
}

/// An image as it is shown.
struct Drawn {
    pictures: Vec<RgbImage>,
    /// Those in its mask.
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

/// Rows of images from all over the split.
fn spread(split: &PackedSplit, rows: usize, columns: usize) -> Vec<Vec<usize>> {
    all_over(split, rows * columns).chunks(columns).map(<[usize]>::to_vec).collect()
}

/// `count` images from all over the split, or as many as it has: those of a video resemble their neighbours.
pub fn all_over(split: &PackedSplit, count: usize) -> Vec<usize> {
    let shown = count.min(split.len());
    (0..shown).map(|at| at * split.len() / shown).collect()
}

/// The images of each row, of one class or one object.
fn by_class(pack: &Pack, split: &PackedSplit, rows: usize, columns: usize) -> Vec<Vec<usize>> {
    // a unit is what a row of its own would show: an object, or an image
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

/// Fewer rows than classes are spread over all classes; more go round.
fn class_of_row(row: usize, rows: usize, classes: usize) -> usize {
    if rows < classes { row * classes / rows } else { row % classes }
}
