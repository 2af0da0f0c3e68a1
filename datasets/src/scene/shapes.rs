//! Sixteen classes of procedural objects with random proportions.
//!
//! Every object has a distinct front, top and side (a handle, one armrest, a railing, unequal arms), so that
//! no rotation maps it onto itself. The z axis points up. Units are arbitrary, because meshes are scaled to
//! the unit box.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use glam::{Mat3, Vec2, Vec3};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::mesh::Mesh;
use super::solid::{Ends, Solid};
use crate::error::Result;

/// A class of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A mug with a handle on one side and a spoon in it.
    Mug,
    /// A chair with one armrest.
    Chair,
    /// A desk lamp with two arms and a bent shade.
    Lamp,
    /// An airplane with swept wings and an engine under one of them.
    Airplane,
    /// An angle bracket with unequal arms, a rib and an off-centre peg.
    Bracket,
    /// A teapot with its spout and handle at a right angle.
    Teapot,
    /// A pickup truck with an exhaust on one side.
    Truck,
    /// A boat with its sail swung to one side.
    Sailboat,
    /// A claw hammer with a thumb rest.
    Hammer,
    /// A key with uneven teeth and a rib on one face.
    Key,
    /// A dog with a turned head and a lifted paw.
    Dog,
    /// A flight of stairs with a railing on one side.
    Stairs,
    /// A threaded hook.
    Hook,
    /// A sofa with a chaise longue on one side.
    Sofa,
    /// A bicycle with a basket, a chainring and a kickstand.
    Bicycle,
    /// A house with an annex, a porch and a chimney.
    House,
}

impl Class {
    /// All classes in the order of their labels.
    pub const ALL: [Self; 16] = [
        Self::Mug,
        Self::Chair,
        Self::Lamp,
        Self::Airplane,
        Self::Bracket,
        Self::Teapot,
        Self::Truck,
        Self::Sailboat,
        Self::Hammer,
        Self::Key,
        Self::Dog,
        Self::Stairs,
        Self::Hook,
        Self::Sofa,
        Self::Bicycle,
        Self::House,
    ];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mug => "mug",
            Self::Chair => "chair",
            Self::Lamp => "lamp",
            Self::Airplane => "airplane",
            Self::Bracket => "bracket",
            Self::Teapot => "teapot",
            Self::Truck => "truck",
            Self::Sailboat => "sailboat",
            Self::Hammer => "hammer",
            Self::Key => "key",
            Self::Dog => "dog",
            Self::Stairs => "stairs",
            Self::Hook => "hook",
            Self::Sofa => "sofa",
            Self::Bicycle => "bicycle",
            Self::House => "house",
        }
    }

    /// Builds an object of this class with random proportions.
    ///
    /// # Errors
    /// The errors of [`Mesh::new`]. No known draw causes one.
    pub fn build(self, rng: &mut Pcg64Mcg) -> Result<Mesh> {
        let mut draw = Proportions(rng);
        let solid = match self {
            Self::Mug => mug(&mut draw),
            Self::Chair => chair(&mut draw),
            Self::Lamp => lamp(&mut draw),
            Self::Airplane => airplane(&mut draw),
            Self::Bracket => bracket(&mut draw),
            Self::Teapot => teapot(&mut draw),
            Self::Truck => truck(&mut draw),
            Self::Sailboat => sailboat(&mut draw),
            Self::Hammer => hammer(&mut draw),
            Self::Key => key(&mut draw),
            Self::Dog => dog(&mut draw),
            Self::Stairs => stairs(&mut draw),
            Self::Hook => hook(&mut draw),
            Self::Sofa => sofa(&mut draw),
            Self::Bicycle => bicycle(&mut draw),
            Self::House => house(&mut draw),
        };
        solid.mesh()
    }
}

/// A generator of random proportions.
struct Proportions<'a>(&'a mut Pcg64Mcg);

impl Proportions<'_> {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0.gen_range(low..high)
    }

    fn count(&mut self, low: usize, high: usize) -> usize {
        self.0.gen_range(low..=high)
    }
}

fn v(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3::new(x, y, z)
}

/// Points on an arc in the plane of `u` and `w` between two angles (radians).
fn arc(centre: Vec3, [u, w]: [Vec3; 2], angles: [f32; 2], steps: usize) -> Vec<Vec3> {
    (0..=steps)
        .map(|step| {
            let angle = angles[0] + (angles[1] - angles[0]) * step as f32 / steps as f32;
            centre + u * angle.cos() + w * angle.sin()
        })
        .collect()
}

/// A tube with a constant radius.
fn pipe(path: &[Vec3], radius: f32, sides: usize) -> Solid {
    Solid::tube(path, &vec![radius; path.len()], sides, Ends::Capped)
}

/// A closed tube ring in the plane of `u` and `w`.
fn ring(centre: Vec3, [u, w]: [Vec3; 2], radius: f32, steps: usize) -> Solid {
    let path = &arc(centre, [u, w], [0.0, TAU], steps)[..steps];
    Solid::tube(path, &vec![radius; steps], 6, Ends::Joined)
}

