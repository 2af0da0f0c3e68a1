//! The finished images of an unfinished pack: a file with the image bytes, and a journal that describes them.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::slot::Slot;
use crate::error::{Error, Result};
use crate::output::{JOURNAL, is_journal, is_temporary, parent_folder, unfinished_folder};

/// Buffer size in bytes.
const BUFFER: usize = 1 << 20;

/// The result for one slot of a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// An image or a mask whose bytes are in the spool.
    Stored(SpooledImage),
    /// Scene latents.
    Latents {
        values: [f32; 7],
        /// BLAKE3 hash (hex) of the member.
        source: String,
    },
    /// The member cannot be used.
    Bad { reason: String },
}

/// An image or a mask in the spool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpooledImage {
    pub bytes: u64,
    /// Height and width.
    pub size: [u32; 2],
    /// Height and width in the source.
    pub original: [u32; 2],
    /// Largest class id of a mask.
    pub largest_id: u8,
    /// Whether the bytes are a pixel array and not a file.
    pub pixels: bool,
    /// Per-channel sums of the values.
    pub sums: [u64; 3],
    /// Per-channel sums of the squared values.
    pub squares: [u64; 3],
    /// BLAKE3 hash (hex) of the bytes as stored.
    pub hash: String,
    /// BLAKE3 hash (hex) of the member.
    pub source: String,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct JournalEntry {
    slot: Slot,
    outcome: Outcome,
}

/// The first line of the journal.
#[derive(Serialize, Deserialize)]
struct JournalHead {
    key: String,
}

/// The unfinished pack.
pub(super) struct Spool {
    folder: PathBuf,
    /// Locked while this process packs.
    journal: BufWriter<File>,
    bytes: BufWriter<File>,
    length: u64,
    /// Result of each slot, with the position of its first byte.
    done: HashMap<Slot, (u64, Outcome)>,
}

impl Spool {
    /// Resumes the unfinished pack of `out` if it has the same `key`. Otherwise starts a new one.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] if another process is packing to `out`, or if the folder of the
    /// spool holds something else.
    pub fn open(out: &Path, key: &str) -> Result<Spool> {
        let folder = unfinished_folder(out);
        let parent = parent_folder(out);
        if !parent.is_dir() {
            return Err(Error::io(parent)(io::Error::new(io::ErrorKind::NotFound, "no such folder")));
        }
        check_own(&folder)?;
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let open = |name: &str| {
            let path = folder.join(name);
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(Error::io(&path))
        };
        let mut journal = open(JOURNAL)?;
        lock(&journal, out)?;
        // the process that held the lock may have finished and removed the file that was just opened
        let opened = journal.metadata().map_err(Error::io(&folder))?.ino();
        if !fs::metadata(folder.join(JOURNAL)).is_ok_and(|found| found.ino() == opened) {
            return Err(in_use(out));
        }
        remove_half_written(&folder).map_err(Error::io(&folder))?;
        let mut bytes = open("bytes")?;
        let (done, journal_length, length) =
            recover(&mut journal, &mut bytes, key).map_err(Error::io(&folder))?;
        let cut =
            |file: &mut File, length| file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
        cut(&mut journal, journal_length).map_err(Error::io(&folder))?;
        cut(&mut bytes, length).map_err(Error::io(&folder))?;
        let mut spool = Spool {
            journal: BufWriter::with_capacity(BUFFER, journal),
            bytes: BufWriter::with_capacity(BUFFER, bytes),
            folder,
            length,
            done,
        };
        if journal_length == 0 {
            spool.write_line(&JournalHead { key: key.to_owned() }).map_err(Error::io(&spool.folder))?;
        }
        Ok(spool)
    }

    /// The folder of the spool. The temporary file of the pack is also written there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the slot has a result.
    pub fn has(&self, slot: Slot) -> bool {
        self.done.contains_key(&slot)
    }

    /// The result of the slot.
    pub fn outcome(&self, slot: Slot) -> Option<&Outcome> {
        self.done.get(&slot).map(|(_, outcome)| outcome)
    }

    /// Adds the result of a slot. It is stored safely after the next [`Spool::commit`].
    pub fn add(&mut self, slot: Slot, outcome: Outcome, bytes: &[u8]) -> Result<()> {
        let entry = JournalEntry { slot, outcome };
        self.bytes
            .write_all(bytes)
            .and_then(|()| self.write_line(&entry))
            .map_err(Error::io(&self.folder))?;
        self.done.insert(slot, (self.length, entry.outcome));
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Flushes the additions: first the bytes, then the journal, which refers to them.
    pub fn commit(&mut self) -> Result<()> {
        self.bytes.flush().and_then(|()| self.journal.flush()).map_err(Error::io(&self.folder))
    }

    /// Writes the bytes of `slots` to `to`, one slot after the other.
    pub fn copy(&self, slots: &[Slot], to: &mut dyn Write) -> io::Result<()> {
        let mut buffer = Vec::new();
        for slot in slots {
            if let Some((start, Outcome::Stored(stored))) = self.done.get(slot) {
                buffer.resize(stored.bytes as usize, 0);
                self.bytes.get_ref().read_exact_at(&mut buffer, *start)?;
                to.write_all(&buffer)?;
            }
        }
        Ok(())
    }

    /// Removes the spool, because the pack is complete or cannot be completed.
    pub fn remove(&self) {
        // leftovers are harmless: the next packing to this name resumes or overwrites them
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// Adds to `error` where the finished images are and how to resume.
    pub fn with_resume_hint(&self, error: Error) -> Error {
        let kept = |cause: &dyn std::fmt::Display| {
            format!(
                "{cause}\nhint: finished work is kept in {}; run the same command to continue",
                self.folder.display()
            )
        };
        match error {
            Error::Io { path, cause } => {
                let kept = kept(&cause);
                Error::Io { path, cause: io::Error::new(cause.kind(), kept) }
            }
            Error::Hdf5 { path, cause } => Error::Hdf5 { path, cause: hdf5::Error::from(kept(&cause)) },
            other => other,
        }
    }

    fn write_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.journal, value)?;
        self.journal.write_all(b"\n")
    }
}

