//! `eqr-bench data`: makes, checks and draws packs.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use eqr_datasets::output::{Output, OutputKind};
use eqr_datasets::pack::{PACK, SPLITS};
use eqr_datasets::packing::{PackSpec, Resize, pack, remarks};
use eqr_datasets::scene::Paint;
use eqr_datasets::show::{self, PairChoice};
use eqr_datasets::solids::{self, SolidsSpec};
use eqr_datasets::sources::{Options, SOURCES, source};
use eqr_datasets::transforms::Transform;
use eqr_datasets::{Pack, pack as packs};

use crate::cli::force::FORCE_HELP;
use crate::cluster::threads::make_pool;
use crate::console::{Progress, print_text, say};
use crate::failure::{Failure, Outcome};

/// The commands for packs.
#[derive(Subcommand)]
pub enum DataCommand {
    /// List the sets that can be packed: the expected input and where to get it.
    List,
    /// Pack a data set from its folder or archive.
    Pack(PackArgs),
    /// Render a 3DIEBench-like set.
    Generate(GenerateArgs),
    /// Check every byte of a pack.
    Verify {
        /// The pack.
        pack: PathBuf,
    },
    /// Draw images with class names and masks, or pairs of views with their parameters.
    Show(ShowArgs),
}

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
    threads: Option<NonZeroUsize>,
}

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

/// Runs a `data` command.
///
/// # Errors
/// Bad input, or a file that cannot be written.
pub fn run(command: DataCommand) -> Outcome<()> {
    if let DataCommand::Pack(PackArgs { threads: Some(threads), .. }) = &command {
        make_pool(threads.get())?;
    }
    carry_out(command).map_err(Failure::bad_input)
}

fn carry_out(command: DataCommand) -> Result<()> {
    match command {
        DataCommand::List => list(),
        DataCommand::Pack(args) => pack_set(args),
        DataCommand::Generate(args) => generate(args),
        DataCommand::Verify { pack } => {
            packs::verify(&pack)?;
            print_text(&format!("{}: whole\n", pack.display()))
        }
        DataCommand::Show(args) => draw(args),
    }
}

fn list() -> Result<()> {
    let mut text = String::new();
    for source in SOURCES {
        let about = &source.info;
        text += &format!("{}: {}\n", source.kind, about.name);
        let lines = [
            ("input", about.expects),
            ("images", about.sizes),
            ("download", about.download),
            ("described in", about.described),
            ("licence", about.licence),
        ];
        for (key, value) in lines {
            let value = value.replace('\n', "\n                ");
            text += &format!("  {key:13} {value}\n");
        }
        text += "\n";
    }
    print_text(&text)
}

fn pack_set(args: PackArgs) -> Result<()> {
    let output = Output::new(&args.out, &PACK, &[&args.input], args.force)?;
    let resize = match (args.side, args.short_side) {
        (Some(side), _) => Resize::Square(side),
        (None, Some(side)) => Resize::ShortSide(side),
        (None, None) => Resize::Keep,
    };
    let options = Options { name: args.name, test_fraction: args.test_fraction, seed: args.seed };
    let spec = PackSpec { options, resize, skip_bad: args.skip_bad };
    let source = source(&args.kind).expect("clap checked the kind");
    let start = Instant::now();
    let progress = Progress::new("packing");
    let packed = output.write_with(|out| {
        pack(source, &args.input, out, &spec, &|done, all| progress.at(done as u64, all as u64))
    })?;
    progress.finish();
    describe(&args.out, &packed, &format!(" in {:.1} s", start.elapsed().as_secs_f64()));
    remarks(&packed).iter().for_each(|remark| say(remark));
    Ok(())
}

fn generate(args: GenerateArgs) -> Result<()> {
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

fn draw(args: ShowArgs) -> Result<()> {
    let output = Output::new(&args.out, &OutputKind::PNG, &[&args.pack], args.force)?;
    let pack = Pack::open(&args.pack)?;
    let split = pack.expect_split(&args.split)?;
    let (rows, columns) = show::default_grid_size(split, args.pairs);
    let (rows, columns) = (args.rows.unwrap_or(rows), args.columns.unwrap_or(columns));
    if args.pairs {
        let choice = PairChoice { seed: args.seed, transforms: args.transforms };
        output.write_with(|out| show::pairs_png(&pack, split, &choice, rows, columns, out))?;
    } else {
        output.write_with(|out| show::grid_png(&pack, split, rows, columns, out))?;
    }
    Ok(())
}

/// Prints the number and size of the images that were packed to `out`.
fn describe(out: &Path, pack: &Pack, took: &str) {
    let first = &pack.splits[0];
    let [height, width] = first.size(0);
    let one_size = (1..first.len()).all(|image| first.size(image) == [height, width]);
    let size = if one_size { format!("{width} x {height}") } else { "several sizes".to_owned() };
    let splits: Vec<String> =
        pack.splits.iter().map(|split| format!("{} {}", split.len(), split.name)).collect();
    let classes = pack.class_names.len();
    say(&format!("{}: {} images of {size} in {classes} classes{took}", out.display(), splits.join(" and ")));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(subcommand)]
        command: DataCommand,
    }

    #[test]
    fn a_pack_has_one_way_of_resizing_and_a_kind_that_exists() {
        let parses = |line: &str| Alone::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("data pack cifar10 in --out out.h5 --side 32"));
        assert!(!parses("data pack cifar10 in --out out.h5 --side 32 --short-side 64"));
        assert!(!parses("data pack cifar11 in --out out.h5"));
        assert!(!parses("data show out.h5 --out out.png --seed 1"), "photographs without pairs have no seed");
    }
}
