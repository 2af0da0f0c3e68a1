//! `rows.json`: hashes of the files of external rows, taken when their cells were measured.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::run_folder::folder::RunFolder;
use crate::run_folder::{layout, seal};

/// Records the hashes of the rows' files, by the rows' slugs. Rows may be added to a run at any time. The
/// files of rows without finished cells may change.
///
/// # Errors
/// A row with finished cells whose file has changed; a file system error.
pub fn record(run: &RunFolder, hashes: &BTreeMap<String, String>) -> Result<()> {
    let mut recorded = recorded(run)?;
    let cells =
        std::fs::read_dir(run.path(layout::CELLS)).with_context(|| run.root().display().to_string())?;
    let cells: Vec<String> =
        cells.flatten().map(|cell| cell.file_name().to_string_lossy().into_owned()).collect();
    for (slug, hash) in hashes {
        let is_of_row = |cell: &&String| {
            let rest = cell.split_once(slug.as_str()).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest == ".json" || rest.starts_with("-head"))
        };
        if let (Some(before), Some(cell)) = (recorded.get(slug), cells.iter().find(is_of_row)) {
            let hint = "hint: give the row another name, or the run another --out";
            ensure!(
                before == hash,
                "row {slug}: cells/{cell} was made from another file, or with other options, than those given \
                 now\n{hint}"
            );
        }
    }
    recorded.extend(hashes.clone());
    if recorded.is_empty() { Ok(()) } else { seal::write_sealed(&run.path(layout::ROW_FILES), &recorded) }
}

/// The recorded hashes, by the rows' slugs.
///
/// # Errors
/// A file that cannot be read or is damaged.
pub fn recorded(run: &RunFolder) -> Result<BTreeMap<String, String>> {
    let path = run.path(layout::ROW_FILES);
    if path.exists() { seal::read_sealed(&path) } else { Ok(BTreeMap::new()) }
}
