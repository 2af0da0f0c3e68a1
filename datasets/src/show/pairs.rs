//! A picture of pairs of views, with a description of each transformation.

use std::path::Path;

use image::RgbImage;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use tch::{Kind as Element, Tensor};

use super::grid_size::check_grid_size;
use super::labels::{class_name, summary, undrawable};
use super::sheet::{Block, Caption, Picture, Row, Sheet, fitted};
use crate::draw::{Purpose, rng};
use crate::error::{Error, Result};
use crate::loader::Loader;
use crate::pack::{Pack, PackedSplit};
use crate::scene_latents::SceneLatents;
use crate::targets::{Latents, canonical_quaternions, color_difference, relative_quaternions};
use crate::transforms::{Border, Draw, Draws, FirstView, Ranges, Transform};
use crate::view_pairs::view_pairs;

/// Largest side of a view in the picture, in pixels.
const CELL: u32 = 160;
/// Largest side at which photographs are transformed, in pixels. It affects the look of a blur, whose width
/// is in pixels. It is the input size of the ImageNet encoders.
const LARGEST_SIDE: usize = 224;

/// The pairs to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairChoice {
    /// Seed of all random draws.
    pub seed: u64,
    /// Transforms from view 1 to view 2, for photographs only. `None` means all transforms.
    pub transforms: Option<Vec<Transform>>,
}

/// Writes a PNG to `path` that shows `rows` x `columns` pairs of views of `split` (a split of `pack`). The
/// caption of each pair gives its class and its parameters. For photographs, the parameters are the
/// transformation from view 1 to view 2, drawn from the default ranges, with a reflected border. For renders,
/// they are the rotation between the views and the differences of the hues.
///
/// Photographs with one common size of up to 224 px are transformed at that size, all others at 224 px.
///
/// # Errors
/// The errors of [`super::grid_png`]; [`Error::Invalid`] for transforms of renders, or for objects with only
/// one view.
pub fn pairs_png(
    pack: &Pack,
    split: &PackedSplit,
    choice: &PairChoice,
    rows: usize,
    columns: usize,
    path: &Path,
) -> Result<Picture> {
    check_grid_size(rows, columns)?;
    let mut units: Vec<usize> = (0..split.units()).collect();
    units.shuffle(&mut rng(choice.seed, 0, 0, Purpose::Shuffle));
    units.truncate(rows * columns);
    let (mut blocks, how) = match &split.scene {
        Some(scene) => (renders(pack, split, scene, choice, &units)?, "pairs of renders"),
        None => (photographs(pack, split, choice, &units)?, "photographs and their transformations"),
    };
    let mut grid = Vec::new();
    while !blocks.is_empty() {
        let rest = blocks.split_off(columns.min(blocks.len()));
        grid.push(Row { name: None, blocks: std::mem::replace(&mut blocks, rest) });
    }
    let subtitle = format!("{}; {how}, seed {}", summary(pack, split), choice.seed);
    Sheet { title: pack.name.clone(), subtitle, rows: grid, legend: Vec::new() }.write_png(path)
}

/// Pairs of photographs and their transformed versions.
fn photographs(pack: &Pack, split: &PackedSplit, choice: &PairChoice, units: &[usize]) -> Result<Vec<Block>> {
    let side = split.side().unwrap_or(LARGEST_SIDE).min(LARGEST_SIDE);
    let active = choice.transforms.as_deref().unwrap_or(&Transform::ALL);
    let loader = Loader::new(split.clone(), side);
    let block = |&unit: &usize| {
        // one at a time, because a batch for the largest picture would take gigabytes
        let key = [unit as u64];
        let draws = Draws::sample(&key, choice.seed, 0, active, &Ranges::default());
        let border = Border::default();
        let field = loader.base_views(&[unit], choice.seed, 0, border.reach(active, &Ranges::default()))?;
        let view1 = FirstView::centered_in(&(field.to_kind(Element::Float) / 255.0), side as i64);
        let view2 = view1.transformed(&draws, border);
        let pictures = [view1.pixels(), view2].iter().map(picture).collect::<Result<Vec<_>>>()?;
        let phrases = transform_phrases(&draws.each[0], active);
        pair_block(split, unit, &pictures, class_name(pack, split, unit), phrases)
    };
    units.iter().map(block).collect()
}

/// Pairs of renders, each of one object.
fn renders(
    pack: &Pack,
    split: &PackedSplit,
    scene: &SceneLatents,
    choice: &PairChoice,
    units: &[usize],
) -> Result<Vec<Block>> {
    if choice.transforms.is_some() {
        let reason = "transforms are for photographs: a pair of renders is two views of one object";
        return Err(Error::Invalid(format!("{}: {reason}", pack.name)));
    }
    if scene.views < 2 {
        return Err(Error::Invalid(format!("{}: objects of one view have no pairs", pack.name)));
    }
    let pairs = view_pairs(scene.views, choice.seed, 0, units);
    let block = |pair: &[usize; 2]| {
        let pictures = pair.iter().map(|&image| split.image(image)).collect::<Result<Vec<_>>>()?;
        let latents = pair.map(|image| std::array::from_fn(|value| scene.latents[[image, value]]));
        pair_block(split, pair[0], &pictures, class_name(pack, split, pair[0]), render_phrases(latents))
    };
    pairs.par_iter().map(block).collect()
}

