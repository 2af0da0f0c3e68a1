//! Triangle meshes: the building blocks of procedural shapes and the normalised form that the renderer takes.

use std::collections::HashMap;
use std::f32::consts::TAU;

use glam::{Mat3, Vec2, Vec3};

use crate::{Error, Result};

/// Faces that meet at less than this angle are shaded as one smooth surface; cos(40 degrees).
const CREASE_COSINE: f32 = 0.766;
/// Around a point with more faces than this normals stay flat: smoothing costs the square of this number.
const SMOOTHED_FACES: usize = 256;
/// Longest polygon that is cut by ears; a longer one is fanned, since ears cost the square of its corners.
const EAR_CORNERS: usize = 512;

/// Whether the inside of a mesh can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Made of watertight parts with counter-clockwise outer faces: faces that look away are not drawn.
    Closed,
    /// Anything else: both sides of every face are drawn.
    Open,
}

/// An object centred at the origin (its bounding box), with a largest extent of 1.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// (V) corner positions.
    pub(super) positions: Vec<Vec3>,
    /// (V) unit normals.
    pub(super) normals: Vec<Vec3>,
    /// (T) corners of triangles, indices into the two above.
    pub(super) triangles: Vec<[u32; 3]>,
    pub(super) surface: Surface,
}

impl Mesh {
    /// Welds equal points, drops triangles without area, computes normals (smooth below 40 degrees), centres and
    /// scales.
    ///
    /// `points` has any unit; `triangles` index it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a coordinate that is not finite, an index without a point, or a mesh without extent or
    /// area.
    pub fn new(points: &[Vec3], triangles: &[[u32; 3]], surface: Surface) -> Result<Self> {
        if let Some(point) = points.iter().find(|point| !point.is_finite()) {
            return Err(Error::Invalid(format!("a mesh needs finite coordinates, found {point}")));
        }
        if let Some(index) = triangles.iter().flatten().find(|&&index| index as usize >= points.len()) {
            return Err(Error::Invalid(format!("a triangle names point {index}, the mesh has {}", points.len())));
        }
        let points = normalised(points, triangles)?;
        let (points, triangles) = weld(&points, triangles);
        if triangles.is_empty() {
            return Err(Error::Invalid("a mesh needs at least one triangle with an area, found none".to_owned()));
        }
        Ok(with_normals(&points, &triangles, surface))
    }

    /// Number of triangles.
    pub fn triangle_count(&self) -> usize {
        self.triangles.len()
    }

    /// Corners of the bounding box: smallest and largest coordinates.
    pub fn bounds(&self) -> (Vec3, Vec3) {
        bounds(self.positions.iter().copied())
    }
}

fn bounds(points: impl Iterator<Item = Vec3>) -> (Vec3, Vec3) {
    points.fold((Vec3::INFINITY, Vec3::NEG_INFINITY), |(low, high), point| (low.min(point), high.max(point)))
}

/// Moves the bounding box of the points in use to the origin and scales its largest extent to 1.
fn normalised(points: &[Vec3], triangles: &[[u32; 3]]) -> Result<Vec<Vec3>> {
    let (low, high) = bounds(triangles.iter().flatten().map(|&index| points[index as usize]));
    // Halved first, so that coordinates near the largest float do not overflow.
    let extent = (high * 0.5 - low * 0.5).max_element();
    if triangles.is_empty() || extent < f32::MIN_POSITIVE {
        return Err(Error::Invalid("a mesh needs an extent above zero, found a single point or nothing".to_owned()));
    }
    let centre = low * 0.5 + high * 0.5;
    Ok(points.iter().map(|&point| (point - centre) / extent * 0.5).collect())
}

/// Merges points of equal coordinates and drops triangles that have no area.
fn weld(points: &[Vec3], triangles: &[[u32; 3]]) -> (Vec<Vec3>, Vec<[u32; 3]>) {
    let mut index_of = HashMap::with_capacity(points.len());
    let mut merged = Vec::with_capacity(points.len());
    let mut remap = Vec::with_capacity(points.len());
    for &point in points {
        // 2^-20 of the unit box; seams of revolved parts meet up to rounding only.
        let key = (point * 1_048_576.0).round().as_ivec3();
        remap.push(*index_of.entry(key).or_insert_with(|| {
            merged.push(point);
            merged.len() as u32 - 1
        }));
    }
    let triangles = triangles
        .iter()
        .map(|corners| corners.map(|corner| remap[corner as usize]))
        .filter(|&corners| cross(&merged, corners).length_squared() > 1e-16)
        .collect();
    (merged, triangles)
}

