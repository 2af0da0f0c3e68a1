//! `manifest.json`: what a run is (its resolved configuration) and where it was made. A run can only be
//! continued with the configuration that it was started with. A damaged manifest is rebuilt if the
//! configuration of the call is the one whose hash stands in `cells.log`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use eqr_datasets::output::is_temporary;
use eqr_models::Compute;
use eqr_probes::sequential::ERROR;
use serde_json::{Map, Value, json};

use crate::console::say;
use crate::run_folder::cell::Cell;
use crate::run_folder::encoder_description::EncoderDescription;
use crate::run_folder::folder::RunFolder;
use crate::run_folder::json_leaves::{Lists, leaves};
use crate::run_folder::{layout, seal};
use crate::suite_file::data_sets::SubSuite;
use crate::suite_file::until_decided::UntilDecided;

/// Keys of the configuration that are known only when the files have been read.
const FROM_FILES: [&str; 3] = ["data", "init", "packs"];

/// A sub-suite with hashes of the files that it depends on.
pub struct HashedSubSuite<'a> {
    /// The sub-suite.
    pub sub_suite: &'a SubSuite,
    /// Hash of its data set's content.
    pub data: &'a str,
    /// Hashes of the other packs used for measurements, by name.
    pub packs: &'a BTreeMap<String, String>,
    /// Hash of the file of `train.init`.
    pub init: Option<&'a str>,
}

/// Checks that the folder can become, or already is, a run of this configuration. Nothing is written.
///
/// # Errors
/// A folder that is not a run, or a run with another configuration; the message names the keys that differ.
pub fn check(
    run: &RunFolder,
    sub_suites: &[SubSuite],
    compute: Compute,
    until_decided: Option<UntilDecided>,
) -> Result<()> {
    let path = run.path(layout::MANIFEST);
    if path.exists() {
        let mut found = match read(run) {
            // whether it can be rebuilt is known when the files have been read
            Err(_) if run.configuration_hash()?.is_some() => return Ok(()),
            found => found?.expect("it exists"),
        };
        for key in FROM_FILES {
            found.as_object_mut().and_then(|keys| keys.remove(key));
        }
        let suite = |sub_suite| (sub_suite, Some(suite(sub_suite, until_decided)));
        let suites = by_data_set(sub_suites.iter().map(suite));
        let mut wanted = json!({"suite": suites, "precision": compute.name()});
        add_until_decided(&mut wanted, until_decided);
        return ensure_same(&found, &wanted).with_context(|| another_configuration(run));
    }
    let root = run.root();
    // a run whose manifest is gone can be rebuilt, which is known when the files have been read
    if !root.exists() || run.configuration_hash()?.is_some() {
        return Ok(());
    }
    // a call that was refused or killed may have left rendered data and temporary files; the lock is this
    // call's own
    let allowed = |name: &str| [layout::DATA, layout::LOCK].contains(&name) || is_temporary(name);
    let files = std::fs::read_dir(root).with_context(|| format!("cannot use {} as --out", root.display()))?;
    if files.flatten().any(|file| !allowed(&file.file_name().to_string_lossy())) {
        bail!(
            "{} is not empty and holds no manifest.json: it is not a run\nhint: name a new folder for --out",
            root.display()
        );
    }
    Ok(())
}

/// The suite without its external rows, and without the pairs and claims that the report tests: further ones
/// may be added to a run. Claims that decide on the number of seeds must be fixed before the first look.
fn suite(sub_suite: &SubSuite, until_decided: Option<UntilDecided>) -> Value {
    let mut suite = json!(sub_suite.suite);
    if let Some(keys) = suite.as_object_mut() {
        let may_grow = |key: &str| match key {
            "rows" | "compare" => true,
            "claim" => until_decided.is_none(),
            _ => false,
        };
        keys.retain(|key, _| !may_grow(key));
    }
    suite
}

/// Adds the rule that decides on the number of seeds; the first look has the suite's seeds.
fn add_until_decided(configuration: &mut Value, until_decided: Option<UntilDecided>) {
    if let Some(UntilDecided { max_seeds }) = until_decided {
        configuration["until_decided"] = json!({
            "rule": "paired t tests after each further seed, error spent in proportion to n - 1, Holm over claims",
            "error": ERROR,
            "max_seeds": max_seeds,
        });
    }
}