/// A block with two views and a caption.
fn pair_block(
    split: &PackedSplit,
    index: usize,
    views: &[RgbImage],
    name: Option<&str>,
    phrases: Vec<String>,
) -> Result<Block> {
    let pictures = views.iter().map(|view| fitted(view, CELL)).collect::<std::result::Result<Vec<_>, _>>();
    let caption = Some(Caption { name: name.map(str::to_owned), phrases });
    Ok(Block { pictures: pictures.map_err(undrawable(split, index))?, caption })
}

/// Converts an image (1, 3, H, W) in [0, 1] to a picture.
fn picture(image: &Tensor) -> Result<RgbImage> {
    let (_, _, height, width) = image.size4().map_err(|error| Error::Invalid(error.to_string()))?;
    let bytes =
        (image.clamp(0.0, 1.0) * 255.0).round().to_kind(Element::Uint8).permute([0, 2, 3, 1]).contiguous();
    let bytes = Vec::<u8>::try_from(bytes.view([-1])).map_err(|error| Error::Invalid(error.to_string()))?;
    RgbImage::from_raw(width as u32, height as u32, bytes)
        .ok_or_else(|| Error::Invalid("a view has no pixels".into()))
}

/// Describes the parameters of the active transforms.
fn transform_phrases(draw: &Draw, active: &[Transform]) -> Vec<String> {
    Transform::ALL.iter().filter(|transform| active.contains(transform)).map(|&t| phrase(draw, t)).collect()
}

fn phrase(draw: &Draw, transform: Transform) -> String {
    let crop = draw.crop;
    match transform {
        Transform::Rotation => format!("rotation {}°", signed(draw.angle, 0)),
        Transform::Translation => {
            format!("translation {} {}", signed(draw.shift[0], 2), signed(draw.shift[1], 2))
        }
        Transform::Crop => {
            let [x, y] = crop.centre.map(|place| signed(place, 2));
            format!("crop {:.2} × {:.2} at {x} {y}", crop.width, crop.height)
        }
        Transform::Flip => if draw.flip { "flipped" } else { "not flipped" }.to_owned(),
        Transform::Color => {
            let [b, c, s] = [draw.brightness, draw.contrast, draw.saturation];
            format!("color b {b:.1} c {c:.1} s {s:.1} h {}", signed(draw.hue, 2))
        }
        Transform::Blur => format!("blur {:.1} px", draw.sigma),
    }
}

/// Describes the difference between two renders.
fn render_phrases([first, second]: [Latents; 2]) -> Vec<String> {
    let q = canonical_quaternions(&relative_quaternions(&[first], &[second]));
    let axis = q[..3].iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let sine = axis.iter().map(|value| value * value).sum::<f64>().sqrt();
    let angle = 2.0 * sine.atan2(f64::from(q[3])).to_degrees();
    let axis =
        axis.iter().map(|value| signed(value / sine.max(f64::MIN_POSITIVE), 2)).collect::<Vec<_>>().join(" ");
    let hues = color_difference(&[first], &[second]);
    let hue = |name: &str, value: f32| format!("{name} hue {}", signed(value.into(), 2));
    vec![format!("rotation {angle:.0}° about ({axis})"), hue("floor", hues[0]), hue("light", hues[1])]
}

/// Formats a number with its sign. The minus sign is as wide as the plus sign. Zero gets a plus sign.
fn signed(value: f64, places: usize) -> String {
    let digits = format!("{:.places$}", value.abs());
    let zero = digits.chars().all(|digit| matches!(digit, '0' | '.'));
    let sign = if zero || value >= 0.0 { '+' } else { '−' };
    format!("{sign}{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::Crop;

    #[test]
    fn transforms_are_described_in_the_order_of_tables() {
        let draw = Draw {
            angle: 37.4,
            shift: [0.12, -0.034],
            crop: Crop { centre: [-0.1, 0.25], width: 0.5, height: 0.75 },
            flip: true,
            brightness: 1.2,
            contrast: 0.9,
            saturation: 1.06,
            hue: -0.004,
            sigma: 1.31,
        };
        let said = transform_phrases(&draw, &[Transform::Blur, Transform::Rotation]);
        assert_eq!(said, ["rotation +37°", "blur 1.3 px"]);
        let said = transform_phrases(&draw, &Transform::ALL).join(", ");
        let expected = "rotation +37°, translation +0.12 −0.03, crop 0.50 × 0.75 at −0.10 +0.25, flipped, \
                        color b 1.2 c 0.9 s 1.1 h +0.00, blur 1.3 px";
        assert_eq!(said, expected);
    }

    #[test]
    fn renders_are_described_by_angle_axis_and_hues() {
        let quarter = std::f32::consts::FRAC_PI_2;
        let none = [0.0, 0.0, 0.0, 0.9, 1.0, 2.0, 0.2];
        let turned = [0.0, -quarter, 0.0, 0.1, 1.0, 2.0, 0.5];
        let said = render_phrases([none, turned]);
        assert_eq!(said, ["rotation 90° about (+0.00 −1.00 +0.00)", "floor hue −0.80", "light hue +0.30"]);
        assert_eq!(render_phrases([none, none])[0], "rotation 0° about (+0.00 +0.00 +0.00)");
    }
}
