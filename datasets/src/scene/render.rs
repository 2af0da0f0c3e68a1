//! The rasteriser and the shading.
//!
//! A view takes two passes over the triangles. The first, from the spot light, gives a depth map for the shadow of the
//! object on itself and, blurred, its soft shadow on the floor. The second, from the camera, finds the triangle that
//! each of 4 x 4 samples of a pixel sees (3 x 3 above 128 pixels); every triangle of a pixel is shaded once. Samples are
//! averaged in linear light and then encoded as sRGB.

use std::sync::LazyLock;

use glam::{Mat3, Vec2, Vec3};
use serde::{Deserialize, Serialize};

use super::{Latents, Mesh, Surface, hsv};

/// Distance of the camera from the origin.
pub const CAMERA_DISTANCE: f32 = 2.5;
/// Tangent of half the field of view of 39.6 degrees: 18 / 50, a 50 mm lens on a sensor of 36 mm.
pub const HALF_VIEW_TANGENT: f32 = 0.36;
/// Distance of the spot light from the origin.
pub const LIGHT_DISTANCE: f32 = 4.0;
/// Height of the floor.
pub const FLOOR_HEIGHT: f32 = -1.0;

/// Tangent of half the field of view of the shadow map: just above asin(0.866 / 4), the half diagonal of the unit box.
const SHADOW_TANGENT: f32 = 0.226;
/// Cosines at which the light cone (half angle pi/16) ends and at which it has its full strength.
const CONE: (f32, f32) = (0.9808, 0.9852);

/// Reflectance of the object, a neutral light grey.
const ALBEDO: f32 = 0.74;
/// Share of white light that reaches every point from all sides.
const AMBIENT: f32 = 0.19;
/// White light of the sun on a surface that faces it.
const SUN: f32 = 0.33;
/// Light of the spot at its nominal distance on a surface that faces it.
const SPOT: f32 = 1.1;
/// Strength of the highlight and number of squarings that make its exponent, 2^5.
const GLOSS: (f32, usize) = (0.35, 5);

/// A pinhole: a position and an orthonormal frame (right, down, forward).
#[derive(Clone, Copy, Debug)]
struct Pinhole {
    eye: Vec3,
    right: Vec3,
    down: Vec3,
    forward: Vec3,
    /// Tangent of half the field of view.
    tangent: f32,
}

impl Pinhole {
    /// A pinhole at `eye` that looks at the origin.
    fn at(eye: Vec3, tangent: f32) -> Self {
        let forward = -eye.normalize();
        let right = forward.cross(Vec3::Z).try_normalize().unwrap_or(Vec3::X);
        Self { eye, right, down: forward.cross(right), forward, tangent }
    }

    /// The same pinhole in the coordinates of an object that stands rotated by `rotation` in this one's.
    fn seen_by(&self, rotation: Mat3) -> Self {
        let inverse = rotation.transpose();
        Self {
            eye: inverse * self.eye,
            right: inverse * self.right,
            down: inverse * self.down,
            forward: inverse * self.forward,
            tangent: self.tangent,
        }
    }

    /// Scales the axes once for an image of `side` samples, see [`Projection`].
    fn projection(&self, side: usize) -> Projection {
        let scale = side as f32 / (2.0 * self.tangent);
        Projection {
            eye: self.eye,
            right: self.right * scale,
            down: self.down * scale,
            forward: self.forward,
            // Sample centres lie at half a sample; shifted, they have whole numbers.
            centre: side as f32 / 2.0 - 0.5,
        }
    }
}

/// A pinhole with an image: sample (column, row) has its centre at whole coordinates.
#[derive(Clone, Copy, Debug)]
struct Projection {
    eye: Vec3,
    right: Vec3,
    down: Vec3,
    forward: Vec3,
    centre: f32,
}

impl Projection {
    /// (column, row, 1 / depth) of a point in front of the pinhole; 1 / depth is linear on the image of a plane.
    fn project(&self, point: Vec3) -> Vec3 {
        let ray = point - self.eye;
        let inverse = 1.0 / ray.dot(self.forward);
        Vec3::new(ray.dot(self.right) * inverse + self.centre, ray.dot(self.down) * inverse + self.centre, inverse)
    }
}

