//! The leaves of a JSON document.

use serde_json::Value;

/// A leaf, with the keys that lead to it from the root.
pub struct Leaf<'a> {
    /// Keys from the root.
    pub path: Vec<String>,
    /// Never a non-empty object.
    pub value: &'a Value,
}

/// What counts as a leaf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// Every list is a leaf.
    Whole,
    /// A list that contains an object is entered. Its items are named by their position, from 1.
    Entered,
}

/// All leaves, in the document's order.
pub fn leaves(document: &Value, lists: Lists) -> Vec<Leaf<'_>> {
    let mut all = Vec::new();
    collect(&[], document, lists, &mut all);
    all
}

fn collect<'a>(path: &[String], value: &'a Value, lists: Lists, into: &mut Vec<Leaf<'a>>) {
    let mut enter = |key: String, value| collect(&[path, &[key]].concat(), value, lists, into);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| enter(key.clone(), value)),
        Value::Array(list) if lists == Lists::Entered && list.iter().any(Value::is_object) => {
            list.iter().enumerate().for_each(|(i, value)| enter((i + 1).to_string(), value));
        }
        value => into.push(Leaf { path: path.to_vec(), value }),
    }
}

impl Leaf<'_> {
    /// The leaf as readable words: one word, or one for each item of a list. Null and an empty list give
    /// none.
    pub fn words(&self) -> Vec<String> {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match self.value {
            Value::Null => vec![],
            Value::Array(list) => list.iter().map(word).collect(),
            value => vec![word(value)],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_objects_are_entered_where_that_is_asked_for() {
        let document =
            json!({"a": {"b": 1, "c": null}, "d": [{"e": "x"}, {"e": []}], "f": ["y", 2], "g": {}});
        let found = |lists| -> Vec<(String, Vec<String>)> {
            leaves(&document, lists).iter().map(|leaf| (leaf.path.join("."), leaf.words())).collect()
        };
        let leaf = |path: &str, words: &[&str]| {
            (path.to_owned(), words.iter().map(|word| (*word).to_owned()).collect())
        };
        let [b, c, f] = [leaf("a.b", &["1"]), leaf("a.c", &[]), leaf("f", &["y", "2"])];
        let entered = [b.clone(), c.clone(), leaf("d.1.e", &["x"]), leaf("d.2.e", &[]), f.clone()];
        assert_eq!(found(Lists::Entered), entered);
        assert_eq!(found(Lists::Whole), [b, c, leaf("d", &[r#"{"e":"x"}"#, r#"{"e":[]}"#]), f]);
    }
}
