//! Rendering of views.
//!
//! A view takes two passes over the triangles. The first pass, from the spot light, gives a depth map. It is
//! used for the shadow of the object on itself and, blurred, for the soft shadow on the floor. The second
//! pass, from the camera, finds the triangle for each of the 4 x 4 samples per pixel (3 x 3 above 128
//! pixels). Every triangle is shaded once per pixel. Samples are averaged in linear light and then encoded as
//! sRGB.

use std::sync::LazyLock;

use glam::{Mat3, Vec3};

use super::floor::{FloorPoint, FloorShader};
use super::hsv::hsv;
use super::latents::Latents;
use super::light::{SHADOW_TANGENT, Spot};
use super::mesh::{Mesh, Surface};
use super::object::ObjectShader;
use super::paint::Paint;
use super::pinhole::Pinhole;
use super::raster::{Faces, Target};
use super::soft_shadow::{blur_reach, soften};
use crate::scene_latents::LATENTS;

/// Distance of the camera from the origin.
const CAMERA_DISTANCE: f32 = 2.5;
/// Tangent of half the field of view of 39.6 degrees: 18 / 50, a 50 mm lens on a sensor of 36 mm.
const HALF_VIEW_TANGENT: f32 = 0.36;

/// Renders views of one size. It holds everything that these views share.
#[derive(Clone, Debug)]
pub struct Renderer {
    side: usize,
    paint: Paint,
    /// Samples per pixel along one axis.
    samples: usize,
    /// Side of the shadow map in texels.
    shadow_side: usize,
    camera: Pinhole,
    /// Points of the floor behind the (side * side) pixel centres.
    floor: Vec<FloorPoint>,
}

/// Buffers that a thread reuses for every view.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// (V) corners as seen from the camera.
    corners: Vec<Vec3>,
    /// (V) corners as seen from the light.
    shadow_corners: Vec<Vec3>,
    view: Target,
    shadow: Target,
    /// Share of the spot light that reaches the floor, one value for each of the (shadow side squared)
    /// texels.
    open: Vec<f32>,
    blurred: Vec<f32>,
}

impl Renderer {
    /// A renderer for images of `side` x `side` pixels; `side` must be at least 1.
    pub fn new(side: usize, paint: Paint) -> Self {
        let polar = std::f32::consts::FRAC_PI_4;
        let camera =
            Pinhole::at(Vec3::new(0.0, polar.sin(), polar.cos()) * CAMERA_DISTANCE, HALF_VIEW_TANGENT);
        let samples = if side <= 128 { 4 } else { 3 };
        let floor = (0..side * side).map(|pixel| FloorPoint::behind(&camera, side, pixel)).collect();
        Self { side, paint, samples, shadow_side: (side * 3 / 2).clamp(64, 768), camera, floor }
    }

    /// Renders `mesh` into `image`: (side, side, 3) bytes, RGB, row by row from the top left.
    ///
    /// # Panics
    /// If `image` has another length.
    pub fn render(&self, mesh: &Mesh, latents: &Latents, scratch: &mut Scratch, image: &mut [u8]) {
        assert_eq!(image.len(), self.side * self.side * 3, "an image buffer holds side * side * 3 bytes");
        let spot = Spot { position: latents.light_position(), colour: hsv(latents.light_hue, 1.0, 0.8) };
        let rotation = latents.rotation();
        let light = Pinhole::at(spot.position, SHADOW_TANGENT);
        self.draw_shadow(mesh, light.in_object_coordinates(rotation), scratch);
        self.draw_view(mesh, rotation, scratch);
        let surface = self.object_shader(mesh, latents, spot, light, scratch);
        let ground = FloorShader {
            colour: hsv(latents.floor_hue, 0.6, 0.6),
            spot,
            light: light.projection(self.shadow_side),
            aim: light.forward,
            shadow_side: self.shadow_side,
            shadow_window: scratch
                .shadow
                .window
                .grown(blur_reach(self.shadow_side) * 2 + 1, self.shadow_side),
            open: &scratch.open,
        };
        self.resolve(&surface, &ground, &scratch.view, image);
    }

