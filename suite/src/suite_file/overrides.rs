//! Keys that the command line sets.

use anyhow::{Result, anyhow, bail};
use toml::{Table, Value};

use crate::suite_file::key_path::KeyPath;
use crate::suite_file::plain_text::check_value;

/// A key that an option of the command line sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The option, as in `--methods`.
    pub option: &'static str,
    /// The key.
    pub key: KeyPath,
    /// Its value.
    pub value: Value,
}

impl Override {
    /// `key` with a value that `option` gives.
    ///
    /// # Errors
    /// A control character in a text.
    pub fn new(option: &'static str, key: &str, value: impl Into<Value>) -> Result<Self> {
        let value = value.into();
        check_value(&value, &format!("{option} {key}"))?;
        Ok(Override { option, key: key.into(), value })
    }

    /// The key and the value of `--set a.b.c=value`. The value is read as TOML, or else as a string.
    ///
    /// # Errors
    /// No `=`; a control character in a text.
    pub fn parse(assignment: &str) -> Result<Self> {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| anyhow!("--set {assignment}: expected key=value"))?;
        let value = format!("x = {value}")
            .parse::<Table>()
            .map_or(Value::String(value.to_owned()), |mut table| table.remove("x").expect("just parsed"));
        Override::new("--set", key, value)
    }

    /// Sets the key in a table.
    ///
    /// # Errors
    /// A section of the key that is a value there.
    pub fn apply(&self, table: &mut Table) -> Result<()> {
        let (last, sections) = self.key.segments().split_last().expect("a key has at least one segment");
        let mut here = table;
        for section in sections {
            let below = here.entry(section.as_str()).or_insert_with(|| Table::new().into());
            let Value::Table(below) = below else {
                bail!("{} {}: `{section}` is a value, not a section", self.option, self.key);
            };
            here = below;
        }
        here.insert(last.clone(), self.value.clone());
        Ok(())
    }
}
