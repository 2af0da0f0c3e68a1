//! Shading of the object.

use glam::{Vec2, Vec3};

use super::light::{AMBIENT, SUN, Spot};
use super::mesh::{Mesh, Surface};
use super::paint::Paint;
use super::pinhole::Projection;
use super::raster::Target;

/// Strength of the highlight, and how often its cosine is squared: five times for an exponent of 2^5.
const GLOSS: (f32, usize) = (0.35, 5);

/// Shades points of the object. All vectors are in object coordinates.
pub(super) struct ObjectShader<'a> {
    pub mesh: &'a Mesh,
    pub paint: Paint,
    pub corners: &'a [Vec3],
    pub shadow: &'a Target,
    /// Projection of the shadow map.
    pub light: Projection,
    pub light_position: Vec3,
    pub light_colour: Vec3,
    /// Direction of the spot light.
    pub aim: Vec3,
    pub eye: Vec3,
    pub up: Vec3,
    pub sun: Vec3,
    /// Light from below, reflected by the floor.
    pub bounce: Vec3,
    /// How much nearer to the light another surface must be to shade a point, as a factor on 1 / depth.
    pub bias: f32,
}

impl ObjectShader<'_> {
    /// The light, in linear RGB, that reaches the camera from the point of a triangle behind a sample.
    pub fn shade(&self, triangle: u32, column: f32, row: f32) -> Vec3 {
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
        // the sun is an area light, so its light reaches a little beyond the terminator
        let sun = SUN * ((normal.dot(self.sun) + 0.25) / 1.25).max(0.0);
        let reflectance = self.paint.reflectance(position, normal);
        reflectance * (ambient + Vec3::splat(sun)) + self.spot_light(position, normal, view, reflectance)
    }

    /// Light from the spot light: a diffuse part and a highlight.
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

    /// Share of the spot light that the object does not block. Four texels of the shadow map are compared,
    /// and then the results are interpolated.
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

/// Perspective-correct barycentric weights of a triangle at a sample, clamped to the triangle.
fn weights([a, b, c]: [Vec3; 3], column: f32, row: f32) -> Vec3 {
    let sample = Vec2::new(column, row);
    let [p, q, r] = [a, b, c].map(|corner| corner.truncate() - sample);
    let flat = Vec3::new(q.perp_dot(r) * a.z, r.perp_dot(p) * b.z, p.perp_dot(q) * c.z);
    let held = flat * (p.perp_dot(q) + q.perp_dot(r) + r.perp_dot(p)).signum();
    let held = held.max(Vec3::ZERO);
    let sum = held.element_sum();
    if sum > 0.0 { held / sum } else { Vec3::splat(1.0 / 3.0) }
}
