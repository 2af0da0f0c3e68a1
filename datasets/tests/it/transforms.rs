//! Tests of the transforms by their parameters: exact identities, landmarks, and simple loops over pixels as
//! reference.

use eqr_datasets::transforms::{
    Border, Crop, Draw, Draws, FirstView, PixelBox, Ranges, Transform, apply, base_view, photo_pair,
    resized_crop,
};
use rand::Rng;
use tch::{Device, Kind, Tensor};

use crate::common::largest_difference;

/// (N, 3, side, side) smooth random images in f64, values inside (0, 1).
fn smooth_images(n: i64, side: i64) -> Tensor {
    let coarse: Vec<f64> = {
        let mut rng = eqr_datasets::draw::rng(5, 0, n as u64, eqr_datasets::draw::Purpose::Subset);
        (0..n * 3 * 16).map(|_| rng.gen_range(0.1..0.9)).collect()
    };
    let coarse = Tensor::from_slice(&coarse).view([n, 3, 4, 4]);
    coarse.upsample_bicubic2d([side, side], false, None, None).clamp(0.02, 0.98)
}

/// (N, 3, side, side) independent uniform pixels in f64.
fn noise_images(n: i64, side: i64) -> Tensor {
    let mut rng = eqr_datasets::draw::rng(6, 0, n as u64, eqr_datasets::draw::Purpose::Subset);
    let values: Vec<f64> = (0..n * 3 * side * side).map(|_| rng.r#gen()).collect();
    Tensor::from_slice(&values).view([n, 3, side, side])
}

fn same_for_all(n: usize, draw: Draw) -> Draws {
    Draws { each: vec![draw; n] }
}

/// The middle `keep` pixels of both axes.
fn centre(images: &Tensor, keep: i64) -> Tensor {
    let margin = (images.size()[3] - keep) / 2;
    images.narrow(2, margin, keep).narrow(3, margin, keep)
}

/// Pixel values by image, channel, row and column.
struct Pixels {
    values: Vec<f64>,
    side: usize,
}

impl Pixels {
    fn of(images: &Tensor) -> Pixels {
        let side = images.size()[3] as usize;
        let flat = images.to_kind(Kind::Double).contiguous().view(-1);
        Pixels { values: Vec::try_from(flat).unwrap(), side }
    }

    fn at(&self, image: usize, channel: usize, row: usize, column: usize) -> f64 {
        self.values[((image * 3 + channel) * self.side + row) * self.side + column]
    }

    fn rgb(&self, image: usize, row: usize, column: usize) -> [f64; 3] {
        [0, 1, 2].map(|channel| self.at(image, channel, row, column))
    }
}

#[test]
fn identity_parameters_change_nothing_at_all() {
    for kind in [Kind::Float, Kind::Double] {
        let images = noise_images(4, 17).to_kind(kind);
        for border in [Border::Reflection, Border::Zeros, Border::Window] {
            let out = apply(&images, &Draws::identity(4), border);
            assert!(out.equal(&images));
            assert_ne!(out.data_ptr(), images.data_ptr(), "view 2 must not be the memory of view 1");
        }
    }
}

#[test]
fn identity_beside_other_draws_changes_nothing_visible() {
    let images = noise_images(2, 16);
    let mut draws = Draws::sample(&[0, 1], 3, 0, &Transform::ALL, &Ranges::default());
    draws.each[0] = Draw::IDENTITY;
    let out = apply(&images, &draws, Border::Reflection);
    assert!(largest_difference(&out.get(0), &images.get(0)) < 1e-9);
    assert!(largest_difference(&out.get(1), &images.get(1)) > 0.1);
}

#[test]
fn rotation_back_and_forth_restores_the_centre() {
    let images = smooth_images(8, 64);
    let draws = Draws::sample(&[0, 1, 2, 3, 4, 5, 6, 7], 1, 0, &[Transform::Rotation], &Ranges::default());
    let back = Draws { each: draws.each.iter().map(|d| Draw { angle: -d.angle, ..*d }).collect() };
    let there_and_back = apply(&apply(&images, &draws, Border::Reflection), &back, Border::Reflection);
    assert!(largest_difference(&centre(&there_and_back, 40), &centre(&images, 40)) < 0.01);
}

#[test]
fn quarter_turns_equal_rot90() {
    let images = noise_images(2, 12);
    for quarter in 1..4 {
        let turned = apply(
            &images,
            &same_for_all(2, Draw { angle: 90.0 * quarter as f64, ..Draw::IDENTITY }),
            Border::Zeros,
        );
        assert!(
            largest_difference(&turned, &images.rot90(quarter, [2, 3])) < 1e-12,
            "{quarter} quarter turns"
        );
    }
}

#[test]
fn translation_by_whole_pixels_moves_content_right_and_down() {
    let images = noise_images(2, 16);
    let draw = Draw { shift: [3.0 / 16.0, 2.0 / 16.0], ..Draw::IDENTITY };
    let rolled = images.roll([2, 3], [2, 3]);
    for border in [Border::Reflection, Border::Zeros] {
        let moved = apply(&images, &same_for_all(2, draw), border);
        let inside = |t: &Tensor| t.narrow(2, 2, 14).narrow(3, 3, 13);
        assert!(largest_difference(&inside(&moved), &inside(&rolled)) < 1e-12);
        let corner = moved.narrow(2, 0, 2).narrow(3, 0, 3);
        match border {
            Border::Zeros => assert_eq!(corner.abs().max().double_value(&[]), 0.0),
            _ => {
                let mirrored = images.narrow(2, 0, 2).narrow(3, 0, 3).flip([2, 3]);
                assert!(largest_difference(&corner, &mirrored) < 1e-12);
            }
        }
    }
}

#[test]
fn flip_and_crop_show_the_box_they_name() {
    let images = noise_images(1, 16);
    let flipped = apply(&images, &same_for_all(1, Draw { flip: true, ..Draw::IDENTITY }), Border::Reflection);
    assert!(largest_difference(&flipped, &images.flip([3])) < 1e-12);
    // columns 8..16 and rows 4..12 at twice the size; torch's resize does not use the surroundings, so only
    // the inside agrees
    let crop = Crop { centre: [0.5, 0.0], width: 0.5, height: 0.5 };
    let cropped = apply(&images, &same_for_all(1, Draw { crop, ..Draw::IDENTITY }), Border::Reflection);
    let doubled = images.narrow(2, 4, 8).narrow(3, 8, 8).upsample_bilinear2d([16, 16], false, None, None);
    assert!(largest_difference(&centre(&cropped, 14), &centre(&doubled, 14)) < 1e-12);
}

/// Centre of mass (x, y) of the first channel in coordinates from -1 to 1.
fn centre_of_mass(image: &Tensor) -> [f64; 2] {
    let pixels = Pixels::of(image);
    let (mut x, mut y, mut mass) = (0.0, 0.0, 0.0);
    for row in 0..pixels.side {
        for column in 0..pixels.side {
            let value = pixels.at(0, 0, row, column);
            let coordinate = |index: usize| (2.0 * index as f64 + 1.0) / pixels.side as f64 - 1.0;
            x += value * coordinate(column);
            y += value * coordinate(row);
            mass += value;
        }
    }
    [x / mass, y / mass]
}

/// A Gaussian spot at (x, y).
fn spot(at: [f64; 2], side: i64) -> Tensor {
    let line = |centre: f64| {
        let step = Tensor::arange(side, (Kind::Double, Device::Cpu)) * 2.0 + 1.0;
        (-(step / side as f64 - 1.0 - centre).square() / (2.0 * 0.05 * 0.05)).exp()
    };
    let plane = line(at[1]).unsqueeze(1) * line(at[0]).unsqueeze(0);
    plane.expand([1, 3, side, side], false).contiguous()
}

/// The position in view 2 of a point of view 1, computed step by step.
fn moved([mut x, mut y]: [f64; 2], draw: &Draw) -> [f64; 2] {
    if draw.flip {
        x = -x;
    }
    x = (x - draw.crop.centre[0]) / draw.crop.width;
    y = (y - draw.crop.centre[1]) / draw.crop.height;
    let (sin, cos) = draw.angle.to_radians().sin_cos();
    // counter-clockwise: a point on the right moves up, where y is negative
    [x, y] = [x * cos + y * sin, -x * sin + y * cos];
    [x + 2.0 * draw.shift[0], y + 2.0 * draw.shift[1]]
}

/// Whether a spot there is completely visible.
fn well_inside(at: [f64; 2]) -> bool {
    at.iter().all(|coordinate| coordinate.abs() <= 0.7)
}

fn assert_lands(view2: &Tensor, expected: [f64; 2], draw: &Draw) {
    let found = centre_of_mass(view2);
    let off = [0, 1].map(|axis| (found[axis] - expected[axis]).abs());
    assert!(off[0] < 0.01 && off[1] < 0.01, "{draw:?}: {found:?} for {expected:?}");
}

#[test]
fn a_landmark_lands_where_the_parameters_say() {
    let landmark = [0.2, -0.15];
    let image = spot(landmark, 96);
    let ranges = Ranges { translation: 0.15, crop_scale_min: 0.5, ..Ranges::default() };
    let geometry = [Transform::Rotation, Transform::Translation, Transform::Crop, Transform::Flip];
    let mut landed = 0;
    for active in geometry.iter().map(std::slice::from_ref).chain([&geometry[..]]) {
        for key in 0..40 {
            let draws = Draws::sample(&[key], 9, 0, active, &ranges);
            let expected = moved(landmark, &draws.each[0]);
            if well_inside(expected) {
                assert_lands(&apply(&image, &draws, Border::Zeros), expected, &draws.each[0]);
                landed += 1;
            }
        }
    }
    assert!(landed > 150, "only {landed} landmarks were looked at");
}

#[test]
fn a_landmark_outside_the_window_comes_into_view_where_the_parameters_say() {
    let ranges = Ranges { crop_scale_min: 0.5, ..Ranges::default() };
    let geometry = [Transform::Rotation, Transform::Translation, Transform::Crop, Transform::Flip];
    for (landmark, active, at_least) in
        [([0.2, -0.15], &geometry[..], 100), ([-1.15, 0.3], &geometry[..2], 10)]
    {
        // view 1 is 80 of 176 pixels
        let view1 = FirstView::centered_in(&spot(landmark.map(|coordinate| coordinate / 2.2), 176), 80);
        let mut landed = 0;
        for key in 0..400 {
            let draws = Draws::sample(&[key], 9, 0, active, &ranges);
            let expected = moved(landmark, &draws.each[0]);
            if expected.iter().all(|coordinate| coordinate.abs() <= 0.6) {
                assert_lands(&view1.transformed(&draws, Border::Window), expected, &draws.each[0]);
                landed += 1;
            }
        }
        assert!(landed >= at_least, "{landmark:?}: only {landed} were looked at");
    }
}

#[test]
fn every_transform_with_an_inverse_is_undone_by_it() {
    let images = smooth_images(4, 64);
    let keys = [0, 1, 2, 3];
    let there_and_back = |transform: Transform, inverse: fn(&Draw) -> Draw| {
        let draws = Draws::sample(&keys, 1, 0, &[transform], &Ranges::default());
        let back = Draws { each: draws.each.iter().map(inverse).collect() };
        apply(&apply(&images, &draws, Border::Reflection), &back, Border::Reflection)
    };
    let restored = there_and_back(Transform::Translation, |d| Draw { shift: d.shift.map(|s| -s), ..*d });
    assert!(largest_difference(&centre(&restored, 30), &centre(&images, 30)) < 0.01);
    // mirrored twice
    let restored = there_and_back(Transform::Flip, |d| *d);
    assert!(largest_difference(&restored, &images) < 1e-12);
    // a crop of one half, shown in the middle half of the doubled width
    let half = Crop { centre: [0.1, -0.2], width: 0.5, height: 0.5 };
    let double = Crop { centre: [-0.2, 0.4], width: 2.0, height: 2.0 };
    let cropped = apply(&images, &same_for_all(4, Draw { crop: half, ..Draw::IDENTITY }), Border::Reflection);
    let restored =
        apply(&cropped, &same_for_all(4, Draw { crop: double, ..Draw::IDENTITY }), Border::Reflection);
    let inside = |t: &Tensor| t.narrow(2, 14, 24).narrow(3, 24, 24);
    assert!(largest_difference(&inside(&restored), &inside(&images)) < 0.01);
    let hue = there_and_back(Transform::Color, |d| Draw { hue: -d.hue, ..Draw::IDENTITY });
    let forth = Draws::sample(&keys, 1, 0, &[Transform::Color], &Ranges::default());
    let without_hue = Draws { each: forth.each.iter().map(|d| Draw { hue: 0.0, ..*d }).collect() };
    assert!(largest_difference(&hue, &apply(&images, &without_hue, Border::Reflection)) < 1e-9);
}

/// torchvision's grey of one pixel.
fn grey([r, g, b]: [f64; 3]) -> f64 {
    0.2989 * r + 0.587 * g + 0.114 * b
}

/// torchvision's blend of two values.
fn blend(value: f64, other: f64, factor: f64) -> f64 {
    (factor * value + (1.0 - factor) * other).clamp(0.0, 1.0)
}

/// torchvision's hue adjustment of one pixel, through HSV and its six cases.
fn shifted_hue([r, g, b]: [f64; 3], turns: f64) -> [f64; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = max - min;
    let saturation = if chroma == 0.0 { 0.0 } else { chroma / max };
    let divisor = if chroma == 0.0 { 1.0 } else { chroma };
    let [rc, gc, bc] = [r, g, b].map(|c| (max - c) / divisor);
    let hue = if max == r {
        bc - gc
    } else if max == g {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    let hue = ((hue / 6.0 + 1.0).fract() + turns).rem_euclid(1.0);
    let sector = (hue * 6.0).floor();
    let part = hue * 6.0 - sector;
    let p = max * (1.0 - saturation);
    let q = max * (1.0 - saturation * part);
    let t = max * (1.0 - saturation * (1.0 - part));
    match sector as i64 % 6 {
        0 => [max, t, p],
        1 => [q, max, p],
        2 => [p, max, t],
        3 => [p, q, max],
        4 => [t, p, max],
        _ => [max, p, q],
    }
}

#[test]
fn colors_equal_a_scalar_reference() {
    let images = noise_images(12, 8);
    // grey and fully saturated pixels are the special cases of HSV
    let _ = images.get(0).fill_(0.25);
    let _ = images.get(1).narrow(0, 1, 2).fill_(0.0);
    let keys: Vec<u64> = (0..12).collect();
    let wide = Ranges { hue: 0.5, ..Ranges::default() };
    let draws = Draws::sample(&keys, 4, 2, &[Transform::Color], &wide);
    let out = Pixels::of(&apply(&images, &draws, Border::Reflection));
    let input = Pixels::of(&images);
    for (n, draw) in draws.each.iter().enumerate() {
        let bright = |row, column| input.rgb(n, row, column).map(|v| (v * draw.brightness).clamp(0.0, 1.0));
        let mean = (0..64).map(|i| grey(bright(i / 8, i % 8))).sum::<f64>() / 64.0;
        for (row, column) in (0..64).map(|i| (i / 8, i % 8)) {
            let contrasted = bright(row, column).map(|v| blend(v, mean, draw.contrast));
            let saturated = contrasted.map(|v| blend(v, grey(contrasted), draw.saturation));
            let expected = shifted_hue(saturated, draw.hue);
            let found = out.rgb(n, row, column);
            for channel in 0..3 {
                assert!(
                    (found[channel] - expected[channel]).abs() < 1e-9,
                    "{n} {row} {column}: {found:?} {expected:?}"
                );
            }
        }
    }
}

#[test]
fn hue_in_single_precision_stays_within_a_thousandth() {
    let images = noise_images(8, 16);
    let draws = Draws::sample(&[0, 1, 2, 3, 4, 5, 6, 7], 4, 3, &[Transform::Color], &Ranges::default());
    let double = apply(&images, &draws, Border::Reflection);
    let single = apply(&images.to_kind(Kind::Float), &draws, Border::Reflection).to_kind(Kind::Double);
    assert!(largest_difference(&double, &single) < 1e-3);
}

/// Mirrors an index at the first and last pixel.
fn reflected(index: i64, side: i64) -> usize {
    let index = index.abs();
    (if index >= side { 2 * (side - 1) - index } else { index }) as usize
}

#[test]
fn blur_equals_a_two_dimensional_convolution() {
    let side = 14;
    let images = noise_images(5, side);
    let sigmas = [0.0, 0.1, 0.7, 1.3, 2.0];
    let draws = Draws { each: sigmas.iter().map(|&sigma| Draw { sigma, ..Draw::IDENTITY }).collect() };
    let blurred = apply(&images, &draws, Border::Reflection);
    assert!(blurred.get(0).equal(&images.get(0)), "sigma 0 must leave its image exactly as it is");
    let (input, out) = (Pixels::of(&images), Pixels::of(&blurred));
    for (n, &sigma) in sigmas.iter().enumerate().skip(1) {
        let radius = (3.0 * sigma).ceil() as i64;
        let weight = |x: i64, y: i64| (-((x * x + y * y) as f64) / (2.0 * sigma * sigma)).exp();
        let taps: Vec<(i64, i64)> =
            (-radius..=radius).flat_map(|y| (-radius..=radius).map(move |x| (y, x))).collect();
        let total: f64 = taps.iter().map(|&(y, x)| weight(x, y)).sum();
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let value = |&(y, x): &(i64, i64)| {
                weight(x, y) * input.at(n, 1, reflected(row + y, side), reflected(column + x, side))
            };
            let expected = taps.iter().map(value).sum::<f64>() / total;
            let found = out.at(n, 1, row as usize, column as usize);
            assert!(
                (found - expected).abs() < 1e-12,
                "sigma {sigma} at {row}, {column}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn blur_of_an_image_smaller_than_its_kernel_keeps_the_mean_range() {
    let images = noise_images(1, 4);
    let out = apply(&images, &same_for_all(1, Draw { sigma: 2.0, ..Draw::IDENTITY }), Border::Reflection);
    assert!(out.isfinite().all().int64_value(&[]) == 1);
    assert!(out.max().double_value(&[]) <= images.max().double_value(&[]));
}

#[test]
fn target_vectors_decode_back_to_the_draws() {
    let keys: Vec<u64> = (0..500).collect();
    let ranges = Ranges::default();
    let draws = Draws::sample(&keys, 7, 1, &Transform::ALL, &ranges);
    let targets = Transform::ALL.map(|t| draws.target(t, &ranges));
    for (target, t) in targets.iter().zip(Transform::ALL) {
        assert_eq!(target.len(), 500 * t.dim());
        assert!(target.iter().all(|v| (-1.0..=1.0).contains(v)), "{t} leaves [-1, 1]");
    }
    let [rotation, translation, crop, flip, color, blur] = &targets;
    let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-5, "{a} for {b}");
    for (n, draw) in draws.each.iter().enumerate() {
        close(rotation[n] * 90.0, draw.angle);
        close(translation[2 * n] * 0.25, draw.shift[0]);
        close(translation[2 * n + 1] * 0.25, draw.shift[1]);
        close(crop[4 * n], draw.crop.centre[0]);
        close(crop[4 * n + 1], draw.crop.centre[1]);
        close((crop[4 * n + 2] + 1.0) / 2.0, draw.crop.height);
        close((crop[4 * n + 3] + 1.0) / 2.0, draw.crop.width);
        assert_eq!(flip[n] > 0.0, draw.flip);
        close(1.0 + 0.4 * color[4 * n], draw.brightness);
        close(1.0 + 0.4 * color[4 * n + 1], draw.contrast);
        close(1.0 + 0.4 * color[4 * n + 2], draw.saturation);
        close(0.1 * color[4 * n + 3], draw.hue);
        close(1.05 + 0.95 * blur[n], draw.sigma);
        let Crop { centre, width, height } = draw.crop;
        assert!(centre[0].abs() + width <= 1.0 + 1e-12 && centre[1].abs() + height <= 1.0 + 1e-12);
        assert!(width * height >= 0.2 - 1e-12);
    }
}

#[test]
fn target_vectors_decode_by_the_ranges_they_were_drawn_from() {
    let keys: Vec<u64> = (0..200).collect();
    let ranges = Ranges {
        rotation: 30.0,
        translation: 0.1,
        brightness: 0.2,
        contrast: 0.3,
        saturation: 0.5,
        hue: 0.25,
        blur_min: 0.5,
        blur_max: 3.0,
        ..Ranges::default()
    };
    let draws = Draws::sample(&keys, 7, 1, &Transform::ALL, &ranges);
    let [rotation, translation, _, _, color, blur] = Transform::ALL.map(|t| draws.target(t, &ranges));
    let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-5, "{a} for {b}");
    for (n, draw) in draws.each.iter().enumerate() {
        close(rotation[n] * 30.0, draw.angle);
        close(translation[2 * n] * 0.1, draw.shift[0]);
        close(translation[2 * n + 1] * 0.1, draw.shift[1]);
        close(1.0 + 0.2 * color[4 * n], draw.brightness);
        close(1.0 + 0.3 * color[4 * n + 1], draw.contrast);
        close(1.0 + 0.5 * color[4 * n + 2], draw.saturation);
        close(0.25 * color[4 * n + 3], draw.hue);
        close(1.75 + 1.25 * blur[n], draw.sigma);
    }
    for values in [rotation, translation, color, blur] {
        let (low, high) = values.iter().fold((1f32, -1f32), |(low, high), &v| (low.min(v), high.max(v)));
        assert!((-1.0..-0.9).contains(&low) && high > 0.9 && high <= 1.0, "drawn from {low} to {high}");
    }
}

#[test]
fn identity_targets_are_those_of_the_protocol() {
    let draws = Draws::identity(1);
    let expected: [&[f32]; 6] = [&[0.0], &[0.0, 0.0], &[0.0, 0.0, 1.0, 1.0], &[-1.0], &[0.0; 4], &[-1.0]];
    for (t, expected) in Transform::ALL.into_iter().zip(expected) {
        assert_eq!(draws.target(t, &Ranges::default()), expected, "{t}");
    }
}

#[test]
fn draws_depend_on_their_keys_alone() {
    let ranges = Ranges::default();
    let all = Draws::sample(&[3, 11, 4], 1, 2, &Transform::ALL, &ranges);
    let turned = Draws::sample(&[4, 3], 1, 2, &Transform::ALL, &ranges);
    assert_eq!(all.each[2], turned.each[0]);
    assert_eq!(all.each[0], turned.each[1]);
    for t in Transform::ALL {
        let alone = Draws::sample(&[3, 11, 4], 1, 2, &[t], &ranges);
        assert_eq!(alone.target(t, &ranges), all.target(t, &ranges), "{t} depends on the other transforms");
        for other in Transform::ALL.into_iter().filter(|&other| other != t) {
            assert_eq!(alone.target(other, &ranges), Draws::identity(3).target(other, &ranges));
        }
    }
    assert_ne!(all, Draws::sample(&[3, 11, 4], 1, 3, &Transform::ALL, &ranges));
    assert_ne!(all, Draws::sample(&[3, 11, 4], 2, 2, &Transform::ALL, &ranges));
}

#[test]
fn single_each_keeps_one_transform_of_the_active_ones() {
    let keys: Vec<u64> = (0..3000).collect();
    let ranges = Ranges::default();
    let active = [Transform::Blur, Transform::Rotation, Transform::Color];
    let one = Draws::single_each(&keys, 1, 0, &active, &ranges);
    let all = Draws::sample(&keys, 1, 0, &active, &ranges);
    let mut counts = [0usize; 3];
    for (kept, full) in one.each.iter().zip(&all.each) {
        let alone = [
            Draw { sigma: full.sigma, ..Draw::IDENTITY },
            Draw { angle: full.angle, ..Draw::IDENTITY },
            Draw { sigma: 0.0, angle: 0.0, ..*full },
        ];
        counts[alone.iter().position(|draw| draw == kept).expect("one transform of the active ones")] += 1;
    }
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    assert_eq!(Draws::single_each(&keys, 1, 0, &[], &ranges), Draws::identity(3000));
    assert_eq!(
        one,
        Draws::single_each(&keys, 1, 0, &[Transform::Color, Transform::Blur, Transform::Rotation], &ranges)
    );
}

#[test]
fn whole_box_resizes_to_the_image_itself_and_flips_exactly() {
    let images = noise_images(2, 15);
    let whole = PixelBox { top: 0, left: 0, height: 15, width: 15, flip: false };
    let out = resized_crop(&images, &[whole, PixelBox { flip: true, ..whole }], 15);
    assert!(largest_difference(&out.get(0), &images.get(0)) < 1e-12);
    assert!(largest_difference(&out.get(1), &images.get(1).flip([2])) < 1e-12);
}

#[test]
fn boxes_resize_as_torchs_antialiased_resize_does() {
    let images = noise_images(1, 40);
    for (b, side) in [
        (PixelBox { top: 3, left: 5, height: 31, width: 27, flip: false }, 16),
        (PixelBox { top: 30, left: 0, height: 7, width: 40, flip: false }, 24),
        (PixelBox { top: 1, left: 2, height: 1, width: 3, flip: false }, 8),
    ] {
        let found = resized_crop(&images, &[b], side);
        let cut = images.narrow(2, b.top as i64, b.height as i64).narrow(3, b.left as i64, b.width as i64);
        let expected = cut.internal_upsample_bilinear2d_aa([side as i64, side as i64], false, None, None);
        assert!(largest_difference(&found, &expected) < 1e-12, "{b:?}");
    }
}

#[test]
fn base_views_are_floats_of_bytes_and_functions_of_their_keys() {
    let bytes = (noise_images(3, 20) * 255.0).round().to_kind(Kind::Uint8);
    let views = base_view(&bytes, &[7, 8, 9], 1, 0, 1.0).pixels();
    assert_eq!((views.size(), views.kind()), (vec![3, 3, 20, 20], Kind::Float));
    let of_floats = base_view(&(bytes.to_kind(Kind::Double) / 255.0), &[7, 8, 9], 1, 0, 1.0).pixels();
    assert!(largest_difference(&views.to_kind(Kind::Double), &of_floats) < 1e-6);
    let second = base_view(&bytes.narrow(0, 1, 1), &[8], 1, 0, 1.0).pixels();
    assert!(largest_difference(&second, &views.narrow(0, 1, 1)) < 1e-6);
    assert!(largest_difference(&views, &base_view(&bytes, &[7, 8, 9], 1, 1, 1.0).pixels()) > 0.1);
}

#[test]
fn a_pair_is_the_base_view_and_its_transform() {
    let bytes = (smooth_images(4, 32) * 255.0).round().to_kind(Kind::Uint8);
    let keys = [0, 1, 2, 3];
    let ranges = Ranges::default();
    let (view1, view2, draws) = photo_pair(&bytes, &keys, 1, 2, &Transform::ALL, &ranges, Border::Reflection);
    assert!(view1.equal(&base_view(&bytes, &keys, 1, 2, 1.0).pixels()));
    assert_eq!(draws, Draws::sample(&keys, 1, 2, &Transform::ALL, &ranges));
    assert!(view2.equal(&apply(&view1, &draws, Border::Reflection)));
    assert!(view2.min().double_value(&[]) >= -1e-6 && view2.max().double_value(&[]) <= 1.0 + 1e-6);
}

#[test]
fn names_parse_and_bad_ranges_are_named() {
    for t in Transform::ALL {
        assert_eq!(t.name().parse::<Transform>().unwrap(), t);
    }
    assert!("spin".parse::<Transform>().unwrap_err().to_string().contains("rotation, translation"));
    Ranges::default().validate().unwrap();
    let bad = [
        (Ranges { rotation: 0.0, ..Ranges::default() }, "rotation"),
        (Ranges { hue: 0.7, ..Ranges::default() }, "hue"),
        (Ranges { blur_min: 2.0, ..Ranges::default() }, "blur_min"),
        (Ranges { flip_p: f64::NAN, ..Ranges::default() }, "flip_p"),
        (Ranges { crop_ratio_min: 2.0, ..Ranges::default() }, "crop_ratio_min"),
    ];
    for (ranges, key) in bad {
        assert!(ranges.validate().unwrap_err().to_string().starts_with(key));
    }
}