    fn draw_view(&self, mesh: &Mesh, rotation: Mat3, scratch: &mut Scratch) {
        let side = self.side * self.samples;
        let camera = self.camera.in_object_coordinates(rotation).projection(side);
        scratch.corners.clear();
        scratch.corners.extend(mesh.positions.iter().map(|&point| camera.project(point)));
        let faces = match mesh.surface {
            Surface::Closed => Faces::Front,
            Surface::Open => Faces::Both,
        };
        scratch.view.draw(&scratch.corners, &mesh.triangles, faces, side, self.samples);
    }

    fn draw_shadow(&self, mesh: &Mesh, light: Pinhole, scratch: &mut Scratch) {
        let side = self.shadow_side;
        let light = light.projection(side);
        scratch.shadow_corners.clear();
        scratch.shadow_corners.extend(mesh.positions.iter().map(|&point| light.project(point)));
        // back faces as seen from the light cast the same shadow, and they cause no self-shadowing of lit
        // faces
        let faces = match mesh.surface {
            Surface::Closed => Faces::Back,
            Surface::Open => Faces::Both,
        };
        scratch.shadow.draw(&scratch.shadow_corners, &mesh.triangles, faces, side, 1);
        soften(&scratch.shadow, side, &mut scratch.open, &mut scratch.blurred);
    }

    /// The shader of the object, in object coordinates. `light` is the spot light in world coordinates.
    fn object_shader<'a>(
        &self,
        mesh: &'a Mesh,
        latents: &Latents,
        spot: Spot,
        light: Pinhole,
        scratch: &'a Scratch,
    ) -> ObjectShader<'a> {
        let rotation = latents.rotation();
        let inverse = rotation.transpose();
        let light = light.in_object_coordinates(rotation);
        ObjectShader {
            mesh,
            paint: self.paint,
            corners: &scratch.corners,
            shadow: &scratch.shadow,
            light: light.projection(self.shadow_side),
            light_position: light.eye,
            light_colour: spot.colour,
            aim: light.forward,
            eye: inverse * self.camera.eye,
            up: inverse * Vec3::Z,
            // somewhat from the camera's side, so that the faces of a box differ
            sun: inverse * Vec3::new(0.42, 0.34, 0.84),
            bounce: hsv(latents.floor_hue, 0.6, 0.6) * 0.75,
            bias: match mesh.surface {
                Surface::Closed => 1.0,
                Surface::Open => 1.006,
            },
        }
    }

    /// Averages and encodes the samples of every pixel.
    fn resolve(&self, surface: &ObjectShader, ground: &FloorShader, view: &Target, image: &mut [u8]) {
        let step = self.samples;
        let window = view.window;
        let rows = window.top / step..(window.top + window.rows) / step;
        let columns = window.left / step..(window.left + window.columns) / step;
        for (pixel, bytes) in image.chunks_exact_mut(3).enumerate() {
            let (row, column) = (pixel / self.side, pixel % self.side);
            let (object, covered) = if rows.contains(&row) && columns.contains(&column) {
                let origin = (row * step - window.top) * window.columns + column * step - window.left;
                pixel_of_object(surface, view, origin, step)
            } else {
                (Vec3::ZERO, 0)
            };
            let total = step * step;
            let mut light = object;
            if covered < total {
                light += ground.shade(&self.floor[pixel]) * (total - covered) as f32;
            }
            let light = light / total as f32;
            for (byte, value) in bytes.iter_mut().zip(light.to_array()) {
                *byte = encode(value);
            }
        }
    }
}

