//! Where and how the run was made, from its manifest.

use maud::{Markup, html};
use serde_json::Value;

use crate::run_folder::json_leaves::{Lists, leaves};

/// Provenance, checksums and the resolved configuration.
pub fn markup(manifest: Option<&Value>) -> Markup {
    let Some(manifest) = manifest else {
        return html! {
            p {
                "manifest.json is not there or cannot be read: nothing is known of where and how these numbers were made."
            }
        };
    };
    let calls = manifest["continued"].as_array().map_or(0, Vec::len);
    let configuration = &manifest["configuration"];
    let lines = [
        described("", &manifest["provenance"]),
        vec![("calls after the first".to_owned(), calls.to_string())],
        described("checksum of the data", &configuration["data"]),
        described("checksum of", &configuration["packs"]),
        described("configuration hash", &manifest["configuration_hash"]),
    ];
    let text = serde_json::to_string_pretty(configuration).unwrap_or_default();
    html! {
        dl { @for (key, value) in lines.concat() { dt { (key) } dd { (value) } } }
        details { summary { "Resolved configuration" } pre { (text) } }
    }
}

/// (words, value) of every leaf that is not empty; `prefix` precedes the words.
fn described(prefix: &str, value: &Value) -> Vec<(String, String)> {
    let leaves = leaves(value, Lists::Entered).into_iter().filter(|leaf| !leaf.words().is_empty());
    let line = leaves.map(|leaf| {
        let words =
            std::iter::once(prefix.to_owned()).chain(leaf.path.iter().map(|key| key.replace('_', " ")));
        let words: Vec<String> = words.filter(|words| !words.is_empty()).collect();
        (words.join(" "), leaf.words().join(", "))
    });
    line.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_that_says_something_is_a_line() {
        let manifest = json!({
            "provenance": {"cpu": "c", "gpus": [], "mpi_version": null, "threads": 2},
            "continued": [{}, {}],
            "configuration": {"data": "abc", "suite": {"name": "<tiny>"}},
            "configuration_hash": "123",
        });
        let text = markup(Some(&manifest)).into_string();
        let lines = "<dl><dt>cpu</dt><dd>c</dd><dt>threads</dt><dd>2</dd><dt>calls after the first</dt><dd>2</dd>\
                     <dt>checksum of the data</dt><dd>abc</dd><dt>configuration hash</dt><dd>123</dd></dl>";
        assert!(text.starts_with(lines) && text.contains("&lt;tiny&gt;"), "{text}");
    }
}
