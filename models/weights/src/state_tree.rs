//! The tensors in the tree of a pickle, each with the keys that lead to it.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::pickle::{Document, Id, Value};
use crate::tensor::View;

/// Deepest nesting that is searched. Checkpoints nest three or four dictionaries.
const DEEPEST: usize = 16;
/// Most values that are visited: values may be shared, and a small pickle can mean a large tree.
const MOST_VISITS: usize = 1 << 20;
/// Longest list that is searched: a list of models, not of numbers.
const LONGEST_LIST: usize = 64;

/// The tensors of the dictionaries of `document`, by their keys joined with dots. Keys that are no text are
/// those of an optimiser's state, and are left out.
///
/// # Errors
/// A tree that is too deep or too large.
pub(crate) fn tensors(document: &Document) -> Result<BTreeMap<String, View>> {
    let mut walk = Walk { document, visits: 0, found: BTreeMap::new() };
    walk.visit(document.root(), String::new(), 0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    document: &'a Document,
    visits: usize,
    found: BTreeMap<String, View>,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, name: String, depth: usize) -> Result<()> {
        self.visits += 1;
        if depth > DEEPEST || self.visits > MOST_VISITS {
            return Error::form(format!(
                "its dictionaries nest deeper than {DEEPEST} or hold more than {MOST_VISITS} values, which \
                 no checkpoint does"
            ));
        }
        let document = self.document;
        match document.value(id) {
            Value::Tensor(view) => drop(self.found.insert(name, view.clone())),
            Value::Dictionary(entries) => {
                for &(key, value) in entries {
                    if let Value::Text(key) = document.value(key) {
                        self.visit(value, joined(&name, key), depth + 1)?;
                    }
                }
            }
            Value::List(items) if items.len() <= LONGEST_LIST => {
                for (index, &item) in items.iter().enumerate() {
                    self.visit(item, joined(&name, &index.to_string()), depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn joined(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}
