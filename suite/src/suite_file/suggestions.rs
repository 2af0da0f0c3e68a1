//! Error messages that suggest the nearest valid name.

use anyhow::{Result, anyhow};
use eqr_models::MethodKind;
use eqr_models::methods::method_names;

/// Where all methods are told: there are too many for a message.
const ALL_METHODS: &str = "`eqr-bench suites show paper` has the paper's methods, docs/methods.md all";

/// Parses a method name.
///
/// # Errors
/// An unknown name, with the nearest valid one.
pub fn parse_method(name: &str) -> Result<MethodKind> {
    name.parse().map_err(|_| {
        let names = method_names();
        let near = nearest(name, names.iter().map(String::as_str));
        let near = near.map(|near| format!("did you mean `{near}`? "));
        anyhow!("unknown method `{name}`\nhint: {}{ALL_METHODS}", near.unwrap_or_default())
    })
}

/// The candidate most similar to `name`, if one is similar enough.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let score = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let scored = candidates.into_iter().map(|candidate| (score(candidate), candidate));
    scored
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
