//! Shading of the floor.

use glam::Vec3;

use super::light::{AMBIENT, SUN, Spot};
use super::pinhole::{Pinhole, Projection};
use super::raster::Window;

/// Height of the floor.
const FLOOR_HEIGHT: f32 = -1.0;

/// The point of the floor that a pixel shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloorPoint {
    position: Vec3,
    /// White light at this point, with an object above it.
    white: f32,
}

impl FloorPoint {
    /// The point of the floor behind the centre of a pixel. The camera looks down, so every pixel has one.
    pub fn behind(camera: &Pinhole, side: usize, pixel: usize) -> Self {
        let offset = |index: usize| ((index as f32 + 0.5) / side as f32 * 2.0 - 1.0) * camera.tangent;
        let ray = camera.forward + camera.right * offset(pixel % side) + camera.down * offset(pixel / side);
        let position = camera.eye + ray * ((FLOOR_HEIGHT - camera.eye.z) / ray.z);
        // a ball of radius 0.35 at the origin hides cos * (radius / distance)^2 of the sky from a point on
        // the floor
        let distance = position.length();
        let hidden = -FLOOR_HEIGHT / distance * (0.35 / distance).powi(2);
        Self { position, white: (AMBIENT + SUN) * (1.0 - 1.6 * hidden) }
    }
}

/// Shades points of the floor.
pub(super) struct FloorShader<'a> {
    pub colour: Vec3,
    pub spot: Spot,
    /// Projection of the shadow map.
    pub light: Projection,
    /// Direction of the spot light.
    pub aim: Vec3,
    pub shadow_side: usize,
    /// The part of the shadow map that can contain shadow.
    pub shadow_window: Window,
    /// Share of the spot light that reaches the floor, one value for each of the (shadow side squared)
    /// texels.
    pub open: &'a [f32],
}

impl FloorShader<'_> {
    /// Light from a point of the floor to the camera, linear RGB.
    pub fn shade(&self, point: &FloorPoint) -> Vec3 {
        let ray = point.position - self.spot.position;
        let length = ray.length();
        let mut spot = Spot::strength(ray, length, self.aim) * -ray.z / length;
        if spot > 0.0 {
            spot *= self.openness(point.position);
        }
        self.colour * (Vec3::splat(point.white) + self.spot.colour * spot)
    }

    /// Share of the spot light that reaches a point of the floor, interpolated between the four nearest
    /// texels of the blurred shadow map.
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
