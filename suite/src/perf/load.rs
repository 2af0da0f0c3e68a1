//! `perf load`: views of photographs from a pack, against only decoding and resizing the same images.

use std::borrow::Cow;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use eqr_datasets::draw::{Purpose, rng};
use eqr_datasets::images::decode::decode;
use eqr_datasets::images::encode::encode_jpeg;
use eqr_datasets::loader::cut_view;
use eqr_datasets::packing::{PackSpec, Resize, pack};
use eqr_datasets::sources::{CLASS_FOLDERS, Options};
use eqr_datasets::{Loader, Pack, PackedSplit};
use eqr_models::Solo;
use image::{Rgb, RgbImage};
use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::peak_memory::peak_memory;
use super::result::print;
use super::timing::interleaved_medians;
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;

/// Width and height of the synthetic photographs: the most frequent ones of ImageNet.
const SIZE: [u32; 2] = [500, 375];
/// Number of distinct synthetic photographs; the pack holds several copies of each.
const DISTINCT: usize = 64;
/// Quality of the JPEG files.
const QUALITY: u8 = 90;
/// Contrast at each scale. It gives files of 0.57 bytes per pixel; ImageNet's have 0.6 on average.
const CONTRAST: f32 = 40.0;
/// Description of the photographs in the result.
const CONTENT: &str =
    "synthetic: noise of 7 scales, alike at each (spectrum 1/f, as photographs); JPEG of quality 90, 4:4:4";

/// Options of `perf load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// A pack; default: a temporary pack of synthetic photographs of 500 x 375, stored as JPEG files.
    #[arg(long)]
    pack: Option<PathBuf>,
    /// Side of the views.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u16).range(1..=4096))]
    side: u16,
    /// Images per batch.
    #[arg(long, default_value = "64")]
    batch: NonZeroUsize,
    /// Number of images to read, drawn at random from the training split.
    #[arg(long, default_value = "512")]
    images: NonZeroUsize,
    /// Threads; default: all allowed cores.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Number of timed rounds over all images, after one warm-up round that brings the pack into the file
    /// cache.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Times [`Loader::base_views`], which makes the views for training.
///
/// # Errors
/// A pack that cannot be read; no space for the synthetic pack.
pub fn load(args: &LoadArgs) -> Result<()> {
    let worker =
        Worker::start(&Solo, ComputeOptions::on_cpu(args.threads)).map_err(|failure| failure.error)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (pack, content) = match &args.pack {
        Some(path) => (Pack::open(path)?, path.file_name().unwrap_or_default().to_string_lossy()),
        None => (synthetic_pack(folder.path(), args.images.get())?, CONTENT.into()),
    };
    let workload = Workload::new(pack.expect_split("train")?, args)?;
    let mut result = workload.measure(args.rounds)?;
    result["config"] = json!({
        "pack": content, "images": workload.indices.len(), "bytes_an_image": workload.mean_bytes(),
        "pixels_an_image": workload.mean_pixels(), "side": args.side, "batch": args.batch,
        "threads": worker.threads,
    });
    result["peak_memory_mib"] = json!(peak_memory().map(|bytes| bytes as f64 / f64::from(1 << 20)));
    print(&result, args.json, &["images_per_s", "share_of_ceiling", "share_of_checksums"])
}

/// Images of a pack, by their indices and in memory.
struct Workload {
    loader: Loader,
    indices: Vec<usize>,
    images: Vec<Stored>,
    batch: usize,
}

/// An image as its pack stores it.
enum Stored {
    File(Vec<u8>),
    Pixels(RgbImage),
}

impl Stored {
    fn read(split: &PackedSplit, index: usize) -> eqr_datasets::Result<Stored> {
        match split.image_file(index)? {
            Some(file) => Ok(Stored::File(file)),
            None => split.image(index).map(Stored::Pixels),
        }
    }

    /// The bytes that the pack has a checksum of.
    fn bytes(&self) -> &[u8] {
        match self {
            Stored::File(file) => file,
            Stored::Pixels(image) => image.as_raw(),
        }
    }

    /// The image, decoded if it is a file.
    fn decoded(&self) -> std::result::Result<Cow<'_, RgbImage>, String> {
        match self {
            Stored::File(file) => decode(file).map(Cow::Owned),
            Stored::Pixels(image) => Ok(Cow::Borrowed(image)),
        }
    }
}

impl Workload {
    fn new(split: &PackedSplit, args: &LoadArgs) -> Result<Workload> {
        let mut indices: Vec<usize> = (0..split.len()).collect();
        indices.shuffle(&mut rng(0, 0, 0, Purpose::Subset));
        indices.truncate(args.images.get());
        let images = indices.iter().map(|&index| Stored::read(split, index));
        let images = images.collect::<eqr_datasets::Result<Vec<_>>>()?;
        let (loader, batch) = (Loader::new(split.clone(), args.side.into()), args.batch.get());
        Ok(Workload { loader, indices, images, batch })
    }

