//! `eqr-bench data fetch`: downloads a published set and packs it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use eqr_datasets::fetch::{Client, Step, Watch, fetch};
use eqr_datasets::output::Output;
use eqr_datasets::pack::PACK;
use eqr_datasets::sources::{Access, Download, SOURCES, Source, source};

use super::pack::{PackOptions, pack_set, refusal};
use crate::cli::force::FORCE_HELP;
use crate::console::{ByteProgress, print_text, say};

/// Options of `data fetch`.
#[derive(Args)]
pub struct FetchArgs {
    /// Name of the set; see `data list`.
    #[arg(value_parser = PossibleValuesParser::new(published()))]
    name_of_set: String,
    /// The pack to write; default: NAME_OF_SET.h5.
    #[arg(long, conflicts_with = "no_pack")]
    out: Option<PathBuf>,
    #[arg(long, help = FORCE_HELP)]
    force: bool,
    /// Folder for the downloads, which are in a folder of the set's name there.
    #[arg(long, default_value = ".")]
    to: PathBuf,
    /// Only download, and print the command that packs.
    #[arg(long)]
    no_pack: bool,
    #[command(flatten)]
    pub(super) options: PackOptions,
}

/// The names of the sets that somebody has published.
fn published() -> Vec<&'static str> {
    let published = SOURCES.iter().filter(|source| !matches!(source.info.access, Access::Own));
    published.map(|source| source.kind).collect()
}

/// Downloads what is missing of the set, and packs it.
///
/// # Errors
/// A set that needs an account, a download that fails, a pack that cannot be written.
pub fn run(args: &FetchArgs) -> Result<()> {
    let set = source(&args.name_of_set).expect("clap checked the name");
    args.fetch(set, &Client::from_environment()?)
}

impl FetchArgs {
    fn fetch(&self, set: &Source, client: &Client) -> Result<()> {
        let files = match set.info.access {
            Access::Public(files) => files,
            Access::Account { page, steps, .. } => bail!(needs_account(set.kind, page, steps)),
            Access::Own => unreachable!("clap takes published sets only"),
        };
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.h5", set.kind)));
        let output = if self.no_pack { None } else { Some(self.output(set, &out)?) };
        if let Some(Target::IsThere) = output {
            say(&format!("{}: there already\nhint: --force makes it anew", out.display()));
            return Ok(());
        }
        say(&format!("{}: {}; licence: {}", set.kind, set.info.access.size(), set.info.licence));
        let folder = self.to.join(set.kind);
        let input = download(files, &folder, client)?;
        let Some(Target::New(output)) = output else {
            let (input, out) = (input.display(), out.display());
            return print_text(&format!("eqr-bench data pack {} {input} --out {out}\n", set.kind));
        };
        pack_set(set, &input, &out, &output, &self.options.spec())?;
        say(&format!("{}: the downloads are not needed any more", folder.display()));
        Ok(())
    }

    /// Checks that the pack can be written, before hours of downloading.
    fn output(&self, set: &Source, out: &Path) -> Result<Target> {
        let output = Output::new(out, &PACK, &[], self.force)?;
        if self.force {
            return Ok(Target::New(output));
        }
        match self.options.difference_of(set, out) {
            Some(difference) => bail!(refusal(out, &difference)),
            None if eqr_datasets::Pack::open(out).is_ok() => Ok(Target::IsThere),
            None => Ok(Target::New(output)),
        }
    }
}

/// Where the pack goes.
enum Target {
    New(Output),
    /// The pack has been made with the same options.
    IsThere,
}

/// Downloads `files`, and returns what is to be packed: the only file, or the folder with all of them.
fn download(files: &[Download], folder: &Path, client: &Client) -> Result<PathBuf> {
    let mut last = folder.to_owned();
    for file in files {
        let shown = Shown { name: file.file_name(), progress: RefCell::new(None) };
        last = fetch(file, folder, client, &shown)?;
    }
    Ok(if files.len() == 1 { last } else { folder.to_owned() })
}

/// Shows the progress of a file.
struct Shown {
    name: &'static str,
    progress: RefCell<Option<(Step, ByteProgress)>>,
}

impl Watch for Shown {
    fn at(&self, step: Step, done: u64, all: Option<u64>) {
        let mut progress = self.progress.borrow_mut();
        if progress.as_ref().is_none_or(|(shown, _)| *shown != step) {
            let what = match step {
                Step::Downloading => "downloading",
                Step::Checking => "checking",
            };
            *progress = Some((step, ByteProgress::new(&format!("{what} {}", self.name))));
        }
        if let Some((_, progress)) = &*progress {
            progress.at(done, all);
        }
    }

    fn say(&self, text: &str) {
        // a bar would be drawn over the text
        if let Some((_, progress)) = self.progress.take() {
            progress.finish();
        }
        say(text);
    }
}

fn needs_account(kind: &str, page: &str, steps: &str) -> String {
    format!(
        "{kind}: its publisher gives it to registered users only\n\
         hint: at {page}\n{steps}\nthen `eqr-bench data pack {kind} FOLDER --out {kind}.h5`"
    )
}