/// The normal of a triangle times twice its area.
fn cross(points: &[Vec3], [a, b, c]: [u32; 3]) -> Vec3 {
    let [a, b, c] = [a, b, c].map(|corner| points[corner as usize]);
    (b - a).cross(c - a)
}

/// Splits points where faces meet at a crease, so that each corner carries one normal.
fn with_normals(points: &[Vec3], triangles: &[[u32; 3]], surface: Surface) -> Mesh {
    let face_normals: Vec<Vec3> = triangles.iter().map(|&corners| cross(points, corners)).collect();
    let (starts, faces_of) = faces_around(points.len(), triangles);
    let mut mesh = Mesh { positions: Vec::new(), normals: Vec::new(), triangles: triangles.to_vec(), surface };
    for (point, &position) in points.iter().enumerate() {
        let around = &faces_of[starts[point]..starts[point + 1]];
        let first = mesh.positions.len();
        for &face in around {
            let normal = corner_normal(face, around, &face_normals, surface);
            // A point that no crease crosses keeps one normal; 0.9999 is below one degree.
            let shared = (first..mesh.normals.len().min(first + SMOOTHED_FACES))
                .find(|&index| mesh.normals[index].dot(normal) > 0.9999);
            let index = shared.unwrap_or_else(|| {
                mesh.positions.push(position);
                mesh.normals.push(normal);
                mesh.positions.len() - 1
            });
            let corner = triangles[face].iter().position(|&corner| corner as usize == point);
            mesh.triangles[face][corner.unwrap_or_default()] = index as u32;
        }
    }
    mesh
}

/// The faces around every point, as offsets (points + 1) into one list.
fn faces_around(points: usize, triangles: &[[u32; 3]]) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![0; points + 1];
    for &corner in triangles.iter().flatten() {
        starts[corner as usize + 1] += 1;
    }
    for point in 0..points {
        starts[point + 1] += starts[point];
    }
    let mut next = starts.clone();
    let mut faces = vec![0; triangles.len() * 3];
    for (face, corners) in triangles.iter().enumerate() {
        for &corner in corners {
            faces[next[corner as usize]] = face;
            next[corner as usize] += 1;
        }
    }
    (starts, faces)
}

/// The area-weighted mean of the normals around a point that lie within the crease angle of `face`.
fn corner_normal(face: usize, around: &[usize], face_normals: &[Vec3], surface: Surface) -> Vec3 {
    let own = face_normals[face].normalize();
    if around.len() > SMOOTHED_FACES {
        return own;
    }
    let mut sum = Vec3::ZERO;
    for &other in around {
        let normal = face_normals[other];
        let cosine = own.dot(normal) / normal.length();
        match surface {
            // Files mix windings: a neighbour wound the other way round counts with its normal turned.
            Surface::Open if cosine < -CREASE_COSINE => sum -= normal,
            _ if cosine > CREASE_COSINE => sum += normal,
            _ => {}
        }
    }
    sum.normalize_or(own)
}

/// Cuts a simple polygon (corners indexing `points`, planar up to noise, either winding) into triangles of the same
/// winding.
pub fn triangulate(points: &[Vec3], polygon: &[u32]) -> Vec<[u32; 3]> {
    let fan = |polygon: &[u32]| polygon.windows(2).skip(1).map(|pair| [polygon[0], pair[0], pair[1]]).collect();
    if polygon.len() <= 3 || polygon.len() > EAR_CORNERS {
        return fan(polygon);
    }
    let mut left = polygon.to_vec();
    let plane = newell(points, polygon);
    let (u, v) = plane.any_orthonormal_pair();
    let flat = |corner: u32| Vec2::new(points[corner as usize].dot(u), points[corner as usize].dot(v));
    let mut triangles = Vec::with_capacity(polygon.len() - 2);
    while left.len() > 3 {
        let count = left.len();
        let neighbours = |at: usize| [left[(at + count - 1) % count], left[at], left[(at + 1) % count]];
        let Some(at) = (0..count).find(|&at| is_ear(neighbours(at), &left, flat)) else {
            break;
        };
        triangles.push(neighbours(at));
        left.remove(at);
    }
    // More than three corners are left only of a polygon that crosses itself.
    triangles.extend::<Vec<_>>(fan(&left));
    triangles
}