/// Draws views of one size; holds what all of them share.
#[derive(Clone, Debug)]
pub struct Renderer {
    side: usize,
    paint: Paint,
    /// Samples per pixel along one axis.
    samples: usize,
    /// Side of the shadow map in texels.
    shadow_side: usize,
    camera: Pinhole,
    /// (side * side) points of the floor behind the pixel centres.
    floor: Vec<FloorPoint>,
}

/// What a pixel sees of the floor.
#[derive(Clone, Copy, Debug)]
struct FloorPoint {
    position: Vec3,
    /// White light that arrives there with an object floating above.
    white: f32,
}

/// Buffers that a thread uses again for view after view.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// (V) corners as the camera, then as the light sees them.
    corners: Vec<Vec3>,
    shadow_corners: Vec<Vec3>,
    view: Target,
    shadow: Target,
    /// (shadow side squared) share of the spot light that the object lets through to the floor.
    open: Vec<f32>,
    blurred: Vec<f32>,
}

/// A window of an image that triangles are drawn into.
#[derive(Clone, Debug, Default)]
struct Target {
    /// First column and row of the window, its columns and its rows.
    window: Window,
    /// (rows * columns) 1 / depth of the nearest surface, 0 where there is none.
    nearness: Vec<f32>,
    /// (rows * columns) its triangle plus 1, 0 where there is none.
    triangle: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    left: usize,
    top: usize,
    columns: usize,
    rows: usize,
}

impl Window {
    /// The smallest window of an image of `side` samples that holds all corners, its edges multiples of `step`.
    fn around(corners: &[Vec3], side: usize, step: usize) -> Self {
        let (low, high) = corners.iter().fold((Vec2::INFINITY, Vec2::NEG_INFINITY), |(low, high), corner| {
            (low.min(corner.truncate()), high.max(corner.truncate()))
        });
        let begin = |value: f32| (value.max(0.0) as usize).min(side) / step * step;
        let end = |value: f32| ((value + 2.0).max(0.0) as usize).next_multiple_of(step).min(side);
        let (left, top) = (begin(low.x), begin(low.y));
        Self { left, top, columns: end(high.x).saturating_sub(left), rows: end(high.y).saturating_sub(top) }
    }
}

/// Which triangles a pass draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faces {
    Front,
    Back,
    Both,
}

impl Target {
    /// Draws the triangles whose corners lie at `corners` (column, row, 1 / depth) of an image of `side` samples.
    fn draw(&mut self, corners: &[Vec3], triangles: &[[u32; 3]], faces: Faces, side: usize, step: usize) {
        self.window = Window::around(corners, side, step);
        let size = self.window.columns * self.window.rows;
        self.nearness.clear();
        self.nearness.resize(size, 0.0);
        self.triangle.clear();
        self.triangle.resize(size, 0);
        let origin = Vec3::new(self.window.left as f32, self.window.top as f32, 0.0);
        for (index, triangle) in triangles.iter().enumerate() {
            let [a, b, c] = triangle.map(|corner| corners[corner as usize] - origin);
            // Rows grow downwards, so faces that turn counter-clockwise to the eye have a negative area here.
            let area = (b.x - a.x) * (c.y - a.y) - (c.x - a.x) * (b.y - a.y);
            let drawn = match faces {
                Faces::Front => area < 0.0,
                Faces::Back => area > 0.0,
                Faces::Both => area != 0.0,
            };
            if drawn {
                self.fill([a, b, c], area, index as u32 + 1);
            }
        }
    }