/// One value per sub-suite, by the keys of the data sets; the value itself if there is one data set without a
/// key.
fn by_data_set<'a>(values: impl Iterator<Item = (&'a SubSuite, Option<Value>)>) -> Option<Value> {
    let mut by_key = Map::new();
    for (sub_suite, value) in values {
        match &sub_suite.key {
            None => return value,
            Some(key) => by_key.extend(value.map(|value| (key.clone(), value))),
        }
    }
    (!by_key.is_empty()).then_some(Value::Object(by_key))
}

/// Writes the manifest of a new run, or checks that the run in the folder has the same configuration and adds
/// this call to it.
///
/// # Errors
/// Same as [`check`]; also different data, and a folder that cannot be written.
pub fn establish(
    run: &RunFolder,
    sub_suites: &[HashedSubSuite],
    compute: Compute,
    until_decided: Option<UntilDecided>,
    provenance: Value,
) -> Result<()> {
    let of_each = |value: &dyn Fn(&HashedSubSuite) -> Option<Value>| {
        by_data_set(sub_suites.iter().map(|hashed| (hashed.sub_suite, value(hashed))))
    };
    let mut configuration = json!({
        "suite": of_each(&|hashed| Some(suite(hashed.sub_suite, until_decided))),
        "precision": compute.name(),
        "data": of_each(&|hashed| Some(json!(hashed.data))),
    });
    add_until_decided(&mut configuration, until_decided);
    if let Some(init) = of_each(&|hashed| hashed.init.map(|init| json!(init))) {
        configuration["init"] = init;
    }
    if let Some(packs) = of_each(&|hashed| (!hashed.packs.is_empty()).then(|| json!(hashed.packs))) {
        configuration["packs"] = packs;
    }
    let hash = blake3::hash(configuration.to_string().as_bytes()).to_hex().to_string();
    let new = |rebuilt: bool| {
        let mut manifest = json!({
            "schema": 2,
            "configuration": configuration,
            "configuration_hash": hash,
            "provenance": provenance,
        });
        if rebuilt {
            manifest["rebuilt"] =
                json!("the first manifest was damaged or gone; the provenance of earlier calls is lost");
        }
        manifest
    };
    let recorded = run.configuration_hash()?;
    let found = match read_whole(run) {
        Ok(None) if recorded.is_some() => Err(anyhow!("{} is gone", run.path(layout::MANIFEST).display())),
        found => found,
    };
    let manifest = match found {
        Ok(None) => new(false),
        Ok(Some(mut manifest)) => {
            ensure_same(&manifest["configuration"], &configuration)
                .with_context(|| another_configuration(run))?;
            match manifest["continued"].as_array_mut() {
                Some(calls) => calls.push(provenance),
                None => manifest["continued"] = json!([provenance]),
            }
            manifest
        }
        Err(error) if recorded.as_ref() == Some(&hash) => {
            say(&format!("note: {error:#}; it is rebuilt, because cells.log is of this configuration"));
            new(true)
        }
        Err(error) => {
            let hint = "hint: repeat the options of the first call and its --precision, or name another folder for --out";
            bail!(
                "{error:#}\nit cannot be rebuilt: this call has another configuration, or other data\n{hint}"
            );
        }
    };
    // the manifest makes the folder a run, so it comes first
    seal::write_sealed(&run.path(layout::MANIFEST), &manifest)?;
    std::fs::create_dir_all(run.path(layout::CELLS))
        .with_context(|| format!("cannot create {}", run.path(layout::CELLS).display()))?;
    if run.record_configuration(&hash)? {
        say("warning: cells.log was gone; the cells that have their own seals are listed again");
    }
    Ok(())
}

/// Records what the cells say: the encoders from files, by the rows and how they were read, and the energy of
/// the trainings.
///
/// # Errors
/// A manifest that is damaged or cannot be written.
pub fn record_cells(run: &RunFolder, cells: &[Cell]) -> Result<()> {
    let mut encoders: BTreeMap<&str, Vec<&EncoderDescription>> = BTreeMap::new();
    for cell in cells {
        let of_row = cell.encoder.iter().map(|encoder| (cell.method.as_str(), encoder));
        for (method, encoder) in of_row {
            let known = encoders.entry(method).or_default();
            if !known.contains(&encoder) {
                known.push(encoder);
            }
        }
    }
    let energy = energies(cells);
    let Some(mut manifest) = read_whole(run)? else { return Ok(()) };
    if encoders.is_empty() && energy.is_empty() {
        return Ok(());
    }
    if !encoders.is_empty() {
        // through text, which gives the shortest digits of an f32
        manifest["encoders"] = serde_json::from_str(&serde_json::to_string(&encoders)?)?;
    }
    if !energy.is_empty() {
        manifest["energy"] = Value::Object(energy);
    }
    seal::write_sealed(&run.path(layout::MANIFEST), &manifest)
}

