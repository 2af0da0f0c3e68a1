//! Triangle meshes, normalised for the renderer.

use std::collections::HashMap;

use glam::{Vec2, Vec3};

use crate::error::{Error, Result};

/// Cosine of 40 degrees. Faces whose normals differ by a smaller angle are shaded as one smooth surface.
const CREASE_COSINE: f32 = 0.766;
/// Maximum number of faces around a point with smooth normals. The cost of smoothing grows with its square.
const SMOOTHED_FACES: usize = 256;
/// Maximum number of corners of a polygon that is triangulated by ear clipping. The cost grows with its
/// square. Larger polygons are triangulated as fans.
const EAR_CORNERS: usize = 512;

/// Whether the back faces of a mesh can be visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A watertight solid with counter-clockwise outer faces. Faces that point away from the camera are not
    /// drawn.
    Closed,
    /// Any other mesh. Both sides of every face are drawn.
    Open,
}

/// A mesh with its bounding box centred at the origin and a largest extent of 1.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// (V) corner positions.
    pub(super) positions: Vec<Vec3>,
    /// (V) unit normals.
    pub(super) normals: Vec<Vec3>,
    /// (T) corners of the triangles, as indices of positions and normals.
    pub(super) triangles: Vec<[u32; 3]>,
    pub(super) surface: Surface,
}

impl Mesh {
    /// Merges equal points, drops triangles without area, computes normals (smooth below 40 degrees), and
    /// centres and scales the mesh.
    ///
    /// `points` may use any unit; `triangles` are indices of `points`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a coordinate that is not finite, an index out of range, or a mesh without
    /// extent or area.
    pub fn new(points: &[Vec3], triangles: &[[u32; 3]], surface: Surface) -> Result<Self> {
        if let Some(point) = points.iter().find(|point| !point.is_finite()) {
            return Err(Error::Invalid(format!("a mesh needs finite coordinates, found {point}")));
        }
        if let Some(index) = triangles.iter().flatten().find(|&&index| index as usize >= points.len()) {
            return Err(Error::Invalid(format!(
                "a triangle refers to point {index}, but the mesh has {}",
                points.len()
            )));
        }
        let points = normalised(points, triangles)?;
        let (points, triangles) = weld(&points, triangles);
        if triangles.is_empty() {
            return Err(Error::Invalid(
                "a mesh needs at least one triangle with an area, found none".to_owned(),
            ));
        }
        Ok(with_normals(&points, &triangles, surface))
    }

    /// Number of triangles.
    pub fn triangle_count(&self) -> usize {
        self.triangles.len()
    }

    /// Bounding box: the smallest and the largest coordinates.
    pub fn bounds(&self) -> (Vec3, Vec3) {
        bounds(self.positions.iter().copied())
    }
}

fn bounds(points: impl Iterator<Item = Vec3>) -> (Vec3, Vec3) {
    points.fold((Vec3::INFINITY, Vec3::NEG_INFINITY), |(low, high), point| (low.min(point), high.max(point)))
}

/// Centres the bounding box of the used points at the origin and scales its largest extent to 1.
fn normalised(points: &[Vec3], triangles: &[[u32; 3]]) -> Result<Vec<Vec3>> {
    let (low, high) = bounds(triangles.iter().flatten().map(|&index| points[index as usize]));
    // halve first, so that coordinates near the largest float do not overflow
    let extent = (high * 0.5 - low * 0.5).max_element();
    if triangles.is_empty() || extent < f32::MIN_POSITIVE {
        return Err(Error::Invalid(
            "a mesh needs an extent above zero, found a single point or nothing".to_owned(),
        ));
    }
    let centre = low * 0.5 + high * 0.5;
    Ok(points.iter().map(|&point| (point - centre) / extent * 0.5).collect())
}

