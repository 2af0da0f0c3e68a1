//! The order of the axes of what a module returns, as far as the shape shows it.

use anyhow::{Result, bail, ensure};

use crate::run_folder::encoder_description::{Known, Origin};
use crate::suite_file::encoder_options::Layout;

/// Widths of networks are multiples of this; numbers of tokens seldom are.
const WIDTH: i64 = 8;

/// The layout of what a module returns for square images: `shapes` (N, ..) of its tensors, all of them maps,
/// or one of tokens. If they do not show it, `larger` gives the shapes for larger images, if the module takes
/// those: the axis that stays is that of the channels. `None` if the module returns features.
///
/// # Errors
/// Shapes that allow two layouts, or a `given` layout that no tensor has.
pub fn layout(
    shapes: &[Vec<i64>],
    given: Option<Layout>,
    larger: impl FnOnce() -> Option<Vec<Vec<i64>>>,
) -> Result<Option<Known<Layout>>> {
    let rank = shapes[0].len();
    if let Some(given) = given {
        let needs = match given {
            Layout::Nchw | Layout::Nhwc => 4,
            Layout::Ntc | Layout::Nct => 3,
        };
        ensure!(rank == needs, "--layout: the module returns {shapes:?}, which has {rank} axes, not {needs}");
        return Ok(Some(Known::new(given, Origin::Option)));
    }
    let (shown, axis, options) = match rank {
        // the maps of a tuple have one layout, and one of them may show it
        4 => (shapes.iter().find_map(|shape| of_map(shape)), "channels", "nchw or --layout nhwc"),
        3 => (of_tokens(&shapes[0]), "tokens", "ntc for (N, T, D) or --layout nct for (N, D, T)"),
        _ => return Ok(None),
    };
    let shown = shown.or_else(|| by_comparison(&shapes[0], larger()?.first()?));
    match shown {
        Some(layout) => Ok(Some(Known::new(layout, Origin::File))),
        None => bail!(
            "the module returns {shapes:?}: the shape does not show which axis holds the {axis}\nhint: give --layout \
             {options}"
        ),
    }
}

/// The layout of which the shapes for images of two sizes allow only one.
fn by_comparison(shape: &[i64], larger: &[i64]) -> Option<Layout> {
    let changed: Vec<bool> = shape.iter().zip(larger).skip(1).map(|(a, b)| a != b).collect();
    match changed[..] {
        [false, true, true] => Some(Layout::Nchw),
        [true, true, false] => Some(Layout::Nhwc),
        [true, false] => Some(Layout::Ntc),
        [false, true] => Some(Layout::Nct),
        _ => None,
    }
}

/// Maps of square images are square.
fn of_map(shape: &[i64]) -> Option<Layout> {
    let [_, first, second, third] = shape else { return None };
    match (second == third, first == second) {
        (true, false) => Some(Layout::Nchw),
        (false, true) => Some(Layout::Nhwc),
        _ => None,
    }
}

/// Tokens are a square number, or one more, or with registers any number that is no width. If the first axis
/// may be a width and the second may be tokens, the shape shows nothing.
fn of_tokens(shape: &[i64]) -> Option<Layout> {
    let [_, first, second] = *shape else { return None };
    let is_square = |count: i64| ((count as f64).sqrt().round() as i64).pow(2) == count;
    let may_be_tokens = is_square(second) || is_square(second - 1) || second % WIDTH != 0;
    let transposed = first % WIDTH == 0 && may_be_tokens;
    (!transposed).then_some(Layout::Ntc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_show_their_layout_or_ask() {
        let found = |shape: &[i64]| {
            layout(&[shape.to_vec()], None, || None).map(|known| known.map(|known| known.value))
        };
        for (shape, expected) in [
            (&[2, 192, 7, 7][..], Layout::Nchw),
            (&[2, 7, 7, 192], Layout::Nhwc),
            (&[2, 512, 1, 1], Layout::Nchw),
            (&[2, 197, 768], Layout::Ntc),
            (&[2, 49, 1024], Layout::Ntc),
            (&[2, 201, 384], Layout::Ntc),
            (&[2, 264, 768], Layout::Ntc),
        ] {
            assert_eq!(found(shape).unwrap(), Some(expected), "{shape:?}");
        }
        assert_eq!(found(&[2, 768]).unwrap(), None);
        for (shape, says) in [
            (&[2, 7, 7, 7][..], "--layout nchw"),
            (&[2, 16, 8, 4], "--layout nhwc"),
            (&[2, 768, 49], "--layout nct"),
            (&[2, 384, 201], "--layout nct"),
            (&[2, 512, 1], "--layout nct"),
            (&[2, 64, 256], "--layout ntc"),
        ] {
            assert!(found(shape).unwrap_err().to_string().contains(says), "{shape:?}");
        }
        // larger images show what one size does not
        for (shape, larger, expected) in [
            (vec![2, 8, 8, 8], vec![2, 8, 16, 16], Layout::Nchw),
            (vec![2, 8, 8, 8], vec![2, 16, 16, 8], Layout::Nhwc),
            (vec![2, 576, 1024], vec![2, 2304, 1024], Layout::Ntc),
            (vec![2, 768, 49], vec![2, 768, 196], Layout::Nct),
            (vec![2, 384, 201], vec![2, 384, 789], Layout::Nct),
        ] {
            let found = layout(&[shape], None, || Some(vec![larger])).unwrap().unwrap();
            assert_eq!(found.value, expected);
        }
        // one map of a pyramid shows the layout of all
        let pyramid = layout(&[vec![2, 8, 8, 8], vec![2, 4, 4, 16]], None, || None).unwrap().unwrap();
        assert_eq!((pyramid.value, pyramid.from), (Layout::Nhwc, Origin::File));
        assert!(layout(&[vec![2, 768]], Some(Layout::Nhwc), || None).is_err());
        let told = layout(&[vec![2, 7, 7, 7]], Some(Layout::Nhwc), || None).unwrap().unwrap();
        assert_eq!((told.value, told.from), (Layout::Nhwc, Origin::Option));
    }
}