/// A hull or fuselage made of elliptic rings along y: (y, half width, half height, z of the centre).
fn hull(sections: &[(f32, f32, f32, f32)], sides: usize) -> Solid {
    let section = |&(y, width, height, middle): &(f32, f32, f32, f32)| {
        (0..sides)
            .map(|step| {
                // seen from larger y, x increases to the left, so this order is counter-clockwise
                let angle = step as f32 / sides as f32 * TAU;
                v(-width * angle.cos(), y, middle + height * angle.sin())
            })
            .collect()
    };
    Solid::loft(&sections.iter().map(section).collect::<Vec<_>>(), Ends::Capped)
}

/// A prism with its outline in the yz plane, from x to x + width.
fn slab_x(outline: &[(f32, f32)], x: f32, width: f32) -> Solid {
    // a rotation: (x, y, z) -> (z, x, y)
    Solid::prism(outline, width).turned(Mat3::from_cols(Vec3::Y, Vec3::Z, Vec3::X)).moved(v(x, 0.0, 0.0))
}

/// A prism with its outline in the xz plane, from y to y - depth.
fn slab_y(outline: &[(f32, f32)], y: f32, depth: f32) -> Solid {
    Solid::prism(outline, depth).turned(Mat3::from_rotation_x(FRAC_PI_2)).moved(v(0.0, y, 0.0))
}

fn mug(draw: &mut Proportions) -> Solid {
    let (radius, height) = (draw.between(0.36, 0.48), draw.between(0.8, 1.15));
    let (foot, wall) = (radius * draw.between(0.72, 1.0), 0.05);
    let profile = [
        (0.0, 0.0),
        (foot, 0.0),
        (radius, height * 0.5),
        (radius, height),
        (radius - wall, height),
        (radius - wall, height * 0.5),
        (foot - wall, 0.08),
        (0.0, 0.08),
    ];
    let grip = draw.between(0.26, 0.36);
    let handle = arc(
        v(radius - 0.04, 0.0, height * 0.52),
        [v(grip, 0.0, 0.0), v(0.0, 0.0, height * draw.between(0.27, 0.36))],
        [-FRAC_PI_2, FRAC_PI_2],
        10,
    );
    let tip = v(-radius * 0.9, draw.between(0.2, 0.4), height * draw.between(1.25, 1.45));
    let bottom = v(radius * 0.3, -radius * 0.4, 0.15);
    let spoon = Solid::rod(bottom, tip, [0.045, 0.035], 6);
    let end = Solid::ellipsoid(tip, v(0.1, 0.05, 0.13), 8);
    Solid::union([Solid::lathe(&profile, 24), pipe(&handle, draw.between(0.055, 0.085), 8), spoon, end])
}

fn chair(draw: &mut Proportions) -> Solid {
    let (width, depth) = (draw.between(0.85, 1.1), draw.between(0.8, 1.0));
    let (seat, back) = (draw.between(0.75, 1.0), draw.between(0.75, 1.15));
    let leg = draw.between(0.07, 0.12);
    let (x, y) = (width / 2.0 - leg / 2.0, depth / 2.0 - leg / 2.0);
    let mut parts = vec![Solid::cuboid(v(0.0, 0.0, seat), v(width, depth, 0.1))];
    for (sx, sy) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)] {
        parts.push(Solid::cuboid(v(sx * x, sy * y, seat / 2.0), v(leg, leg, seat)));
    }
    let lean = draw.between(0.05, 0.22);
    for side in [-x, x] {
        parts.push(Solid::rod(v(side, -y, seat), v(side, -y - lean, seat + back), [leg * 0.6, leg * 0.5], 8));
    }
    let slats = draw.count(2, 3);
    for slat in 0..slats {
        let share = 0.4 + 0.5 * slat as f32 / (slats - 1) as f32;
        parts.push(Solid::cuboid(v(0.0, -y - lean * share, seat + back * share), v(width, 0.05, back * 0.2)));
    }
    let arm = seat + draw.between(0.28, 0.4);
    parts.push(Solid::cuboid(v(x, -lean * 0.3, arm), v(leg * 1.5, depth * 0.95, 0.07)));
    parts.push(Solid::cuboid(v(x, y * 0.8, (seat + arm) / 2.0), v(leg * 0.8, leg * 0.8, arm - seat)));
    Solid::union(parts)
}

fn lamp(draw: &mut Proportions) -> Solid {
    let base = draw.between(0.3, 0.42);
    let elbow = v(-draw.between(0.3, 0.5), 0.0, draw.between(0.65, 0.85));
    let head = elbow + v(draw.between(0.6, 0.85), draw.between(0.1, 0.25), draw.between(0.2, 0.45));
    let foot = Solid::lathe(&[(0.0, 0.0), (base, 0.0), (base, 0.06), (base * 0.8, 0.1), (0.0, 0.1)], 20);
    let knob = Solid::ellipsoid(v(base * 0.2, base * 0.75, 0.12), v(0.07, 0.07, 0.06), 8);
    let thick = draw.between(0.035, 0.05);
    let (mouth, long) = (draw.between(0.26, 0.36), draw.between(0.34, 0.48));
    let wall = 0.03;
    let cone = [
        (0.0, -0.12),
        (0.07, -0.1),
        (0.1, 0.0),
        (mouth, long),
        (mouth - wall, long),
        (0.1 - wall, 0.03),
        (0.0, 0.03),
    ];
    let shade = Solid::lathe(&cone, 20);
    // Turn the opening of the shade from +z to face down and forward.
    let tilt = Mat3::from_rotation_y(PI - draw.between(0.35, 0.7)) * Mat3::from_rotation_x(0.2);
    let bulb = Solid::ellipsoid(v(0.0, 0.0, long * 0.55), Vec3::splat(0.11), 10);
    let shade = Solid::union([shade, bulb]).turned(tilt).moved(head);
    let joint = Solid::ellipsoid(elbow, Vec3::splat(thick * 2.0), 10);
    let lower = Solid::rod(v(0.0, 0.0, 0.08), elbow, [thick; 2], 8);
    let upper = Solid::rod(elbow, head, [thick; 2], 8);
    Solid::union([foot, knob, lower, joint, upper, shade])
}

