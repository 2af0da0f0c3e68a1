//! `eqr-bench data pack`: packs of published sets and of the user's own images.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use eqr_datasets::Pack;
use eqr_datasets::output::Output;
use eqr_datasets::pack::PACK;
use eqr_datasets::packing::{PackSpec, Resize, made_otherwise, pack, remarks};
use eqr_datasets::sources::{Options, SOURCES, Source, source};

use crate::cli::force::FORCE_HELP;
use crate::console::{Progress, say};

/// Options of `data pack`.
#[derive(Args)]
pub struct PackArgs {
    /// Kind of INPUT; see `data list`.
    #[arg(value_parser = PossibleValuesParser::new(SOURCES.map(|source| source.kind)))]
    kind: String,
    /// A folder, .tar, .tar.gz or .zip, read in place. Archives inside it are read too.
    input: PathBuf,
    /// The pack to write.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, help = FORCE_HELP)]
    force: bool,
    #[command(flatten)]
    pub(super) options: PackOptions,
}

/// How a set is packed.
#[derive(Args)]
pub struct PackOptions {
    /// Name in tables; default: the name of the set or of the input file.
    #[arg(long)]
    name: Option<String>,
    /// Cut out the central square and resize it to this side; images are stored as pixels.
    #[arg(long, conflicts_with = "short_side")]
    side: Option<usize>,
    /// Resize images whose shorter side is longer than this; images are stored as JPEG.
    #[arg(long)]
    short_side: Option<usize>,
    /// Fraction of each class to hold out for testing if the input has no test split.
    #[arg(long, default_value_t = 0.2)]
    test_fraction: f64,
    /// Seed of that split.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave out images that cannot be used; the pack lists them.
    #[arg(long)]
    skip_bad: bool,
    /// Decoding threads; default: all allowed cores. The pack does not depend on their number.
    #[arg(long)]
    pub(super) threads: Option<NonZeroUsize>,
}

/// Packs the set.
///
/// # Errors
/// Bad input, a pack that cannot be written.
pub fn run(args: &PackArgs) -> Result<()> {
    let output = Output::new(&args.out, &PACK, &[&args.input], args.force)?;
    let set = source(&args.kind).expect("clap checked the kind");
    if !args.force
        && let Some(pack) = existing(&args.out)
        && let Some(difference) = made_otherwise(&pack, set, &args.options.spec())
    {
        bail!(refusal(&args.out, &difference));
    }
    pack_set(set, &args.input, &args.out, &output, &args.options.spec())
}

/// The whole pack at `out`, if there is one. Pipes and devices are not read.
pub(super) fn existing(out: &Path) -> Option<Pack> {
    if out.is_file() { Pack::open(out).ok() } else { None }
}

/// The refusal to replace a pack that was made in another way.
pub(super) fn refusal(out: &Path, difference: &str) -> String {
    format!(
        "{}: an existing pack that was made otherwise: {difference}\n\
         hint: give the output another name, or --force to replace the pack",
        out.display()
    )
}

/// Packs `input`, and prints what was made.
///
/// # Errors
/// Bad input, a pack that cannot be written.
pub(super) fn pack_set(
    set: &Source,
    input: &Path,
    out: &Path,
    output: &Output,
    spec: &PackSpec,
) -> Result<()> {
    let start = Instant::now();
    let progress = Progress::new("packing");
    let packed = output
        .write_with(|out| pack(set, input, out, spec, &|done, all| progress.at(done as u64, all as u64)))?;
    progress.finish();
    describe(out, &packed, &format!(" in {:.1} s", start.elapsed().as_secs_f64()));
    let split = &packed.provenance["notes"]["split"];
    if let (Some(share), Some(seed)) = (split["test_fraction"].as_f64(), split["seed"].as_u64()) {
        say(&format!(
            "note: the input has no test split; a share of {share} was drawn for it with seed {seed}"
        ));
    }
    remarks(&packed).iter().for_each(|remark| say(remark));
    Ok(())
}

impl PackOptions {
    pub(super) fn spec(&self) -> PackSpec {
        let resize = match (self.side, self.short_side) {
            (Some(side), _) => Resize::Square(side),
            (None, Some(side)) => Resize::ShortSide(side),
            (None, None) => Resize::Keep,
        };
        let options = Options { name: self.name.clone(), test_fraction: self.test_fraction, seed: self.seed };
        PackSpec { options, resize, skip_bad: self.skip_bad }
    }
}

/// Prints the number and size of the images that were packed to `out`.
pub(super) fn describe(out: &Path, pack: &Pack, took: &str) {
    let splits: Vec<String> =
        pack.splits.iter().map(|split| format!("{} {}", split.len(), split.name)).collect();
    let size = match pack.splits[0].one_size() {
        Some([height, width]) => format!("{width} x {height}"),
        None => "several sizes".to_owned(),
    };
    let classes = match pack.has_labels() {
        true => format!("in {} classes", pack.class_names.len()),
        false => "without labels".to_owned(),
    };
    say(&format!("{}: {} images of {size} {classes}{took}", out.display(), splits.join(" and ")));
}
