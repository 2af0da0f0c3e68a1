//! `eqr-bench data`: gets, makes, checks and draws packs.

mod fetch;
mod generate;
mod info;
mod list;
mod pack;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use eqr_datasets::pack as packs;

use crate::cluster::threads::make_pool;
use crate::console::{print_text, with_progress};
use crate::failure::{Failure, Outcome};

/// The commands for packs.
#[derive(Subcommand)]
pub enum DataCommand {
    /// List the sets that can be packed: the expected input and where to get it.
    List,
    /// Download a published data set and pack it.
    Fetch(fetch::FetchArgs),
    /// Pack a data set from its folder or archive.
    Pack(pack::PackArgs),
    /// Render a 3DIEBench-like set.
    Generate(generate::GenerateArgs),
    /// Print what a pack holds and how it was made.
    Info(info::InfoArgs),
    /// Check every byte of a pack.
    Verify {
        /// The pack.
        pack: PathBuf,
    },
    /// Draw images with class names and masks, or pairs of views with their parameters.
    Show(show::ShowArgs),
}

/// Runs a `data` command.
///
/// # Errors
/// Bad input, or a file that cannot be written.
pub fn run(command: DataCommand) -> Outcome<()> {
    let threads = match &command {
        DataCommand::Pack(args) => args.options.threads,
        DataCommand::Fetch(args) => args.options.threads,
        _ => None,
    };
    if let Some(threads) = threads {
        make_pool(threads.get())?;
    }
    carry_out(command).map_err(Failure::bad_input)
}

fn carry_out(command: DataCommand) -> Result<()> {
    match command {
        DataCommand::List => list::run(),
        DataCommand::Fetch(args) => fetch::run(&args),
        DataCommand::Pack(args) => pack::run(&args),
        DataCommand::Generate(args) => generate::run(args),
        DataCommand::Info(args) => info::run(&args),
        DataCommand::Verify { pack } => {
            with_progress("checking", |_| packs::verify(&pack))?;
            print_text(&format!("{}: whole\n", pack.display()))
        }
        DataCommand::Show(args) => show::run(args),
    }
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