/// The energy of every training that was not interrupted, by cell.
fn energies(cells: &[Cell]) -> Map<String, Value> {
    let energy = |cell: &Cell| {
        let mut energy = json!(cell.energy.as_ref()?);
        if let Some(wh) = cell.wh_per_million_views() {
            energy["wh_per_million_views"] = json!(wh);
        }
        Some((cell.id.clone(), energy))
    };
    cells.iter().filter_map(energy).collect()
}

/// The number type that the run in the folder was started with.
pub fn precision(run: &RunFolder) -> Option<Compute> {
    let found = read(run).ok()??;
    [Compute::F32, Compute::Bf16].into_iter().find(|&compute| found["precision"] == compute.name())
}

/// The configuration of the run in the folder, if there is one.
///
/// # Errors
/// A manifest that cannot be read or is damaged.
pub fn read(run: &RunFolder) -> Result<Option<Value>> {
    Ok(read_whole(run)?.map(|mut manifest| manifest["configuration"].take()))
}

/// The whole manifest: configuration and provenance.
///
/// # Errors
/// A manifest that cannot be read or is damaged.
pub fn read_whole(run: &RunFolder) -> Result<Option<Value>> {
    let path = run.path(layout::MANIFEST);
    if path.exists() { seal::read_sealed(&path).map(Some) } else { Ok(None) }
}

fn another_configuration(run: &RunFolder) -> String {
    format!("{} holds a run with another configuration", run.root().display())
}

/// Checks that two configurations measure the same.
///
/// # Errors
/// Names every key that differs, with both values.
pub fn ensure_same(found: &Value, wanted: &Value) -> Result<()> {
    let [found, wanted] = [found, wanted].map(what_decides);
    let differing = differing(&found, &wanted, |key, has, wants| {
        format!("  {key}: the folder has {has}, this call {wants}")
    });
    if differing.is_empty() {
        return Ok(());
    }
    bail!(
        "\n{}\nhint: name another folder for --out, or repeat the first call's options",
        differing.join("\n")
    )
}

/// The configuration without keys that change no result. The commands that make its packs are advice, and the
/// hashes of the packs say what was measured. Whether blocks are computed twice is a matter of memory.
fn what_decides(configuration: &Value) -> Value {
    match configuration {
        Value::Object(keys) => {
            let kept = keys.iter().filter(|(key, _)| !["made_by", "recompute"].contains(&key.as_str()));
            kept.map(|(key, value)| (key.clone(), what_decides(value))).collect()
        }
        Value::Array(items) => items.iter().map(what_decides).collect(),
        value => value.clone(),
    }
}

/// One line for every key in which two configurations differ, made from the key and both values.
pub fn differing(found: &Value, wanted: &Value, line: impl Fn(&str, &str, &str) -> String) -> Vec<String> {
    let flat = |document| -> BTreeMap<String, String> {
        let leaves = leaves(document, Lists::Whole).into_iter();
        leaves.map(|leaf| (leaf.path.join("."), leaf.value.to_string())).collect()
    };
    let (old, new) = (flat(found), flat(wanted));
    let text = |leaves: &BTreeMap<String, String>, key: &String| {
        leaves.get(key).map_or("nothing", String::as_str).to_owned()
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differing.map(|key| line(key, &text(&old, key), &text(&new, key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_keys_are_named_with_both_values() {
        let message = format!(
            "{:#}",
            ensure_same(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": 1, "c": 3, "d": [1]}}))
                .unwrap_err()
        );
        assert!(message.contains("a.c: the folder has 2, this call 3"), "{message}");
        assert!(message.contains("a.d: the folder has nothing, this call [1]"), "{message}");
        assert!(!message.contains("a.b"), "{message}");
        assert!(ensure_same(&json!({"a": 1}), &json!({"a": 1})).is_ok());
        let made_by = |command| json!({"transfer": [{"file": "a.h5", "made_by": command}]});
        assert!(ensure_same(&made_by("one"), &made_by("another")).is_ok());
        let train = |train: Value| json!({"suite": {"train": train}});
        let (plain, recomputed) = (train(json!({"batch": 8})), train(json!({"batch": 8, "recompute": true})));
        assert!(ensure_same(&plain, &recomputed).is_ok() && ensure_same(&recomputed, &plain).is_ok());
    }
}
