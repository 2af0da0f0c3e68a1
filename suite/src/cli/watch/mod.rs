//! `eqr-bench watch`: shows how a run stands, again and again, without touching it.

mod curves;
mod picture;
mod sparkline;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use self::picture::picture;
use crate::console::{Look, Screen};
use crate::run_folder::folder::RunFolder;
use crate::run_folder::onlooker::{Onlooker, Work};

/// Options of `watch`.
#[derive(Args)]
pub struct WatchArgs {
    /// A run's folder.
    dir: PathBuf,
    /// Seconds from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Look once.
    #[arg(long)]
    once: bool,
}

/// Shows the run until it ends, or until nobody reads any more.
///
/// # Errors
/// A folder that holds no run; an error when writing.
pub fn run(args: &WatchArgs) -> Result<()> {
    let folder = RunFolder::new(&args.dir);
    let mut onlooker = Onlooker::new(&folder);
    let mut screen = if args.once { Screen::of_lines() } else { Screen::of_stdout() };
    loop {
        // before its cells: what is drawn after the end is whole
        let work = onlooker.look()?;
        // the window may have another size by now
        let is_read = screen.show(&picture(&folder, &work, Look::of_stdout())?)?;
        if args.once || !is_read || !matches!(work, Work::GoesOn(_)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(args.every));
    }
}
