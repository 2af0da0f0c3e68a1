//! `eqr-bench init`: writes a suite of one's own.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use eqr_datasets::Pack;
use eqr_datasets::output::{Output, OutputKind};

use crate::console::say;
use crate::suite_file::names::file_name;
use crate::suite_file::new_suite::{OwnData, new_suite};

/// The preset without data.
const DEFAULT: &str = "quickstart";

/// An existing suite is never replaced by itself: its user may have changed it.
const SUITE: OutputKind = OutputKind { name: "made by this call", begins: |_| false };

/// Options of `init`.
#[derive(Args)]
pub struct InitArgs {
    /// The file to write, such as mine.toml.
    file: PathBuf,
    /// The preset to begin with (`eqr-bench suites` lists them); default: quickstart, or with photographs
    /// cifar10-reduced.
    #[arg(long, value_name = "PRESET")]
    from: Option<String>,
    /// A pack to train on, made by `data pack` or `data generate`.
    #[arg(long, value_name = "PACK")]
    data: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
}

/// Writes the suite and says how to run it.
///
/// # Errors
/// An existing file without `--force`, no such preset, a pack that cannot be read or trained on.
pub fn run(args: &InitArgs) -> Result<()> {
    let shown = args.file.display();
    let stem = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = file_name(&stem);
    ensure!(!name.is_empty(), "{shown}: the file's name has neither letters nor digits\nhint: mine.toml");
    let inputs = Vec::from_iter(args.data.as_deref());
    let output = Output::new(&args.file, &SUITE, &inputs, args.force)?;
    let data = args.data.as_deref().map(|path| OwnData::of(&Pack::open(path)?)).transpose()?;
    let from = args.from.as_deref().or(data.as_ref().map(OwnData::preset)).unwrap_or(DEFAULT);
    let text = new_suite(from, &name, data.as_ref())?;
    output.write(text.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
    say(&format!("{shown}: a suite from the preset {from}"));
    say(&format!("next: eqr-bench run {shown} --out runs/{name} --dry-run   # its cells and their cost"));
    Ok(())
}
