//! Comparison of the transforms with torchvision's outputs, written by `scripts/reference/transforms.py`.
//!
//! Different conventions: torchvision's `affine` rotates clockwise and shifts by pixels; its `rotate` and our
//! rotation are counter-clockwise, and our shift is a fraction of the side. The order (crop, rotation, shift;
//! brightness, contrast, saturation, hue) is the same. torchvision's random crops use no pixels outside the
//! box; nor does the base view. But the crop of view 2 is part of one affine resampling, which does.

use eqr_datasets::transforms::{Border, Crop, Draw, Draws, PixelBox, apply, resized_crop};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use tch::{Kind, Tensor};

const FILE: &[u8] = include_bytes!("../reference/transforms.safetensors");

/// Largest difference. A step of 8-bit colour, 1/255, would be enough for the benchmark. But equal
/// definitions differ only in rounding (1e-5 in the file), and a wrong coefficient must not hide below a
/// step.
const CLOSE: f64 = 1e-4;

/// The image and its transformation.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    name: String,
    family: String,
    image: String,
    angle: f64,
    shift: [f64; 2],
    /// Centre x, centre y, width, height.
    crop: [f64; 4],
    flip: bool,
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
    sigma: f64,
    /// Top, left, height, width in pixels.
    #[serde(rename = "box")]
    pixels: [usize; 4],
    side: usize,
}

impl Default for Case {
    fn default() -> Case {
        let Draw { angle, shift, flip, brightness, contrast, saturation, hue, sigma, .. } = Draw::IDENTITY;
        Case {
            name: String::new(),
            family: String::new(),
            image: String::new(),
            angle,
            shift,
            crop: [0.0, 0.0, 1.0, 1.0],
            flip,
            brightness,
            contrast,
            saturation,
            hue,
            sigma,
            pixels: [0; 4],
            side: 0,
        }
    }
}

impl Case {
    fn draw(&self) -> Draw {
        let Case { angle, shift, crop, flip, brightness, contrast, saturation, hue, sigma, .. } = *self;
        let crop = Crop { centre: [crop[0], crop[1]], width: crop[2], height: crop[3] };
        Draw { angle, shift, crop, flip, brightness, contrast, saturation, hue, sigma }
    }

    fn pixel_box(&self) -> PixelBox {
        let [top, left, height, width] = self.pixels;
        PixelBox { top, left, height, width, flip: self.flip }
    }
}

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// (1, 3, H, W) in [0, 1], float32 as in training.
fn tensor(file: &SafeTensors, name: &str) -> Tensor {
    let view = file.tensor(name).unwrap();
    let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
    let values: Vec<f32> = match view.dtype() {
        Dtype::U8 => view.data().iter().map(|&byte| f32::from(byte) / 255.0).collect(),
        Dtype::U16 => {
            let number = |pair: &[u8]| f32::from(u16::from_le_bytes([pair[0], pair[1]])) / 65535.0;
            view.data().chunks_exact(2).map(number).collect()
        }
        other => panic!("{name} is {other:?}"),
    };
    Tensor::from_slice(&values).view(&shape[..]).unsqueeze(0)
}

/// Calls `check` with every case of `family`, its image and torchvision's result.
fn for_each(family: &str, at_least: usize, check: impl Fn(&Case, &Tensor, &Tensor)) {
    let (_, metadata) = SafeTensors::read_metadata(FILE).unwrap();
    let text = &metadata.metadata().as_ref().unwrap()["reference"];
    let reference: Reference = serde_json::from_str(text).unwrap();
    let file = SafeTensors::deserialize(FILE).unwrap();
    let cases: Vec<&Case> = reference.cases.iter().filter(|case| case.family == family).collect();
    assert!(cases.len() >= at_least, "{} cases of {family}", cases.len());
    for case in cases {
        check(case, &tensor(&file, &case.image), &tensor(&file, &case.name));
    }
}

fn assert_close(case: &Case, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size(), "{} of {}", case.name, case.image);
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference <= CLOSE, "{} of {}, {:?}: off by {difference}", case.name, case.image, case.draw());
}

fn transformed(case: &Case, image: &Tensor, border: Border) -> Tensor {
    apply(image, &Draws { each: vec![case.draw()] }, border)
}

#[test]
fn colors_are_torchvisions() {
    for_each("color", 20, |case, image, expected| {
        assert_close(case, &transformed(case, image, Border::Reflection), expected);
    });
}

#[test]
fn blur_is_torchvisions() {
    for_each("blur", 11, |case, image, expected| {
        assert_close(case, &transformed(case, image, Border::Reflection), expected);
    });
}

#[test]
fn a_flip_is_exact() {
    for_each("flip", 3, |case, image, expected| {
        // exact in torchvision; ours is resampled, with rounded weights
        let difference =
            (transformed(case, image, Border::Reflection) - image.flip([3])).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{} of {}: off by {difference}", case.name, case.image);
        assert_close(case, &image.flip([3]), expected);
    });
}

#[test]
fn crop_rotation_and_translation_are_torchvisions() {
    for_each("affine", 28, |case, image, expected| {
        assert_close(case, &transformed(case, image, Border::Zeros), expected);
    });
}

#[test]
fn the_border_changes_nothing_inside() {
    for_each("affine", 28, |case, image, expected| {
        // only where torchvision, which is black beyond the border, uses no pixels outside the image
        let ones = image.ones_like();
        let inside = transformed(case, &ones, Border::Zeros).gt(1.0 - 1e-4).to_kind(Kind::Float);
        assert!(inside.mean(Kind::Float).double_value(&[]) > 0.25, "{} shows little of the image", case.name);
        let found = transformed(case, image, Border::Reflection);
        assert_close(case, &(found * &inside), &(expected * &inside));
    });
}

#[test]
fn boxes_of_pixels_are_cut_exactly_and_resized_as_torchvision_does() {
    for_each("resize", 8, |case, image, expected| {
        let found = resized_crop(image, &[case.pixel_box()], case.side);
        assert_close(case, &found, expected);
        let [top, left, height, width] = case.pixels.map(|length| length as i64);
        if height == case.side as i64 && width == height {
            let cut = image.narrow(2, top, height).narrow(3, left, width);
            let cut = if case.flip { cut.flip([3]) } else { cut };
            assert_close(case, &cut, expected);
            assert!(
                (found - cut).abs().max().double_value(&[]) < 1e-6,
                "{}: not the pixels of its box",
                case.name
            );
        }
    });
}
