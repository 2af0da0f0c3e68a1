//! The index of weights in several files (`model.safetensors.index.json`, `pytorch_model.bin.index.json`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Longest index that is read, in bytes.
const LONGEST: u64 = 100_000_000;

/// The shards that an index names, which lie beside it.
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
pub(crate) fn weight_map(index: &Path) -> Result<Map<String, Value>> {
    let mut text = Vec::new();
    File::open(index)?.take(LONGEST).read_to_end(&mut text)?;
    let parsed: Value = serde_json::from_slice(&text)
        .map_err(|error| Error::Form(format!("an index that is not JSON: {error}")))?;
    match &parsed["weight_map"] {
        Value::Object(map) => Ok(map.clone()),
        _ => Error::form("a JSON file without `weight_map`: no index of shards"),
    }
}