fn airplane(draw: &mut Proportions) -> Solid {
    let r = draw.between(0.085, 0.13);
    let body = hull(
        &[
            (-0.95, 0.02, 0.03, 0.09),
            (-0.6, r * 0.6, r * 0.65, 0.05),
            (-0.2, r, r, 0.0),
            (0.45, r, r, 0.0),
            (0.7, r * 0.8, r * 0.75, -0.02),
            (0.83, r * 0.3, r * 0.25, -0.04),
        ],
        14,
    );
    let cockpit = Solid::ellipsoid(v(0.0, 0.5, r * 0.7), v(r * 0.65, 0.17, r * 0.75), 10);
    let (span, sweep, chord) = (draw.between(0.75, 1.0), draw.between(0.15, 0.5), draw.between(0.3, 0.42));
    let wing = |side: f32, span: f32, chord: f32, sweep: f32, rise: f32, thick: f32| {
        let section = |x: f32, y: f32, chord: f32, z: f32| {
            let (below, above) = (v(x, y - chord * 0.4, z - thick), v(x, y - chord * 0.3, z + thick));
            vec![v(x, y - chord, z), below, v(x, y, z), above]
        };
        let tip = section(side * span, -sweep, chord * 0.45, rise);
        let root = section(0.0, 0.0, chord, 0.0);
        let rings = if side > 0.0 { [root, tip] } else { [tip, root] };
        Solid::loft(&rings, Ends::Capped)
    };
    let rise = draw.between(0.02, 0.14);
    let wings =
        [1.0, -1.0].map(|side| wing(side, span, chord, sweep, rise, 0.025).moved(v(0.0, 0.25, -r * 0.3)));
    let tail = [1.0, -1.0].map(|side| {
        wing(side, span * 0.38, chord * 0.55, sweep * 0.5, 0.02, 0.015).moved(v(0.0, -0.68, 0.07))
    });
    let fin_height = draw.between(0.28, 0.42);
    let fin = slab_x(&[(-0.95, 0.08), (-0.6, 0.08), (-0.85, fin_height), (-1.02, fin_height)], -0.02, 0.04);
    let x = span * 0.45;
    let y = 0.25 - sweep * 0.45;
    let engine = hull(&[(-0.17, 0.04, 0.04, 0.0), (0.0, 0.075, 0.075, 0.0), (0.2, 0.07, 0.07, 0.0)], 10)
        .moved(v(x, y, -0.09));
    Solid::union([body, cockpit, fin, engine].into_iter().chain(wings).chain(tail))
}

fn bracket(draw: &mut Proportions) -> Solid {
    let (long, short) = (draw.between(0.95, 1.2), draw.between(0.5, 0.75));
    let (thick, width) = (draw.between(0.1, 0.17), draw.between(0.45, 0.65));
    let angle = [
        (0.0, 0.0),
        (short, 0.0),
        (short, thick),
        (thick * 1.6, thick),
        (thick, thick * 1.6),
        (thick, long),
        (0.0, long),
    ];
    let plate = slab_x(&angle, 0.0, width);
    let reach = draw.between(0.3, 0.45);
    let rib = slab_x(
        &[(thick * 0.9, thick * 0.9), (reach, thick * 0.9), (thick * 0.9, reach * 1.3)],
        width * 0.12,
        thick * 0.8,
    );
    let peg_height = draw.between(0.15, 0.3);
    let peg = Solid::rod(
        v(width * 0.66, thick * 0.5, long * 0.78),
        v(width * 0.66, thick + peg_height, long * 0.78),
        [width * 0.16; 2],
        14,
    );
    let stud = Solid::rod(
        v(width * 0.68, short * 0.7, thick * 0.5),
        v(width * 0.68, short * 0.7, thick * 1.8),
        [width * 0.2, width * 0.16],
        6,
    );
    Solid::union([plate, rib, peg, stud])
}

