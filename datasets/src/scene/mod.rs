//! The 3D scene of `solids`: one object in 3DIEBench's scene, rendered on the CPU.
//!
//! The scene follows the published generator of 3DIEBench (Garrido et al. 2023). The object is centred at the
//! origin in a unit box. The camera is at distance 2.5 and polar angle pi/4 on the +y side. The floor is at z
//! = -1. The lights are one coloured spot light at distance 4, aimed at the origin with a full cone of pi/8,
//! and a weak white sun.

mod floor;
mod hsv;
mod latents;
mod light;
mod mesh;
pub mod obj;
mod object;
mod paint;
mod pinhole;
mod raster;
mod render;
mod shapes;
mod soft_shadow;
mod solid;

pub use latents::Latents;
pub use mesh::{Mesh, Surface};
pub use paint::Paint;
pub use render::{Renderer, Scratch, render_view};
pub use shapes::Class;
