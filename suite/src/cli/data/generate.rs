//! `eqr-bench data generate`: rendered sets.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use eqr_datasets::Pack;
use eqr_datasets::output::Output;
use eqr_datasets::pack::PACK;
use eqr_datasets::scene::Paint;
use eqr_datasets::solids::{self, SolidsSpec};

use super::pack::describe;
use crate::cli::force::FORCE_HELP;
use crate::console::Progress;

/// Options of `data generate`.
#[derive(Args)]
pub struct GenerateArgs {
    /// What to render.
    kind: GenerateKind,
    /// The pack to write.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, help = FORCE_HELP)]
    force: bool,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 64)]
    side: usize,
    /// Number of objects per class.
    #[arg(long, default_value_t = 40)]
    objects: usize,
    /// Number of views per object.
    #[arg(long, default_value_t = 20)]
    views: usize,
    /// Seed of shapes and scenes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Render these Wavefront meshes: a folder of class folders with .obj files, or a .tar.gz of such a
    /// folder.
    #[arg(long)]
    meshes: Option<PathBuf>,
    /// Surface of the objects: uniform grey, or reflectance along the object's axes.
    #[arg(long, value_enum, default_value = "plain")]
    paint: PaintArg,
    /// Name in tables.
    #[arg(long, default_value = "solids")]
    name: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum GenerateKind {
    /// Procedural objects, or meshes, in 3DIEBench's scene.
    Solids,
}

#[derive(Clone, Copy, ValueEnum)]
enum PaintArg {
    Plain,
    Axes,
}

/// Renders the set.
///
/// # Errors
/// Bad meshes, a pack that cannot be written.
pub fn run(args: GenerateArgs) -> Result<()> {
    let GenerateArgs {
        kind: GenerateKind::Solids,
        out,
        force,
        side,
        objects,
        views,
        seed,
        meshes,
        paint,
        name,
    } = args;
    let output = Output::new(&out, &PACK, &Vec::from_iter(meshes.as_deref()), force)?;
    let paint = match paint {
        PaintArg::Plain => Paint::Plain,
        PaintArg::Axes => Paint::Axes,
    };
    let objects_per_class = objects;
    let spec =
        SolidsSpec { name, side, objects_per_class, views, seed, paint, meshes, ..SolidsSpec::default() };
    let progress = Progress::new("rendering");
    let dataset = solids::generate(&spec, &|done, all| progress.at(done as u64, all as u64))?;
    progress.finish();
    let pack = output.write_with(|out| dataset.write(out).and_then(|()| Pack::open(out)))?;
    describe(&out, &pack, "");
    Ok(())
}