fn teapot(draw: &mut Proportions) -> Solid {
    let (belly, height) = (draw.between(0.42, 0.54), draw.between(0.55, 0.75));
    let neck = belly * draw.between(0.5, 0.65);
    let body = Solid::lathe(
        &[
            (0.0, 0.0),
            (belly * 0.65, 0.0),
            (belly * 0.93, height * 0.22),
            (belly, height * 0.45),
            (belly * 0.9, height * 0.72),
            (neck, height * 0.95),
            (neck, height),
            (neck * 0.9, height + 0.05),
            (0.1, height + 0.11),
            (0.0, height + 0.12),
        ],
        24,
    );
    let knob = Solid::ellipsoid(v(0.0, 0.0, height + 0.16), v(0.08, 0.08, 0.07), 10);
    let (reach, lift) = (draw.between(0.3, 0.45), draw.between(0.85, 1.1));
    let spout = Solid::tube(
        &[
            v(belly * 0.7, 0.0, height * 0.3),
            v(belly + reach * 0.35, 0.0, height * 0.38),
            v(belly + reach * 0.7, 0.0, height * 0.7),
            v(belly + reach, 0.0, height * lift),
        ],
        &[0.15, 0.11, 0.07, 0.055],
        10,
        Ends::Capped,
    );
    let end = v(0.05, belly + draw.between(0.4, 0.6), height * draw.between(0.8, 1.1));
    let handle = Solid::rod(v(0.0, belly * 0.7, height * 0.5), end, [0.07, 0.1], 10);
    Solid::union([body, knob, spout, handle])
}

fn truck(draw: &mut Proportions) -> Solid {
    let (length, width) = (draw.between(1.6, 2.0), draw.between(0.7, 0.85));
    let wheel = draw.between(0.17, 0.23);
    let floor = wheel * 1.1;
    let cab_length = length * draw.between(0.26, 0.36);
    let (nose, cab_height) = (length * 0.2, draw.between(0.42, 0.56));
    let front = length / 2.0;
    let cab_end = front - nose - cab_length;
    let bed = cab_end + front;
    let wall = draw.between(0.16, 0.28);
    let mut parts = vec![
        Solid::cuboid(v(0.0, 0.0, floor + 0.06), v(width, length, 0.14)),
        Solid::wedge(
            v(0.0, front - nose / 2.0, floor + 0.22),
            v(width * 0.96, nose * 0.98, 0.22),
            Vec2::new(0.92, 0.9),
        ),
        Solid::wedge(
            v(0.0, cab_end + cab_length / 2.0, floor + 0.1 + cab_height / 2.0),
            v(width * 0.98, cab_length, cab_height),
            Vec2::new(0.85, 0.68),
        ),
        Solid::cuboid(v(0.0, 0.03 - front, floor + 0.12 + wall / 2.0), v(width, 0.06, wall)),
    ];
    for side in [-1.0, 1.0] {
        let centre = v(side * (width / 2.0 - 0.03), cab_end - bed / 2.0, floor + 0.12 + wall / 2.0);
        parts.push(Solid::cuboid(centre, v(0.06, bed, wall)));
        for y in [front - nose * 0.8, 0.25 - front] {
            let hub = v(side * (width / 2.0 - 0.05), y, wheel);
            parts.push(Solid::rod(hub, hub + v(side * 0.13, 0.0, 0.0), [wheel; 2], 14));
        }
    }
    let top = floor + cab_height + draw.between(0.3, 0.45);
    let stack = v(width / 2.0 - 0.13, cab_end - 0.07, floor);
    parts.push(Solid::rod(stack, v(stack.x, stack.y, top), [0.055, 0.05], 8));
    let load = draw.between(0.25, 0.36);
    let crate_at = v(-width * 0.18, 0.12 + load / 2.0 - front, floor + 0.1 + load / 2.0);
    parts.push(Solid::cuboid(crate_at, Vec3::splat(load)));
    Solid::union(parts)
}

fn sailboat(draw: &mut Proportions) -> Solid {
    let (beam, depth) = (draw.between(0.2, 0.28), draw.between(0.16, 0.24));
    // Each cross-section is the lower half of an ellipse under a flat deck.
    let section = |y: f32, width: f32, keel: f32, deck: f32| -> Vec<Vec3> {
        (0..=8)
            .map(|step| {
                let angle = PI + step as f32 / 8.0 * PI;
                v(-width * angle.cos(), y, deck + keel * angle.sin())
            })
            .collect()
    };
    let boat = Solid::loft(
        &[
            section(-0.7, beam * 0.7, depth * 0.6, 0.02),
            section(-0.3, beam, depth, 0.0),
            section(0.2, beam * 0.9, depth, 0.0),
            section(0.6, beam * 0.4, depth * 0.7, 0.04),
            section(0.85, 0.015, 0.04, 0.1),
        ],
        Ends::Capped,
    );
    let height = draw.between(1.05, 1.35);
    let mast = Solid::rod(v(0.0, 0.12, -0.02), v(0.0, 0.12, height), [0.028, 0.018], 6);
    let (boom, swing) = (draw.between(0.6, 0.8), draw.between(0.45, 0.8));
    let turn = Mat3::from_rotation_z(swing);
    let sail = slab_x(&[(0.0, 0.16), (0.0, height - 0.14), (-boom, 0.16)], -0.012, 0.024);
    let spar = Solid::rod(v(0.0, 0.0, 0.15), v(0.0, -boom * 1.05, 0.15), [0.025; 2], 6);
    let main = Solid::union([sail, spar]).turned(turn).moved(v(0.0, 0.12, 0.0));
    let jib = slab_x(&[(0.14, height * 0.8), (0.25, 0.1), (0.82, 0.12)], -0.01, 0.02)
        .turned(Mat3::from_rotation_z(0.12));
    let cabin = Solid::wedge(v(0.0, -0.12, 0.05), v(beam * 1.1, 0.38, 0.12), Vec2::new(0.8, 0.8));
    let rudder =
        slab_x(&[(-0.86, -depth * 1.5), (-0.66, -depth * 1.3), (-0.68, 0.05), (-0.78, 0.05)], -0.02, 0.04);
    Solid::union([boat, mast, main, jib, cabin, rudder])
}

