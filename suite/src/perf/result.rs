//! Printing of a stage's result.

use anyhow::Result;
use serde_json::Value;

use crate::console::print_text;

/// Prints all of `result` as JSON, or the numbers under `keys` as lines, after the transport between ranks if
/// the stage has one.
pub(super) fn print(result: &Value, json: bool, keys: &[&str]) -> Result<()> {
    if json {
        return print_text(&format!("{result:#}\n"));
    }
    let line = |key: &&str| format!("{key:18} {:.3}\n", result[key].as_f64().unwrap_or(f64::NAN));
    let transport = result["config"]["transport"].as_str();
    let transport = transport.map(|name| format!("{:18} {name}\n", "transport")).unwrap_or_default();
    print_text(&keys.iter().map(line).fold(transport, |text, line| text + &line))
}
