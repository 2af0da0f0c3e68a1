//! Where a value of a suite stands: the sections around it and its own name.

use std::fmt;

/// Path of a key, such as `train.batch`. A position in a list is a segment of digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// The segments from the outermost section to the key.
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// A key of this section, or an item of this list.
    pub fn join(&self, segment: impl ToString) -> KeyPath {
        KeyPath(self.0.iter().cloned().chain([segment.to_string()]).collect())
    }

    /// The section or list around the key; `None` for the whole suite.
    pub fn parent(&self) -> Option<KeyPath> {
        self.0.split_last().map(|(_, parent)| KeyPath(parent.to_vec()))
    }

    /// Whether it is `other` or lies inside it.
    pub fn is_within(&self, other: &KeyPath) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl From<&str> for KeyPath {
    fn from(dotted: &str) -> Self {
        KeyPath(dotted.split('.').map(str::to_owned).collect())
    }
}

impl From<Vec<String>> for KeyPath {
    fn from(segments: Vec<String>) -> Self {
        KeyPath(segments)
    }
}

impl fmt::Display for KeyPath {
    /// Without positions in lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_name = |segment: &&String| !segment.bytes().all(|byte| byte.is_ascii_digit());
        f.write_str(&Vec::from_iter(self.0.iter().filter(is_name).map(String::as_str)).join("."))
    }
}