fn hammer(draw: &mut Proportions) -> Solid {
    let length = draw.between(1.1, 1.4);
    let grip = draw.between(0.065, 0.085);
    let handle = Solid::tube(
        &[v(0.0, 0.0, 0.0), v(0.0, 0.0, length * 0.35), v(0.0, 0.0, length * 0.5), v(0.0, 0.0, length)],
        &[grip, grip, grip * 0.65, grip * 0.65],
        10,
        Ends::Capped,
    );
    let (face, neck) = (draw.between(0.13, 0.18), draw.between(0.28, 0.4));
    let top = length - 0.06;
    let block = Solid::cuboid(v(0.0, 0.0, top), v(0.24, 0.2, 0.22));
    let shaft = Solid::tube(
        &[v(0.1, 0.0, top), v(neck * 0.75, 0.0, top), v(neck * 0.8, 0.0, top), v(neck + 0.1, 0.0, top)],
        &[0.09, 0.09, face, face],
        12,
        Ends::Capped,
    );
    let reach = draw.between(0.4, 0.52);
    let claw = |side: f32| {
        let path = arc(
            v(-0.08, 0.06 * side, top - 0.3),
            [v(-reach, 0.05 * side, 0.0), v(0.0, 0.0, 0.32)],
            [FRAC_PI_2, 0.25],
            6,
        );
        Solid::tube(&path, &[0.085, 0.08, 0.07, 0.06, 0.05, 0.04, 0.025], 6, Ends::Capped)
    };
    let rest = v(0.0, grip * 0.6, length * draw.between(0.3, 0.4));
    let thumb = Solid::cuboid(rest, v(0.1, grip * 1.8, 0.16));
    Solid::union([handle, block, shaft, claw(1.0), claw(-1.0), thumb])
}

fn key(draw: &mut Proportions) -> Solid {
    let (bow, long) = (draw.between(0.24, 0.32), draw.between(0.85, 1.1));
    let thick = draw.between(0.055, 0.075);
    let loop_of =
        ring(Vec3::ZERO, [v(bow, 0.0, 0.0), v(0.0, 0.0, bow * draw.between(0.75, 1.15))], thick * 1.1, 20);
    let shaft = Solid::rod(v(bow, 0.0, 0.0), v(bow + long, 0.0, 0.0), [thick; 2], 10);
    let collar = Solid::rod(v(bow + 0.1, 0.0, 0.0), v(bow + 0.18, 0.0, 0.0), [thick * 1.9; 2], 12);
    let mut parts = vec![loop_of, shaft, collar];
    let teeth = draw.count(3, 4);
    for tooth in 0..teeth {
        // The last tooth is always the longest, so that the end of the key is recognisable.
        let depth = if tooth + 1 == teeth { 0.34 } else { draw.between(0.14, 0.28) };
        let x = bow + long - 0.06 - (teeth - 1 - tooth) as f32 * 0.13;
        parts.push(Solid::cuboid(v(x, 0.0, -depth / 2.0), v(0.085, thick * 1.3, depth)));
    }
    let rib = long * draw.between(0.35, 0.5);
    parts.push(Solid::cuboid(v(bow + 0.2 + rib / 2.0, thick * 1.2, 0.02), v(rib, thick * 1.6, thick)));
    let tag = v(-bow * 0.9, thick * 1.1, -bow * 0.45);
    parts.push(Solid::ellipsoid(tag, v(0.11, 0.1, 0.11), 10));
    Solid::union(parts)
}

