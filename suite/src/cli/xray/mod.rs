//! `eqr-bench xray`: what every layer of a frozen encoder holds of every transformation.

mod as_json;
mod page;
mod picture;
mod terminal;

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
use crate::cluster::compute_options::ComputeOptions;
use crate::cluster::worker::Worker;
use crate::console::{Look, print_coloured, print_text, say};
use crate::data::open::OpenedPack;
use crate::data::pairs::PairSource;
use crate::encoder::frozen::FrozenEncoder;
use crate::failure::{Failure, Outcome};
use crate::measure::duration;
use crate::measure::evaluation::Evaluation;
use crate::measure::xray;
use crate::report::xray::readings_csv;
use crate::suite_file::encoder_options::{ENCODER_HELP, EncoderOptions};
use crate::suite_file::transforms::Transforms;
use crate::suite_file::xray::{XrayProbe, XraySettings};

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
    #[arg(long, default_value_t = XraySettings::default().train_pairs, value_parser = at_least_two)]
    train_pairs: usize,
    /// Number of test pairs.
    #[arg(long, default_value_t = XraySettings::default().test_pairs, value_parser = at_least_two)]
    test_pairs: usize,
    /// What predicts the transformations.
    #[arg(long, value_enum, default_value = "linear")]
    probe: XrayProbe,
    /// Passes of the MLP probes over the training pairs [default: 30].
    #[arg(long)]
    epochs: Option<usize>,
    /// Width of the MLP probes' two hidden layers [default: 256].
    #[arg(long)]
    hidden: Option<usize>,
    /// Number of seeds of the MLP probes [default: 1].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Folder for xray.csv and xray.html.
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, requires = "out", help = FORCE_HELP)]
    force: bool,
    #[command(flatten)]
    compute: ComputeOptions,
    /// Print JSON instead of heat maps.
    #[arg(long)]
    json: bool,
}

impl XrayArgs {
    fn settings(&self) -> XraySettings {
        let defaults = XraySettings::default();
        XraySettings {
            probe: self.probe,
            train_pairs: self.train_pairs,
            test_pairs: self.test_pairs,
            seeds: self.seeds.unwrap_or(defaults.seeds),
            epochs: self.epochs.unwrap_or(defaults.epochs),
            hidden: self.hidden.unwrap_or(defaults.hidden),
        }
    }
}

/// Pages of X-rays among the files that may be replaced.
const PAGE: OutputKind =
    OutputKind { name: "a page of an X-ray", begins: |start| start.starts_with(page::BEGINNING.as_bytes()) };

/// Tables of X-rays among the files that may be replaced.
const TABLE: OutputKind = OutputKind {
    name: "a table of an X-ray",
    begins: |start| start.starts_with(readings_csv::COLUMNS.join(",").as_bytes()),
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
    let worker = Worker::start(&Solo, args.compute)?;
    let outputs = args.out.as_deref().map(|folder| Outputs::open(folder, args)).transpose();
    let outputs = outputs.map_err(Failure::bad_input)?;
    let picture = picture(args, worker.device).map_err(Failure::bad_input)?;
    if let Some(Outputs { table, page }) = &outputs {
        let written = || -> Result<()> {
            table.write(readings_csv::text(&picture.xray)?.as_bytes())?;
            Ok(page.write(page::page(&picture).as_bytes())?)
        };
        written().map_err(Failure::run)?;
    }
    if let Some(folder) = &args.out {
        say(&format!("written to {}", folder.display()));
    }
    let printed = match args.json {
        true => as_json::text(&picture).map_err(Into::into).and_then(|text| print_text(&text)),
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
    ensure!(
        args.probe.has_mlp() || (args.epochs, args.hidden, args.seeds) == (None, None, None),
        "--epochs, --hidden, --seeds: `--probe linear` has a closed form\nhint: --probe mlp or --probe both"
    );
    warn_of_script(&args.encoder);
    let encoder = FrozenEncoder::open(&args.encoder, &args.options, None, device)?;
    if !encoder.has_layers() {
        say("note: this module shows its output alone; nothing inside it can be read\nhint: a module that \
             returns a tuple of maps shows each of them");
    }
    let active = args.transforms.clone().unwrap_or_else(|| Transform::ALL.to_vec());
    let transforms = Transforms { active, ..Transforms::default() };
    let settings = args.settings();
    let probe = settings.at_one_place();
    probe.regression.validate()?;
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
    duration::say_encoding(&encoder, xray::images(&evaluation, settings.probe));
    Ok(Picture {
        encoder: args.encoder.display().to_string(),
        description: encoder.opened().map(|opened| opened.description.clone()),
        data: opened.pack.name.clone(),
        xray: xray::measure(&encoder, &evaluation, settings.probe)?,
    })
}
