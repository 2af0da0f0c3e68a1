//! `border = window`: view 2 shows only the source itself, and parameters are relative to view 1.

use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::transforms::{
    Border, Crop, Draw, Draws, FirstView, Ranges, Transform, apply, base_view, photo_pair,
};
use rand::Rng;
use tch::{Device, Kind, Tensor};

use crate::common::largest_difference;

const GEOMETRY: [Transform; 4] =
    [Transform::Rotation, Transform::Translation, Transform::Crop, Transform::Flip];

/// (n, 3, side, side) smooth random images in f64.
fn smooth_images(n: i64, side: i64) -> Tensor {
    let mut rng = rng(8, 0, n as u64, Purpose::Subset);
    let coarse: Vec<f64> = (0..n * 3 * 16).map(|_| rng.gen_range(0.1..0.9)).collect();
    Tensor::from_slice(&coarse).view([n, 3, 4, 4]).upsample_bicubic2d([side, side], false, None, None)
}

fn white(n: i64, side: i64) -> Tensor {
    Tensor::ones([n, 3, side, side], (Kind::Double, Device::Cpu))
}

/// Random draws, and draws at the ends of the ranges, where view 2 reaches farthest.
fn far_draws(active: &[Transform], ranges: &Ranges) -> Draws {
    let keys: Vec<u64> = (0..100).collect();
    let mut draws = Draws::sample(&keys, 2, 0, active, ranges);
    let angles =
        [-ranges.rotation, -45.0, 45.0, ranges.rotation].map(|a| a.clamp(-ranges.rotation, ranges.rotation));
    let shifts = [-ranges.translation, ranges.translation];
    for angle in if active.contains(&Transform::Rotation) { &angles[..] } else { &[0.0] } {
        for x in if active.contains(&Transform::Translation) { &shifts[..] } else { &[0.0] } {
            for y in if active.contains(&Transform::Translation) { &shifts[..] } else { &[0.0] } {
                draws.each.push(Draw { angle: *angle, shift: [*x, *y], ..Draw::IDENTITY });
            }
        }
    }
    draws
}

/// Side of the field around view 1.
fn field_side(side: i64, reach: f64) -> i64 {
    side + 2 * (side as f64 * (reach - 1.0) / 2.0).ceil() as i64
}

#[test]
fn what_lies_beyond_the_source_never_shows() {
    let narrow = Ranges { rotation: 20.0, translation: 0.1, ..Ranges::default() };
    for (active, ranges) in [
        (&GEOMETRY[..], Ranges::default()),
        (&GEOMETRY[..], narrow),
        (&GEOMETRY[..1], Ranges::default()),
        (&GEOMETRY[1..2], Ranges::default()),
    ] {
        for side in [9, 31, 32] {
            let draws = far_draws(active, &ranges);
            let keys: Vec<u64> = (0..draws.len() as u64).collect();
            let images = white(draws.len() as i64, side);
            let darkest = |reach: f64| {
                // everything beyond the field is black, so a dark pixel shows it
                let view1 = base_view(&images, &keys, 1, 0, reach);
                view1.transformed(&draws, Border::Zeros).min().double_value(&[])
            };
            let reach = Border::Window.reach(active, &ranges);
            assert!(darkest(reach) > 1.0 - 1e-9, "{active:?} at {side} px shows what lies beyond the source");
            assert!(darkest(1.0) < 0.5, "without a field the same draws must show the marker");
        }
    }
}

#[test]
fn crops_and_flips_need_no_window() {
    let active = &GEOMETRY[2..];
    let draws = far_draws(active, &Ranges::default());
    let keys: Vec<u64> = (0..draws.len() as u64).collect();
    let images = white(keys.len() as i64, 32);
    let view1 = base_view(&images, &keys, 1, 0, Border::Window.reach(active, &Ranges::default()));
    assert!(view1.pixels().equal(&base_view(&images, &keys, 1, 0, 1.0).pixels()));
    // a crop that ends at the border reads up to half a pixel past the centre of the last pixel, which is
    // still the same pixel
    assert!(view1.transformed(&draws, Border::Zeros).min().double_value(&[]) > 0.5);
}

#[test]
fn the_window_is_as_large_as_it_can_be() {
    let ranges = Ranges::default();
    for (active, draw) in [
        (&GEOMETRY[..], Draw { angle: 45.0, shift: [0.25, 0.25], ..Draw::IDENTITY }),
        (&GEOMETRY[..1], Draw { angle: -45.0, ..Draw::IDENTITY }),
        (&GEOMETRY[1..2], Draw { shift: [-0.25, 0.0], ..Draw::IDENTITY }),
    ] {
        let side = field_side(32, Border::Window.reach(active, &ranges));
        let darkest = |side: i64| {
            let view1 = FirstView::centered_in(&white(1, side), 32);
            view1.transformed(&Draws { each: vec![draw] }, Border::Zeros).min().double_value(&[])
        };
        assert!(darkest(side) > 1.0 - 1e-9);
        assert!(darkest(side - 4) < 0.9, "{active:?}: a field of {} pixels would do, too", side - 4);
    }
}

