//! Pinhole cameras.

use glam::{Mat3, Vec3};

/// A pinhole camera: a position and an orthonormal frame (right, down, forward).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinhole {
    pub eye: Vec3,
    pub right: Vec3,
    pub down: Vec3,
    pub forward: Vec3,
    /// Tangent of half the field of view.
    pub tangent: f32,
}

impl Pinhole {
    /// A camera at `eye` that looks towards the origin.
    pub fn at(eye: Vec3, tangent: f32) -> Self {
        let forward = -eye.normalize();
        let right = forward.cross(Vec3::Z).try_normalize().unwrap_or(Vec3::X);
        Self { eye, right, down: forward.cross(right), forward, tangent }
    }

    /// The same camera in the coordinates of an object rotated by `rotation`.
    pub fn in_object_coordinates(&self, rotation: Mat3) -> Self {
        let inverse = rotation.transpose();
        Self {
            eye: inverse * self.eye,
            right: inverse * self.right,
            down: inverse * self.down,
            forward: inverse * self.forward,
            tangent: self.tangent,
        }
    }

    /// The projection onto an image of `side` x `side` samples.
    pub fn projection(&self, side: usize) -> Projection {
        let scale = side as f32 / (2.0 * self.tangent);
        Projection {
            eye: self.eye,
            right: self.right * scale,
            down: self.down * scale,
            forward: self.forward,
            // shifts sample centres from half-integers to integers
            centre: side as f32 / 2.0 - 0.5,
        }
    }
}

/// A camera and the size of its image. The centre of sample (column, row) has integer coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection {
    eye: Vec3,
    right: Vec3,
    down: Vec3,
    forward: Vec3,
    centre: f32,
}

impl Projection {
    /// (column, row, 1 / depth) of a point in front of the camera. In the image of a plane, 1 / depth is
    /// linear.
    pub fn project(&self, point: Vec3) -> Vec3 {
        let ray = point - self.eye;
        let inverse = 1.0 / ray.dot(self.forward);
        Vec3::new(
            ray.dot(self.right) * inverse + self.centre,
            ray.dot(self.down) * inverse + self.centre,
            inverse,
        )
    }
}
