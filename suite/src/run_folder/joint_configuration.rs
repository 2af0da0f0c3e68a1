//! The configuration of several runs together: that of each, with the methods and seeds of all.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::run_folder::manifest::differing;

/// Keys of a suite in which runs of one benchmark may differ: which encoders they have.
const OF_ROWS: [&str; 3] = ["methods", "first_seed", "seeds"];

/// The configuration that measures every row of `first` and of `other`.
///
/// # Errors
/// Names every other key that differs: the rows of two such runs are not measured alike.
pub fn join(first: &Value, other: &Value) -> Result<Value> {
    let lines = differing(&without_rows(first), &without_rows(other), |key, first, other| {
        format!("  {key}: {first} and {other}")
    });
    if !lines.is_empty() {
        bail!(
            "the runs do not measure alike:\n{}\nhint: merge runs of one suite on one data set, measured with \
             the same settings",
            lines.join("\n")
        );
    }
    let mut joint = first.clone();
    for (suite, other) in suites(&mut joint).into_iter().zip(suites(&mut other.clone())) {
        let union = union(&suite["methods"], &other["methods"]);
        let seeds = seeds(suite).zip(seeds(other));
        suite["methods"] = union;
        if let Some(((start, end), (other_start, other_end))) = seeds {
            let start = start.min(other_start);
            suite["seeds"] = json!(end.max(other_end) - start);
            // a configuration does not say that the first seed is 0
            if start > 0 {
                suite["first_seed"] = json!(start);
            } else if let Some(keys) = suite.as_object_mut() {
                keys.remove("first_seed");
            }
        }
    }
    Ok(joint)
}

/// The suites of a configuration: one for each data set, in the order of their keys.
fn suites(configuration: &mut Value) -> Vec<&mut Value> {
    let suite = &mut configuration["suite"];
    if is_single(suite) {
        return vec![suite];
    }
    suite.as_object_mut().map(|keys| keys.values_mut().collect()).unwrap_or_default()
}

/// Whether a run has one data set, so that its suite stands without a key.
fn is_single(suite: &Value) -> bool {
    suite["name"].is_string()
}

fn without_rows(configuration: &Value) -> Value {
    let mut rest = configuration.clone();
    for suite in suites(&mut rest) {
        if let Some(keys) = suite.as_object_mut() {
            keys.retain(|key, _| !OF_ROWS.contains(&key.as_str()));
        }
    }
    rest
}

/// (first, behind the last) pretraining seed.
fn seeds(suite: &Value) -> Option<(u64, u64)> {
    let first = suite["first_seed"].as_u64().unwrap_or(0);
    Some((first, first + suite["seeds"].as_u64()?))
}

/// The items of both lists, in their order, each once.
fn union(first: &Value, other: &Value) -> Value {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let mut all = items(first);
    all.extend(
        items(other).into_iter().filter(|item| !first.as_array().is_some_and(|own| own.contains(item))),
    );
    Value::Array(all)
}

/// The entries of several maps as one.
///
/// # Errors
/// What `conflict` says of a key with two values.
pub fn join_maps(
    maps: impl IntoIterator<Item = BTreeMap<String, String>>,
    conflict: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, String>> {
    let mut joint = BTreeMap::new();
    for (key, value) in maps.into_iter().flatten() {
        if let Some(before) = joint.insert(key.clone(), value.clone())
            && before != value
        {
            bail!(conflict(&key));
        }
    }
    Ok(joint)
}

/// The entries under `key` of several manifests as one object; the first of equal keys stays.
pub fn join_objects(manifests: &[Value], key: &str) -> Map<String, Value> {
    let mut joint = Map::new();
    for (name, value) in manifests.iter().filter_map(|manifest| manifest[key].as_object()).flatten() {
        joint.entry(name.clone()).or_insert_with(|| value.clone());
    }
    joint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(methods: &[&str], seeds: u64, side: u64) -> Value {
        json!({"suite": {"name": "s", "methods": methods, "seeds": seeds, "data": {"side": side}}, "data": "abc"})
    }

    #[test]
    fn methods_and_seeds_are_those_of_all() {
        let (a, b) = (configuration(&["Ours", "VICReg"], 3, 32), configuration(&["VICReg", "SimCLR"], 5, 32));
        let joint = join(&a, &b).unwrap();
        assert_eq!(joint["suite"]["methods"], json!(["Ours", "VICReg", "SimCLR"]));
        assert_eq!(joint["suite"]["seeds"], json!(5));
        let keyed = |configuration: &Value| json!({"suite": {"one": configuration["suite"]}, "data": "abc"});
        assert_eq!(join(&keyed(&a), &keyed(&b)).unwrap()["suite"]["one"], joint["suite"]);
        let later = json!({"suite": {"name": "s", "methods": ["Ours"], "first_seed": 7, "seeds": 2,
                                     "data": {"side": 32}}, "data": "abc"});
        let joint = join(&a, &later).unwrap();
        assert_eq!((&joint["suite"]["first_seed"], &joint["suite"]["seeds"]), (&Value::Null, &json!(9)));
        assert_eq!(join(&later, &later).unwrap(), later);
    }

    #[test]
    fn another_measurement_is_named() {
        let (a, b) = (configuration(&["Ours"], 3, 32), configuration(&["Ours"], 3, 64));
        let error = join(&a, &b).unwrap_err().to_string();
        assert!(error.contains("suite.data.side: 32 and 64"), "{error}");
        let other = json!({"suite": a["suite"], "data": "def"});
        assert!(join(&a, &other).unwrap_err().to_string().contains("data: \"abc\" and \"def\""));
    }

    #[test]
    fn a_key_has_one_value() {
        let map = |value: &str| BTreeMap::from([("row".to_owned(), value.to_owned())]);
        assert_eq!(join_maps([map("a"), map("a")], |_| String::new()).unwrap(), map("a"));
        let error = join_maps([map("a"), map("b")], |key| format!("{key} twice")).unwrap_err();
        assert_eq!(error.to_string(), "row twice");
    }
}
