//! `perf render`: rendering objects, against rendering the empty floor.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::scene::{Class, Latents, Mesh, Paint, Renderer, Scratch, obj};
use eqr_models::Solo;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::result::print;
use super::timing::interleaved_medians;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;

/// Objects per class.
const OBJECTS: usize = 4;
/// Views per object.
const VIEWS: u64 = 20;
/// An object as thin as a hair, which covers almost no sample.
const HAIR: &[u8] = b"v 0 0 0\nv 1 0 0\nv 0 0.001 0\nf 1 2 3\n";

/// Options of `perf render`.
#[derive(Args, Clone, Debug)]
pub struct RenderArgs {
    /// Side of the images.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..=1024))]
    side: u16,
    /// Threads; default: all allowed cores.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Render these Wavefront meshes: a folder of class folders with .obj files, or a .tar.gz of such a
    /// folder.
    #[arg(long)]
    meshes: Option<PathBuf>,
    /// Number of timed rounds over all views, after one warm-up round.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Times the renderer; objects are built or read beforehand.
///
/// # Errors
/// Meshes that cannot be read.
pub fn render(args: &RenderArgs) -> Result<()> {
    let worker =
        Worker::start(&Solo, ComputeOptions::on_cpu(args.threads)).map_err(|failure| failure.error)?;
    let workload = Workload::new(args)?;
    let mut result = workload.measure(args.rounds)?;
    let triangles = || workload.objects.iter().map(Mesh::triangle_count);
    result["config"] = json!({
        "objects": if args.meshes.is_some() { "meshes" } else { "procedural solids" },
        "triangles_an_object": triangles().sum::<usize>() / workload.objects.len(),
        "most_triangles": triangles().max(),
        "side": args.side, "images": workload.objects.len() as u64 * VIEWS, "threads": worker.threads,
    });
    print(&result, args.json, &["images_per_s", "share_of_ceiling"])
}

/// The objects to render.
struct Workload {
    objects: Vec<Mesh>,
    hair: Mesh,
    renderer: Renderer,
    side: usize,
}

impl Workload {
    fn new(args: &RenderArgs) -> Result<Workload> {
        let objects = match &args.meshes {
            Some(path) => obj::collect(path, OBJECTS)?.meshes.into_iter().map(|(_, mesh)| mesh).collect(),
            None => procedural_solids()?,
        };
        let hair = obj::parse(HAIR).map_err(|reason| anyhow!(reason))?;
        let side = usize::from(args.side);
        Ok(Workload { objects, hair, renderer: Renderer::new(side, Paint::Plain), side })
    }

    /// The result without its configuration.
    ///
    /// The ceiling is the same number of images on the same threads with only a hair on the floor: every
    /// pixel is lit, shaded and encoded once. No renderer that shades each pixel at least once can be faster.
    /// The rest of the time goes to the object's geometry and shading: projecting corners for camera and
    /// shadow, filling triangles at 16 samples per pixel (9 above 128 px), and the soft shadow.
    fn measure(&self, rounds: usize) -> Result<Value> {
        let mut objects = || self.render_all(|object| &self.objects[object]);
        let mut floor = || self.render_all(|_| &self.hair);
        let images = (self.objects.len() as u64 * VIEWS) as f64;
        let [rate, ceiling] =
            interleaved_medians(rounds, [&mut objects, &mut floor])?.map(|seconds| images / seconds);
        Ok(json!({
            "stage": "render",
            "images_per_s": rate,
            "ceiling": {"name": "empty floor", "value": ceiling, "unit": "images/s"},
            "share_of_ceiling": rate / ceiling,
        }))
    }

    /// Renders all views of `mesh(i)` for every object i.
    fn render_all<'a>(&'a self, mesh: impl Fn(usize) -> &'a Mesh + Sync) -> Result<()> {
        let buffers = || (Scratch::default(), vec![0; self.side * self.side * 3]);
        (0..self.objects.len()).into_par_iter().for_each_init(buffers, |(scratch, image), object| {
            for view in 0..VIEWS {
                let latents = Latents::draw(&mut rng(0, view, object as u64, Purpose::Latents));
                self.renderer.render(mesh(object), &latents, scratch, image);
                std::hint::black_box(&image);
            }
        });
        Ok(())
    }
}

/// Objects as `data generate solids` makes them, some of each class.
fn procedural_solids() -> Result<Vec<Mesh>> {
    let objects = Class::ALL.into_iter().flat_map(|class| std::iter::repeat_n(class, OBJECTS)).enumerate();
    let built = objects.map(|(object, class)| class.build(&mut rng(0, 0, object as u64, Purpose::Shape)));
    Ok(built.collect::<eqr_datasets::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_has_the_form_that_scripts_rely_on() {
        let args = RenderArgs { side: 8, threads: None, meshes: None, rounds: 1, json: true };
        let workload = Workload::new(&args).unwrap();
        assert_eq!(workload.objects.len(), 64);
        let result = workload.measure(1).unwrap();
        let number =
            |value: &Value| value.as_f64().filter(|number| *number > 0.0).expect("a positive number");
        let (rate, ceiling) = (number(&result["images_per_s"]), number(&result["ceiling"]["value"]));
        assert!((number(&result["share_of_ceiling"]) - rate / ceiling).abs() < 1e-9);
        assert_eq!((&result["stage"], &result["ceiling"]["unit"]), (&json!("render"), &json!("images/s")));
    }
}
