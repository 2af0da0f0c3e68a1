//! Masks as colours over their images.

use std::collections::BTreeSet;

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::text::blend;
use crate::pack::Pack;

/// The id of pixels that have no class.
const VOID: u8 = 0;
/// Share of a pixel that its class's colour covers; the rest is the image in grey, so that no colour of its own is taken for a class.
const COVER: f32 = 0.75;
/// The first classes' colours, told apart best.
const FIRST: [[u8; 3]; 12] = [
    [31, 119, 180],
    [255, 127, 14],
    [44, 160, 44],
    [214, 39, 40],
    [148, 103, 189],
    [140, 86, 75],
    [247, 182, 210],
    [188, 189, 34],
    [23, 190, 207],
    [255, 221, 87],
    [152, 223, 138],
    [197, 27, 125],
];
/// Fractions of a turn between the hues of further classes: by the golden section, none comes near one before it.
const TURN: f64 = 0.618_033_988_749_895;

/// The colour of class `id`, another one for each.
fn colour(id: u8) -> [u8; 3] {
    let Some(further) = usize::from(id).checked_sub(FIRST.len() + 1) else {
        return if id == VOID { [255; 3] } else { FIRST[usize::from(id) - 1] };
    };
    let value = [0.95, 0.7, 0.45][further % 3];
    let saturation = [0.85, 0.5][further / 3 % 2];
    from_hue((further as f64 * TURN).fract(), saturation, value)
}

/// The ids in `mask` that are classes.
pub(super) fn classes(mask: &GrayImage) -> BTreeSet<u8> {
    mask.iter().copied().filter(|&id| id != VOID).collect()
}

/// What the colours of `classes` mean.
pub(super) fn legend(pack: &Pack, classes: &BTreeSet<u8>) -> Vec<([u8; 3], String)> {
    classes.iter().map(|&id| (legend_colour(id), class_name(pack, id))).collect()
}

/// The colour of class `id` as it looks on a middle grey.
fn legend_colour(id: u8) -> [u8; 3] {
    blend(Rgb([128; 3]), Rgb(colour(id)), COVER).0
}

/// What pixels of `id` are.
fn class_name(pack: &Pack, id: u8) -> String {
    pack.class_names.get(usize::from(id) - 1).cloned().unwrap_or_else(|| format!("class {id}"))
}

/// `image` with each pixel in the colour of its class; where there is none it stays as it is. Of another size than the image a mask
/// covers what both have.
pub(super) fn overlaid(image: &RgbImage, mask: &GrayImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let pixel = *image.get_pixel(x, y);
        match mask.get_pixel_checked(x, y) {
            None | Some(Luma([VOID])) => pixel,
            Some(&Luma([id])) => blend(grey(pixel), Rgb(colour(id)), COVER),
        }
    })
}

/// ITU-R BT.601's luma.
fn grey(Rgb([red, green, blue]): Rgb<u8>) -> Rgb<u8> {
    let luma = (299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue)) / 1000;
    Rgb([luma as u8; 3])
}

/// Hue (a turn), saturation and value (0 to 1 each) to RGB.
fn from_hue(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|shift| {
        let place = (shift + hue * 6.0) % 6.0;
        let dip = place.min(4.0 - place).clamp(0.0, 1.0);
        (value * (1.0 - saturation * dip) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_class_has_a_colour_of_its_own() {
        let colours: HashSet<[u8; 3]> = (0..=255).map(colour).collect();
        assert_eq!(colours.len(), 256);
    }

    #[test]
    fn hues_are_those_of_the_colour_circle() {
        let pure = |hue| from_hue(hue, 1.0, 1.0);
        assert_eq!([0.0, 1.0 / 3.0, 2.0 / 3.0].map(pure), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        assert_eq!(from_hue(0.5, 0.0, 0.2), [51; 3]);
    }

    #[test]
    fn a_mask_colours_its_classes_and_leaves_the_void() {
        let image = RgbImage::from_pixel(3, 1, Rgb([10, 200, 60]));
        let mask = GrayImage::from_raw(2, 1, vec![0, 2]).unwrap();
        let drawn = overlaid(&image, &mask);
        assert_eq!((drawn[(0, 0)].0, drawn[(2, 0)].0), ([10, 200, 60], [10, 200, 60]), "void, and beyond the mask");
        // grey 127 under (255, 127, 14)
        assert_eq!(drawn[(1, 0)].0, [223, 127, 42]);
    }
}
