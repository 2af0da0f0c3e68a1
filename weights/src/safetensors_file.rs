//! Weights as safetensors: one file, or several shards that an index names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::RawTensor;

/// Longest header that is read, in bytes, as in the safetensors crate.
const LONGEST_HEADER: u64 = 100_000_000;
/// Longest index that is read, in bytes.
const LONGEST_INDEX: u64 = 100_000_000;

/// Where a tensor lies.
pub(crate) struct Place {
    shard: usize,
    pub element: Element,
    pub shape: Vec<usize>,
    start: u64,
    size: usize,
}

/// Name of the entry of a header that is no tensor.
const METADATA: &str = "__metadata__";

impl Place {
    /// The place that an entry of a header describes, in a file whose data begins at byte `data`.
    fn read(entry: &Value, shard: usize, data: u64) -> std::result::Result<Place, String> {
        let dtype = entry["dtype"].as_str().unwrap_or_default();
        let element = Element::of_safetensors(dtype)
            .ok_or_else(|| format!("of the type {dtype:?}, which is not read"))?;
        let naturals = |key: &str| {
            let values = entry[key].as_array().into_iter().flatten();
            let values = values.map(|value| usize::try_from(value.as_u64()?).ok());
            values.collect::<Option<Vec<usize>>>().ok_or_else(|| format!("{key} is no list of numbers"))
        };
        let (shape, offsets) = (naturals("shape")?, naturals("data_offsets")?);
        let size = shape.iter().try_fold(element.bytes(), |size, &side| size.checked_mul(side));
        match (&offsets[..], size) {
            (&[start, end], Some(size)) if end.checked_sub(start) == Some(size) => {
                Ok(Place { shard, element, shape, start: data.saturating_add(start as u64), size })
            }
            _ => Err(format!("its shape {shape:?} does not fit its bytes {offsets:?}")),
        }
    }
}

/// The open files.
#[derive(Default)]
pub(crate) struct SafetensorsFile {
    shards: Vec<File>,
    pub places: BTreeMap<String, Place>,
    /// Texts beside the tensors.
    pub metadata: BTreeMap<String, String>,
}

impl SafetensorsFile {
    /// Opens one safetensors file.
    ///
    /// # Errors
    /// A file that is not safetensors, is truncated, or has elements of a type that this crate does not read.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        let mut file = SafetensorsFile::default();
        file.add(path)?;
        Ok(file)
    }

    /// Opens the shards that the index (`model.safetensors.index.json`) names, which lie beside it.
    ///
    /// # Errors
    /// Same as [`shards`]; errors of a shard, with its name; a tensor that no shard holds.
    pub fn open_shards(index: &Path) -> Result<SafetensorsFile> {
        let map = weight_map(index)?;
        let mut file = SafetensorsFile::default();
        for shard in shards(index)? {
            let name = shard.file_name().unwrap_or_default().to_string_lossy();
            file.add(&shard).map_err(|error| Error::Form(format!("shard {name}: {error}")))?;
        }
        match map.keys().find(|name| !file.places.contains_key(*name)) {
            Some(missing) => {
                Error::form(format!("the index names the tensor {missing}, which no shard holds"))
            }
            None => Ok(file),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix)?;
        let header = u64::from_le_bytes(prefix);
        if header > LONGEST_HEADER || header + 8 > length {
            return Error::form(format!(
                "a safetensors file whose header has {header} bytes, of {length} in all"
            ));
        }
        let mut text = Vec::new();
        file.by_ref().take(header).read_to_end(&mut text)?;
        let parsed: Value = serde_json::from_slice(&text).map_err(|error| {
            Error::Form(format!("not a safetensors file: its header is not JSON: {error}"))
        })?;
        let Some(entries) = parsed.as_object() else {
            return Error::form("not a safetensors file: its header is no object");
        };
        for (name, entry) in entries {
            if name == METADATA {
                let texts = entry.as_object().into_iter().flatten();
                self.metadata
                    .extend(texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
                continue;
            }
            let place = Place::read(entry, self.shards.len(), header + 8)
                .map_err(|reason| Error::Form(format!("the tensor {name}: {reason}")))?;
            if place.start.saturating_add(place.size as u64) > length {
                return Error::form(format!(
                    "a safetensors file that is cut off: the tensor {name} lies beyond its {length} bytes\nhint: copy \
                     or download it again"
                ));
            }
            self.places.insert(name.clone(), place);
        }
        self.shards.push(file);
        Ok(())
    }

    /// The values of the tensor `name`, which [`Self::places`] lists.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&mut self, name: &str) -> Result<RawTensor> {
        let place = &self.places[name];
        let shard = &mut self.shards[place.shard];
        shard.seek(SeekFrom::Start(place.start))?;
        let mut bytes = vec![0; place.size];
        shard.read_exact(&mut bytes)?;
        let shape = place.shape.iter().map(|&side| side as i64).collect();
        Ok(RawTensor { element: place.element, shape, bytes })
    }
}

/// The shards that an index of safetensors names, which lie beside it.
///
/// # Errors
/// An index that cannot be read, names no shards, or names paths.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let map = weight_map(index)?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    let shard = |name: &str| match PathBuf::from(name).file_name() {
        Some(alone) if alone == name => Ok(index.with_file_name(name)),
        _ => Error::form(format!("the index names the shard {name:?}, which is not a file beside it")),
    };
    names.into_iter().map(shard).collect()
}

/// The shard of each tensor.
fn weight_map(index: &Path) -> Result<Map<String, Value>> {
    let mut text = Vec::new();
    File::open(index)?.take(LONGEST_INDEX).read_to_end(&mut text)?;
    let parsed: Value = serde_json::from_slice(&text)
        .map_err(|error| Error::Form(format!("an index that is not JSON: {error}")))?;
    match &parsed["weight_map"] {
        Value::Object(map) => Ok(map.clone()),
        _ => Error::form("a JSON file without `weight_map`: no index of shards"),
    }
}
