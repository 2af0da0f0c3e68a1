//! Drawing masks as colours over the images.

use std::collections::BTreeSet;

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::pen::blend;
use crate::pack::Pack;

/// The id of pixels without a class.
const VOID: u8 = 0;
/// Opacity of a class colour over the grey image. A coloured image could be mistaken for class colours.
const COVER: f32 = 0.75;
/// Colours of the first classes, chosen to be distinct.
const FIRST_COLOURS: [[u8; 3]; 12] = [
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
/// Hue step for all further classes, in turns. With the golden ratio, no hue is close to an earlier one.
const HUE_STEP: f64 = 0.618_033_988_749_895;

/// The colour of class `id`. No two classes have the same colour.
fn colour(id: u8) -> [u8; 3] {
    let Some(further) = usize::from(id).checked_sub(FIRST_COLOURS.len() + 1) else {
        return if id == VOID { [255; 3] } else { FIRST_COLOURS[usize::from(id) - 1] };
    };
    let value = [0.95, 0.7, 0.45][further % 3];
    let saturation = [0.85, 0.5][further / 3 % 2];
    from_hue((further as f64 * HUE_STEP).fract(), saturation, value)
}

/// The class ids in `mask`, without void.
pub(super) fn classes(mask: &GrayImage) -> BTreeSet<u8> {
    mask.iter().copied().filter(|&id| id != VOID).collect()
}

/// Colours and names of `classes`.
pub(super) fn legend(pack: &Pack, classes: &BTreeSet<u8>) -> Vec<([u8; 3], String)> {
    classes.iter().map(|&id| (legend_colour(id), class_name(pack, id))).collect()
}

/// The colour of class `id` over a middle grey.
fn legend_colour(id: u8) -> [u8; 3] {
    blend(Rgb([128; 3]), Rgb(colour(id)), COVER).0
}

/// The name of class `id`.
fn class_name(pack: &Pack, id: u8) -> String {
    pack.class_names.get(usize::from(id) - 1).cloned().unwrap_or_else(|| format!("class {id}"))
}

/// `image` with each pixel tinted in the colour of its class. Void pixels and pixels outside the mask stay
/// unchanged.
pub(super) fn overlaid(image: &RgbImage, mask: &GrayImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let pixel = *image.get_pixel(x, y);
        match mask.get_pixel_checked(x, y) {
            None | Some(Luma([VOID])) => pixel,
            Some(&Luma([id])) => blend(grey(pixel), Rgb(colour(id)), COVER),
        }
    })
}

/// The luma of ITU-R BT.601.
fn grey(Rgb([red, green, blue]): Rgb<u8>) -> Rgb<u8> {
    let luma = (299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue)) / 1000;
    Rgb([luma as u8; 3])
}

/// Converts hue (turns), saturation and value (each 0 to 1) to RGB.
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
    fn hues_follow_the_colour_circle() {
        let pure = |hue| from_hue(hue, 1.0, 1.0);
        assert_eq!([0.0, 1.0 / 3.0, 2.0 / 3.0].map(pure), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        assert_eq!(from_hue(0.5, 0.0, 0.2), [51; 3]);
    }

    #[test]
    fn a_mask_colours_its_classes_and_leaves_the_void() {
        let image = RgbImage::from_pixel(3, 1, Rgb([10, 200, 60]));
        let mask = GrayImage::from_raw(2, 1, vec![0, 2]).unwrap();
        let drawn = overlaid(&image, &mask);
        assert_eq!(
            (drawn[(0, 0)].0, drawn[(2, 0)].0),
            ([10, 200, 60], [10, 200, 60]),
            "void, and beyond the mask"
        );
        // (255, 127, 14) over grey 127
        assert_eq!(drawn[(1, 0)].0, [223, 127, 42]);
    }
}