/// Newell's normal of a polygon, which exists for concave and slightly bent ones too.
fn newell(points: &[Vec3], polygon: &[u32]) -> Vec3 {
    let next = polygon.iter().skip(1).chain(polygon.first());
    let sum: Vec3 = polygon.iter().zip(next).map(|(&a, &b)| points[a as usize].cross(points[b as usize])).sum();
    sum.normalize_or(Vec3::Z)
}

/// Whether a corner is convex and no other corner of the polygon lies inside its triangle.
fn is_ear(corners: [u32; 3], polygon: &[u32], flat: impl Fn(u32) -> Vec2) -> bool {
    let [a, b, c] = corners.map(&flat);
    if (b - a).perp_dot(c - b) <= 0.0 {
        return false;
    }
    polygon.iter().filter(|corner| !corners.contains(corner)).all(|&corner| {
        let point = flat(corner);
        [(a, b), (b, c), (c, a)].iter().any(|&(from, to)| (to - from).perp_dot(point - from) < 0.0)
    })
}

/// How a tube ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A flat lid at both ends.
    Capped,
    /// The last ring is joined to the first one.
    Joined,
}

/// A part of a procedural object: watertight, outer faces counter-clockwise, any unit, z up.
#[derive(Clone, Debug, Default)]
pub struct Part {
    points: Vec<Vec3>,
    triangles: Vec<[u32; 3]>,
}

impl Part {
    /// A box by its centre and its edges.
    pub fn cuboid(centre: Vec3, edges: Vec3) -> Self {
        Self::wedge(centre, edges, Vec2::ONE)
    }

    /// A box by its centre and its edges whose top face is scaled by `top` in x and y.
    pub fn wedge(centre: Vec3, edges: Vec3, top: Vec2) -> Self {
        let half = edges * 0.5;
        let ring = |z: f32, scale: Vec2| {
            [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
                .map(|(x, y)| centre + half * Vec3::new(x * scale.x, y * scale.y, z))
                .to_vec()
        };
        Self::loft(&[ring(-1.0, Vec2::ONE), ring(1.0, top)], Ends::Capped)
    }

    /// Joins two or more rings of equally many points, each counter-clockwise when seen from the next one.
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

    /// A round tube along `path`, two or more points, with one radius for each of them.
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
                // The frame is carried along the path, so that the tube does not twist.
                u = (u - along * u.dot(along)).normalize();
                let v = along.cross(u);
                let direction = |angle: f32| u * angle.cos() + v * angle.sin();
                turns(sides).map(|angle| path[at] + direction(angle) * radii[at]).collect()
            })
            .collect();
        Self::loft(&rings, ends)
    }

    /// A round rod between two points with a radius at each.
    pub fn rod(from: Vec3, to: Vec3, radii: [f32; 2], sides: usize) -> Self {
        Self::tube(&[from, to], &radii, sides, Ends::Capped)
    }

    /// Revolves a profile of (radius, z) about z; it starts on the axis at the bottom and ends on the axis.
    pub fn lathe(profile: &[(f32, f32)], sides: usize) -> Self {
        let ring = |&(radius, z): &(f32, f32)| {
            turns(sides).map(|angle| Vec3::new(radius * angle.cos(), radius * angle.sin(), z)).collect()
        };
        Self::loft(&profile.iter().map(ring).collect::<Vec<_>>(), Ends::Capped)
    }

    /// An ellipsoid by its centre and its half axes, with `sides` meridians and half as many parallels.
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

    /// Raises a simple counter-clockwise polygon in the xy plane to a prism from z = 0 to `height`.
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

    /// The part shifted by `offset`.
    pub fn moved(mut self, offset: Vec3) -> Self {
        self.points.iter_mut().for_each(|point| *point += offset);
        self
    }

    /// The part turned about the origin.
    pub fn turned(mut self, rotation: Mat3) -> Self {
        self.points.iter_mut().for_each(|point| *point = rotation * *point);
        self
    }

    /// The part scaled along the axes, all factors above 0.
    pub fn scaled(mut self, factors: Vec3) -> Self {
        self.points.iter_mut().for_each(|point| *point *= factors);
        self
    }

    /// One part made of several, which may touch or overlap.
    pub fn union(parts: impl IntoIterator<Item = Part>) -> Self {
        parts.into_iter().fold(Self::default(), |mut all, part| {
            let base = all.points.len() as u32;
            all.points.extend(part.points);
            all.triangles.extend(part.triangles.iter().map(|corners| corners.map(|corner| corner + base)));
            all
        })
    }

    /// The normalised mesh of the part.
    ///
    /// # Errors
    /// Those of [`Mesh::new`].
    pub fn mesh(&self) -> Result<Mesh> {
        Mesh::new(&self.points, &self.triangles, Surface::Closed)
    }
}