/// Merges points with equal coordinates and drops triangles without area.
fn weld(points: &[Vec3], triangles: &[[u32; 3]]) -> (Vec<Vec3>, Vec<[u32; 3]>) {
    let mut index_of = HashMap::with_capacity(points.len());
    let mut merged = Vec::with_capacity(points.len());
    let mut remap = Vec::with_capacity(points.len());
    for &point in points {
        // round to 2^-20 of the unit box, because the seams of revolved solids meet only up to rounding
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

/// The normal of a triangle. Its length is twice the area of the triangle.
fn cross(points: &[Vec3], [a, b, c]: [u32; 3]) -> Vec3 {
    let [a, b, c] = [a, b, c].map(|corner| points[corner as usize]);
    (b - a).cross(c - a)
}

/// Computes normals, and splits points at creases, so that each point has one normal.
fn with_normals(points: &[Vec3], triangles: &[[u32; 3]], surface: Surface) -> Mesh {
    let face_normals: Vec<Vec3> = triangles.iter().map(|&corners| cross(points, corners)).collect();
    let (starts, faces) = faces_around(points.len(), triangles);
    let mut mesh =
        Mesh { positions: Vec::new(), normals: Vec::new(), triangles: triangles.to_vec(), surface };
    for (point, &position) in points.iter().enumerate() {
        let around = &faces[starts[point]..starts[point + 1]];
        let first = mesh.positions.len();
        for &face in around {
            let normal = corner_normal(face, around, &face_normals, surface);
            // points that are not on a crease share one normal; 0.9999 is the cosine of less than one degree
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

/// The faces around every point: one list of faces, and (points + 1) offsets into it.
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

/// The area-weighted mean of the normals around a point, counting only normals within the crease angle of
/// `face`.
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
            // files mix windings, so the normal of a neighbour with the opposite winding is inverted
            Surface::Open if cosine < -CREASE_COSINE => sum -= normal,
            _ if cosine > CREASE_COSINE => sum += normal,
            _ => {}
        }
    }
    sum.normalize_or(own)
}

/// Triangulates a simple polygon and keeps its winding. `polygon` is a list of indices of `points`, planar up
/// to noise, in either winding.
pub fn triangulate(points: &[Vec3], polygon: &[u32]) -> Vec<[u32; 3]> {
    let fan =
        |polygon: &[u32]| polygon.windows(2).skip(1).map(|pair| [polygon[0], pair[0], pair[1]]).collect();
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
    // more than three corners remain only if the polygon crosses itself
    triangles.extend::<Vec<_>>(fan(&left));
    triangles
}

/// The normal of a polygon by Newell's method, which also works for concave and slightly bent polygons.
fn newell(points: &[Vec3], polygon: &[u32]) -> Vec3 {
    let next = polygon.iter().skip(1).chain(polygon.first());
    let sum: Vec3 =
        polygon.iter().zip(next).map(|(&a, &b)| points[a as usize].cross(points[b as usize])).sum();
    sum.normalize_or(Vec3::Z)
}

/// Whether a corner is convex and its triangle contains no other corner of the polygon.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::solid::Solid;

    #[test]
    fn a_mesh_is_centred_in_the_unit_box_and_keeps_its_proportions() {
        let mesh = Solid::cuboid(Vec3::new(7.0, -3.0, 1.0), Vec3::new(1.0, 4.0, 2.0)).mesh().unwrap();
        let (low, high) = mesh.bounds();
        assert!((high - Vec3::new(0.125, 0.5, 0.25)).length() < 1e-6);
        assert!((low + high).length() < 1e-6);
    }

    #[test]
    fn edges_of_a_box_stay_sharp_and_a_sphere_is_smooth() {
        let cuboid = Solid::cuboid(Vec3::ZERO, Vec3::ONE).mesh().unwrap();
        assert_eq!((cuboid.positions.len(), cuboid.triangles.len()), (24, 12));
        let sphere = Solid::ellipsoid(Vec3::ZERO, Vec3::ONE, 32).mesh().unwrap();
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
        assert!(
            Mesh::new(&[Vec3::X], &[[0, 1, 2]], Surface::Open).unwrap_err().to_string().contains("point 1")
        );
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
