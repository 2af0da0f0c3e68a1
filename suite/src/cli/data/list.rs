//! `eqr-bench data list`: the sets that can be packed.

use anyhow::Result;
use eqr_datasets::sources::{Access, SOURCES, Source};

use crate::console::print_text;

/// Prints the sets.
///
/// # Errors
/// Errors of stdout.
pub fn run() -> Result<()> {
    let mut text = String::new();
    for source in SOURCES {
        let about = &source.info;
        text += &format!("{}: {}\n", source.kind, about.name);
        let lines = [
            ("input", about.expects),
            ("images", about.sizes),
            ("download", &download(source)),
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

/// Size of the download, and where it comes from.
fn download(source: &Source) -> String {
    let size = source.info.access.size();
    match source.info.access {
        Access::Public(_) => format!("{size}, by `eqr-bench data fetch {}`", source.kind),
        Access::Account { page, .. } => format!("{size}, for registered users of {page}"),
        Access::Own => size,
    }
}
