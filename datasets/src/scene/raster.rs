//! Rasterisation of triangles.

use glam::{Vec2, Vec3};

/// A depth buffer for a window of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// The window of the image that the arrays below cover.
    pub window: Window,
    /// (rows * columns) 1 / depth of the nearest surface, or 0 where there is none.
    pub nearness: Vec<f32>,
    /// (rows * columns) index of that surface's triangle plus 1, or 0 where there is none.
    pub triangle: Vec<u32>,
}

/// A rectangle of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub left: usize,
    pub top: usize,
    pub columns: usize,
    pub rows: usize,
}

impl Window {
    /// The smallest window that contains all corners, in an image of `side` samples. Its edges are multiples
    /// of `step`.
    fn around(corners: &[Vec3], side: usize, step: usize) -> Self {
        let (low, high) = corners.iter().fold((Vec2::INFINITY, Vec2::NEG_INFINITY), |(low, high), corner| {
            (low.min(corner.truncate()), high.max(corner.truncate()))
        });
        let begin = |value: f32| (value.max(0.0) as usize).min(side) / step * step;
        let end = |value: f32| ((value + 2.0).max(0.0) as usize).next_multiple_of(step).min(side);
        let (left, top) = (begin(low.x), begin(low.y));
        Self { left, top, columns: end(high.x).saturating_sub(left), rows: end(high.y).saturating_sub(top) }
    }

    /// The window enlarged by `margin` on all sides and clipped to an image of `side` samples.
    pub fn grown(self, margin: usize, side: usize) -> Window {
        let (left, top) = (self.left.saturating_sub(margin), self.top.saturating_sub(margin));
        Window {
            left,
            top,
            columns: (self.left + self.columns + margin).min(side) - left,
            rows: (self.top + self.rows + margin).min(side) - top,
        }
    }
}

/// The triangles that a pass draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faces {
    Front,
    Back,
    Both,
}

impl Target {
    /// Draws triangles into an image of `side` samples. `corners` are (column, row, 1 / depth).
    pub fn draw(&mut self, corners: &[Vec3], triangles: &[[u32; 3]], faces: Faces, side: usize, step: usize) {
        self.window = Window::around(corners, side, step);
        let size = self.window.columns * self.window.rows;
        self.nearness.clear();
        self.nearness.resize(size, 0.0);
        self.triangle.clear();
        self.triangle.resize(size, 0);
        let origin = Vec3::new(self.window.left as f32, self.window.top as f32, 0.0);
        for (index, triangle) in triangles.iter().enumerate() {
            let [a, b, c] = triangle.map(|corner| corners[corner as usize] - origin);
            // rows increase downwards, so counter-clockwise faces have a negative area here
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

    /// Fills a triangle row by row. Both triangles at a shared edge compute the same crossing for each row,
    /// so no sample is lost.
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

    /// 1 / depth of the texel at a column and row of the whole image; 0 outside the window.
    pub fn nearness_at(&self, column: i32, row: i32) -> f32 {
        let (column, row) = (column - self.window.left as i32, row - self.window.top as i32);
        let inside = column >= 0
            && row >= 0
            && (column as usize) < self.window.columns
            && (row as usize) < self.window.rows;
        if inside { self.nearness[row as usize * self.window.columns + column as usize] } else { 0.0 }
    }
}

/// Rounds `value` up to an integer of at least 0. (`f32::ceil` is a function call on baseline x86-64.)
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

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

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
                let offset =
                    Vec2::new((column + window.left) as f32 - 40.3, (row + window.top) as f32 - 39.1);
                if offset.length() < 32.5 {
                    assert_ne!(target.triangle[row * window.columns + column], 0, "a hole at {offset}");
                }
            }
        }
    }
}