fn dog(draw: &mut Proportions) -> Solid {
    let (long, girth) = (draw.between(0.42, 0.56), draw.between(0.17, 0.24));
    let leg = draw.between(0.38, 0.55);
    let middle = leg + girth * 0.7;
    let body = hull(
        &[
            (-long, girth * 0.45, girth * 0.5, middle + 0.02),
            (-long * 0.75, girth * 0.85, girth * 0.85, middle),
            (0.0, girth * 0.85, girth * 0.8, middle + 0.02),
            (long * 0.6, girth, girth * 1.1, middle),
            (long, girth * 0.5, girth * 0.55, middle + 0.08),
        ],
        14,
    );
    let mut parts = vec![body];
    for (x, y) in [(-1.0, -0.72), (1.0, -0.72), (-1.0, 0.65)] {
        let hip = v(x * girth * 0.55, y * long, middle);
        let paw = v(hip.x, hip.y + 0.02, 0.04);
        parts.push(Solid::rod(hip, paw, [girth * 0.42, girth * 0.26], 8));
        parts.push(Solid::ellipsoid(paw + v(0.0, 0.05, 0.0), v(girth * 0.34, 0.11, 0.06), 8));
    }
    // The fourth leg is lifted.
    let shoulder = v(girth * 0.55, long * 0.65, middle);
    let knee = shoulder + v(0.03, 0.22, -leg * 0.35);
    parts.push(Solid::rod(shoulder, knee, [girth * 0.42, girth * 0.3], 8));
    parts.push(Solid::rod(knee, knee + v(0.0, 0.06, -leg * 0.4), [girth * 0.3, girth * 0.22], 8));
    let head = v(0.02, long + 0.16, middle + draw.between(0.32, 0.45));
    parts.push(Solid::rod(v(0.0, long * 0.75, middle + 0.05), head, [girth * 0.65, girth * 0.5], 10));
    let size = draw.between(0.16, 0.2);
    let ear = draw.between(0.14, 0.24);
    let face = Solid::union([
        Solid::ellipsoid(Vec3::ZERO, v(size * 0.9, size * 1.1, size * 0.95), 12),
        Solid::rod(v(0.0, size * 0.5, -0.03), v(0.0, size * 2.0, -0.06), [size * 0.6, size * 0.4], 10),
        Solid::ellipsoid(v(0.0, size * 2.0, -0.02), Vec3::splat(size * 0.28), 8),
        Solid::rod(v(size * 0.6, -0.02, size * 0.5), v(size * 0.8, -0.03, size * 0.6 + ear), [0.08, 0.02], 6),
        Solid::rod(v(-size * 0.6, -0.02, size * 0.6), v(-size * 1.3, -0.03, -ear * 0.6), [0.06, 0.05], 6),
    ]);
    parts.push(face.turned(Mat3::from_rotation_z(-draw.between(0.35, 0.7))).moved(head));
    let curl = draw.between(0.2, 0.32);
    let tail = arc(
        v(0.0, -long, middle + 0.08 + curl),
        [v(-0.25, -0.5, 0.0) * curl, v(0.0, 0.0, -curl)],
        [FRAC_PI_2, -0.8],
        6,
    );
    parts.push(Solid::tube(&tail, &[0.06, 0.055, 0.05, 0.045, 0.04, 0.03, 0.02], 6, Ends::Capped));
    Solid::union(parts)
}

fn stairs(draw: &mut Proportions) -> Solid {
    let steps = draw.count(4, 6);
    let (run, rise) = (draw.between(0.18, 0.24), draw.between(0.13, 0.2));
    let width = draw.between(0.5, 0.8);
    let mut outline = vec![(0.0, 0.0)];
    for step in 0..steps {
        let (y, z) = (-(step as f32) * run, step as f32 * rise);
        outline.extend([(y, z + rise), (y - run, z + rise)]);
    }
    let (end, top) = (-(steps as f32) * run, steps as f32 * rise);
    let slab = draw.between(0.12, 0.2);
    outline.extend([(end - run, top), (end - run, top - slab), (end, top - slab), (-run * 1.2, 0.0)]);
    let flight = slab_x(&outline, 0.0, width);
    let height = draw.between(0.36, 0.5);
    let x = width - 0.05;
    let tread = |step: usize| v(x, -(step as f32 + 0.5) * run, (step as f32 + 1.0) * rise);
    let mut parts = vec![flight];
    for step in (0..steps).step_by(2) {
        parts.push(Solid::rod(tread(step), tread(step) + Vec3::Z * height, [0.028; 2], 6));
    }
    let (low, high) = (tread(0), tread(steps - 1));
    let last = v(x, end - run * 0.8, top);
    parts.push(Solid::rod(last, last + Vec3::Z * height, [0.028; 2], 6));
    let rail: Vec<Vec3> =
        [low + v(0.0, 0.1, -0.08), low, high, last].map(|at| at + Vec3::Z * height).to_vec();
    parts.push(pipe(&rail, 0.045, 8));
    Solid::union(parts)
}

fn hook(draw: &mut Proportions) -> Solid {
    let (r, shank) = (draw.between(0.085, 0.115), draw.between(0.6, 0.8));
    let thread_end = shank * 0.78;
    let core = Solid::lathe(&[(0.0, 0.0), (r * 0.55, 0.12), (r, 0.22), (r, shank), (0.0, shank)], 12);
    let (turns, steps) = (draw.count(4, 6), 12);
    let spiral: Vec<Vec3> = (0..=turns * steps)
        .map(|step| {
            let share = step as f32 / (turns * steps) as f32;
            let angle = share * turns as f32 * TAU;
            let radius = r * (0.55 + 3.0 * share).min(1.0);
            v(radius * angle.cos(), radius * angle.sin(), 0.12 + share * (thread_end - 0.12))
        })
        .collect();
    let thread = pipe(&spiral, r * 0.3, 4);
    let collar = Solid::rod(v(0.0, 0.0, shank - 0.05), v(0.0, 0.0, shank + 0.03), [r * 2.3, r * 1.9], 16);
    let bend = draw.between(0.26, 0.34);
    let mut path = vec![v(0.0, 0.0, shank)];
    path.extend(arc(
        v(bend, 0.0, shank + 0.12),
        [v(-bend, 0.0, 0.0), v(0.0, 0.0, bend * 1.25)],
        [0.0, PI * draw.between(1.15, 1.3)],
        16,
    ));
    // The tip leans out of the plane, so that the two sides of the hook look different.
    let lean = draw.between(0.18, 0.3);
    let count = path.len();
    for (at, point) in path.iter_mut().enumerate() {
        point.y += lean * (at as f32 / (count - 1) as f32).powi(2);
    }
    let tip = Solid::ellipsoid(path[count - 1], Vec3::splat(r * 1.25), 10);
    Solid::union([core, thread, collar, pipe(&path, r * 0.85, 10), tip])
}

