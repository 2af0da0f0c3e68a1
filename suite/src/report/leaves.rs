//! The leaves of a JSON document, for readers.

use serde_json::Value;

/// A leaf: the keys that lead to it, and its words. A list of words is one leaf, objects in a list go by their position from 1; what is null or
/// empty says nothing.
pub struct Leaf {
    /// From the root.
    pub path: Vec<String>,
    /// One, or those of a list.
    pub words: Vec<String>,
}

/// All leaves, in the document's order.
pub fn leaves(value: &Value) -> Vec<Leaf> {
    let mut all = Vec::new();
    collect(&[], value, &mut all);
    all
}

fn collect(path: &[String], value: &Value, into: &mut Vec<Leaf>) {
    let mut below = |key: String, value: &Value| collect(&[path, &[key]].concat(), value, into);
    match value {
        Value::Null => {}
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key.clone(), value)),
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().enumerate().for_each(|(i, value)| below((i + 1).to_string(), value));
        }
        Value::Array(list) if list.is_empty() => {}
        Value::Array(list) => into.push(Leaf { path: path.to_vec(), words: list.iter().map(word).collect() }),
        leaf => into.push(Leaf { path: path.to_vec(), words: vec![word(leaf)] }),
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
