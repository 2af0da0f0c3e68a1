//! Solids: the building blocks of procedural objects.

use std::f32::consts::TAU;

use glam::{Mat3, Vec2, Vec3};

use super::mesh::{Mesh, Surface, triangulate};
use crate::error::Result;

/// The ends of a tube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Flat lids at both ends.
    Capped,
    /// The last ring is joined to the first.
    Joined,
}

/// A watertight solid with counter-clockwise outer faces, in any unit, z up.
#[derive(Clone, Debug, Default)]
pub struct Solid {
    points: Vec<Vec3>,
    triangles: Vec<[u32; 3]>,
}

impl Solid {
    /// A box with this centre and these edge lengths.
    pub fn cuboid(centre: Vec3, edges: Vec3) -> Self {
        Self::wedge(centre, edges, Vec2::ONE)
    }

    /// A box with this centre and these edge lengths. Its top face is scaled by `top` in x and y.
    pub fn wedge(centre: Vec3, edges: Vec3, top: Vec2) -> Self {
        let half = edges * 0.5;
        let ring = |z: f32, scale: Vec2| {
            [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
                .map(|(x, y)| centre + half * Vec3::new(x * scale.x, y * scale.y, z))
                .to_vec()
        };
        Self::loft(&[ring(-1.0, Vec2::ONE), ring(1.0, top)], Ends::Capped)
    }

    /// Connects two or more rings with the same number of points. Each ring is counter-clockwise as seen from
    /// the next one.
    ///
    /// Lids must be convex.
    pub fn loft(rings: &[Vec<Vec3>], ends: Ends) -> Self {
        let sides = rings[0].len() as u32;
        let count = rings.len() as u32;
        let mut triangles = Vec::new();
        let bands = if ends == Ends::Joined { count } else { count - 1 };
        for band in 0..bands {
            for side in 0..sides {
                let [low, high] = [band * sides, (band + 1) % count * sides];
                let next = (side + 1) % sides;
                triangles.push([low + side, low + next, high + next]);
                triangles.push([low + side, high + next, high + side]);
            }
        }
        if ends == Ends::Capped {
            let last = (count - 1) * sides;
            for side in 1..sides - 1 {
                triangles.push([0, side + 1, side]);
                triangles.push([last, last + side, last + side + 1]);
            }
        }
        Self { points: rings.concat(), triangles }
    }

    /// A round tube along `path` (two or more points), with one radius per point.
    pub fn tube(path: &[Vec3], radii: &[f32], sides: usize, ends: Ends) -> Self {
        let count = path.len();
        let tangent = |at: usize| match ends {
            Ends::Joined => path[(at + 1) % count] - path[(at + count - 1) % count],
            Ends::Capped => path[(at + 1).min(count - 1)] - path[at.saturating_sub(1)],
        };
        let mut u = tangent(0).normalize().any_orthonormal_vector();
        let rings: Vec<Vec<Vec3>> = (0..count)
            .map(|at| {
                let along = tangent(at).normalize();
                // the frame is transported along the path, so the tube does not twist
                u = (u - along * u.dot(along)).normalize();
                let v = along.cross(u);
                let direction = |angle: f32| u * angle.cos() + v * angle.sin();
                turns(sides).map(|angle| path[at] + direction(angle) * radii[at]).collect()
            })
            .collect();
        Self::loft(&rings, ends)
    }

    /// A round rod between two points, with a radius at each end.
    pub fn rod(from: Vec3, to: Vec3, radii: [f32; 2], sides: usize) -> Self {
        Self::tube(&[from, to], &radii, sides, Ends::Capped)
    }

    /// Revolves a profile of (radius, z) around the z axis. The profile starts on the axis at the bottom and
    /// ends on the axis.
    pub fn lathe(profile: &[(f32, f32)], sides: usize) -> Self {
        let ring = |&(radius, z): &(f32, f32)| {
            turns(sides).map(|angle| Vec3::new(radius * angle.cos(), radius * angle.sin(), z)).collect()
        };
        Self::loft(&profile.iter().map(ring).collect::<Vec<_>>(), Ends::Capped)
    }

    /// An ellipsoid with this centre and these semi-axes, with `sides` meridians and half as many parallels.
    pub fn ellipsoid(centre: Vec3, half_axes: Vec3, sides: usize) -> Self {
        let bands = sides / 2;
        let profile: Vec<(f32, f32)> = (0..=bands)
            .map(|band| {
                let angle = band as f32 / bands as f32 * TAU / 2.0;
                (angle.sin(), -angle.cos())
            })
            .collect();
        Self::lathe(&profile, sides).scaled(half_axes).moved(centre)
    }

    /// Extrudes a simple counter-clockwise polygon in the xy plane into a prism from z = 0 to `height`.
    pub fn prism(outline: &[(f32, f32)], height: f32) -> Self {
        let count = outline.len() as u32;
        let level = |z: f32| outline.iter().map(move |&(x, y)| Vec3::new(x, y, z));
        let points: Vec<Vec3> = level(0.0).chain(level(height)).collect();
        let mut triangles = triangulate(&points, &(count..2 * count).collect::<Vec<_>>());
        let floor: Vec<_> = triangles.iter().map(|&[a, b, c]| [a - count, c - count, b - count]).collect();
        triangles.extend(floor);
        for side in 0..count {
            let next = (side + 1) % count;
            triangles.push([side, next, count + next]);
            triangles.push([side, count + next, count + side]);
        }
        Self { points, triangles }
    }

    /// The solid shifted by `offset`.
    pub fn moved(mut self, offset: Vec3) -> Self {
        self.points.iter_mut().for_each(|point| *point += offset);
        self
    }

    /// The solid rotated about the origin.
    pub fn turned(mut self, rotation: Mat3) -> Self {
        self.points.iter_mut().for_each(|point| *point = rotation * *point);
        self
    }

    /// The solid scaled along the axes. All factors must be above 0.
    pub fn scaled(mut self, factors: Vec3) -> Self {
        self.points.iter_mut().for_each(|point| *point *= factors);
        self
    }

    /// Combines several solids into one. They may touch or overlap.
    pub fn union(solids: impl IntoIterator<Item = Solid>) -> Self {
        solids.into_iter().fold(Self::default(), |mut all, solid| {
            let base = all.points.len() as u32;
            all.points.extend(solid.points);
            all.triangles.extend(solid.triangles.iter().map(|corners| corners.map(|corner| corner + base)));
            all
        })
    }

    /// The normalised mesh of the solid.
    ///
    /// # Errors
    /// The errors of [`Mesh::new`].
    pub fn mesh(&self) -> Result<Mesh> {
        Mesh::new(&self.points, &self.triangles, Surface::Closed)
    }
}

/// `count` equally spaced angles over a full turn.
fn turns(count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(move |step| step as f32 / count as f32 * TAU)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed volume by the divergence theorem. It is positive if all faces of a watertight solid point
    /// outwards.
    fn volume(solid: &Solid) -> f32 {
        let corner = |index: u32| solid.points[index as usize];
        solid.triangles.iter().map(|&[a, b, c]| corner(a).dot(corner(b).cross(corner(c))) / 6.0).sum()
    }

    #[test]
    fn faces_look_outwards_and_enclose_the_volume() {
        let box_volume = volume(&Solid::cuboid(Vec3::splat(3.0), Vec3::new(1.0, 2.0, 3.0)));
        assert!((box_volume - 6.0).abs() < 1e-3);
        let sphere = volume(&Solid::ellipsoid(Vec3::ZERO, Vec3::ONE, 48));
        assert!((sphere - 4.189).abs() < 0.05, "{sphere}");
        let rod = volume(&Solid::rod(Vec3::ZERO, Vec3::new(0.0, 3.0, 4.0), [1.0, 1.0], 64));
        assert!((rod - 15.708).abs() < 0.05, "{rod}");
        let ring: Vec<Vec3> = turns(64).map(|a| Vec3::new(2.0 * a.cos(), 0.0, 2.0 * a.sin())).collect();
        let torus = volume(&Solid::tube(&ring, &[0.5; 64], 32, Ends::Joined));
        assert!((torus - 9.87).abs() < 0.2, "{torus}");
        let corner = [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0)];
        assert!((volume(&Solid::prism(&corner, 2.0)) - 8.0).abs() < 1e-4);
    }
}