    /// Fills one triangle row by row. Edges shared by two triangles give both the same crossing, so no sample is lost.
    fn fill(&mut self, [a, b, c]: [Vec3; 3], area: f32, value: u32) {
        let columns = self.window.columns;
        let [p, q, r] = sorted_by_row([a, b, c]);
        let first = ceil(p.y);
        let end = ceil(r.y).min(self.window.rows);
        if first >= end {
            return;
        }
        let (db, dc) = (b - a, c - a);
        let across = (db.z * dc.y - dc.z * db.y) / area;
        let down = (dc.z * db.x - db.z * dc.x) / area;
        let slope = |from: Vec3, to: Vec3| (to.x - from.x) / (to.y - from.y);
        let (long, upper, lower) = (slope(p, r), slope(p, q), slope(q, r));
        for row in first..end {
            let y = row as f32;
            let x = p.x + (y - p.y) * long;
            let other = if y < q.y { p.x + (y - p.y) * upper } else { q.x + (y - q.y) * lower };
            let begin = ceil(x.min(other));
            let finish = ceil(x.max(other)).min(columns);
            if begin >= finish {
                continue;
            }
            let span = row * columns + begin..row * columns + finish;
            let near = a.z + (y - a.y) * down + (begin as f32 - a.x) * across;
            let samples = self.nearness[span.clone()].iter_mut().zip(&mut self.triangle[span]);
            for (step, (nearness, triangle)) in samples.enumerate() {
                let candidate = near + step as f32 * across;
                let closer = candidate > *nearness;
                *nearness = if closer { candidate } else { *nearness };
                *triangle = if closer { value } else { *triangle };
            }
        }
    }

    /// 1 / depth of the texel at a column and row of the whole image, 0 outside the window.
    fn nearness_at(&self, column: i32, row: i32) -> f32 {
        let (column, row) = (column - self.window.left as i32, row - self.window.top as i32);
        let inside =
            column >= 0 && row >= 0 && (column as usize) < self.window.columns && (row as usize) < self.window.rows;
        if inside { self.nearness[row as usize * self.window.columns + column as usize] } else { 0.0 }
    }
}

/// The first whole number that is not below `value`, at least 0. (`f32::ceil` is a call on a baseline x86-64.)
fn ceil(value: f32) -> usize {
    let value = value.max(0.0);
    let whole = value as i32;
    whole as usize + usize::from(value > whole as f32)
}

fn sorted_by_row([mut a, mut b, mut c]: [Vec3; 3]) -> [Vec3; 3] {
    if b.y < a.y {
        std::mem::swap(&mut a, &mut b);
    }
    if c.y < b.y {
        std::mem::swap(&mut b, &mut c);
    }
    if b.y < a.y {
        std::mem::swap(&mut a, &mut b);
    }
    [a, b, c]
}

/// What an object's surface is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Paint {
    /// One light grey: only the shape and its shading tell the pose.
    #[default]
    Plain,
    /// Red, green and blue reflectance rise along the object's own x, y and z axis, so that the pose can be read at low resolution and in
    /// a short training too.
    Axes,
}

impl Paint {
    /// Diffuse reflectance of a point with its unit normal, both in object coordinates; RGB in [0, 1].
    fn reflectance(self, position: Vec3, normal: Vec3) -> Vec3 {
        match self {
            Paint::Plain => Vec3::splat(ALBEDO),
            // the normal keeps the two sides of a thin part apart
            Paint::Axes => {
                let along = (Vec3::splat(0.5) + position + normal * 0.25).clamp(Vec3::ZERO, Vec3::ONE);
                along * along * (Vec3::splat(3.0) - along * 2.0) * 0.84 + Vec3::splat(0.08)
            }
        }
    }
}

/// The spot light and its shadows.
#[derive(Clone, Copy, Debug)]
struct Spot {
    position: Vec3,
    colour: Vec3,
}

impl Spot {
    /// Light that leaves the spot towards a point, with the cone and the distance but no shadow.
    ///
    /// `ray` goes from the light to the point, `length` is its length, `aim` the unit vector to the origin.
    fn strength(ray: Vec3, length: f32, aim: Vec3) -> f32 {
        let edge = ((ray.dot(aim) / length - CONE.0) / (CONE.1 - CONE.0)).clamp(0.0, 1.0);
        let distance = LIGHT_DISTANCE / length;
        SPOT * edge * edge * (3.0 - 2.0 * edge) * distance * distance
    }
}

