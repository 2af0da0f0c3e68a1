//! What a run is: its resolved configuration and where it was made. A run's folder is continued only with the configuration that
//! it was begun with.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use eqr_models::Compute;
use serde_json::{Value, json};

use crate::run_folder::atomic_file::write_atomic;
use crate::run_folder::json_leaves::{Lists, leaves};
use crate::run_folder::lock;
use crate::run_folder::store::RunFolder;
use crate::suite_file::data_sets::SubSuite;

/// A part with what was read from files for it.
pub struct Read<'a> {
    /// The part.
    pub part: &'a SubSuite,
    /// Identifies the content of the data set.
    pub data: &'a str,
    /// Identifies the content of the packs that are measured on beside the part's own, by name.
    pub packs: &'a BTreeMap<String, String>,
    /// Identifies the file of `train.init`.
    pub init: Option<&'a str>,
}

/// Whether the folder may become, or already is, a run of this configuration. Nothing is written.
///
/// # Errors
/// A folder that is no run, or a run of another configuration (differing keys named).
pub fn check(store: &RunFolder, parts: &[SubSuite], compute: Compute) -> Result<()> {
    if let Some(mut found) = read(store)? {
        // what is read from files is not known yet
        for later in ["data", "init", "packs"] {
            found.as_object_mut().and_then(|keys| keys.remove(later));
        }
        let suites = of_parts(parts.iter().map(|part| (part, Some(suite(part)))));
        return same(&found, &json!({"suite": suites, "precision": precision_name(compute)}))
            .with_context(|| other(store));
    }
    let root = store.root();
    if !root.exists() {
        return Ok(());
    }
    // `data` may be there: a set that was rendered for a call that was then refused; and this call's own claim
    let entries = std::fs::read_dir(root).with_context(|| format!("cannot use {} as --out", root.display()))?;
    if entries.flatten().any(|entry| entry.file_name() != "data" && entry.file_name() != lock::FILE) {
        bail!(
            "{} is not empty and holds no manifest.json: it is no run\nhint: name a new folder for --out",
            root.display()
        );
    }
    Ok(())
}

/// The suite without the rows that are not pretrained and without the pairs that a report tests: a run may be given
/// further ones.
fn suite(part: &SubSuite) -> Value {
    let mut suite = json!(part.suite);
    if let Some(keys) = suite.as_object_mut() {
        keys.retain(|key, _| key != "rows" && key != "compare");
    }
    suite
}

/// One value of each part: by the keys of the parts, or the value itself where there is one part.
fn of_parts<'a>(values: impl Iterator<Item = (&'a SubSuite, Option<Value>)>) -> Option<Value> {
    let mut by_key = serde_json::Map::new();
    for (part, value) in values {
        match &part.key {
            None => return value,
            Some(key) => by_key.extend(value.map(|value| (key.clone(), value))),
        }
    }
    (!by_key.is_empty()).then_some(Value::Object(by_key))
}

/// Writes the manifest of a new run, or checks that the run in the folder is the same one and adds where it goes on.
///
/// # Errors
/// As [`check`], other data included, and a folder that cannot be written.
pub fn establish(store: &RunFolder, read_of: &[Read], compute: Compute, provenance: Value) -> Result<()> {
    let mut configuration = json!({
        "suite": of_parts(read_of.iter().map(|read| (read.part, Some(suite(read.part))))),
        "precision": precision_name(compute),
        "data": of_parts(read_of.iter().map(|read| (read.part, Some(json!(read.data))))),
    });
    if let Some(init) = of_parts(read_of.iter().map(|read| (read.part, read.init.map(|init| json!(init))))) {
        configuration["init"] = init;
    }
    let packs = |read: &Read| (!read.packs.is_empty()).then(|| json!(read.packs));
    if let Some(packs) = of_parts(read_of.iter().map(|read| (read.part, packs(read)))) {
        configuration["packs"] = packs;
    }
    std::fs::create_dir_all(store.path("cells"))
        .with_context(|| format!("cannot create {}", store.root().display()))?;
    let manifest = match whole(store)? {
        Some(mut manifest) => {
            same(&manifest["configuration"], &configuration).with_context(|| other(store))?;
            match manifest["continued"].as_array_mut() {
                Some(calls) => calls.push(provenance),
                None => manifest["continued"] = json!([provenance]),
            }
            manifest
        }
        None => json!({
            "schema": 1,
            "configuration": configuration,
            "configuration_hash": blake3::hash(configuration.to_string().as_bytes()).to_hex().as_str(),
            "provenance": provenance,
        }),
    };
    write_atomic(&store.path("manifest.json"), serde_json::to_string_pretty(&manifest)?.as_bytes())
}

/// The number type that the run in the folder was begun with.
pub fn precision(store: &RunFolder) -> Option<Compute> {
    let found = read(store).ok()??;
    [Compute::F32, Compute::Bf16].into_iter().find(|&compute| found["precision"] == precision_name(compute))
}

/// The configuration of the run in the folder, if there is one.
///
/// # Errors
/// A manifest that cannot be read or is damaged.
pub fn read(store: &RunFolder) -> Result<Option<Value>> {
    Ok(whole(store)?.map(|mut manifest| manifest["configuration"].take()))
}

/// The manifest of the run in the folder, if there is one.
fn whole(store: &RunFolder) -> Result<Option<Value>> {
    let path = store.path("manifest.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged", path.display()))
}

/// A number type as manifests and the command line call it.
pub fn precision_name(compute: Compute) -> &'static str {
    match compute {
        Compute::F32 => "fp32",
        Compute::Bf16 => "bf16",
        Compute::F64 => "f64",
    }
}

fn other(store: &RunFolder) -> String {
    format!("{} holds a run of another configuration", store.root().display())
}

/// # Errors
/// Names every key that differs, with both values.
fn same(found: &Value, wanted: &Value) -> Result<()> {
    let differing =
        differing(found, wanted, |key, has, wants| format!("  {key}: the folder has {has}, this call {wants}"));
    if differing.is_empty() {
        return Ok(());
    }
    bail!("\n{}\nhint: name another folder for --out, or repeat the first call's options", differing.join("\n"))
}

/// A line for every key in which two configurations differ, from the key and both values.
pub fn differing(found: &Value, wanted: &Value, line: impl Fn(&str, &str, &str) -> String) -> Vec<String> {
    let flat = |document| -> Vec<(String, String)> {
        let leaves = leaves(document, Lists::Whole).into_iter();
        leaves.map(|leaf| (leaf.path.join("."), leaf.value.to_string())).collect()
    };
    let (old, new) = (flat(found), flat(wanted));
    let lookup = |list: &[(String, String)], key: &str| {
        list.iter().find(|(k, _)| k == key).map_or("nothing".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<&String> = old.iter().chain(&new).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| lookup(&old, key) != lookup(&new, key))
        .map(|key| line(key, &lookup(&old, key), &lookup(&new, key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_keys_are_named_with_both_values() {
        let message = format!(
            "{:#}",
            same(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": 1, "c": 3, "d": [1]}})).unwrap_err()
        );
        assert!(message.contains("a.c: the folder has 2, this call 3"), "{message}");
        assert!(message.contains("a.d: the folder has nothing, this call [1]"), "{message}");
        assert!(!message.contains("a.b"), "{message}");
        assert!(same(&json!({"a": 1}), &json!({"a": 1})).is_ok());
    }
}