/// `count` angles that share a turn equally.
fn turns(count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(move |step| step as f32 / count as f32 * TAU)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed volume by the divergence theorem: positive where all faces of a watertight part look outwards.
    fn volume(part: &Part) -> f32 {
        let corner = |index: u32| part.points[index as usize];
        part.triangles.iter().map(|&[a, b, c]| corner(a).dot(corner(b).cross(corner(c))) / 6.0).sum()
    }

    #[test]
    fn parts_look_outwards_and_enclose_their_volume() {
        let box_volume = volume(&Part::cuboid(Vec3::splat(3.0), Vec3::new(1.0, 2.0, 3.0)));
        assert!((box_volume - 6.0).abs() < 1e-3);
        let sphere = volume(&Part::ellipsoid(Vec3::ZERO, Vec3::ONE, 48));
        assert!((sphere - 4.189).abs() < 0.05, "{sphere}");
        let rod = volume(&Part::rod(Vec3::ZERO, Vec3::new(0.0, 3.0, 4.0), [1.0, 1.0], 64));
        assert!((rod - 15.708).abs() < 0.05, "{rod}");
        let ring: Vec<Vec3> = turns(64).map(|a| Vec3::new(2.0 * a.cos(), 0.0, 2.0 * a.sin())).collect();
        let torus = volume(&Part::tube(&ring, &[0.5; 64], 32, Ends::Joined));
        assert!((torus - 9.87).abs() < 0.2, "{torus}");
        let corner = [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0)];
        assert!((volume(&Part::prism(&corner, 2.0)) - 8.0).abs() < 1e-4);
    }

    #[test]
    fn a_mesh_is_centred_in_the_unit_box_and_keeps_its_proportions() {
        let mesh = Part::cuboid(Vec3::new(7.0, -3.0, 1.0), Vec3::new(1.0, 4.0, 2.0)).mesh().unwrap();
        let (low, high) = mesh.bounds();
        assert!((high - Vec3::new(0.125, 0.5, 0.25)).length() < 1e-6);
        assert!((low + high).length() < 1e-6);
    }

    #[test]
    fn edges_of_a_box_stay_sharp_and_a_sphere_is_smooth() {
        let cuboid = Part::cuboid(Vec3::ZERO, Vec3::ONE).mesh().unwrap();
        assert_eq!((cuboid.positions.len(), cuboid.triangles.len()), (24, 12));
        let sphere = Part::ellipsoid(Vec3::ZERO, Vec3::ONE, 32).mesh().unwrap();
        for (normal, position) in sphere.normals.iter().zip(&sphere.positions) {
            assert!(normal.dot(position.normalize()) > 0.98);
        }
    }

    #[test]
    fn meshes_without_extent_area_or_numbers_are_refused() {
        let at = |points: [Vec3; 3]| Mesh::new(&points, &[[0, 1, 2]], Surface::Open);
        assert!(at([Vec3::ONE; 3]).unwrap_err().to_string().contains("extent"));
        assert!(at([Vec3::ZERO, Vec3::X, Vec3::X * 2.0]).unwrap_err().to_string().contains("area"));
        assert!(at([Vec3::ZERO, Vec3::X, Vec3::splat(f32::NAN)]).unwrap_err().to_string().contains("finite"));
        assert!(at([Vec3::ZERO, Vec3::X * f32::MAX, Vec3::Y * f32::MAX]).is_ok());
        assert!(Mesh::new(&[Vec3::X], &[[0, 1, 2]], Surface::Open).unwrap_err().to_string().contains("point 1"));
        assert!(Mesh::new(&[], &[], Surface::Open).is_err());
    }

    #[test]
    fn concave_polygons_keep_their_area() {
        let outline = [(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (3.0, 1.0), (1.0, 1.0), (0.0, 3.0)];
        let points: Vec<Vec3> = outline.iter().map(|&(x, y)| Vec3::new(x, 1.0, y)).collect();
        for polygon in [vec![0, 1, 2, 3, 4, 5], vec![5, 4, 3, 2, 1, 0]] {
            let triangles = triangulate(&points, &polygon);
            let area: f32 = triangles.iter().map(|&corners| cross(&points, corners).length() / 2.0).sum();
            assert_eq!(triangles.len(), 4);
            assert!((area - 6.0).abs() < 1e-4, "{area}");
        }
    }
}