impl Renderer {
    /// A renderer of images of `side` by `side` pixels, `side` at least 1.
    pub fn new(side: usize, paint: Paint) -> Self {
        let polar = std::f32::consts::FRAC_PI_4;
        let camera = Pinhole::at(Vec3::new(0.0, polar.sin(), polar.cos()) * CAMERA_DISTANCE, HALF_VIEW_TANGENT);
        let samples = if side <= 128 { 4 } else { 3 };
        let floor = (0..side * side).map(|pixel| FloorPoint::behind(&camera, side, pixel)).collect();
        Self { side, paint, samples, shadow_side: (side * 3 / 2).clamp(64, 768), camera, floor }
    }

    /// Renders `mesh` into `image`, (side, side, 3) bytes, RGB, row by row from the top left.
    ///
    /// # Panics
    /// When `image` has another length.
    pub fn render(&self, mesh: &Mesh, latents: &Latents, scratch: &mut Scratch, image: &mut [u8]) {
        assert_eq!(image.len(), self.side * self.side * 3, "an image buffer holds side * side * 3 bytes");
        let spot = Spot { position: latents.light_position(), colour: hsv(latents.light_hue, 1.0, 0.8) };
        let rotation = latents.rotation();
        let light = Pinhole::at(spot.position, SHADOW_TANGENT);
        self.draw_shadow(mesh, light.seen_by(rotation), scratch);
        self.draw_view(mesh, rotation, scratch);
        let surface = ObjectShader::new(self, mesh, latents, spot, light, scratch);
        let ground = FloorShader {
            colour: hsv(latents.floor_hue, 0.6, 0.6),
            spot,
            light: light.projection(self.shadow_side),
            aim: light.forward,
            shadow_side: self.shadow_side,
            shadow_window: grown(scratch.shadow.window, shadow_blur(self.shadow_side) * 2 + 1, self.shadow_side),
            open: &scratch.open,
        };
        self.resolve(&surface, &ground, &scratch.view, image);
    }

    fn draw_view(&self, mesh: &Mesh, rotation: Mat3, scratch: &mut Scratch) {
        let side = self.side * self.samples;
        let camera = self.camera.seen_by(rotation).projection(side);
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
        // Faces that look away from the light throw the same shadow as those that look at it, and do not shade
        // themselves.
        let faces = match mesh.surface {
            Surface::Closed => Faces::Back,
            Surface::Open => Faces::Both,
        };
        scratch.shadow.draw(&scratch.shadow_corners, &mesh.triangles, faces, side, 1);
        soften(&scratch.shadow, side, &mut scratch.open, &mut scratch.blurred);
    }

    /// Averages the samples of every pixel and encodes them.
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

/// The sum of the light of a pixel's samples that see the object, and their number; each triangle is shaded once.
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

impl FloorPoint {
    /// The floor behind the centre of a pixel; the camera looks down, so that each pixel has one.
    fn behind(camera: &Pinhole, side: usize, pixel: usize) -> Self {
        let offset = |index: usize| ((index as f32 + 0.5) / side as f32 * 2.0 - 1.0) * camera.tangent;
        let ray = camera.forward + camera.right * offset(pixel % side) + camera.down * offset(pixel / side);
        let position = camera.eye + ray * ((FLOOR_HEIGHT - camera.eye.z) / ray.z);
        // A ball of radius 0.35 at the origin hides cos * (radius / distance)^2 of the sky from a point below.
        let distance = position.length();
        let hidden = -FLOOR_HEIGHT / distance * (0.35 / distance).powi(2);
        Self { position, white: (AMBIENT + SUN) * (1.0 - 1.6 * hidden) }
    }
}

struct FloorShader<'a> {
    colour: Vec3,
    spot: Spot,
    light: Projection,
    aim: Vec3,
    shadow_side: usize,
    /// Where the blurred shadow can be.
    shadow_window: Window,
    open: &'a [f32],
}

