//! A safetensors file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::tensor::RawTensor;

/// Longest header that is read, in bytes, as in the safetensors crate.
const LONGEST_HEADER: u64 = 100_000_000;
/// Where a tensor lies.
pub(crate) struct Place {
    pub element: Element,
    pub shape: Vec<usize>,
    start: u64,
    size: usize,
}

/// Name of the entry of a header that is no tensor.
const METADATA: &str = "__metadata__";

impl Place {
    /// The place that an entry of a header describes, in a file whose data begins at byte `data`.
    fn read(entry: &Value, data: u64) -> std::result::Result<Place, String> {
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
                Ok(Place { element, shape, start: data.saturating_add(start as u64), size })
            }
            _ => Err(format!("its shape {shape:?} does not fit its bytes {offsets:?}")),
        }
    }
}

/// An open file.
pub(crate) struct SafetensorsFile {
    file: File,
    pub places: BTreeMap<String, Place>,
    /// Texts beside the tensors.
    pub metadata: BTreeMap<String, String>,
}

impl SafetensorsFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// A file that is not safetensors, is truncated, or has elements of a type that this crate does not read.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut prefix = [0; 8];
        let header = file.read_exact(&mut prefix).map_or(u64::MAX, |()| u64::from_le_bytes(prefix));
        if header > LONGEST_HEADER || header + 8 > length {
            return Error::form("not a safetensors file, or one that is cut off in its header");
        }
        let mut text = Vec::new();
        file.by_ref().take(header).read_to_end(&mut text)?;
        let parsed: Value = serde_json::from_slice(&text).map_err(|error| {
            Error::Form(format!("not a safetensors file: its header is not JSON: {error}"))
        })?;
        let Some(entries) = parsed.as_object() else {
            return Error::form("not a safetensors file: its header is no object");
        };
        let mut read = SafetensorsFile { file, places: BTreeMap::new(), metadata: BTreeMap::new() };
        let mut total = 0u64;
        for (name, entry) in entries {
            if name == METADATA {
                let texts = entry.as_object().into_iter().flatten();
                read.metadata
                    .extend(texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
                continue;
            }
            let place = Place::read(entry, header + 8)
                .map_err(|reason| Error::Form(format!("the tensor {name}: {reason}")))?;
            if place.start.saturating_add(place.size as u64) > length {
                return Error::form(format!(
                    "a safetensors file that is cut off: the tensor {name} lies beyond its {length} \
                     bytes\nhint: copy or download it again"
                ));
            }
            total = total.saturating_add(place.size as u64);
            read.places.insert(name.clone(), place);
        }
        if total > length - header - 8 {
            return Error::form("a safetensors file whose tensors overlap");
        }
        Ok(read)
    }

    /// The values of the tensor `name`, which [`Self::places`] lists.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&mut self, name: &str) -> Result<RawTensor> {
        let place = &self.places[name];
        self.file.seek(SeekFrom::Start(place.start))?;
        let mut bytes = vec![0; place.size];
        self.file.read_exact(&mut bytes)?;
        let shape = place.shape.iter().map(|&side| side as i64).collect();
        Ok(RawTensor { element: place.element, shape, bytes })
    }
}