/// Checks that a folder of this name holds a spool and nothing else, because its files will be removed.
fn check_own(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name();
        let is_own = match name.to_str() {
            Some(JOURNAL) => is_journal(&entry.path()).map_err(Error::io(entry.path()))?,
            // the journal is made first
            Some("bytes") => folder.join(JOURNAL).exists(),
            other => other.is_some_and(is_temporary),
        };
        if !is_own {
            let reason = format!(
                "unfinished packs are kept in a folder of this name, but {} in it is something else\n\
                 hint: rename this folder, or give another --out",
                name.display()
            );
            return Err(Error::format(folder, reason));
        }
    }
    Ok(())
}

/// Locks the journal, so that no other process can pack to `out`.
fn lock(journal: &File, out: &Path) -> Result<()> {
    match journal.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(out)),
        // the file system does not support locks, so other processes cannot be detected
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(Error::io(out)(error)),
    }
}

/// Removes the temporary packs that a killed process left behind.
fn remove_half_written(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_temporary) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn in_use(out: &Path) -> Error {
    Error::format(out, "another process is packing to this file\nhint: wait for it, or give another --out")
}

/// Reads the journal if it belongs to `key`, up to the first entry with missing or damaged bytes. Returns the
/// slots with the positions of their bytes, and the valid lengths of journal and bytes.
#[allow(clippy::type_complexity)]
fn recover(
    journal: &mut File,
    bytes: &mut File,
    key: &str,
) -> io::Result<(HashMap<Slot, (u64, Outcome)>, u64, u64)> {
    let mut done = HashMap::new();
    let mut lines = BufReader::with_capacity(BUFFER, journal);
    let mut bytes = BufReader::with_capacity(BUFFER, bytes);
    let mut line = String::new();
    let head: Option<JournalHead> =
        lines.read_line(&mut line).ok().and_then(|_| serde_json::from_str(&line).ok());
    if head.is_none_or(|head| head.key != key) {
        return Ok((done, 0, 0));
    }
    let (mut valid, mut length) = (line.len() as u64, 0);
    loop {
        line.clear();
        // the journal ends at a line that a crash truncated
        if lines.read_line(&mut line).unwrap_or(0) == 0 || !line.ends_with('\n') {
            break;
        }
        let Ok(JournalEntry { slot, outcome }) = serde_json::from_str(&line) else { break };
        let start = length;
        if let Outcome::Stored(stored) = &outcome {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader((&mut bytes).take(stored.bytes))?;
            if hasher.finalize().to_hex().as_str() != stored.hash {
                break;
            }
            length += stored.bytes;
        }
        valid += line.len() as u64;
        done.insert(slot, (start, outcome));
    }
    Ok((done, valid, length))
}

#[cfg(test)]
mod tests {
    use super::super::slot::Role;
    use super::*;

    fn slot(index: usize) -> Slot {
        Slot(0, index, Role::Image)
    }

    fn image(bytes: &[u8]) -> Outcome {
        let hash = blake3::hash(bytes).to_hex().to_string();
        let (size, source, bytes) = ([1, 1], hash.clone(), bytes.len() as u64);
        let (sums, squares) = ([0; 3], [0; 3]);
        Outcome::Stored(SpooledImage {
            bytes,
            size,
            original: size,
            largest_id: 0,
            pixels: true,
            sums,
            squares,
            hash,
            source,
        })
    }

    /// Makes a spool with two images, and returns its output path.
    fn filled(folder: &Path) -> PathBuf {
        let out = folder.join("set.h5");
        let mut spool = Spool::open(&out, "key").unwrap();
        spool.add(slot(0), image(b"first"), b"first").unwrap();
        spool.add(slot(1), image(b"second"), b"second").unwrap();
        spool.commit().unwrap();
        out
    }

    fn copied(spool: &Spool, slots: &[Slot]) -> Vec<u8> {
        let mut bytes = Vec::new();
        spool.copy(slots, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_unfinished_pack_is_continued_with_the_same_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let out = filled(folder.path());
        let spool = Spool::open(&out, "key").unwrap();
        assert_eq!(copied(&spool, &[slot(1), slot(0)]), b"secondfirst");
        let locked = Spool::open(&out, "key").err().unwrap().to_string();
        assert!(locked.contains("another process is packing"), "{locked}");
        drop(spool);
        assert!(!Spool::open(&out, "other key").unwrap().has(slot(0)));
    }

    #[test]
    fn a_cut_journal_and_damaged_bytes_end_what_is_recovered() {
        let folder = tempfile::tempdir().unwrap();
        let out = filled(folder.path());
        let journal = unfinished_folder(&out).join(JOURNAL);
        let text = fs::read(&journal).unwrap();
        fs::write(&journal, &text[..text.len() - 1]).unwrap();
        let spool = Spool::open(&out, "key").unwrap();
        assert!(spool.has(slot(0)) && !spool.has(slot(1)));
        drop(spool);
        fs::write(unfinished_folder(&out).join("bytes"), b"fi?st").unwrap();
        assert!(!Spool::open(&out, "key").unwrap().has(slot(0)));
    }
}