impl FloorShader<'_> {
    /// Light that leaves a point of the floor towards the camera, linear RGB.
    fn shade(&self, point: &FloorPoint) -> Vec3 {
        let ray = point.position - self.spot.position;
        let length = ray.length();
        let mut spot = Spot::strength(ray, length, self.aim) * -ray.z / length;
        if spot > 0.0 {
            spot *= self.openness(point.position);
        }
        self.colour * (Vec3::splat(point.white) + self.spot.colour * spot)
    }

    /// Share of the spot light that reaches a point of the floor: the blurred map between its four nearest texels.
    fn openness(&self, point: Vec3) -> f32 {
        let at = self.light.project(point);
        let (column, row) = (at.x as usize, at.y as usize);
        let window = self.shadow_window;
        let inside = |value: usize, from: usize, count: usize| value >= from && value < from + count;
        let last = self.shadow_side - 1;
        let near = inside(column, window.left, window.columns) && inside(row, window.top, window.rows);
        if !near || column >= last || row >= last {
            return 1.0;
        }
        let (right, below) = (at.x - column as f32, at.y - row as f32);
        let texel = row * self.shadow_side + column;
        let line = |start: usize| self.open[start] * (1.0 - right) + self.open[start + 1] * right;
        line(texel) * (1.0 - below) + line(texel + self.shadow_side) * below
    }
}

/// Shades points of the object, all in its own coordinates.
struct ObjectShader<'a> {
    mesh: &'a Mesh,
    paint: Paint,
    corners: &'a [Vec3],
    shadow: &'a Target,
    light: Projection,
    light_position: Vec3,
    light_colour: Vec3,
    aim: Vec3,
    eye: Vec3,
    up: Vec3,
    sun: Vec3,
    /// Light from below: what the floor throws back.
    bounce: Vec3,
    /// 1 / depth by which a shadow's edge must lie before a point, as a share.
    bias: f32,
}

impl<'a> ObjectShader<'a> {
    fn new(
        renderer: &Renderer,
        mesh: &'a Mesh,
        latents: &Latents,
        spot: Spot,
        light: Pinhole,
        scratch: &'a Scratch,
    ) -> Self {
        let rotation = latents.rotation();
        let inverse = rotation.transpose();
        let light = light.seen_by(rotation);
        Self {
            mesh,
            paint: renderer.paint,
            corners: &scratch.corners,
            shadow: &scratch.shadow,
            light: light.projection(renderer.shadow_side),
            light_position: light.eye,
            light_colour: spot.colour,
            aim: light.forward,
            eye: inverse * renderer.camera.eye,
            up: inverse * Vec3::Z,
            // A little from the side of the camera, so that the faces of a box differ.
            sun: inverse * Vec3::new(0.42, 0.34, 0.84),
            bounce: hsv(latents.floor_hue, 0.6, 0.6) * 0.75,
            bias: match mesh.surface {
                Surface::Closed => 1.0,
                Surface::Open => 1.006,
            },
        }
    }

    /// Light that leaves the point of a triangle behind a sample towards the camera, linear RGB.
    fn shade(&self, triangle: u32, column: f32, row: f32) -> Vec3 {
        let corners = self.mesh.triangles[triangle as usize];
        let [a, b, c] = corners.map(|corner| corner as usize);
        let weights = weights([self.corners[a], self.corners[b], self.corners[c]], column, row);
        let blend = |values: &[Vec3]| values[a] * weights.x + values[b] * weights.y + values[c] * weights.z;
        let position = blend(&self.mesh.positions);
        let view = (self.eye - position).normalize();
        let mut normal = blend(&self.mesh.normals).normalize_or(view);
        if self.mesh.surface == Surface::Open && normal.dot(view) < 0.0 {
            normal = -normal;
        }
        let sky = 0.5 + 0.5 * normal.dot(self.up);
        let ambient = (Vec3::splat(sky) + self.bounce * (1.0 - sky)) * AMBIENT;
        // The sun is wide, so its light wraps a little around the edge.
        let sun = SUN * ((normal.dot(self.sun) + 0.25) / 1.25).max(0.0);
        let reflectance = self.paint.reflectance(position, normal);
        reflectance * (ambient + Vec3::splat(sun)) + self.spot_light(position, normal, view, reflectance)
    }

