//! `eqr-bench xray`: what every layer of a frozen encoder holds of every transformation.

mod as_csv;
mod as_json;
mod heat;
mod page;
mod picture;
mod terminal;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use eqr_datasets::output::{Output, OutputKind};
use eqr_datasets::transforms::Transform;
use eqr_datasets::{Pack, SetKind};
use eqr_models::Solo;
use tch::Device;

use crate::cli::force::FORCE_HELP;
use crate::cli::input::warn_of_script;
use crate::cli::probe::at_least_two;
use crate::cli::xray::picture::Picture;
use crate::cluster::worker::Worker;
use crate::console::{Look, print_coloured, print_text, say};
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::duration;
use crate::measure::evaluation::Evaluation;
use crate::measure::xray;
use crate::suite_file::encoder_options::{ENCODER_HELP, EncoderOptions};
use crate::suite_file::probe::Probe;
use crate::suite_file::transforms::Transforms;

/// Options of `xray`.
#[derive(Args)]
pub struct XrayArgs {
    #[arg(long, help = ENCODER_HELP)]
    encoder: PathBuf,
    /// Pack of images, made by `data pack` or `data generate`.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    options: EncoderOptions,
    /// Transforms that make view 2 of photographs, one at a time: a comma-separated list of rotation,
    /// translation, crop, flip, color, blur; default: all.
    #[arg(long, value_delimiter = ',')]
    transforms: Option<Vec<Transform>>,
    /// Number of training pairs.
    #[arg(long, default_value_t = 8_000, value_parser = at_least_two)]
    train_pairs: usize,
    /// Number of test pairs.
    #[arg(long, default_value_t = 2_000, value_parser = at_least_two)]
    test_pairs: usize,
    /// Folder for xray.csv and xray.html.
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, requires = "out", help = FORCE_HELP)]
    force: bool,
    /// Threads; default: all allowed cores.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Print JSON instead of heat maps.
    #[arg(long)]
    json: bool,
}

/// Pages of X-rays among the files that may be replaced.
const PAGE: OutputKind =
    OutputKind { name: "a page of an X-ray", begins: |start| start.starts_with(page::BEGINNING.as_bytes()) };

/// Tables of X-rays among the files that may be replaced.
const TABLE: OutputKind = OutputKind {
    name: "a table of an X-ray",
    begins: |start| start.starts_with(as_csv::COLUMNS.join(",").as_bytes()),
};

/// The files in the folder of `--out`.
struct Outputs {
    table: Output,
    page: Output,
}

impl Outputs {
    fn open(folder: &Path, args: &XrayArgs) -> Result<Outputs> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let inputs = [args.data.as_path(), &args.encoder];
        let output = |name: &str, kind| Output::new(&folder.join(name), kind, &inputs, args.force);
        Ok(Outputs { table: output("xray.csv", &TABLE)?, page: output("xray.html", &PAGE)? })
    }
}

/// Takes the X-ray and prints its heat maps.
///
/// # Errors
/// An encoder, a pack or an option that cannot be used (2), a file that cannot be written (3).
pub fn run(args: &XrayArgs) -> Outcome<()> {
    let worker = Worker::start(&Solo, args.threads)?;
    let outputs = args.out.as_deref().map(|folder| Outputs::open(folder, args)).transpose();
    let outputs = outputs.map_err(Failure::bad_input)?;
    let picture = picture(args, worker.device).map_err(Failure::bad_input)?;
    if let Some(Outputs { table, page }) = &outputs {
        let written = || -> Result<()> {
            table.write(as_csv::text(&picture.xray)?.as_bytes())?;
            Ok(page.write(page::page(&picture).as_bytes())?)
        };
        written().map_err(Failure::run)?;
    }
    if let Some(folder) = &args.out {
        say(&format!("written to {}", folder.display()));
    }
    let printed = match args.json {
        true => print_text(&as_json::text(&picture)),
        false => print_coloured(&terminal::text(&picture, Look::of_stdout())),
    };
    printed.map_err(Failure::run)
}

fn picture(args: &XrayArgs, device: Device) -> Result<Picture> {
    let pack = Pack::open(&args.data)?;
    ensure!(
        pack.kind == SetKind::Photographs || args.transforms.is_none(),
        "--transforms: {} has renders, whose pairs are two views of an object",
        pack.path().display()
    );
    warn_of_script(&args.encoder);
    let encoder = FrozenEncoder::open(&args.encoder, &args.options, None, device)?;
    if !encoder.has_layers() {
        say("note: a module shows its output alone; nothing inside it can be read\nhint: the \
             X-ray of all layers needs published weights, or an encoder that was trained here");
    }
    let active = args.transforms.clone().unwrap_or_else(|| Transform::ALL.to_vec());
    let transforms = Transforms { active, ..Transforms::default() };
    let probe = Probe { train_pairs: args.train_pairs, test_pairs: args.test_pairs, ..Probe::default() };
    let opened = OpenedPack { pack, side: encoder.side() };
    let source = |split: &str| {
        let source = PairSource::new(&opened, split, &transforms, device)?;
        Ok::<_, anyhow::Error>(source.normalised_by(encoder.normalisation))
    };
    let (train, test) = (source("train")?, source("test")?);
    let evaluation = Evaluation {
        transforms: &transforms,
        probe: &probe,
        pack: &opened.pack,
        train: &train,
        test: &test,
        resamples: true,
    };
    duration::say_encoding(&encoder, xray::images(&evaluation));
    Ok(Picture {
        encoder: args.encoder.display().to_string(),
        description: encoder.opened().map(|opened| opened.description.clone()),
        data: opened.pack.name.clone(),
        xray: xray::measure(&encoder, &evaluation)?,
    })
}