fn sofa(draw: &mut Proportions) -> Solid {
    let (width, depth) = (draw.between(1.6, 2.0), draw.between(0.7, 0.85));
    let (seat, back) = (draw.between(0.34, 0.42), draw.between(0.75, 0.95));
    let (arm, long) = (draw.between(0.14, 0.2), draw.between(0.5, 0.75));
    let half = width / 2.0;
    let chaise = width * 0.38;
    let cushion = |x: f32, wide: f32, reach: f32| {
        Solid::wedge(
            v(x, reach / 2.0 - depth / 2.0 + 0.1, seat + 0.05),
            v(wide * 0.96, reach - 0.22, 0.14),
            Vec2::splat(0.93),
        )
    };
    let couch = width - chaise - arm;
    let mut parts = vec![
        Solid::cuboid(v(0.0, 0.0, seat / 2.0 + 0.06), v(width, depth, seat - 0.12)),
        Solid::cuboid(
            v(half - chaise / 2.0, (depth + long) / 2.0 - 0.02, seat / 2.0 + 0.06),
            v(chaise, long + 0.04, seat - 0.12),
        ),
        Solid::wedge(
            v(0.0, -depth / 2.0 + 0.09, back / 2.0 + 0.03),
            v(width, 0.2, back - 0.06),
            Vec2::new(0.98, 0.7),
        ),
        Solid::wedge(
            v(arm / 2.0 - half, 0.0, seat * 0.85 + 0.06),
            v(arm, depth, seat * 1.6),
            Vec2::new(0.9, 0.96),
        ),
        cushion(half - chaise / 2.0, chaise, depth + long),
        cushion(arm + couch / 4.0 - half, couch / 2.0, depth),
        cushion(arm + couch * 0.75 - half, couch / 2.0, depth),
    ];
    let lean = Mat3::from_rotation_z(draw.between(0.2, 0.6)) * Mat3::from_rotation_x(0.4);
    let pillow = Solid::ellipsoid(Vec3::ZERO, v(0.22, 0.09, 0.2), 10).turned(lean);
    parts.push(pillow.moved(v(arm + 0.25 - half, 0.02 - depth * 0.1, seat + 0.3)));
    for (x, y) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)] {
        parts.push(Solid::cuboid(v(x * (half - 0.1), y * (depth / 2.0 - 0.1), 0.03), v(0.1, 0.1, 0.1)));
    }
    parts.push(Solid::cuboid(v(half - 0.1, depth / 2.0 + long - 0.1, 0.03), v(0.1, 0.1, 0.1)));
    Solid::union(parts)
}

fn bicycle(draw: &mut Proportions) -> Solid {
    let wheel = draw.between(0.34, 0.42);
    let base = draw.between(0.52, 0.62);
    let (rear, front) = (v(0.0, -base, wheel), v(0.0, base, wheel));
    let crank = v(0.0, -0.06, wheel * 0.85);
    let seat = v(0.0, -0.2, wheel + draw.between(0.48, 0.62));
    let head = v(0.0, base - 0.16, wheel + draw.between(0.5, 0.62));
    let tube = |from: Vec3, to: Vec3| Solid::rod(from, to, [0.036; 2], 6);
    let low_head = head * 0.75 + front * 0.25;
    let mut parts = vec![
        tube(crank, seat),
        tube(crank, low_head),
        tube(seat * 0.88 + crank * 0.12, low_head),
        tube(rear, crank),
        tube(rear, seat * 0.85 + crank * 0.15),
        tube(front, head + v(0.0, -0.02, 0.08)),
    ];
    for hub in [rear, front] {
        parts.push(ring(hub, [v(0.0, wheel - 0.04, 0.0), v(0.0, 0.0, wheel - 0.04)], 0.045, 20));
        parts.push(Solid::rod(hub - Vec3::X * 0.06, hub + Vec3::X * 0.06, [0.05; 2], 8));
        for spoke in 0..3 {
            let angle = spoke as f32 / 3.0 * PI + 0.3;
            let reach = v(0.0, angle.cos(), angle.sin()) * (wheel - 0.05);
            parts.push(Solid::rod(hub - reach, hub + reach, [0.014; 2], 4));
        }
    }
    let bar = draw.between(0.24, 0.32);
    let top = head + v(0.0, 0.0, 0.1);
    let grips =
        [v(-bar, -0.16, 0.04), v(-bar * 0.7, 0.0, 0.03), v(bar * 0.7, 0.0, 0.03), v(bar, -0.16, 0.04)];
    parts.push(pipe(&grips.map(|at| top + at), 0.034, 6));
    parts.push(Solid::ellipsoid(seat + v(0.0, -0.02, 0.03), v(0.1, 0.19, 0.05), 10));
    // Right: chainring and pedal. Left: kickstand and the other pedal.
    let right = Vec3::X * 0.09;
    parts.push(Solid::rod(crank + right * 0.5, crank + right, [draw.between(0.11, 0.15); 2], 12));
    parts.push(tube(crank + right * 1.2, crank + v(0.11, 0.12, -0.13)));
    parts.push(Solid::cuboid(crank + v(0.17, 0.12, -0.14), v(0.12, 0.09, 0.035)));
    parts.push(tube(crank - right * 0.6, crank + v(-0.08, -0.12, 0.13)));
    parts.push(Solid::cuboid(crank + v(-0.13, -0.12, 0.14), v(0.12, 0.09, 0.035)));
    parts.push(Solid::rod(crank - right * 0.3, v(-0.26, -0.22, 0.02), [0.024; 2], 6));
    let basket = v(0.0, head.y + 0.2, head.z - 0.06);
    parts.push(Solid::wedge(basket, v(0.27, 0.22, 0.2), Vec2::splat(1.25)));
    Solid::union(parts)
}