    /// The spot light's part: diffuse and a highlight.
    fn spot_light(&self, position: Vec3, normal: Vec3, view: Vec3, reflectance: Vec3) -> Vec3 {
        let ray = position - self.light_position;
        let length = ray.length();
        let facing = -normal.dot(ray) / length;
        if facing <= 0.0 {
            return Vec3::ZERO;
        }
        let strength = Spot::strength(ray, length, self.aim) * self.lit(position + normal * 0.012);
        let half = (view - ray / length).normalize();
        let highlight = (0..GLOSS.1).fold(normal.dot(half).max(0.0), |value, _| value * value);
        self.light_colour * ((reflectance * facing + Vec3::splat(GLOSS.0 * highlight)) * strength)
    }

    /// Share of the spot light that the object itself lets through to a point: four texels, compared and then blended.
    fn lit(&self, position: Vec3) -> f32 {
        let at = self.light.project(position);
        let (column, row) = (at.x.max(0.0) as i32, at.y.max(0.0) as i32);
        let (right, below) = (at.x - column as f32, at.y - row as f32);
        let limit = at.z * self.bias;
        let texel = |dx: i32, dy: i32| {
            if self.shadow.nearness_at(column + dx, row + dy) > limit { 0.0 } else { 1.0 }
        };
        (texel(0, 0) * (1.0 - right) + texel(1, 0) * right) * (1.0 - below)
            + (texel(0, 1) * (1.0 - right) + texel(1, 1) * right) * below
    }
}

/// Weights of a triangle's corners at a sample, with the perspective undone and held inside the triangle.
fn weights([a, b, c]: [Vec3; 3], column: f32, row: f32) -> Vec3 {
    let sample = Vec2::new(column, row);
    let [p, q, r] = [a, b, c].map(|corner| corner.truncate() - sample);
    let flat = Vec3::new(q.perp_dot(r) * a.z, r.perp_dot(p) * b.z, p.perp_dot(q) * c.z);
    let held = flat * (p.perp_dot(q) + q.perp_dot(r) + r.perp_dot(p)).signum();
    let held = held.max(Vec3::ZERO);
    let sum = held.element_sum();
    if sum > 0.0 { held / sum } else { Vec3::splat(1.0 / 3.0) }
}

/// Reach of the blur of the floor's shadow in texels.
fn shadow_blur(side: usize) -> usize {
    (side / 48).max(1)
}

/// A window with `margin` more on all sides, within an image of `side`.
fn grown(window: Window, margin: usize, side: usize) -> Window {
    let (left, top) = (window.left.saturating_sub(margin), window.top.saturating_sub(margin));
    Window {
        left,
        top,
        columns: (window.left + window.columns + margin).min(side) - left,
        rows: (window.top + window.rows + margin).min(side) - top,
    }
}

/// Makes the floor's shadow from the light's view: two box blurs of "nothing in the way", (side, side) in `open`.
///
/// Only the surroundings of the object are written.
fn soften(shadow: &Target, side: usize, open: &mut Vec<f32>, spare: &mut Vec<f32>) {
    let reach = shadow_blur(side);
    let window = grown(shadow.window, 2 * reach + 2, side);
    open.resize(side * side, 1.0);
    spare.resize(side * side, 1.0);
    for row in window.top..window.top + window.rows {
        open[row * side + window.left..][..window.columns].fill(1.0);
    }
    for row in 0..shadow.window.rows {
        let from = (row + shadow.window.top) * side + shadow.window.left;
        let seen = &shadow.triangle[row * shadow.window.columns..][..shadow.window.columns];
        for (value, &triangle) in open[from..].iter_mut().zip(seen) {
            *value = if triangle == 0 { 1.0 } else { 0.0 };
        }
    }
    for _ in 0..2 {
        blur_rows(open, spare, side, window, reach);
        blur_columns(spare, open, side, window, reach);
    }
}