/// The summed light of a pixel's samples that show the object, and the number of these samples. Each triangle
/// is shaded once.
fn pixel_of_object(surface: &ObjectShader, view: &Target, origin: usize, step: usize) -> (Vec3, usize) {
    let mut sum = Vec3::ZERO;
    let mut covered = 0;
    let mut shaded = (0, Vec3::ZERO);
    for line in 0..step {
        let start = origin + line * view.window.columns;
        for (offset, &triangle) in view.triangle[start..start + step].iter().enumerate() {
            if triangle == 0 {
                continue;
            }
            if triangle != shaded.0 {
                let sample = start + offset;
                let column = sample % view.window.columns + view.window.left;
                let row = sample / view.window.columns + view.window.top;
                shaded = (triangle, surface.shade(triangle - 1, column as f32, row as f32));
            }
            sum += shaded.1;
            covered += 1;
        }
    }
    (sum, covered)
}

/// Renders `mesh` with `latents` in 3DIEBench's order: (side, side, 3) bytes, RGB, row by row from the top
/// left.
///
/// For many views, reuse a [`Renderer`] and a [`Scratch`] to avoid the setup cost.
pub fn render_view(mesh: &Mesh, latents: &[f32; LATENTS], side: usize) -> Vec<u8> {
    let mut image = vec![0; side * side * 3];
    Renderer::new(side, Paint::Plain).render(
        mesh,
        &Latents::from(*latents),
        &mut Scratch::default(),
        &mut image,
    );
    image
}

/// Number of steps in the sRGB table.
const ENCODE_STEPS: usize = 8192;

/// Encodes linear light, clamped to [0, 1], as an sRGB byte.
fn encode(light: f32) -> u8 {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..=ENCODE_STEPS)
            .map(|step| {
                let value = step as f32 / ENCODE_STEPS as f32;
                let encoded =
                    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
                (encoded * 255.0).round() as u8
            })
            .collect()
    });
    BYTES[(light.clamp(0.0, 1.0) * ENCODE_STEPS as f32) as usize]
}

#[cfg(test)]
mod tests {
    use std::f32::consts::FRAC_PI_2;

    use super::*;
    use crate::draw::{Purpose, rng};
    use crate::scene::shapes::Class;
    use crate::scene::solid::Solid;

    const SCENE: Latents =
        Latents { angles: [0.0; 3], floor_hue: 0.55, light_theta: 0.4, light_phi: 1.0, light_hue: 0.1 };

    /// The image, and the share of each pixel that the object covers.
    fn view(mesh: &Mesh, latents: &Latents, side: usize) -> (Vec<u8>, Vec<f32>) {
        let renderer = Renderer::new(side, Paint::Plain);
        let mut scratch = Scratch::default();
        let mut image = vec![0; side * side * 3];
        renderer.render(mesh, latents, &mut scratch, &mut image);
        let Target { window, triangle, .. } = &scratch.view;
        let mut cover = vec![0.0; side * side];
        for (at, _) in triangle.iter().enumerate().filter(|(_, triangle)| **triangle != 0) {
            let row = (at / window.columns + window.top) / renderer.samples;
            let column = (at % window.columns + window.left) / renderer.samples;
            cover[row * side + column] += 1.0 / (renderer.samples * renderer.samples) as f32;
        }
        (image, cover)
    }

    /// Angles of the 24 rotations of the cube, the identity first.
    fn cube_group() -> Vec<[f32; 3]> {
        let mut seen = Vec::new();
        let mut angles = Vec::new();
        for code in 0..64 {
            let triple = [code % 4, code / 4 % 4, code / 16].map(|quarter: i32| quarter as f32 * FRAC_PI_2);
            let key = Latents { angles: triple, ..SCENE }
                .rotation()
                .to_cols_array()
                .map(|entry| entry.round() as i32);
            if !seen.contains(&key) {
                seen.push(key);
                angles.push(triple);
            }
        }
        angles
    }