fn house(draw: &mut Proportions) -> Solid {
    let (width, depth) = (draw.between(0.8, 1.0), draw.between(0.65, 0.8));
    let (wall, roof) = (draw.between(0.48, 0.66), draw.between(0.38, 0.52));
    let eave = 0.07;
    let gable = |x: f32, wide: f32, deep: f32, low: f32, high: f32| {
        slab_x(&[(-deep / 2.0, low), (deep / 2.0, low), (0.0, low + high)], x - wide / 2.0, wide)
    };
    let annex = draw.between(0.28, 0.4);
    let (shed, x) = (wall * draw.between(0.55, 0.75), width / 2.0 + annex / 2.0);
    let mut parts = vec![
        Solid::cuboid(v(0.0, 0.0, wall / 2.0), v(width, depth, wall)),
        gable(0.0, width + 2.0 * eave, depth + 2.0 * eave, wall, roof),
        Solid::cuboid(v(x - 0.02, -0.06, shed / 2.0), v(annex + 0.04, depth * 0.7, shed)),
        slab_x(
            &[
                (-depth * 0.47, shed),
                (depth * 0.34, shed),
                (depth * 0.34, shed + 0.05),
                (-depth * 0.47, shed + 0.2),
            ],
            width / 2.0,
            annex + eave,
        ),
    ];
    let chimney = v(-width * draw.between(0.2, 0.32), -depth * 0.2, wall + roof * 0.8);
    parts.push(Solid::cuboid(chimney, v(0.17, 0.17, roof * 1.1)));
    parts.push(Solid::cuboid(chimney + v(0.0, 0.0, roof * 0.55), v(0.23, 0.23, 0.06)));
    // a dormer with its own roof on the front slope
    let (dormer, sill) = (width * draw.between(0.12, 0.25), wall + roof * 0.3);
    parts.push(Solid::cuboid(v(dormer, depth * 0.18, sill), v(0.24, depth * 0.4, roof * 0.5)));
    let hood = slab_y(&[(-0.17, 0.0), (0.17, 0.0), (0.0, 0.14)], depth * 0.42, depth * 0.42);
    parts.push(hood.moved(v(dormer, 0.0, sill + roof * 0.25)));
    parts.push(Solid::cuboid(v(dormer, depth * 0.38, sill + roof * 0.06), v(0.13, 0.04, roof * 0.24)));
    let door = -width * draw.between(0.05, 0.2);
    let front = depth / 2.0;
    parts.push(Solid::cuboid(v(door, front + 0.09, 0.03), v(0.34, 0.22, 0.06)));
    parts.push(Solid::cuboid(v(door, front, wall * 0.32), v(0.17, 0.05, wall * 0.6)));
    let porch = slab_y(&[(-0.2, 0.0), (0.2, 0.0), (0.0, 0.14)], front + 0.2, 0.25);
    parts.push(porch.moved(v(door, 0.0, wall * 0.7)));
    for post in [-0.15, 0.15] {
        parts.push(Solid::rod(
            v(door + post, front + 0.16, 0.0),
            v(door + post, front + 0.16, wall * 0.72),
            [0.022; 2],
            6,
        ));
    }
    let pane = |x: f32| Solid::cuboid(v(x, front, wall * 0.55), v(0.18, 0.04, wall * 0.3));
    parts.extend([pane(width * 0.25), pane(width * 0.42 - width * 0.8)]);
    Solid::union(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Purpose, rng};

    fn object(class: Class, seed: u64) -> Mesh {
        class.build(&mut rng(seed, 0, 0, Purpose::Shape)).unwrap()
    }

    #[test]
    fn objects_stay_small_and_fill_the_unit_box() {
        for class in Class::ALL {
            for seed in 0..50 {
                let mesh = object(class, seed);
                assert!(
                    mesh.triangle_count() <= 2000,
                    "{}: {} triangles",
                    class.name(),
                    mesh.triangle_count()
                );
                let (low, high) = mesh.bounds();
                assert!(((high - low).max_element() - 1.0).abs() < 1e-5 && (low + high).length() < 1e-5);
            }
        }
    }

    #[test]
    fn shapes_depend_on_the_generator_alone() {
        for class in Class::ALL {
            assert_eq!(object(class, 1).positions, object(class, 1).positions);
            assert_ne!(object(class, 1).positions, object(class, 2).positions);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names = Class::ALL.map(Class::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