/// The mean over `reach` texels on either side along rows; the window's edge is repeated.
fn blur_rows(from: &[f32], to: &mut [f32], side: usize, window: Window, reach: usize) {
    let share = 1.0 / (2 * reach + 1) as f32;
    for row in window.top..window.top + window.rows {
        let source = &from[row * side + window.left..][..window.columns];
        let target = &mut to[row * side + window.left..][..window.columns];
        for (column, value) in target.iter_mut().enumerate() {
            let sum: f32 = if column >= reach && column + reach < source.len() {
                source[column - reach..=column + reach].iter().sum()
            } else {
                (0..=2 * reach).map(|tap| source[(column + tap).saturating_sub(reach).min(source.len() - 1)]).sum()
            };
            *value = sum * share;
        }
    }
}

/// The same along columns, whole rows at a time.
fn blur_columns(from: &[f32], to: &mut [f32], side: usize, window: Window, reach: usize) {
    let share = 1.0 / (2 * reach + 1) as f32;
    for row in 0..window.rows {
        let target = &mut to[(row + window.top) * side + window.left..][..window.columns];
        target.fill(0.0);
        for tap in 0..=2 * reach {
            let other = (row + tap).saturating_sub(reach).min(window.rows - 1) + window.top;
            let source = &from[other * side + window.left..][..window.columns];
            for (value, &neighbour) in target.iter_mut().zip(source) {
                *value += neighbour * share;
            }
        }
    }
}

/// Steps of the table that encodes light.
const ENCODE_STEPS: usize = 8192;

/// The sRGB byte of linear light, held to [0, 1].
fn encode(light: f32) -> u8 {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..=ENCODE_STEPS)
            .map(|step| {
                let value = step as f32 / ENCODE_STEPS as f32;
                let encoded = if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
                (encoded * 255.0).round() as u8
            })
            .collect()
    });
    BYTES[(light.clamp(0.0, 1.0) * ENCODE_STEPS as f32) as usize]
}

#[cfg(test)]
mod tests {
    use std::f32::consts::{FRAC_PI_2, TAU};

    use super::*;
    use crate::draw::{Purpose, rng};
    use crate::scene::mesh::Part;
    use crate::scene::{Class, render_view};

    const SCENE: Latents =
        Latents { angles: [0.0; 3], floor_hue: 0.55, light_theta: 0.4, light_phi: 1.0, light_hue: 0.1 };

