//! `eqr-bench data show`: pictures of a pack.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use clap::builder::PossibleValuesParser;
use eqr_datasets::Pack;
use eqr_datasets::output::{Output, OutputKind};
use eqr_datasets::pack::SPLITS;
use eqr_datasets::show::{self, PairChoice, Picture};
use eqr_datasets::transforms::Transform;

use crate::cli::force::FORCE_HELP;
use crate::console::say;

/// Options of `data show`.
#[derive(Args)]
pub struct ShowArgs {
    /// The pack.
    pack: PathBuf,
    /// The PNG file to write.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, help = FORCE_HELP)]
    force: bool,
    /// Split that the images come from.
    #[arg(long, default_value = SPLITS[0], value_parser = PossibleValuesParser::new(SPLITS))]
    split: String,
    /// Number of rows; default: 10, or 4 for masks and pairs.
    #[arg(long)]
    rows: Option<usize>,
    /// Number of columns; default: 10, or 3 for masks and pairs.
    #[arg(long)]
    columns: Option<usize>,
    /// Draw pairs of views with the parameters of the transformation below them.
    #[arg(long)]
    pairs: bool,
    /// Seed of the pairs.
    #[arg(long, default_value_t = 0, requires = "pairs")]
    seed: u64,
    /// Transforms that make view 2 of a photograph: a comma-separated list of rotation, translation, crop,
    /// flip, color, blur; default: all.
    #[arg(long, value_delimiter = ',', requires = "pairs")]
    transforms: Option<Vec<Transform>>,
}

/// Draws the picture.
///
/// # Errors
/// A pack that cannot be read, a picture that cannot be written.
pub fn run(args: ShowArgs) -> Result<()> {
    let output = Output::new(&args.out, &OutputKind::PNG, &[&args.pack], args.force)?;
    let pack = Pack::open(&args.pack)?;
    let split = pack.expect_split(&args.split)?;
    let (rows, columns) = show::default_grid_size(split, args.pairs);
    let (rows, columns) = (args.rows.unwrap_or(rows), args.columns.unwrap_or(columns));
    let picture = if args.pairs {
        let choice = PairChoice { seed: args.seed, transforms: args.transforms };
        output.write_with(|out| show::pairs_png(&pack, split, &choice, rows, columns, out))?
    } else {
        output.write_with(|out| show::grid_png(&pack, split, rows, columns, out))?
    };
    let Picture { shown, width, height } = picture;
    let what = if args.pairs { "pairs" } else { "images" };
    let (out, name) = (args.out.display(), &pack.name);
    say(&format!("{out}: {shown} {what} of {name}, {}, in {width} x {height} pixels", split.name));
    Ok(())
}
