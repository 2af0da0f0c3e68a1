//! A picture of images with their true and predicted masks.

use std::path::Path;

use image::GrayImage;
use rayon::prelude::*;

use super::grid_size::check_grid_size;
use super::labels::undrawable;
use super::masks::{classes, legend, overlaid};
use super::sheet::{Block, Caption, Picture, Row, Sheet, fitted};
use crate::error::{Error, Result};
use crate::pack::{Pack, PackedSplit};

/// Largest side of an image in the picture, in pixels.
const CELL: u32 = 256;

/// Writes a PNG to `path` with one row for each of `predictions` (index in `split`, predicted class ids): the
/// image, the image with its mask, and the image with the prediction. Each class has the same colour in every
/// picture of the pack, and there is a legend. The caption gives the pixel accuracy, without void pixels.
///
/// # Errors
/// [`Error::Invalid`] for no or too many predictions and for a split without masks, [`Error::Io`] and
/// [`Error::Format`] if an image cannot be read or the picture cannot be written.
pub fn predictions_png(
    pack: &Pack,
    split: &PackedSplit,
    predictions: &[(usize, GrayImage)],
    path: &Path,
) -> Result<Picture> {
    check_grid_size(predictions.len(), 3)?;
    let drawn: Vec<(Block, GrayImage)> = predictions
        .par_iter()
        .map(|(index, predicted)| draw(split, *index, predicted))
        .collect::<Result<_>>()?;
    let masks = drawn.iter().map(|(_, mask)| mask).chain(predictions.iter().map(|(_, predicted)| predicted));
    let present = masks.flat_map(classes).collect();
    let sheet = Sheet {
        title: pack.name.clone(),
        subtitle: format!("{}: image, truth, prediction", split.name),
        legend: legend(pack, &present),
        rows: drawn.into_iter().map(|(block, _)| Row { name: None, blocks: vec![block] }).collect(),
    };
    sheet.write_png(path)
}

/// The images of a row, and the true mask.
fn draw(split: &PackedSplit, index: usize, predicted: &GrayImage) -> Result<(Block, GrayImage)> {
    let image = split.image(index)?;
    let mask = split
        .mask(index)?
        .ok_or_else(|| Error::Invalid(format!("the {} images have no masks", split.name)))?;
    let pictures = [image.clone(), overlaid(&image, &mask), overlaid(&image, predicted)];
    let pictures =
        pictures.iter().map(|picture| fitted(picture, CELL)).collect::<std::result::Result<_, _>>();
    let phrases =
        vec![format!("image {index}"), format!("{:.1}% right", 100.0 * share_right(&mask, predicted))];
    let caption = Some(Caption { name: None, phrases });
    Ok((Block { pictures: pictures.map_err(undrawable(split, index))?, caption }, mask))
}

/// Share of the non-void pixels with the correct predicted class; 0 if all pixels are void.
fn share_right(mask: &GrayImage, predicted: &GrayImage) -> f64 {
    let classed = mask.iter().zip(predicted.iter()).filter(|(truth, _)| **truth != 0);
    let (right, all) = classed
        .fold((0u32, 0u32), |(right, all), (truth, guess)| (right + u32::from(truth == guess), all + 1));
    f64::from(right) / f64::from(all.max(1))
}

#[cfg(test)]
mod tests {
    use super::share_right;
    use image::GrayImage;

    #[test]
    fn void_does_not_count() {
        let mask = |ids: [u8; 4]| GrayImage::from_raw(2, 2, ids.into()).unwrap();
        assert_eq!(share_right(&mask([0, 1, 2, 2]), &mask([1, 1, 2, 1])), 2.0 / 3.0);
        assert_eq!(share_right(&mask([0; 4]), &mask([1; 4])), 0.0);
    }
}