#[test]
fn reach_follows_ranges_and_active_transforms() {
    let ranges = Ranges { translation: 0.2, ..Ranges::default() };
    let narrow = Ranges { rotation: 30.0, ..Ranges::default() };
    let root = 2f64.sqrt();
    for (border, active, ranges, expected) in [
        (Border::Window, &Transform::ALL[..], &Ranges::default(), 1.5 * root),
        (Border::Window, &[Transform::Rotation][..], &ranges, root),
        (Border::Window, &[Transform::Rotation][..], &narrow, 0.5 + 3f64.sqrt() / 2.0),
        (Border::Window, &[Transform::Translation, Transform::Flip][..], &ranges, 1.4),
        (Border::Window, &[Transform::Crop, Transform::Color, Transform::Blur][..], &ranges, 1.0),
        (Border::Reflection, &Transform::ALL[..], &ranges, 1.0),
        (Border::Zeros, &Transform::ALL[..], &ranges, 1.0),
    ] {
        let reach = border.reach(active, ranges);
        assert!((reach - expected).abs() < 1e-12, "{border:?} {active:?}: {reach} for {expected}");
    }
}

#[test]
fn view_1_is_the_middle_of_the_base_view() {
    let images = smooth_images(6, 64);
    let keys = [0, 1, 2, 3, 4, 5];
    let whole = base_view(&images, &keys, 3, 1, 1.0).pixels();
    for reach in [1.2, 1.5 * 2f64.sqrt()] {
        let window = base_view(&images, &keys, 3, 1, reach).pixels();
        assert_eq!(window.size(), whole.size());
        let share = 64.0 / field_side(64, reach) as f64;
        let middle = Draw { crop: Crop { centre: [0.0; 2], width: share, height: share }, ..Draw::IDENTITY };
        let cut = apply(&whole, &Draws { each: vec![middle; 6] }, Border::Reflection);
        let difference = largest_difference(&window, &cut);
        assert!(difference < 0.01, "reach {reach}: {difference}");
        assert!(largest_difference(&window, &whole) > 0.1);
    }
}

#[test]
fn parameters_are_relative_to_the_window() {
    let (side, field_side) = (24, 60);
    let field = smooth_images(40, field_side);
    let keys: Vec<u64> = (0..40).collect();
    let draws = Draws::sample(&keys, 6, 0, &GEOMETRY, &Ranges::default());
    let view2 = FirstView::centered_in(&field, side).transformed(&draws, Border::Window);
    // the same transformation of the whole field, of which all lengths are smaller fractions
    let share = side as f64 / field_side as f64;
    let of_field = |draw: &Draw| Draw {
        shift: draw.shift.map(|shift| shift * share),
        crop: Crop { centre: draw.crop.centre.map(|c| c * share), ..draw.crop },
        ..*draw
    };
    let whole = apply(&field, &Draws { each: draws.each.iter().map(of_field).collect() }, Border::Reflection);
    let middle = whole.narrow(2, 18, side).narrow(3, 18, side);
    assert!(largest_difference(&view2, &middle) < 1e-12);
}

#[test]
fn quarter_turns_of_a_window_are_exact() {
    let field = smooth_images(2, 40);
    let view1 = FirstView::centered_in(&field, 20);
    let turned = Draws { each: vec![Draw { angle: 90.0, ..Draw::IDENTITY }; 2] };
    assert!(
        largest_difference(&view1.transformed(&turned, Border::Window), &view1.pixels().rot90(1, [2, 3]))
            < 1e-12
    );
    assert!(view1.transformed(&Draws::identity(2), Border::Window).equal(&view1.pixels()));
}

#[test]
fn a_pair_with_a_window_is_made_like_any_other() {
    let bytes = (smooth_images(4, 32) * 255.0).round().to_kind(Kind::Uint8);
    let (keys, ranges) = ([4, 5, 6, 7], Ranges::default());
    let (view1, view2, draws) = photo_pair(&bytes, &keys, 1, 2, &Transform::ALL, &ranges, Border::Window);
    assert_eq!((view1.size(), view2.size()), (vec![4, 3, 32, 32], vec![4, 3, 32, 32]));
    assert_eq!(draws, Draws::sample(&keys, 1, 2, &Transform::ALL, &ranges));
    // without surroundings, a window shows the reflection
    assert!(apply(&view1, &draws, Border::Window).equal(&apply(&view1, &draws, Border::Reflection)));
    assert!(largest_difference(&view2, &apply(&view1, &draws, Border::Window)) > 0.05);
}

#[test]
fn the_key_is_window() {
    assert_eq!(serde_json::from_str::<Border>("\"window\"").unwrap(), Border::Window);
}
