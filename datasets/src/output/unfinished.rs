//! The folder beside an output in which an unfinished pack is kept, so that packing can go on.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How the folder's name ends.
const ENDING: &str = ".part";

/// The file in the folder that is made first.
pub(crate) const JOURNAL: &str = "journal";

/// How a journal begins.
const JOURNAL_START: &[u8] = br#"{"key":""#;

/// The folder of the unfinished output `out`.
pub(crate) fn unfinished_folder(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(ENDING);
    PathBuf::from(name)
}

/// Whether `folder` is that of an unfinished output. It is no part of an input that it lies in.
pub(crate) fn is_unfinished(folder: &Path) -> bool {
    let named = folder.as_os_str().as_encoded_bytes().ends_with(ENDING.as_bytes());
    named && is_journal(&folder.join(JOURNAL)).unwrap_or(false)
}

/// Whether a file is a journal, or one that was cut short.
pub(crate) fn is_journal(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(JOURNAL_START.len() as u64).read_to_end(&mut start)?;
    Ok(JOURNAL_START.starts_with(&start))
}
