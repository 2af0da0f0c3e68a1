//! `rows.json`: what the files of external rows held when their cells were measured.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::store::RunFolder;

/// Name of the file in a run that says what the rows' files held.
pub(crate) const RECORD: &str = "rows.json";

/// Writes down what the files of the rows hold, `hashes` by their slugs. A run may be given further rows at any time, and other files for
/// rows that came to nothing.
///
/// # Errors
/// A row with finished cells whose file is another one now; the file system's.
pub fn record(store: &RunFolder, hashes: &BTreeMap<String, String>) -> Result<()> {
    let path = store.path(RECORD);
    let mut known: BTreeMap<String, String> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?,
        Err(_) => BTreeMap::new(),
    };
    let cells = std::fs::read_dir(store.path("cells")).with_context(|| store.root().display().to_string())?;
    let cells: Vec<String> = cells.flatten().map(|cell| cell.file_name().to_string_lossy().into_owned()).collect();
    for (slug, hash) in hashes {
        let of_row = |cell: &&String| {
            let rest = cell.split_once(slug.as_str()).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest == ".json" || rest.starts_with("-head"))
        };
        if let (Some(before), Some(cell)) = (known.get(slug), cells.iter().find(of_row)) {
            let hint = "hint: give the row another name, or the run another --out";
            ensure!(
                before == hash,
                "row {slug}: cells/{cell} was made of another file, or with other options, than are named now\n{hint}"
            );
        }
    }
    known.extend(hashes.clone());
    write_atomic(&path, serde_json::to_string_pretty(&known)?.as_bytes())
}