    /// The image and, for each pixel, the share of it that the object covers.
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
            let key = Latents { angles: triple, ..SCENE }.rotation().to_cols_array().map(|entry| entry.round() as i32);
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
                        difference += channels.map(|at| f32::from(image[at].abs_diff(other[at]))).sum::<f32>();
                    }
                    let mean = difference / region;
                    assert!(mean > 12.0, "{} {seed} turned by {angles:?} differs by {mean} of 255 only", class.name());
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
        let mesh = Part::cuboid(Vec3::ZERO, Vec3::ONE).mesh().unwrap();
        for floor_hue in [0.02, 0.2, 0.4, 0.55, 0.7, 0.93] {
            let image = render_view(&mesh, &Latents { floor_hue, light_theta: 0.0, ..SCENE }.to_array(), 64);
            for pixel in [0, 63, 63 * 64, 64 * 64 - 1] {
                let seen = hue(&image[pixel * 3..pixel * 3 + 3]);
                assert!((seen - floor_hue).abs() < 0.01, "expected hue {floor_hue}, found {seen}");
            }
        }
    }

    /// (column, row) of a point in pixels, written out for a camera at 45 degrees on the +y side.
    fn expected_pixel([x, y, z]: [f32; 3], side: f32) -> [f32; 2] {
        let half = 0.5f32.sqrt();
        let depth = 2.5 - (y + z) * half;
        let reach = depth * 19.8f32.to_radians().tan();
        [side / 2.0 * (1.0 - x / reach), side / 2.0 * (1.0 - (z - y) * half / reach)]
    }

    #[test]
    fn a_landmark_goes_where_its_latents_send_it() {
        let landmark = [0.3, -0.2, 0.4];
        // Two specks, too small to be drawn, span the unit box, so that the ball keeps its place and size.
        let speck = |sign: f32| Part::cuboid(Vec3::splat(0.4998 * sign), Vec3::splat(0.0004));
        let ball = Part::ellipsoid(Vec3::from_array(landmark), Vec3::splat(0.06), 24);
        let mesh = Part::union([speck(1.0), speck(-1.0), ball]).mesh().unwrap();
        let turn =
            |[a, b]: [f32; 2], angle: f32| [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()];
        for angles in
            [[0.0, 0.0, 0.0], [0.9, 0.0, 0.0], [0.0, -1.2, 0.0], [0.0, 0.0, 1.4], [0.7, -1.1, 0.4], [-1.5, 1.3, -0.8]]
        {
            let [x, y, z] = landmark;
            let [y, z] = turn([y, z], angles[0]);
            let [z, x] = turn([z, x], angles[1]);
            let [x, y] = turn([x, y], angles[2]);
            let expected = expected_pixel([x, y, z], 128.0);
            let (_, cover) = view(&mesh, &Latents { angles, ..SCENE }, 128);
            let total: f32 = cover.iter().sum();
            let centroid = |coordinate: &dyn Fn(usize) -> usize| {
                let sum: f32 = cover.iter().enumerate().map(|(at, share)| (coordinate(at) as f32 + 0.5) * share).sum();
                sum / total
            };
            let found = [centroid(&|at| at % 128), centroid(&|at| at / 128)];
            let error = (found[0] - expected[0]).hypot(found[1] - expected[1]);
            assert!(error < 0.5, "{angles:?}: expected {expected:?}, found {found:?}");
        }
    }

    #[test]
    fn the_object_throws_a_shadow_on_the_floor() {
        let bar = Part::cuboid(Vec3::ZERO, Vec3::new(1.0, 0.2, 0.2)).mesh().unwrap();
        let latents = Latents { light_theta: 0.6, light_phi: 0.0, light_hue: 0.0, floor_hue: 0.0, ..SCENE };
        let image = render_view(&bar, &latents.to_array(), 128);
        // The ray through the origin meets the floor at x = -tan(0.6) = -0.68; the shadow reaches 0.16 to either side
        // of it.
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
    fn triangles_that_share_an_edge_leave_no_gap() {
        let wheel: Vec<Vec3> = (0..37)
            .map(|step| {
                let angle = step as f32 / 37.0 * TAU;
                Vec3::new(40.3 + 33.0 * angle.cos(), 39.1 + 33.0 * angle.sin(), 1.0)
            })
            .chain([Vec3::new(41.7, 38.2, 1.0)])
            .collect();
        let triangles: Vec<[u32; 3]> = (0..37).map(|step| [37, step, (step + 1) % 37]).collect();
        let mut target = Target::default();
        target.draw(&wheel, &triangles, Faces::Both, 80, 1);
        let window = target.window;
        for row in 0..window.rows {
            for column in 0..window.columns {
                let offset = Vec2::new((column + window.left) as f32 - 40.3, (row + window.top) as f32 - 39.1);
                if offset.length() < 32.5 {
                    assert_ne!(target.triangle[row * window.columns + column], 0, "a hole at {offset}");
                }
            }
        }
    }

    #[test]
    fn scratch_buffers_carry_nothing_from_view_to_view() {
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
        let mesh = Part::cuboid(Vec3::ZERO, Vec3::ONE).mesh().unwrap();
        for side in [1, 3, 8, 129] {
            assert_eq!(render_view(&mesh, &SCENE.to_array(), side).len(), side * side * 3);
            render_view(&mesh, &[f32::NAN; 7], side);
            render_view(&mesh, &[f32::MAX; 7], side);
        }
    }
}
