//! What `torch.save` wrote before PyTorch 1.6, and writes with `_use_new_zipfile_serialization=False`: five
//! pickles (a magic number, a version, facts about the machine, the object, the names of the storages), then
//! each storage with its number of elements before it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::pickle::{Document, Value, parse};
use crate::state_tree;
use crate::tensor::{Storage, View};

/// The pickle of torch's magic number, with which such a file begins.
pub(crate) const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
/// The pickle of the only version of the format.
const VERSION: &[u8] = b"\x80\x02M\xe9\x03.";
/// Largest file of this form that is read, in bytes. Its pickles have no length, so it is read whole.
const LARGEST: u64 = 1 << 34;

/// A file that is read whole.
pub(crate) struct LegacyFile {
    bytes: Vec<u8>,
    /// Where the elements of each storage begin.
    places: HashMap<Arc<str>, usize>,
}

impl LegacyFile {
    /// Reads the file at `path` and the tensors that it holds.
    ///
    /// # Errors
    /// A file that is damaged; pickles that are refused.
    pub fn open(path: &Path) -> Result<(LegacyFile, BTreeMap<String, View>)> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        if length > LARGEST {
            return Error::form(format!(
                "a file of torch.save before PyTorch 1.6 of {length} bytes, more than {LARGEST}\nhint: save \
                 it again with a recent PyTorch"
            ));
        }
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Self::read(bytes)
    }

    fn read(bytes: Vec<u8>) -> Result<(LegacyFile, BTreeMap<String, View>)> {
        let Some(rest) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(VERSION)) else {
            return Error::form("a pickle that torch.save did not write");
        };
        let mut at = bytes.len() - rest.len();
        let mut next = || {
            let document = parse(&bytes[at..])?;
            at += document.length;
            Ok::<_, Error>(document)
        };
        let (_machine, object, names) = (next()?, next()?, next()?);
        let tensors = state_tree::tensors(&object)?;
        let places = places(&bytes, at, &names, &object)?;
        Ok((LegacyFile { bytes, places }, tensors))
    }

    /// The bytes of a storage.
    ///
    /// # Errors
    /// A storage that is missing or leaves the file.
    pub fn storage(&self, storage: &Storage) -> Result<&[u8]> {
        let place = self.places.get(&storage.key).copied();
        let bytes = place.zip(storage.size()).and_then(|(start, size)| self.bytes.get(start..)?.get(..size));
        match bytes {
            Some(bytes) => Ok(bytes),
            None => truncated(&storage.key),
        }
    }
}

/// Where the elements of the storages of `object` begin. They follow each other from byte `at` in the order
/// of `names`.
fn places(
    bytes: &[u8],
    mut at: usize,
    names: &Document,
    object: &Document,
) -> Result<HashMap<Arc<str>, usize>> {
    let known: HashMap<&str, &Storage> = object.storages().map(|storage| (&*storage.key, storage)).collect();
    let Value::List(ids) = names.value(names.root()) else {
        return Error::form("a file of torch.save without the names of its storages");
    };
    let mut places = HashMap::new();
    for &id in ids {
        let Value::Text(name) = names.value(id) else {
            return Error::form("a storage whose name is no text");
        };
        let Some(storage) = known.get(&**name) else { return truncated(name) };
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk().copied()).map(u64::from_le_bytes);
        if count != Some(storage.count as u64) {
            return truncated(name);
        }
        at += 8;
        places.insert(name.clone(), at);
        match storage.size().and_then(|size| at.checked_add(size)).filter(|&end| end <= bytes.len()) {
            Some(end) => at = end,
            None => return truncated(name),
        }
    }
    Ok(places)
}

fn truncated<T>(name: &str) -> Result<T> {
    Error::form(format!(
        "the storage {name} is missing, damaged or cut off\nhint: copy or download the file again"
    ))
}