    /// The result without its configuration.
    ///
    /// The ceiling decodes and crops the same images from memory, on the same threads, without batches. The
    /// rest of the time goes to reading, to copying into the batch's tensor, and to threads that wait for the
    /// last image of a batch. The checksums of the same bytes are taken once, when an image is first read.
    fn measure(&self, rounds: usize) -> Result<Value> {
        let (mut epoch, mut ceiling_epoch) = (0, 0);
        let mut loading = || {
            epoch += 1;
            for batch in self.indices.chunks(self.batch) {
                drop(std::hint::black_box(self.loader.base_views(batch, 0, epoch, 1.0)?));
            }
            Ok(())
        };
        let mut ceiling = || {
            ceiling_epoch += 1;
            self.images.par_iter().zip(&self.indices).try_for_each(|(image, &index)| {
                let view = image
                    .decoded()
                    .and_then(|image| cut_view(&image, self.loader.side(), [0, ceiling_epoch, index as u64]));
                view.map(|view| drop(std::hint::black_box(view)))
                    .map_err(|reason| anyhow!("image {index}: {reason}"))
            })
        };
        let mut checksums = || {
            self.images.par_iter().for_each(|image| {
                std::hint::black_box(blake3::hash(image.bytes()));
            });
            Ok(())
        };
        let images = self.indices.len() as f64;
        let seconds = interleaved_medians(rounds, [&mut loading, &mut ceiling, &mut checksums])?;
        let [rate, ceiling, checksums] = seconds.map(|seconds| images / seconds);
        Ok(json!({
            "stage": "load",
            "images_per_s": rate,
            "ceiling": {"name": "decode and resize alone", "value": ceiling, "unit": "images/s"},
            "share_of_ceiling": rate / ceiling,
            "share_of_checksums": rate / checksums,
        }))
    }

    fn mean_bytes(&self) -> usize {
        self.images.iter().map(|image| image.bytes().len()).sum::<usize>() / self.images.len()
    }

    fn mean_pixels(&self) -> usize {
        let pixels =
            self.indices.iter().map(|&index| self.loader.split().size(index).into_iter().product::<usize>());
        pixels.sum::<usize>() / self.indices.len()
    }
}

/// A pack of `images` synthetic photographs in its training split.
fn synthetic_pack(folder: &Path, images: usize) -> Result<Pack> {
    let distinct: Vec<Vec<u8>> = (0..images.min(DISTINCT) as u64)
        .into_par_iter()
        .map(|index| encode_jpeg(&photograph(index), QUALITY).map_err(|reason| anyhow!(reason)))
        .collect::<Result<_>>()?;
    let input = folder.join("photographs");
    let write = |split: &str, index: usize| -> Result<()> {
        let class = input.join(split).join(["even", "odd"][index % 2]);
        fs::create_dir_all(&class).and_then(|()| {
            fs::write(class.join(format!("{index}.jpg")), &distinct[index % distinct.len()])
        })?;
        Ok(())
    };
    // every data set has two classes, each with an image in every split
    (0..images.max(2)).try_for_each(|index| write("train", index))?;
    (0..2).try_for_each(|index| write("test", index))?;
    let options = Options { name: None, test_fraction: 0.5, seed: 0 };
    let spec = PackSpec { options, resize: Resize::Keep, skip_bad: false };
    Ok(pack(&CLASS_FOLDERS, &input, &folder.join("photographs.h5"), &spec, &|_, _| ())?)
}

/// Noise with the spectrum of photographs: random values on a grid at each scale, interpolated bilinearly.
fn photograph(index: u64) -> RgbImage {
    let mut draw = rng(0, 0, index, Purpose::Shape);
    let [width, height] = SIZE.map(|side| side as usize);
    let mut light = vec![[128.0f32; 3]; width * height];
    for cell in (1..=7).map(|scale| 1usize << scale) {
        let (columns, rows) = (width / cell + 2, height / cell + 2);
        let grid: Vec<[f32; 3]> = (0..columns * rows)
            .map(|_| {
                // the channels of photographs are correlated
                let grey = draw.gen_range(-CONTRAST..CONTRAST);
                [(); 3].map(|()| grey + 0.3 * draw.gen_range(-CONTRAST..CONTRAST))
            })
            .collect();
        for (pixel, light) in light.iter_mut().enumerate() {
            let (x, y) = (pixel % width, pixel / width);
            let at = y / cell * columns + x / cell;
            let (right, down) = ((x % cell) as f32 / cell as f32, (y % cell) as f32 / cell as f32);
            for (channel, light) in light.iter_mut().enumerate() {
                let line = |at: usize| grid[at][channel] * (1.0 - right) + grid[at + 1][channel] * right;
                *light += line(at) * (1.0 - down) + line(at + columns) * down;
            }
        }
    }
    RgbImage::from_fn(SIZE[0], SIZE[1], |x, y| {
        Rgb(light[y as usize * width + x as usize].map(|value| value as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_has_the_form_that_scripts_rely_on() {
        let folder = tempfile::tempdir().unwrap();
        let pack = synthetic_pack(folder.path(), 3).unwrap();
        let args = LoadArgs {
            pack: None,
            side: 16,
            batch: NonZeroUsize::new(2).unwrap(),
            images: NonZeroUsize::new(9).unwrap(),
            threads: None,
            rounds: 1,
            json: true,
        };
        let workload = Workload::new(pack.expect_split("train").unwrap(), &args).unwrap();
        assert_eq!((workload.indices.len(), workload.mean_pixels()), (3, 500 * 375));
        let result = workload.measure(1).unwrap();
        let number =
            |value: &Value| value.as_f64().filter(|number| *number > 0.0).expect("a positive number");
        let (rate, ceiling) = (number(&result["images_per_s"]), number(&result["ceiling"]["value"]));
        assert!((number(&result["share_of_ceiling"]) - rate / ceiling).abs() < 1e-9);
        assert_eq!((&result["stage"], &result["ceiling"]["unit"]), (&json!("load"), &json!("images/s")));
        number(&result["share_of_checksums"]);
    }
}