    #[test]
    fn no_rotation_of_the_cube_maps_an_object_onto_itself() {
        let group = cube_group();
        assert_eq!(group.len(), 24);
        for class in Class::ALL {
            for seed in 0..3 {
                let mesh = class.build(&mut rng(seed, 0, 0, Purpose::Shape)).unwrap();
                let (image, cover) = view(&mesh, &SCENE, 64);
                for angles in &group[1..] {
                    let (other, other_cover) = view(&mesh, &Latents { angles: *angles, ..SCENE }, 64);
                    let mut difference = 0.0;
                    let mut region = 0.0;
                    for pixel in (0..64 * 64).filter(|&pixel| cover[pixel] + other_cover[pixel] > 0.0) {
                        region += 3.0;
                        let channels = pixel * 3..pixel * 3 + 3;
                        difference +=
                            channels.map(|at| f32::from(image[at].abs_diff(other[at]))).sum::<f32>();
                    }
                    let mean = difference / region;
                    assert!(
                        mean > 12.0,
                        "{} {seed} turned by {angles:?} differs by {mean} of 255 only",
                        class.name()
                    );
                }
            }
        }
    }

    #[test]
    fn the_light_changes_colours_and_not_the_geometry() {
        let mesh = Class::Mug.build(&mut rng(0, 0, 0, Purpose::Shape)).unwrap();
        let (red, red_cover) = view(&mesh, &Latents { light_hue: 0.0, ..SCENE }, 64);
        let (green, green_cover) = view(&mesh, &Latents { light_hue: 1.0 / 3.0, ..SCENE }, 64);
        assert_eq!(red_cover, green_cover);
        let mean = |image: &[u8], channel: usize| {
            let object = (0..64 * 64).filter(|&pixel| red_cover[pixel] > 0.99);
            let values: Vec<f32> = object.map(|pixel| f32::from(image[pixel * 3 + channel])).collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        assert!(mean(&red, 0) > mean(&red, 1) + 20.0 && mean(&green, 1) > mean(&green, 0) + 20.0);
        assert!((mean(&red, 0) - mean(&green, 1)).abs() < 12.0);
        assert!((mean(&red, 2) - mean(&green, 2)).abs() < 1.0);
    }

    /// The hue of an encoded colour, in turns.
    fn hue(bytes: &[u8]) -> f32 {
        let [r, g, b] = [0, 1, 2].map(|channel| {
            let value = f32::from(bytes[channel]) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let (high, low) = (r.max(g).max(b), r.min(g).min(b));
        assert!(((high - low) / high - 0.6).abs() < 0.02, "the floor's saturation is 0.6");
        let turn = if high == r {
            (g - b) / (high - low)
        } else if high == g {
            2.0 + (b - r) / (high - low)
        } else {
            4.0 + (r - g) / (high - low)
        };
        (turn / 6.0).rem_euclid(1.0)
    }

    #[test]
    fn the_corners_show_the_hue_of_the_floor() {
        let mesh = Solid::cuboid(Vec3::ZERO, Vec3::ONE).mesh().unwrap();
        for floor_hue in [0.02, 0.2, 0.4, 0.55, 0.7, 0.93] {
            let image = render_view(&mesh, &Latents { floor_hue, light_theta: 0.0, ..SCENE }.to_array(), 64);
            for pixel in [0, 63, 63 * 64, 64 * 64 - 1] {
                let seen = hue(&image[pixel * 3..pixel * 3 + 3]);
                assert!((seen - floor_hue).abs() < 0.01, "expected hue {floor_hue}, found {seen}");
            }
        }
    }

    /// (column, row) of a point in pixels for a camera at 45 degrees on the +y side, computed independently.
    fn expected_pixel([x, y, z]: [f32; 3], side: f32) -> [f32; 2] {
        let half = 0.5f32.sqrt();
        let depth = 2.5 - (y + z) * half;
        let reach = depth * 19.8f32.to_radians().tan();
        [side / 2.0 * (1.0 - x / reach), side / 2.0 * (1.0 - (z - y) * half / reach)]
    }

    #[test]
    fn a_landmark_is_where_its_latents_put_it() {
        let landmark = [0.3, -0.2, 0.4];
        // two specks, too small to be visible, span the unit box, so that the ball keeps its position and
        // size
        let speck = |sign: f32| Solid::cuboid(Vec3::splat(0.4998 * sign), Vec3::splat(0.0004));
        let ball = Solid::ellipsoid(Vec3::from_array(landmark), Vec3::splat(0.06), 24);
        let mesh = Solid::union([speck(1.0), speck(-1.0), ball]).mesh().unwrap();
        let turn = |[a, b]: [f32; 2], angle: f32| {
            [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
        };
        for angles in [
            [0.0, 0.0, 0.0],
            [0.9, 0.0, 0.0],
            [0.0, -1.2, 0.0],
            [0.0, 0.0, 1.4],
            [0.7, -1.1, 0.4],
            [-1.5, 1.3, -0.8],
        ] {
            let [x, y, z] = landmark;
            let [y, z] = turn([y, z], angles[0]);
            let [z, x] = turn([z, x], angles[1]);
            let [x, y] = turn([x, y], angles[2]);
            let expected = expected_pixel([x, y, z], 128.0);
            let (_, cover) = view(&mesh, &Latents { angles, ..SCENE }, 128);
            let total: f32 = cover.iter().sum();
            let centroid = |coordinate: &dyn Fn(usize) -> usize| {
                let sum: f32 =
                    cover.iter().enumerate().map(|(at, share)| (coordinate(at) as f32 + 0.5) * share).sum();
                sum / total
            };
            let found = [centroid(&|at| at % 128), centroid(&|at| at / 128)];
            let error = (found[0] - expected[0]).hypot(found[1] - expected[1]);
            assert!(error < 0.5, "{angles:?}: expected {expected:?}, found {found:?}");
        }
    }

    #[test]
    fn the_object_casts_a_shadow_on_the_floor() {
        let bar = Solid::cuboid(Vec3::ZERO, Vec3::new(1.0, 0.2, 0.2)).mesh().unwrap();
        let latents = Latents { light_theta: 0.6, light_phi: 0.0, light_hue: 0.0, floor_hue: 0.0, ..SCENE };
        let image = render_view(&bar, &latents.to_array(), 128);
        // the ray through the origin meets the floor at x = -tan(0.6) = -0.68; the shadow extends 0.16 to
        // either side
        let red = |y: f32| {
            let [column, row] = expected_pixel([-0.68, y, -1.0], 128.0).map(|at| at as usize);
            image[(row * 128 + column) * 3]
        };
        assert!(red(-0.45) > red(0.0) + 30, "{} in the light, {} in the shadow", red(-0.45), red(0.0));
    }

    #[test]
    fn both_sides_of_an_open_surface_are_drawn() {
        let corners = [Vec3::ZERO, Vec3::X, Vec3::Y];
        let area = |triangle: [u32; 3]| {
            let mesh = Mesh::new(&corners, &[triangle], Surface::Open).unwrap();
            view(&mesh, &SCENE, 32).1.iter().sum::<f32>()
        };
        assert!(area([0, 1, 2]) > 20.0);
        assert_eq!(area([0, 1, 2]), area([0, 2, 1]));
    }

    #[test]
    fn scratch_buffers_do_not_leak_between_views() {
        let renderer = Renderer::new(48, Paint::Plain);
        let mut scratch = Scratch::default();
        for (seed, class) in Class::ALL.into_iter().enumerate() {
            let mesh = class.build(&mut rng(7, 0, 0, Purpose::Shape)).unwrap();
            let latents = Latents::draw(&mut rng(seed as u64, 0, 0, Purpose::Latents));
            let mut image = vec![0; 48 * 48 * 3];
            renderer.render(&mesh, &latents, &mut scratch, &mut image);
            assert_eq!(image, render_view(&mesh, &latents.to_array(), 48));
        }
    }

    #[test]
    fn every_side_and_any_latents_are_drawn_without_a_panic() {
        let mesh = Solid::cuboid(Vec3::ZERO, Vec3::ONE).mesh().unwrap();
        for side in [1, 3, 8, 129] {
            assert_eq!(render_view(&mesh, &SCENE.to_array(), side).len(), side * side * 3);
            render_view(&mesh, &[f32::NAN; 7], side);
            render_view(&mesh, &[f32::MAX; 7], side);
        }
    }
}
