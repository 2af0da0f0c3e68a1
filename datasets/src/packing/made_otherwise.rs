//! Whether a pack was made with other options than those of a call.

use serde_json::Value;

use super::spec::PackSpec;
use crate::pack::Pack;
use crate::sources::Source;

/// The first difference between how `pack` was made and how `source` is packed with `spec`; `None` if there
/// is none.
pub fn made_otherwise(pack: &Pack, source: &Source, spec: &PackSpec) -> Option<String> {
    let made = &pack.provenance;
    let differs = |what: &str, before: &Value, now: Value| {
        (*before != now).then(|| format!("{what} {}, now {}", plain(before), plain(&now)))
    };
    let name = || {
        let now = spec.options.name.as_ref()?;
        differs("the name is", &Value::from(pack.name.as_str()), Value::from(now.as_str()))
    };
    let split = || {
        let before = made["notes"]["split"].as_object()?;
        let now = [("test_fraction", spec.options.test_fraction.into()), ("seed", spec.options.seed.into())];
        now.into_iter().find_map(|(key, now): (&str, Value)| {
            differs(&format!("{} of the split is", key.replace('_', " ")), before.get(key)?, now)
        })
    };
    differs("its source is", &made["source"], source.kind.into())
        .or_else(|| differs("the size of the images is", &made["size"], spec.resize.note()))
        .or_else(name)
        .or_else(split)
}

/// The value as in a sentence.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not recorded".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
